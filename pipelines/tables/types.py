"""What kind of column is this? A guess that the user is told, and can overrule."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import pandas as pd

from pipelines.core.errors import UserError
from pipelines.tables.values import MOSTLY, date_format, decimal_mark, numbers, texts

# Kinds that the model does not see.
LEFT_OUT = ("text", "identifier", "constant", "drop")
# Fewer rows than this say nothing about whether a column only numbers them.
FEW = 20
# Between the levels of an ordinal, from low to high.
ORDER = "<"
_ID_NAME = re.compile(
    r"(?:^|[_. ])(?i:id|uuid|guid|rownames?|row_?(?:no|nr|number)|index|key)$"
    r"|(?<=[a-z])(?:I[Dd]|UID|U[Uu][Ii][Dd]|G[Uu][Ii][Dd]|Key)$"
    r"|^(?i:unnamed: 0|(?:patient|customer|client|passenger|subject|user|member|account|loan|case|record|sample)id)$"
)
_ONE_OF_MANY = re.compile(
    r"(patient|subject|participant|customer|client|person|user|member|household)([_. ]?(id|no|nr|number|key|code))?",
    re.I,
)
_GRADE = re.compile(r"([A-Za-z])(\d{1,2})")


def guess(column: pd.Series, whole: pd.Series | None = None, rows: int = 0) -> str:
    """The kind of a column: number, category, ordinal, date, text, identifier or constant.

    Args:
        column: Of the training part.
        whole: The same column in all rows of the source, by which identifiers are told; none takes `column`.
        rows: How many rows the source has, where `whole` is a sample of them.

    Raises:
        UserError: A cell holds several values.
    """
    present = column.dropna()
    distinct = distinct_values(column)
    if column.nunique(dropna=False) <= 1:
        return "constant"
    if pd.api.types.is_bool_dtype(column.dtype) or distinct <= 2:
        return "category"
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        return "date"
    if isinstance(column.dtype, pd.CategoricalDtype):
        return "ordinal" if column.dtype.ordered else "category"
    everywhere = column if whole is None else whole
    if pd.api.types.is_numeric_dtype(column.dtype):
        return "identifier" if _numbers_rows(everywhere, rows) else "number"
    found = texts(present)
    if numbers(found, decimal_mark(found)).notna().mean() >= MOSTLY:
        named = _ID_NAME.search(str(column.name)) is not None
        return "identifier" if named and everywhere.nunique() == len(everywhere) else "number"
    if all(date_format(some)[1] >= MOSTLY for some in (found.iloc[: 50 * FEW], found)):
        return "date"
    if distinct > FEW and distinct > 0.5 * len(present):
        return "text" if found.str.split().str.len().mean() > 3 else "identifier"
    return "ordinal" if _grades(found.unique()) else "category"


def distinct_values(column: pd.Series) -> int:
    """How many values there are, but for missing ones.

    Raises:
        UserError: A cell holds several values.
    """
    try:
        return int(column.nunique())
    except TypeError:
        raise UserError(
            f"the column {column.name!r} holds lists or other things of several values: one value a cell is expected; "
            f"leave it out with --data.drop '[{column.name}]'"
        ) from None


def _numbers_rows(column: pd.Series, rows: int) -> bool:
    """Whether the values only tell the rows apart: none stands twice, and the name says so or they leave no gaps."""
    if len(column) < FEW or not pd.api.types.is_integer_dtype(column.dtype) or column.nunique() < len(column):
        return False
    span = int(column.max()) - int(column.min()) + 1
    return _ID_NAME.search(str(column.name)) is not None or span <= max(rows, len(column))


def _grades(levels: np.ndarray) -> bool:
    """Whether levels such as A1 ... G5 fill a grid of letters and numbers: an order, not names."""
    found = [_GRADE.fullmatch(level) for level in levels]
    if len(levels) < 4 or not all(found):
        return False
    letters, digits = {m[1] for m in found if m}, {m[2] for m in found if m}
    return len(levels) >= 0.8 * len(letters) * len(digits)


def kinds_of(
    frame: pd.DataFrame, overruled: Mapping[str, str], whole: pd.DataFrame | None = None, rows: int = 0
) -> dict[str, str]:
    """The kind of each column; `whole` and `rows` as in `guess`.

    Raises:
        UserError: A column that was named is not there, or a cell holds several values.
    """
    unknown = sorted(set(overruled) - set(frame.columns))
    if unknown:
        raise UserError(f"data.kinds: there is no column {unknown[0]!r} among the features; there are {listed(frame)}")
    named = {name: "ordinal" if ORDER in kind else kind for name, kind in overruled.items()}
    return {
        name: named.get(name) or guess(frame[name], None if whole is None else whole[name], rows)
        for name in frame.columns
    }


def orders_of(overruled: Mapping[str, str]) -> dict[str, list[str]]:
    """The levels from low to high of each column for which the user gave them."""
    return {name: [level.strip() for level in kind.split(ORDER)] for name, kind in overruled.items() if ORDER in kind}


def repeated(frame: pd.DataFrame, kinds: Mapping[str, str]) -> list[str]:
    """A remark on each column that seems to name whom a row is of, where they have several rows."""
    return [
        f"{name} names {distinct:,} in {len(frame):,} rows: to keep the rows of each in one part, give "
        f"--data.group_column {name}"
        for name, kind in kinds.items()
        if kind != "drop" and _ONE_OF_MANY.fullmatch(str(name))
        and FEW < (distinct := distinct_values(frame[name])) < frame[name].count()
    ]  # fmt: skip


def listed(frame: pd.DataFrame, limit: int = 20) -> str:
    """The names of the columns, cut where there are many."""
    names = [str(name) for name in frame.columns]
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")


def describe(kinds: Mapping[str, str]) -> list[str]:
    """One line a kind, with the columns that were taken for it."""
    lines = []
    for kind in dict.fromkeys(kinds.values()):
        names = [name for name, of in kinds.items() if of == kind]
        shown = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
        left_out = " and left out" if kind in LEFT_OUT else ""
        lines.append(f"read as {kind}{left_out}: {shown}")
    return lines
