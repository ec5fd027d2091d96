"""From a frame to the model's input: fitted on the training part alone, kept in spec.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtri

from pipelines.data.table_kinds import LEFT_OUT, dates, numbers, texts
from pipelines.errors import UserError

KNOTS = 512
RARE = 3
SOFT_END = 3.0
# Neighbouring places of a distribution are joined until so many rows are expected in each.
EXPECTED = 5
CYCLES = {"month": 12, "day_of_week": 7, "hour": 24}


@dataclass(frozen=True)
class Block:
    """Neighbouring numbers of the model's input that come from one column.

    Args:
        column: The column.
        name: What it says of the column, such as `Income` or `Income is missing`.
        size: How many numbers.
        numeric: Whether it is one number on a scale, rather than zeros and ones.
    """

    column: str
    name: str
    size: int
    numeric: bool


@dataclass(frozen=True)
class Scale:
    """How numbers become values around zero; what is missing becomes 0.

    Args:
        kind: `quantile`: mid-ranks among the training values to a normal distribution of variance 1. `robust`: median
            and quartiles, then soft ends (Holzmüller et al., "Better by Default", NeurIPS 2024).
        knots: For `quantile`, values (K,) in rising order; for `robust`, their center and factor.
        scores: For `quantile`, the value that each knot becomes.
    """

    kind: str
    knots: list[float]
    scores: list[float] = field(default_factory=list)

    @classmethod
    def fit(cls, values: np.ndarray, kind: str) -> Scale:
        """Learns from float64 (N,) without NaN."""
        if not len(values):
            return cls("robust", [0.0, 0.0])
        if kind == "robust":
            low, center, high = np.quantile(values, [0.25, 0.5, 0.75])
            width = high - low if high > low else (values.max() - values.min()) / 2
            return cls("robust", [float(center), float(1 / width) if width > 0 else 0.0])
        levels, counts = np.unique(values, return_counts=True)
        ranks = (np.cumsum(counts) - counts / 2) / len(values)
        scores = ndtri(np.clip(ranks, 0.5 / len(values), 1 - 0.5 / len(values)))
        mean = scores @ counts / len(values)
        deviation = np.sqrt((scores - mean) ** 2 @ counts / len(values))
        scores = (scores - mean) / deviation if deviation > 0 else 0 * scores
        if len(levels) > KNOTS:
            chosen = np.unique(np.searchsorted(ranks, np.linspace(ranks[0], ranks[-1], KNOTS)))
            levels, scores = levels[chosen], scores[chosen]
        return cls("quantile", levels.tolist(), scores.tolist())

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """float64 (N,), NaN for missing, to float64 (N,)."""
        if self.kind == "quantile":
            scaled = np.interp(values, self.knots, self.scores)
        else:
            scaled = (values - self.knots[0]) * self.knots[1]
            scaled = scaled / np.sqrt(1 + (scaled / SOFT_END) ** 2)
        return np.where(np.isnan(values), 0.0, scaled)


@dataclass(frozen=True)
class Column:
    """What was learned about one column.

    Args:
        name: Its name.
        kind: number, category, ordinal or date.
        scale: Of its number, its rank or its day; none for a category.
        levels: Of a category or an ordinal.
        other: Whether rare categories share a place, to which new ones then go.
        missing: Whether values were missing.
        cycles: Of a date: which of month, day of the week and hour vary.
    """

    name: str
    kind: str
    scale: Scale | None = None
    levels: list[str] = field(default_factory=list)
    other: bool = False
    missing: bool = False
    cycles: list[str] = field(default_factory=list)

    @classmethod
    def fit(cls, column: pd.Series, kind: str, numbers_as: str, max_categories: int) -> Column:
        """Learns from the column of the training part."""
        name, missing = str(column.name), bool(column.isna().any())
        if kind == "category":
            counts = texts(column).value_counts()
            counts = counts.iloc[np.lexsort((counts.index.astype(str), -counts.to_numpy()))]
            kept = [str(x) for x in counts.index[:max_categories] if counts[x] >= RARE or len(counts) <= 2]
            return cls(name, kind, None, kept, len(kept) < len(counts), missing)
        levels: list[str] = []
        if kind == "ordinal":
            levels = _order(column)
        values = cls(name, kind, levels=levels)._values(column)
        missing = bool(np.isnan(values).any())
        cycles = []
        if kind == "date":
            moments = dates(column).dropna()
            cycles = [cycle for cycle in CYCLES if getattr(moments.dt, cycle).nunique() > 1]
        return cls(name, kind, Scale.fit(values[~np.isnan(values)], numbers_as), levels, False, missing, cycles)

    def _values(self, column: pd.Series) -> np.ndarray:
        """The column as float64 (N,), NaN where missing or unknown."""
        if self.kind == "ordinal":
            rank = {level: float(i) for i, level in enumerate(self.levels)}
            return np.array([rank.get(x, np.nan) for x in texts(column)], np.float64)
        if self.kind == "date":
            moments = dates(column)
            days = (moments - pd.Timestamp(0)) / pd.Timedelta(days=1)
            return days.to_numpy(np.float64, na_value=np.nan)
        return numbers(column).to_numpy(np.float64)

    def blocks(self) -> list[Block]:
        """What `encode` gives, in its order."""
        if self.kind == "category":
            return [Block(self.name, self.name, len(self.levels) + self.other + self.missing, False)]
        found = [Block(self.name, self.name, 1, True)]
        found += [Block(self.name, f"{self.name} {c} ({f})", 1, True) for c in self.cycles for f in ("sin", "cos")]
        if self.missing:
            found.append(Block(self.name, f"{self.name} is missing", 1, False))
        return found

    def encode(self, column: pd.Series) -> list[np.ndarray]:
        """float32 (N, size) for each block."""
        if self.kind == "category":
            values = texts(column)
            place = {level: i for i, level in enumerate(self.levels)}
            index = np.array([place.get(x, -1 if x is not None else -2) for x in values])
            size = len(self.levels)
            hot = np.zeros((len(values), size + self.other + self.missing), np.float32)
            known = index >= 0
            hot[np.flatnonzero(known), index[known]] = 1
            if self.other:
                hot[index == -1, size] = 1
            if self.missing:
                hot[index == -2, -1] = 1
            return [hot]
        assert self.scale is not None
        values = self._values(column)
        found = [self.scale(values)]
        if self.cycles:
            moments = dates(column)
            for cycle in self.cycles:
                angle = 2 * np.pi * getattr(moments.dt, cycle).to_numpy(np.float64, na_value=np.nan) / CYCLES[cycle]
                found += [np.nan_to_num(np.sin(angle)), np.nan_to_num(np.cos(angle))]
        if self.missing:
            found.append(np.isnan(values))
        return [x.astype(np.float32)[:, None] for x in found]

    def unknown(self, column: pd.Series) -> int:
        """Rows whose category or level the training part has not."""
        if self.kind not in ("category", "ordinal") or self.other:
            return 0
        values = texts(column)
        return int((~values.isin(self.levels) & values.notna()).sum())


def _order(column: pd.Series) -> list[str]:
    """Levels from low to high: as the type says, else with 2 before 10."""
    from pipelines.data.images import natural

    if isinstance(column.dtype, pd.CategoricalDtype) and column.dtype.ordered:
        return [str(level) for level in column.dtype.categories]
    return sorted({x for x in texts(column) if x is not None}, key=natural)


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
    def fit(cls, frame: pd.DataFrame, kinds: Mapping[str, str], numbers_as: str, max_categories: int) -> Encoder:
        """Learns from the training part.

        Raises:
            UserError: No column is left for the model.
        """
        seen = {name: kind for name, kind in kinds.items() if kind not in LEFT_OUT}
        if not seen:
            raise UserError("no column is left to predict from: all are identifiers, text, constant or dropped")
        encoder = cls([Column.fit(frame[name], kind, numbers_as, max_categories) for name, kind in seen.items()])
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
            column.name: int((np.isnan(column._values(frame[column.name])) & frame[column.name].notna()).sum())
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
