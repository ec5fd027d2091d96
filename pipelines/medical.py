"""Who is ill, and for how long well? Classes, numbers or times from a table, as clinical studies need them.

    python -m pipelines.medical                                     # breast cancer, in scikit-learn
    python -m pipelines.medical --data flchain                      # deaths among 7,874 people ('[samples]')
    python -m pipelines.medical --data flchain_survival             # the time until them
    python -m pipelines.medical --data study.csv --data.target relapse --data.group_column patient

It is research software and no medical device. The README's results table has the times and scores to expect.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.engine import table_task
from pipelines.engine.table_config import TableConfig
from pipelines.engine.task import Task


@dataclass
class Config(TableConfig):
    """Options of medical."""


def breast_cancer() -> Any:
    """Cell nuclei of 569 breast tumours: Wisconsin Diagnostic Breast Cancer (Street, Wolberg & Mangasarian, 1993)."""
    from pipelines.data.table_sources import sklearn

    return sklearn("breast_cancer")


def flchain() -> Any:
    """Free light chains in the blood and death: flchain of the R package survival (Dispenzieri et al., 2012)."""
    from pipelines.data.table_sources import rdataset

    return rdataset("survival/flchain", target="death", drop=("futime", "chapter"))


def flchain_survival() -> Any:
    """The same, with the time under observation."""
    from pipelines.data.table_sources import rdataset

    raw = rdataset("survival/flchain", target="death", drop=("chapter",))
    raw.duration = "futime"
    return raw


SAMPLES: dict[str, Callable[[], Any]] = {
    "sample": breast_cancer,
    "breast_cancer": breast_cancer,
    "flchain": flchain,
    "flchain_survival": flchain_survival,
}


def assess(config: Config, data: Any, model: Any) -> Any:
    from pipelines.engine import table_report

    return table_report.assess(config, data, model, medical=True)


def load_data(config: Config) -> Any:
    return table_task.load_data(config, SAMPLES)


def load_test(config: Config, spec: dict[str, Any]) -> Any:
    return table_task.load_test(config, spec, SAMPLES)


def explain(config: Config, model: Any, spec: dict[str, Any], arguments: Sequence[str]) -> list[Any]:
    from pipelines.engine import table_explain

    return table_explain.explain(config, model, spec, arguments, load=load_data)


TASK = Task(
    "medical", Config, __doc__ or "", load_data=load_data, build_model=table_task.build_model,
    objective=table_task.objective, batches=table_task.batches, spec=table_task.spec,
    assess=assess, predict=table_task.predict, columns=table_task.columns, inputs=table_task.inputs,
    inputs_help="tables with the columns of the training (.csv, .parquet ...), folders, or - for CSV on standard input",
    example=table_task.example, finish=table_task.finish,
    load_test=load_test, explain=explain,
    space=table_task.SPACE,
)  # fmt: skip
train = table_task.with_frames(TASK.train)

if __name__ == "__main__":
    TASK.main()
