"""Who is ill, and for how long well? Classes, numbers or times from a table, as clinical studies need them.

    python -m pipelines.medical                                     # breast cancer, in scikit-learn
    python -m pipelines.medical --data flchain                      # deaths among 7,874 people ('[samples]')
    python -m pipelines.medical --data flchain_survival             # the time until them
    python -m pipelines.medical --data study.csv --data.target relapse --data.group_column patient

It is research software and no medical device. The README's results table has the times and scores to expect.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pipelines.tables import task
from pipelines.tables.config import TableConfig


@dataclass
class Config(TableConfig):
    """Options of medical."""


def breast_cancer() -> Any:
    """Cell nuclei of 569 breast tumours: Wisconsin Diagnostic Breast Cancer (Street, Wolberg & Mangasarian, 1993)."""
    from pipelines.tables.sources import sklearn

    return sklearn("breast_cancer")


def flchain() -> Any:
    """Free light chains in the blood and death: flchain of the R package survival (Dispenzieri et al., 2012)."""
    from pipelines.tables.sources import rdataset

    return rdataset("survival/flchain", target="death", drop=("futime", "chapter"))


def flchain_survival() -> Any:
    """The same, with the time under observation."""
    from pipelines.tables.sources import rdataset

    raw = rdataset("survival/flchain", target="death", drop=("chapter",))
    raw.duration = "futime"
    return raw


SAMPLES: dict[str, Callable[[], Any]] = {
    "sample": breast_cancer,
    "breast_cancer": breast_cancer,
    "flchain": flchain,
    "flchain_survival": flchain_survival,
}


TASK = task.task("medical", Config, __doc__ or "", SAMPLES, medical=True)
train = task.with_frames(TASK.train)

if __name__ == "__main__":
    TASK.main()
