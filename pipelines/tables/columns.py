"""What is learned about one column of a table, and the numbers that it becomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy.special import ndtri

from pipelines.core.errors import UserError
from pipelines.tables.types import ORDER
from pipelines.tables.values import MOSTLY, date_format, dates, decimal_mark, numbers, texts

KNOTS = 512
RARE = 3
SOFT_END = 3.0
CYCLES = {"month": 12, "day_of_week": 7, "hour": 24}
# Words for levels, from low to high.
WORDS = (
    ("none", "minimal", "very low", "low", "mild", "light", "medium", "moderate", "middle", "mid", "high", "heavy",
     "severe", "very high", "extreme", "critical"),
    ("never", "rarely", "seldom", "sometimes", "often", "usually", "always"),
    ("terrible", "very bad", "bad", "very poor", "poor", "fair", "average", "ok", "good", "very good", "excellent"),
    ("xxs", "xs", "s", "m", "l", "xl", "xxl", "xxxl"),
    ("tiny", "small", "middle", "medium", "large", "big", "huge"),
    ("strongly disagree", "disagree", "neutral", "agree", "strongly agree"),
    ("first", "second", "third", "fourth", "fifth"),
)  # fmt: skip


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
        form: Of a date, how it is written; none lets pandas find out.
        decimal: Of a number, its decimal mark.
    """

    name: str
    kind: str
    scale: Scale | None = None
    levels: list[str] = field(default_factory=list)
    other: bool = False
    missing: bool = False
    cycles: list[str] = field(default_factory=list)
    form: str | None = None
    decimal: str = "."

    @classmethod
    def fit(
        cls, column: pd.Series, kind: str, numbers_as: str, max_categories: int, order: Sequence[str] | None = None
    ) -> Column:
        """Learns from the column of the training part; `order` has the levels of an ordinal.

        Raises:
            UserError: A level is not in `order`.
        """
        name, missing = str(column.name), bool(column.isna().any())
        if kind == "category":
            counts = texts(column).value_counts()
            counts = counts.iloc[np.lexsort((counts.index.astype(str), -counts.to_numpy()))]
            kept = [str(x) for x in counts.index[:max_categories] if counts[x] >= RARE or len(counts) <= 2]
            return cls(name, kind, None, kept, len(kept) < len(counts), missing)
        levels: list[str] = []
        if kind == "ordinal":
            levels = _order(column, order)
        form, share = date_format(column) if kind == "date" else (None, 0.0)
        form = form if share >= MOSTLY else None
        decimal = decimal_mark(column) if kind == "number" else "."
        values = cls(name, kind, levels=levels, form=form, decimal=decimal).values(column)
        missing = bool(np.isnan(values).any())
        cycles = []
        if kind == "date":
            moments = dates(column, form).dropna()
            cycles = [cycle for cycle in CYCLES if getattr(moments.dt, cycle).nunique() > 1]
        scale = Scale.fit(values[~np.isnan(values)], numbers_as)
        return cls(name, kind, scale, levels, False, missing, cycles, form, decimal)

    def dates(self, column: pd.Series) -> pd.Series:
        """Dates as datetime64, NaT where missing."""
        return dates(column, self.form)

    def values(self, column: pd.Series) -> np.ndarray:
        """The column as float64 (N,), NaN where missing or unknown."""
        if self.kind == "ordinal":
            rank = {level: float(i) for i, level in enumerate(self.levels)}
            return np.array([rank.get(x, np.nan) for x in texts(column)], np.float64)
        if self.kind == "date":
            moments = self.dates(column)
            days = (moments - pd.Timestamp(0)) / pd.Timedelta(days=1)
            return days.to_numpy(np.float64, na_value=np.nan)
        return numbers(column, self.decimal).to_numpy(np.float64)

    def note(self) -> str | None:
        """How the cells were read, where that might be another way."""
        if self.kind == "ordinal":
            shown = [*self.levels[:4], "…", *self.levels[-3:]] if len(self.levels) > 8 else self.levels
            return f"{self.name} rises as {f' {ORDER} '.join(shown)}"
        if self.decimal == ",":
            return f"{self.name} has decimal commas"
        if self.form is not None and ("%d" in self.form and "%m" in self.form):
            first = "day" if self.form.index("%d") < self.form.index("%m") else "month"
            return f"{self.name} has dates with the {first} first"
        return None

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
        values = self.values(column)
        found = [self.scale(values)]
        if self.cycles:
            moments = self.dates(column)
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


def _order(column: pd.Series, given: Sequence[str] | None) -> list[str]:
    """Levels from low to high: as given, as the type says, by the meaning of usual words, else with 2 before 10."""
    from pipelines.data.labels import natural

    levels = {x for x in texts(column) if x is not None}
    if given is not None:
        strange = sorted(levels - set(given))
        if strange:
            raise UserError(
                f"data.kinds: {column.name} also has the level {strange[0]!r}; given are {f' {ORDER} '.join(given)}"
            )
        return list(given)
    if isinstance(column.dtype, pd.CategoricalDtype) and column.dtype.ordered:
        return [str(level) for level in column.dtype.categories]
    for words in WORDS:
        if all(level.lower() in words for level in levels):
            return sorted(levels, key=lambda level: (words.index(level.lower()), level))
    return sorted(levels, key=natural)
