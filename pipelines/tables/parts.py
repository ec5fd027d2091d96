"""A table ready for training: its parts, encoded."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipelines.core.errors import UserError
from pipelines.data import summary as summaries
from pipelines.tables import types
from pipelines.tables.config import TableDataConfig
from pipelines.tables.encode import Encoder
from pipelines.tables.target import Target


@dataclass(frozen=True, eq=False)
class TablePart:
    """One part.

    Args:
        frame: The columns that may be features, as they came; of a streamed table a sample of the training rows.
        x: float32 (N, D), encoded; of a streamed table on disk.
        values: The target as `Target.encode` takes it.
        names: N names for reports.
        aside: Further columns of these rows that are no features, such as dropped ones and the group; kept for reports.
    """

    frame: pd.DataFrame
    x: np.ndarray | DiskRows
    values: np.ndarray
    names: Sequence[str]
    aside: pd.DataFrame | None = None

    def with_aside(self) -> pd.DataFrame:
        """The features and what stands beside them."""
        return self.frame if self.aside is None else pd.concat([self.frame, self.aside], axis=1)

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True, eq=False)
class TableParts:
    """A table ready for training and testing.

    Args:
        folds: For cross-validation, the fold of each row of train and then of val.
        decisions: What a finished run has learned on its validation part, where this is a test of such a run.
    """

    train: TablePart
    val: TablePart
    test: TablePart
    encoder: Encoder
    target: Target
    kinds: dict[str, str]
    summary: summaries.DataSummary
    folds: np.ndarray | None = None
    decisions: dict[str, Any] | None = None

    def parts(self) -> dict[str, TablePart]:
        return {"train": self.train, "val": self.val, "test": self.test}

    def pooled(self) -> TablePart:
        """Train and val as one part, in the order of `folds`."""
        a, b = self.train, self.val
        frame = pd.concat([a.frame, b.frame], ignore_index=True)
        return TablePart(
            frame, np.concatenate([a.x[:], b.x[:]]), np.concatenate([a.values, b.values]), [*a.names, *b.names]
        )

    def assignment(self) -> list[dict[str, str]]:
        """Which row is in which part, and in which fold of it; of a streamed table train is all that is not named."""
        streamed = isinstance(self.train.x, DiskRows)
        parts = {name: part for name, part in self.parts().items() if name != "train" or not streamed}
        rows = [{"part": name, "sample": row} for name, part in parts.items() for row in part.names]
        if self.folds is not None:
            for row, fold in zip(rows, [*self.folds.tolist(), *[""] * len(self.test)], strict=True):
                row["fold"] = str(fold)
        return rows

    def describe(self) -> str:
        """One sentence."""
        sizes = ", ".join(f"{len(part):,} {name}" for name, part in self.parts().items())
        what = {
            "classes": f"{len(self.target.classes)} classes of {self.target.columns[0]}",
            "number": " and ".join(self.target.columns),
            "survival": f"time until {self.target.columns[0]}",
        }[self.target.problem]
        return (
            f"{sizes} rows, {len(self.encoder.columns)} of {len(self.kinds)} columns as features, to predict: {what}."
        )


def counts(part: TablePart, target: Target) -> dict[str, int]:
    """Rows by class, by event, or of each target."""
    if target.problem == "classes":
        return dict(zip(target.classes, np.bincount(part.values, minlength=len(target.classes)).tolist(), strict=True))
    if target.problem == "survival":
        events = int(part.values[:, 1].sum())
        return {"event": events, "censored": len(part) - events}
    return dict.fromkeys(target.columns, len(part))


def check_drop(config: TableDataConfig, frame: pd.DataFrame) -> None:
    """Raises when a column that is to be dropped is not there.

    Raises:
        UserError: It is not.
    """
    absent = sorted(set(config.drop) - set(frame.columns))
    if absent:
        raise UserError(f"data.drop: there is no column {absent[0]!r}; there are {types.listed(frame)}")


class DiskRows:
    """float32 (N, D) in a file; indexing gives arrays in memory. The file goes when the last reference goes.

    The file is mapped for each reading anew, so that what was read does not stay in this process.
    """

    def __init__(self, path: Path, shape: tuple[int, int]) -> None:
        self.path, self.shape = path, shape
        self._remove = weakref.finalize(self, _remove, path)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> np.ndarray:
        return np.array(np.memmap(self.path, np.float32, "r", shape=self.shape)[key])


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


class RowNames(Sequence[str]):
    """`row 0`, `row 1` ... of the rows of a file, made when they are asked for."""

    def __init__(self, rows: np.ndarray) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: Any) -> Any:
        return f"row {self.rows[i]}" if not isinstance(i, slice) else RowNames(self.rows[i])


def some_rows(number: int, most: int, seed: int) -> np.ndarray:
    """Numbers of at most `most` of so many rows, by chance, rising."""
    import numpy as np

    if number <= most:
        return np.arange(number)
    return np.sort(np.random.default_rng([seed, 7]).choice(number, most, replace=False))


def learned_from(data: TableParts) -> TablePart:
    """The rows that are learned from: with folds also those of validation."""
    return data.train if data.folds is None else data.pooled()
