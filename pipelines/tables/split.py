"""Which row of a table goes to which part: by chance, by group, by time or as a column says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from pipelines.core.errors import UserError
from pipelines.data.sources import SPLITS
from pipelines.data.split import stratified
from pipelines.tables import values as table_values
from pipelines.tables.config import TableDataConfig
from pipelines.tables.raw import RawTable
from pipelines.tables.target import Target, strata

# For each part the source's part that it comes from, and the numbers of its rows there.
Index = dict[str, tuple[str, np.ndarray]]


def hashes(frame: pd.DataFrame, values: np.ndarray, columns: list[str]) -> list[bytes]:
    """A hash of each row and its target, which is the same in a part that was read with other types or in other order.

    Args:
        frame: The features of a part.
        values: Its target.
        columns: The features of the training part.
    """

    def same(column: pd.Series) -> pd.Series:
        if pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype):
            return column.astype(np.float64)
        return column if pd.api.types.is_datetime64_any_dtype(column.dtype) else table_values.texts(column).fillna("")

    of_rows = pd.util.hash_pandas_object(frame.reindex(columns=columns).apply(same), index=False).to_numpy(np.uint64)
    keys = np.column_stack([of_rows, np.ascontiguousarray(values).view(np.uint64).reshape(len(values), -1)])
    return [row.tobytes() for row in keys]


def split(
    raw: RawTable,
    target: Target,
    values: Mapping[str, np.ndarray],
    hashes: Mapping[str, list[bytes]],
    config: TableDataConfig,
    seed: int,
    notes: list[str],
) -> tuple[Index, set[str]]:
    """Where the rows of each part come from, and which parts are the source's own.

    Raises:
        UserError: A column cannot be split by, a part is empty, or a class is not in the training part.
    """
    origin = "train" if "train" in values else "all"
    frame = raw.splits[origin]
    spread = strata(values[origin], target)
    time = moments(frame[config.time_column]) if config.time_column is not None else None

    def cut(among: np.ndarray, fraction: float, salt: int) -> tuple[np.ndarray, np.ndarray]:
        if time is not None:
            order = among[np.argsort(time[among], kind="stable")]
            return np.split(order, [len(order) - round(fraction * len(order))])
        chosen = stratified(spread[among], fraction, seed=seed + salt, groups=keys(raw, hashes, config, origin, among))
        return among[~chosen], among[chosen]

    copies = len(frame) - len(set(hashes[origin]))
    if copies:
        together = " and stay in the same part" if config.group_column is None and config.time_column is None else ""
        notes.append(f"{copies} rows are copies of others{together}")
    if time is not None and np.isinf(time).any():
        notes.append(f"{int(np.isinf(time).sum())} rows without {config.time_column} count as the oldest")
    rest = np.arange(len(frame))
    index: Index = {part: (part, np.arange(len(raw.splits[part]))) for part in raw.splits}
    if config.split_column is not None and origin == "all":
        said = frame[config.split_column].astype(str).str.strip().str.lower().map(SPLITS)
        if said.isna().any():
            strange = frame[config.split_column][said.isna()].iloc[0]
            raise UserError(f"data.split_column {config.split_column}: expected train, val or test, got {strange!r}")
        rest = np.flatnonzero(said == "train")
        index |= {part: ("all", np.flatnonzero(said == part)) for part in ("val", "test") if (said == part).any()}
    index.pop("all", None)
    own = set(index)
    for part, fraction, salt in (("test", config.test_fraction, 1), ("val", config.val_fraction, 2)):
        if part not in index:
            rest, chosen = cut(rest, fraction, salt)
            index[part] = (origin, chosen)
    if config.limit is not None and config.limit < len(rest):
        kept = stratified(spread[rest], config.limit / len(rest), seed=seed + 3)
        rest = rest[kept]
    index["train"] = (origin, rest)
    for part, (_, chosen) in index.items():
        if not len(chosen):
            raise UserError(f"data.source {config.source}: the {part} part is empty; there are too few rows")
    if target.problem == "classes":
        present = set(np.unique(values[origin][rest]).tolist())
        for part, (of, chosen) in index.items():
            absent = sorted(set(np.unique(values[of][chosen]).tolist()) - present)
            if absent:
                raise UserError(
                    f"class {target.classes[absent[0]]!r} is in the {part} part, but not in the training part"
                )
    notes += _torn(raw, config, index)
    return {part: index[part] for part in ("train", "val", "test")}, own


def moments(column: pd.Series) -> np.ndarray:
    """The times of `data.time_column` as float64 (N,) that can be compared, minus infinity where missing.

    Raises:
        UserError: They are neither numbers nor dates.
    """
    known = column.dropna()
    if not pd.api.types.is_datetime64_any_dtype(column.dtype):
        decimal = table_values.decimal_mark(column)
        numbers = table_values.numbers(known, decimal)
        if len(known) and numbers.notna().mean() >= table_values.MOSTLY:
            return table_values.numbers(column, decimal).fillna(-np.inf).to_numpy(np.float64)
    form, share = table_values.date_format(column)
    if share < table_values.MOSTLY:
        raise UserError(
            f"data.time_column {column.name}: neither numbers nor dates of one kind, such as {known.iloc[0]!r}"
            if len(known)
            else f"data.time_column {column.name} is empty"
        )
    days = (table_values.dates(column, form) - pd.Timestamp(0)) / pd.Timedelta(days=1)
    return days.fillna(-np.inf).to_numpy(np.float64)


def keys(
    raw: RawTable, hashes: Mapping[str, list[bytes]], config: TableDataConfig, origin: str, among: np.ndarray
) -> list[Any]:
    """What must stay together: the group of each row, or the row itself with its copies.

    A row without a group is one of its own.
    """
    if config.group_column is not None:
        groups = table_values.texts(raw.splits[origin][config.group_column].iloc[among])
        return [group if group is not None else int(i) for i, group in zip(among, groups, strict=True)]
    return [hashes[origin][i] for i in among]


def _torn(raw: RawTable, config: TableDataConfig, index: Index) -> list[str]:
    """A remark on groups that stand in two parts, as they may where the source has parts of its own."""
    if config.group_column is None:
        return []
    found = {
        part: set(table_values.texts(raw.splits[origin][config.group_column].iloc[chosen]).dropna())
        for part, (origin, chosen) in index.items()
    }
    pairs = (("train", "val"), ("train", "test"), ("val", "test"))
    return [
        f"warning: {len(both)} groups of {config.group_column} stand in both {a} and {b}, such as {min(both)}: scores "
        "may be too good"
        for a, b in pairs
        if (both := found[a] & found[b])
    ]
