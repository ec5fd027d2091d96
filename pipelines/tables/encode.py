"""From a frame to the model's input: fitted on the training part alone, kept in spec.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from pipelines.core.errors import UserError
from pipelines.tables.columns import Column, Scale
from pipelines.tables.types import LEFT_OUT

# Neighbouring places of a distribution are joined until so many rows are expected in each.
EXPECTED = 5


class Encoder:
    """Frames to float32 (N, D): first the numbers, then the zeros and ones.

    Args:
        columns: What was learned of each column that the model sees.
        reference: For each block the shares of the training rows, by tenths of a number or by category.
        edges: For each block of a number the edges of its tenths.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        reference: list[list[float]] | None = None,
        edges: list[list[float]] | None = None,
    ) -> None:
        self.columns = list(columns)
        blocks = [(i, j, block) for i, column in enumerate(columns) for j, block in enumerate(column.blocks())]
        blocks.sort(key=lambda item: not item[2].numeric)
        self._places = [(i, j) for i, j, _ in blocks]
        self.blocks = [block for _, _, block in blocks]
        self.width = sum(block.size for block in self.blocks)
        self.numeric = sum(block.numeric for block in self.blocks)
        self.reference = reference or []
        self.edges = edges or []

    @classmethod
    def fit(
        cls,
        frame: pd.DataFrame,
        kinds: Mapping[str, str],
        numbers_as: str,
        max_categories: int,
        orders: Mapping[str, Sequence[str]] | None = None,
    ) -> Encoder:
        """Learns from the training part; `orders` has levels of ordinals, from low to high.

        Raises:
            UserError: No column is left for the model, or a level is in no order that was given.
        """
        seen = {name: kind for name, kind in kinds.items() if kind not in LEFT_OUT}
        if not seen:
            raise UserError("no column is left to predict from: all are identifiers, text, constant or dropped")
        given = orders or {}
        encoder = cls(
            [Column.fit(frame[name], kind, numbers_as, max_categories, given.get(name)) for name, kind in seen.items()]
        )
        encoded = encoder.encode(frame)
        for block, part in zip(encoder.blocks, encoder.split(encoded), strict=True):
            edges = np.unique(np.quantile(part, np.linspace(0.1, 0.9, 9))).tolist() if block.numeric else []
            encoder.edges.append(edges)
            encoder.reference.append(_shares(part, edges, block.numeric))
        return encoder

    def encode(self, frame: pd.DataFrame) -> np.ndarray:
        """float32 (N, D) of a frame with these columns; others are ignored.

        Raises:
            UserError: A column is not there.
        """
        absent = [column.name for column in self.columns if column.name not in frame.columns]
        if absent:
            raise UserError(f"the table lacks the column {absent[0]!r}, which the model needs")
        parts = [column.encode(frame[column.name]) for column in self.columns]
        return np.concatenate([parts[i][j] for i, j in self._places], axis=1)

    def notes(self) -> list[str]:
        """How cells were read, where that might be another way."""
        return [note for column in self.columns if (note := column.note()) is not None]

    def split(self, encoded: np.ndarray) -> list[np.ndarray]:
        """(N, D) into one array a block."""
        return np.split(encoded, np.cumsum([block.size for block in self.blocks])[:-1], axis=1)

    def by_column(self, values: np.ndarray) -> np.ndarray:
        """(N, D) summed over the numbers of each column, (N, number of columns)."""
        owner = {column.name: i for i, column in enumerate(self.columns)}
        index = np.repeat([owner[block.column] for block in self.blocks], [block.size for block in self.blocks])
        total = np.zeros((len(values), len(self.columns)))
        np.add.at(total.T, index, values.T)
        return total

    def drift(self, encoded: np.ndarray, rows: float) -> list[tuple[str, float]]:
        """Population stability index of each block: about 0 for the same distribution, above 0.25 for another one.

        The index of two samples of one distribution is about (places - 1) (1 / N + 1 / rows), by chance alone, which is
        taken off; it can be negative.

        Args:
            encoded: float32 (N, D).
            rows: How many rows the encoder has learned from.

        Reference:
            Siddiqi, "Credit Risk Scorecards", 2006; the chance: Yurdakul & Naranjo, "Statistical properties of the
            population stability index", Journal of Risk Model Validation 2020.
        """
        found = []
        for block, part, edges, reference in zip(
            self.blocks, self.split(encoded), self.edges, self.reference, strict=True
        ):
            group = _joined(np.array(reference) * len(encoded))
            then = np.bincount(group, reference)
            now = np.bincount(group, _shares(part, edges, block.numeric))
            # Half a row in each place keeps the logarithm finite where one of the two has none.
            floor = 0.5 / len(encoded)
            then, now = np.maximum(then, floor), np.maximum(now, floor)
            chance = (len(then) - 1) * (1 / len(encoded) + 1 / rows)
            found.append((block.name, float(((now - then) * np.log(now / then)).sum() - chance)))
        return found

    def unknown(self, frame: pd.DataFrame) -> dict[str, int]:
        """Rows with a category that the training part has not, by column."""
        counts = {column.name: column.unknown(frame[column.name]) for column in self.columns}
        return {name: count for name, count in counts.items() if count}

    def unread(self, frame: pd.DataFrame) -> dict[str, int]:
        """Rows with something in a column of numbers or dates that is none, by column."""
        counts = {
            column.name: int((np.isnan(column.values(frame[column.name])) & frame[column.name].notna()).sum())
            for column in self.columns
            if column.kind in ("number", "date")
        }
        return {name: count for name, count in counts.items() if count}

    def absent(self, frame: pd.DataFrame) -> dict[str, int]:
        """Rows without a value in a column that had one in all rows of the training part, by column."""
        counts = {column.name: int(frame[column.name].isna().sum()) for column in self.columns if not column.missing}
        return {name: count for name, count in counts.items() if count}

    def to_json(self) -> dict[str, Any]:
        """For spec.json."""
        return {"columns": [asdict(c) for c in self.columns], "reference": self.reference, "edges": self.edges}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Encoder:
        columns = [Column(**{**c, "scale": Scale(**c["scale"]) if c["scale"] else None}) for c in values["columns"]]
        return cls(columns, values["reference"], values["edges"])


def _joined(expected: np.ndarray) -> np.ndarray:
    """int64 (K,): the group of each place, such that all groups but the last expect `EXPECTED` rows at least."""
    group, number, total = np.zeros(len(expected), np.int64), 0, 0.0
    for i, rows in enumerate(expected):
        group[i] = number
        total += rows
        if total >= EXPECTED:
            number, total = number + 1, 0.0
    return group


def _shares(part: np.ndarray, edges: Sequence[float], numeric: bool) -> list[float]:
    if numeric:
        counts = np.bincount(np.searchsorted(edges, part[:, 0]), minlength=len(edges) + 1)
        return (counts / len(part)).tolist()
    hot = part.mean(0, dtype=np.float64)
    return [*hot.tolist(), float(max(1 - hot.sum(), 0.0))]
