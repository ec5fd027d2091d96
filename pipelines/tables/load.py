"""Tables with something to predict: reading, checking, splitting, encoding."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from pipelines.core.errors import UserError
from pipelines.data import summary as summaries
from pipelines.data.sources import check_broken
from pipelines.data.split import folds as deal
from pipelines.tables import split, stream, types
from pipelines.tables.config import TableDataConfig
from pipelines.tables.encode import Encoder
from pipelines.tables.leaks import leaks
from pipelines.tables.parts import TablePart, TableParts, check_drop, counts
from pipelines.tables.raw import RawTable
from pipelines.tables.sources import load
from pipelines.tables.target import Target, fitted, strata, target_columns, target_of, target_values

Samples = Mapping[str, Callable[[], RawTable]]


def load_tables(config: TableDataConfig, samples: Samples, *, seed: int, folds: int = 0) -> TableParts:
    """Reads, checks, splits and encodes the table of a source; `folds` deals train and val anew for cross-validation.

    Raises:
        UserError: The source cannot be used.
    """
    if stream.is_large(config, config.source):
        return stream.load_large(config, seed=seed)
    raw = load(config, config.source, samples)
    if raw.duration is not None and config.duration is None:
        config = replace(config, duration=raw.duration)
    columns = target_columns(raw, config)
    as_read = raw.splits.get("train", raw.splits.get("all"))
    _without_target(raw, columns, config)
    training = raw.splits.get("train", raw.splits.get("all"))
    if training is None or as_read is None:
        raise UserError(f"data.source {config.source} has no training part")
    check_drop(config, training)
    target = target_of(training, columns, config)
    values = {part: target_values(frame, target, config.source) for part, frame in raw.splits.items()}
    notes = [*raw.notes, *target.notes(config)]
    away = {*columns, *config.drop, *raw.drop, config.duration, config.group_column, config.split_column}
    features = {part: frame.drop(columns=[c for c in frame if c in away]) for part, frame in raw.splits.items()}
    names = [name for name in training if name not in away]
    beside = [c for c in training if c in away and c not in (*columns, config.duration)]
    if not names:
        raise UserError("no column is left to predict from: all are the target, dropped, or only for the split")
    hashes = {part: split.hashes(frame, values[part], names) for part, frame in features.items()}
    index, own = split.split(raw, target, values, hashes, config, seed, notes)
    origin, chosen = index["train"]
    learned = features[origin].iloc[chosen]
    kinds = types.kinds_of(learned, config.kinds, as_read)
    encoder = Encoder.fit(learned, kinds, config.numbers, config.max_categories, types.orders_of(config.kinds))
    target = fitted(target, values[origin][chosen])
    parts = {
        part: TablePart(
            features[origin].iloc[chosen].reset_index(drop=True),
            encoder.encode(features[origin].iloc[chosen]),
            values[origin][chosen],
            [f"{origin} {i}" if origin != "all" else f"row {i}" for i in raw.splits[origin].index[chosen]],
            raw.splits[origin].reindex(columns=beside).iloc[chosen].reset_index(drop=True),
        )
        for part, (origin, chosen) in index.items()
    }
    if raw.drop:
        notes.append(f"left out, since they give {columns[0]} away: {', '.join(raw.drop)}")
    notes += [*types.describe(kinds), *encoder.notes()]
    if config.group_column is None:
        notes += types.repeated(learned, kinds)
    notes += leaks(encoder, parts["train"], target, seed)
    by_part = {part: [hashes[o][i] for i in chosen] for part, (o, chosen) in index.items()}
    dealt = None
    if folds and config.time_column is not None:
        notes.append("model.folds is off: it would deal rows to folds, but data.time_column keeps their order")
    elif folds and "val" in own:
        notes.append("model.folds is off: the source has a validation part of its own")
    elif folds:
        spread = np.concatenate([strata(values[o][i], target) for o, i in (index["train"], index["val"])])
        keys = [key for part in ("train", "val") for key in split.keys(raw, hashes, config, *index[part])]
        dealt = deal(spread, folds, seed=seed + 4, groups=keys)
    summary = summaries.DataSummary(
        {part: counts(one, target) for part, one in parts.items()},
        raw.skipped,
        summaries.duplicates(by_part, {part: one.names for part, one in parts.items()}),
        summaries.fingerprint(by_part, {part: one.values for part, one in parts.items()}),
        notes,
    )
    return TableParts(parts["train"], parts["val"], parts["test"], encoder, target, kinds, summary, dealt)


def load_test_tables(config: TableDataConfig, samples: Samples, spec: Mapping[str, Any]) -> TableParts:
    """All rows of a source (or its own test part) as the test part of a trained model.

    Raises:
        UserError: The source cannot be used, or has a class that the model does not know.
    """
    target, encoder = Target(**spec["target"]), Encoder.from_json(spec["encoder"])
    # What splits the rows of the training is not needed here.
    config = replace(
        config, target=",".join(target.columns), duration=target.duration, group_column=None, time_column=None,
        split_column=None,
    )  # fmt: skip
    raw = load(config, config.source, samples)
    if "test" in raw.splits:
        raw.splits = {"test": raw.splits["test"]}
    for name in [*target.columns, *([target.duration] if target.duration else [])]:
        for frame in raw.splits.values():
            if name not in frame:
                raise UserError(f"data {config.source} has no column {name!r}, which is the target of the model")
    _without_target(raw, target.columns, config)
    frame = pd.concat(raw.splits.values(), ignore_index=True)
    values = target_values(frame, target, f"data {config.source}")
    part = TablePart(frame, encoder.encode(frame), values, [f"row {i}" for i in range(len(frame))])
    summary = summaries.DataSummary({"test": counts(part, target)}, raw.skipped, None, "", raw.notes)
    return TableParts(part, part, part, encoder, target, spec["kinds"], summary, None, spec["decisions"])


def _without_target(raw: RawTable, columns: list[str], config: TableDataConfig) -> None:
    """Leaves out the rows whose target is missing.

    Raises:
        UserError: More rows than `max_broken` allows are unusable, or none is left.
    """
    needed = [*columns, *([config.duration] if config.duration else [])]
    for part, frame in raw.splits.items():
        for name in [n for n in (*needed, config.group_column, config.time_column, config.split_column) if n]:
            if name not in frame:
                raise UserError(f"data.source {config.source} has no column {name!r}; it has {types.listed(frame)}")
        missing = frame[needed].isna().any(axis=1)
        raw.skipped += [(f"{part} row {i}", f"no {needed[0]}") for i in frame.index[missing]]
        raw.splits[part] = frame[~missing]
        if missing.all():
            raise UserError(f"data.source {config.source}: no row has a {needed[0]}")
    check_broken(
        raw, config.max_broken,
        f"{len(raw.skipped)} rows of {config.source} cannot be used, more than data.max_broken = {config.max_broken}",
    )  # fmt: skip
