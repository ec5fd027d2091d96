"""What stands in the cells of a column: text, numbers or dates, however they were written."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pandas as pd
from pandas.tseries.api import guess_datetime_format

MOSTLY = 0.95
# Formats that pandas does not guess; where both fit, the month goes before the day.
FORMATS = ("%b-%Y", "%b %Y", "%B %Y", "%m/%Y", "%m-%Y", "%m/%d/%y", "%m/%d/%Y %I:%M %p", "%m/%d/%Y %I:%M:%S %p",
           "%d/%m/%y", "%d.%m.%y", "%d-%b-%y", "%d/%m/%Y %I:%M %p")  # fmt: skip
GUESSED_FROM = 20
_ISO_DAY = r"\d{4}-\d\d-\d\d"
_UNITS = re.compile(r"[$€£%\s]")
# A number that only a decimal comma explains, and one that only a decimal point does: 1,250 and 1.250 are neither.
_COMMA = re.compile(r"[-+]?(?:(?:0|\d{4,}),\d+|\d{1,3}(?:\.\d{3})*,(?:\d{1,2}|\d{4,})|\d{1,3}(?:\.\d{3})+,\d+)")
_POINT = re.compile(r"[-+]?(?:(?:0|\d{4,})\.\d+|\d{1,3}(?:,\d{3})*\.(?:\d{1,2}|\d{4,})|\d{1,3}(?:,\d{3})+\.\d+)")


def plain(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame in NumPy's types, where a missing value is NaN, None or NaT, and never pd.NA."""
    changed = {}
    for name in frame.columns:
        column = frame[name]
        made = _plain(column)
        if made is not column:
            changed[name] = made
    return frame.assign(**changed) if changed else frame


def _plain(column: pd.Series) -> pd.Series:
    dtype = column.dtype
    own = isinstance(dtype, (pd.CategoricalDtype, pd.DatetimeTZDtype))
    own |= isinstance(dtype, pd.StringDtype) and dtype.na_value is not pd.NA
    missing, objects = column.isna(), pd.api.types.is_object_dtype(dtype)
    if own or not (objects or pd.api.types.is_extension_array_dtype(dtype)):
        return column
    if pd.api.types.is_datetime64_any_dtype(dtype):
        return pd.to_datetime(column.astype(object))
    if pd.api.types.is_bool_dtype(dtype):
        return column.astype(object).where(~missing, None) if missing.any() else column.astype(bool)
    if pd.api.types.is_numeric_dtype(dtype):
        whole = pd.api.types.is_integer_dtype(dtype) and not missing.any()
        return column.astype(np.int64 if whole else np.float64)
    return column.astype(object).where(~missing, None) if missing.any() or not objects else column


def texts(column: pd.Series) -> pd.Series:
    """Categories as text, 1.0 as 1; missing ones as None."""
    cells = zip(column, column.isna(), strict=True)
    if pd.api.types.is_float_dtype(column.dtype):
        values = [None if no else f"{x:.0f}" if float(x).is_integer() else str(x) for x, no in cells]
    else:
        values = [None if no else str(x).strip() for x, no in cells]
    return pd.Series(values, index=column.index, dtype=object)


def decimal_mark(column: pd.Series) -> str:
    """`,` where more cells can only be read with a decimal comma than with a decimal point, else `.`."""
    if pd.api.types.is_numeric_dtype(column.dtype):
        return "."
    cells = [_UNITS.sub("", x) for x in texts(column).dropna().unique()]
    comma, point = (sum(pattern.fullmatch(x) is not None for x in cells) for pattern in (_COMMA, _POINT))
    return "," if comma > point else "."


def numbers(column: pd.Series, decimal: str = ".") -> pd.Series:
    """Text such as `$1,200` or `12 %` as float64; what is no number becomes NaN."""
    if pd.api.types.is_numeric_dtype(column.dtype):
        return column.astype(np.float64).replace([np.inf, -np.inf], np.nan)
    thousands = r"\." if decimal == "," else ","
    cells = column.astype(str).str.replace(rf"{_UNITS.pattern}|{thousands}(?=\d{{3}}\b)", "", regex=True)
    if decimal == ",":
        cells = cells.str.replace(",", ".", regex=False)
    return pd.to_numeric(cells, errors="coerce").astype(np.float64).replace([np.inf, -np.inf], np.nan)


def date_format(column: pd.Series) -> tuple[str | None, float]:
    """The format of dates that fits the most cells, and the share of the cells that it fits.

    ISO 8601 (with or without the time of day) goes before month first, and that before day first, where all fit alike.
    None stands for cells that are dates already, or that no format fits.
    """
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        return None, 1.0
    counts = texts(column).value_counts()
    if not len(counts):
        return None, 0.0
    cells = pd.Series(counts.index, dtype=object)
    cells = cells.where(cells.str.contains(r"\d"))  # pandas takes `now` for a date
    best: tuple[str | None, float] = (None, 0.0)
    for one in _formats(cells.dropna().iloc[:GUESSED_FROM]):
        share = float(counts.to_numpy()[_parsed(cells, one).notna().to_numpy()].sum() / counts.sum())
        if share > best[1]:
            best = one, share
        if share == 1:
            break
    return best


def _formats(cells: pd.Series) -> list[str]:
    found = ["ISO8601"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for day_first in (False, True):
            found += [guess_datetime_format(cell, dayfirst=day_first) or "" for cell in cells]
    return [one for one in dict.fromkeys([*found, *FORMATS]) if one]


def _parsed(cells: pd.Series, form: str) -> pd.Series:
    try:
        return pd.to_datetime(cells, format=form, errors="coerce", utc=True)
    except (ValueError, TypeError):
        return pd.Series(pd.NaT, index=cells.index, dtype="datetime64[ns, UTC]")


def dates(column: pd.Series, form: str | None = None) -> pd.Series:
    """Dates as datetime64, read by one format of `date_format` or as ISO 8601; what is none becomes NaT."""
    if form is None or pd.api.types.is_datetime64_any_dtype(column.dtype):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                moments = pd.to_datetime(column, errors="coerce", utc=True)
            except (ValueError, TypeError):
                return pd.Series(pd.NaT, index=column.index)
        return moments.dt.tz_localize(None)
    cells = texts(column)
    moments = _parsed(cells, form)
    rest = moments.isna() & cells.notna()
    if form != "ISO8601" and rest.any():
        iso = cells[rest].where(cells[rest].str.match(_ISO_DAY))
        moments = moments.fillna(_parsed(iso, "ISO8601"))
    return moments.dt.tz_localize(None)
