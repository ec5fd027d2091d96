"""What kind of column is this? A guess that the user is told, and can overrule."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping

import numpy as np
import pandas as pd

from pipelines.errors import UserError

# Kinds that the model does not see.
LEFT_OUT = ("text", "identifier", "constant", "drop")
MOSTLY = 0.95
# Fewer rows than this say nothing about whether a column only numbers them.
FEW = 20
_ID_NAME = re.compile(r"(^|[_. ])(id|uuid|guid|rownames?|row_?(no|nr|number)|index|key)$|^unnamed: 0$", re.I)
_GRADE = re.compile(r"([A-Za-z])(\d{1,2})")


def guess(column: pd.Series) -> str:
    """The kind of a column: number, category, ordinal, date, text, identifier or constant."""
    present = column.dropna()
    distinct = present.nunique()
    if column.nunique(dropna=False) <= 1:
        return "constant"
    if pd.api.types.is_bool_dtype(column.dtype) or distinct <= 2:
        return "category"
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        return "date"
    if isinstance(column.dtype, pd.CategoricalDtype):
        return "ordinal" if column.dtype.ordered else "category"
    if pd.api.types.is_numeric_dtype(column.dtype):
        return "identifier" if _numbers_rows(column, distinct) else "number"
    texts = present.astype(str)
    if numbers(texts).notna().mean() >= MOSTLY:
        return "identifier" if _ID_NAME.search(str(column.name)) and distinct == len(column) else "number"
    if dates(texts.iloc[: 50 * FEW]).notna().mean() >= MOSTLY:
        return "date"
    if distinct > FEW and distinct > 0.5 * len(present):
        return "text" if texts.str.split().str.len().mean() > 3 else "identifier"
    return "ordinal" if _grades(texts.unique()) else "category"


def _numbers_rows(column: pd.Series, distinct: int) -> bool:
    """Whether the values only tell the rows apart."""
    if distinct < len(column) or len(column) < FEW or not pd.api.types.is_integer_dtype(column.dtype):
        return False
    return _ID_NAME.search(str(column.name)) is not None or int(column.max() - column.min()) + 1 == distinct


def _grades(levels: np.ndarray) -> bool:
    """Whether levels such as A1 ... G5 fill a grid of letters and numbers: an order, not names."""
    found = [_GRADE.fullmatch(level) for level in levels]
    if len(levels) < 4 or not all(found):
        return False
    letters, digits = {m[1] for m in found if m}, {m[2] for m in found if m}
    return len(levels) >= 0.8 * len(letters) * len(digits)


def numbers(column: pd.Series) -> pd.Series:
    """Text such as `$1,200` or `12 %` as float64; what is no number becomes NaN."""
    if pd.api.types.is_numeric_dtype(column.dtype):
        return column.astype(np.float64).replace([np.inf, -np.inf], np.nan)
    plain = column.astype(str).str.replace(r"[$€£%\s]|,(?=\d{3}\b)", "", regex=True)
    return pd.to_numeric(plain, errors="coerce").astype(np.float64).replace([np.inf, -np.inf], np.nan)


def dates(column: pd.Series) -> pd.Series:
    """Dates as datetime64; what is none becomes NaT."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            moments = pd.to_datetime(column, errors="coerce", utc=True)
        except (ValueError, TypeError):
            return pd.Series(pd.NaT, index=column.index)
    return moments.dt.tz_localize(None)


def texts(column: pd.Series) -> pd.Series:
    """Categories as text, 1.0 as 1; missing ones as None."""
    if pd.api.types.is_float_dtype(column.dtype):
        values = [None if pd.isna(x) else f"{x:.0f}" if float(x).is_integer() else str(x) for x in column]
    else:
        values = [None if pd.isna(x) else str(x).strip() for x in column]
    return pd.Series(values, index=column.index, dtype=object)


def kinds_of(frame: pd.DataFrame, overruled: Mapping[str, str]) -> dict[str, str]:
    """The kind of each column.

    Raises:
        UserError: A column that was named is not there.
    """
    unknown = sorted(set(overruled) - set(frame.columns))
    if unknown:
        raise UserError(f"data.kinds: there is no column {unknown[0]!r} among the features; there are {listed(frame)}")
    return {name: overruled.get(name) or guess(frame[name]) for name in frame.columns}


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
        left_out = " (left out)" if kind in LEFT_OUT else ""
        lines.append(f"{kind}{left_out}: {shown}")
    return lines
