"""Who will pay back? Classes, numbers or times from a table, as credit risk needs them.

    pip install 'keras-task-pipelines[samples]'
    python -m pipelines.finance                                     # 4,454 loans, no network
    python -m pipelines.finance --data loans.csv --data.target defaulted --decide.miss 5
    python -m pipelines.finance predict runs/finance/NAME new.csv   # decisions with their reasons

The README's results table has the times and scores to expect.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pipelines.tables import task
from pipelines.tables.config import DecisionConfig, TableConfig


@dataclass
class Config(TableConfig):
    """Options of finance; the costs are those of the Statlog German credit data: to miss a bad loan costs five."""

    decide: DecisionConfig = field(default_factory=lambda: DecisionConfig(miss=5.0))


def credit() -> Any:
    """Loans of a Spanish bank: credit_data of the R package modeldata, after Delgado et al."""
    from pipelines.tables.sources import rdataset

    return rdataset("modeldata/credit_data", target="Status")


def lending_club() -> Any:
    """Loans between people: lending_club of the R package modeldata."""
    from pipelines.tables.sources import rdataset

    return rdataset("modeldata/lending_club", target="Class")


SAMPLES: dict[str, Callable[[], Any]] = {"sample": credit, "credit_data": credit, "lending_club": lending_club}


TASK = task.task("finance", Config, __doc__ or "", SAMPLES, medical=False)
train = task.with_frames(TASK.train)

if __name__ == "__main__":
    TASK.main()
