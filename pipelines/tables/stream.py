"""Parquet files larger than memory: encoded once to disk, block by block, and read back by row."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pipelines.core.errors import UserError
from pipelines.data import summary as summaries
from pipelines.tables import types
from pipelines.tables.config import TableDataConfig
from pipelines.tables.encode import Encoder
from pipelines.tables.leaks import leaks
from pipelines.tables.parts import DiskRows, RowNames, TablePart, TableParts, check_drop, counts
from pipelines.tables.raw import RawTable
from pipelines.tables.target import MANY_VALUES, fitted, target_columns, target_of, target_values
from pipelines.tables.types import distinct_values
from pipelines.tables.values import plain

if TYPE_CHECKING:
    from pipelines.tables.parts import TableParts

BLOCK = 65_536
SAMPLE = 200_000
# Training rows of each class that are in the sample in any case, and classes that a column of text may have for that.
EACH_CLASS = 5
MOST_CLASSES = 1_000
HELD = 200_000


def is_large(config: TableDataConfig, source: str) -> bool:
    """Whether the source is a Parquet file with more rows than `stream_rows`."""
    path = Path(source).expanduser()
    if path.suffix.lower() != ".parquet" or not path.is_file():
        return False
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path).metadata.num_rows > config.stream_rows
    except Exception:  # what is wrong with the file is said where it is read
        return False


def load_large(config: TableDataConfig, *, seed: int) -> TableParts:
    """Reads a Parquet file in three passes, of which none holds more than a block and a sample.

    The first draws the sample from which kinds, encoder and target are learned, the second encodes all rows, of which
    those for training go to disk. Rows go to their parts by chance alone, by their number and the seed.

    Raises:
        UserError: An option needs all rows in memory, or the file cannot be used.
    """

    for option in ("group_column", "time_column", "split_column", "limit"):
        if getattr(config, option) is not None:
            raise UserError(
                f"data.{option} needs all rows in memory: raise data.stream_rows above the {config.stream_rows:,} rows"
            )
    path = Path(config.source).expanduser()
    part_of, total = _parts(path, config, seed)
    raw = RawTable({"train": _no_rows(path)})
    columns = target_columns(raw, config)
    check_drop(config, raw.splits["train"])
    away = {*columns, *config.drop, config.duration}
    needed = [*columns, *([config.duration] if config.duration else [])]
    if needed[-1] not in raw.splits["train"]:
        listed = types.listed(raw.splits["train"])
        raise UserError(f"data.source {config.source} has no column {needed[-1]!r}; it has {listed}")
    by_class = columns[0] if len(columns) == 1 and config.problem in ("auto", "classes") else None
    known = _sample(path, part_of, seed, by_class).dropna(subset=needed)
    if not len(known):
        raise UserError(f"data.source {config.source}: no row has a {needed[0]}")
    target = target_of(known, columns, config)
    target_known = target_values(known, target, config.source)
    target = fitted(target, target_known)
    features = known.drop(columns=[c for c in known if c in away])
    if features.shape[1] == 0:
        raise UserError("no column is left to predict from: all are the target or dropped")
    kinds = types.kinds_of(features, config.kinds, rows=total)
    encoder = Encoder.fit(features, kinds, config.numbers, config.max_categories, types.orders_of(config.kinds))
    handle, name = tempfile.mkstemp(prefix="rows-", suffix=".f32")
    os.close(handle)
    aside = Path(name)
    values: list[np.ndarray] = []
    rows: list[np.ndarray] = []
    held: dict[int, list[tuple[pd.DataFrame, np.ndarray, np.ndarray]]] = {1: [], 2: []}
    skipped: list[tuple[str, str]] = []
    try:
        with open(aside, "wb") as file:
            for start, frame in _blocks(path):
                missing = frame[needed].isna().any(axis=1).to_numpy()
                skipped += [(f"row {start + i}", f"no {needed[0]}") for i in np.flatnonzero(missing)]
                if len(skipped) > config.max_broken:
                    raise UserError(
                        f"more than data.max_broken = {config.max_broken} rows of {path} have no {needed[0]}, "
                        f"among them {skipped[0][0]}"
                    )
                part = np.where(missing, -1, part_of[start : start + len(frame)])
                for number in (0, 1, 2):
                    mask = part == number
                    if not mask.any():
                        continue
                    chosen = frame[mask]
                    known_values = target_values(chosen, target, str(path))
                    numbers = np.flatnonzero(mask) + start
                    if number:
                        held[number].append((chosen, known_values, numbers))
                    else:
                        file.write(encoder.encode(chosen).tobytes())
                        values.append(known_values)
                        rows.append(numbers)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    if not values or not all(held.values()):
        aside.unlink(missing_ok=True)
        raise UserError(f"data.source {path}: a part is empty; there are too few rows")
    train_values = np.concatenate(values)
    train = TablePart(
        features.reset_index(drop=True), DiskRows(aside, (len(train_values), encoder.width)), train_values,
        RowNames(np.concatenate(rows)),
    )  # fmt: skip
    parts = {"train": train}
    for number, name in ((1, "val"), (2, "test")):
        frame = pd.concat([f for f, _, _ in held[number]], ignore_index=True)
        frame = frame.drop(columns=[c for c in frame if c in away])
        labels = np.concatenate([v for _, v, _ in held[number]])
        parts[name] = TablePart(
            frame, encoder.encode(frame), labels, RowNames(np.concatenate([r for _, _, r in held[number]]))
        )
    learned = TablePart(features, encoder.encode(features), target_known, RowNames(np.arange(len(features))))
    notes = [
        *raw.notes,
        *target.notes(config),
        f"{total:,} rows are streamed from {path.name}; kinds and encoders are learned from {len(known):,} of them",
        "copies of rows are not looked for in a streamed table",
        *types.describe(kinds),
        *encoder.notes(),
        *types.repeated(features, kinds),
        *leaks(encoder, learned, target, seed),
    ]
    sizes = {name: counts(part, target) for name, part in parts.items()}
    summary = summaries.DataSummary(sizes, skipped, None, _fingerprint(path), notes)
    return TableParts(parts["train"], parts["val"], parts["test"], encoder, target, kinds, summary)


def _parts(path: Path, config: TableDataConfig, seed: int) -> tuple[np.ndarray, int]:
    """int8 (N,): 0 for train, 1 for val, 2 for test, -1 for a held-out row too many; and N."""
    import pyarrow.parquet as pq

    total = pq.ParquetFile(path).metadata.num_rows
    drawn = np.random.default_rng([seed, 5]).random(total, np.float32)
    test = min(config.test_fraction, HELD / total)
    val = min(config.val_fraction * (1 - config.test_fraction), HELD / total)
    return np.where(drawn < test, 2, np.where(drawn < test + val, 1, 0)).astype(np.int8), total


def _no_rows(path: Path) -> pd.DataFrame:
    import pyarrow.parquet as pq

    return _named(pq.read_schema(path).empty_table().to_pandas())


def _named(frame: pd.DataFrame) -> pd.DataFrame:
    return plain(frame.reset_index(drop=True).rename(columns=lambda name: str(name).strip()))


def _sample(path: Path, part_of: np.ndarray, seed: int, by_class: str | None) -> pd.DataFrame:
    """About `SAMPLE` rows of the training part, and the first few of each class that the column `by_class` may hold."""
    share = min(1.0, SAMPLE / (part_of == 0).sum())
    training = part_of == 0
    drawn = training & (np.random.default_rng([seed, 6]).random(len(part_of), np.float32) < share)
    parts = []
    found: dict[Any, int] = {}
    for start, frame in _blocks(path):
        chosen = drawn[start : start + len(frame)].copy()
        if by_class is not None:
            labels = frame[by_class][training[start : start + len(frame)]].dropna()
            limit = MANY_VALUES if pd.api.types.is_numeric_dtype(labels.dtype) else MOST_CLASSES
            labels = labels.astype(object)
            if distinct_values(labels) > limit or len(found) > limit:  # it holds numbers, or texts
                by_class = None
            else:
                first = labels.groupby(labels, observed=True).cumcount() + labels.map(found).fillna(0).astype(int)
                chosen[first.index[first < EACH_CLASS]] = True
                for label, count in labels.value_counts().items():
                    found[label] = found.get(label, 0) + int(count)
        parts.append(frame[chosen])
    return pd.concat(parts, ignore_index=True)


def _blocks(path: Path) -> Iterator[tuple[int, pd.DataFrame]]:
    """Number of the first row, and a frame, of each block."""
    import pyarrow.parquet as pq

    start = 0
    with pq.ParquetFile(path, pre_buffer=False) as file:
        for group in range(file.metadata.num_row_groups):
            # Over all groups at once, the reader would keep those that it has read.
            for batch in file.iter_batches(BLOCK, row_groups=[group]):
                frame = _named(batch.to_pandas())
                yield start, frame
                start += len(frame)


def _fingerprint(path: Path) -> str:
    whole = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            whole.update(block)
    return whole.hexdigest()
