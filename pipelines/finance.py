"""Who will pay back? Classes, numbers or times from a table, as credit risk needs them.

    pip install 'keras-task-pipelines[samples]'
    python -m pipelines.finance                                     # 4,454 loans, no network
    python -m pipelines.finance --data loans.csv --data.target defaulted --decide.miss 5
    python -m pipelines.finance predict runs/finance/NAME new.csv   # decisions with their reasons

The README's results table has the times and scores to expect.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipelines.engine import table_task
from pipelines.engine.table_config import TableConfig
from pipelines.engine.task import Task
from pipelines.inspect.decision_config import DecisionConfig


@dataclass
class Config(TableConfig):
    """Options of finance; the costs are those of the Statlog German credit data: to miss a bad loan costs five."""

    decide: DecisionConfig = field(default_factory=lambda: DecisionConfig(miss=5.0))


def credit() -> Any:
    """Loans of a Spanish bank: credit_data of the R package modeldata, after Delgado et al."""
    from pipelines.data.table_sources import rdataset

    return rdataset("modeldata/credit_data", target="Status")


def lending_club() -> Any:
    """Loans between people: lending_club of the R package modeldata."""
    from pipelines.data.table_sources import rdataset

    return rdataset("modeldata/lending_club", target="Class")


SAMPLES: dict[str, Callable[[], Any]] = {"sample": credit, "credit_data": credit, "lending_club": lending_club}


def assess(config: Config, data: Any, model: Any) -> Any:
    from pipelines.engine import table_report

    return table_report.assess(config, data, model, medical=False)


def load_data(config: Config) -> Any:
    return table_task.load_data(config, SAMPLES)


def load_test(config: Config, spec: dict[str, Any]) -> Any:
    return table_task.load_test(config, spec, SAMPLES)


def explain(config: Config, model: Any, spec: dict[str, Any], arguments: Sequence[str]) -> list[Any]:
    from pipelines.engine import table_explain

    return table_explain.explain(config, model, spec, arguments, load=load_data)


TASK = Task(
    "finance", Config, __doc__ or "", load_data=load_data, build_model=table_task.build_model,
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
