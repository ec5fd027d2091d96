"""Tables with something to predict: reading, checking, splitting, encoding."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from pipelines.core.errors import UserError
from pipelines.data import summary as summaries
from pipelines.data.sources import check_broken
from pipelines.data.split import folds as deal
from pipelines.tables import split, stream, types
from pipelines.tables.data_config import TableDataConfig
from pipelines.tables.encode import Encoder
from pipelines.tables.leaks import leaks
from pipelines.tables.sources import RawTable, load
from pipelines.tables.stream import DiskRows
from pipelines.tables.target import Target, fitted, strata, target_columns, target_of, target_values

Samples = Mapping[str, Callable[[], RawTable]]


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
    as_read = raw.parts.get("train", raw.parts.get("all"))
    _without_target(raw, columns, config)
    training = raw.parts.get("train", raw.parts.get("all"))
    if training is None or as_read is None:
        raise UserError(f"data.source {config.source} has no training part")
    check_drop(config, training)
    target = target_of(training, columns, config)
    values = {part: target_values(frame, target, config.source) for part, frame in raw.parts.items()}
    notes = [*raw.notes, *target.notes(config)]
    away = {*columns, *config.drop, *raw.drop, config.duration, config.group_column, config.split_column}
    features = {part: frame.drop(columns=[c for c in frame if c in away]) for part, frame in raw.parts.items()}
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
            [f"{origin} {i}" if origin != "all" else f"row {i}" for i in raw.parts[origin].index[chosen]],
            raw.parts[origin].reindex(columns=beside).iloc[chosen].reset_index(drop=True),
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
    if "test" in raw.parts:
        raw.parts = {"test": raw.parts["test"]}
    for name in [*target.columns, *([target.duration] if target.duration else [])]:
        for frame in raw.parts.values():
            if name not in frame:
                raise UserError(f"data {config.source} has no column {name!r}, which is the target of the model")
    _without_target(raw, target.columns, config)
    frame = pd.concat(raw.parts.values(), ignore_index=True)
    values = target_values(frame, target, f"data {config.source}")
    part = TablePart(frame, encoder.encode(frame), values, [f"row {i}" for i in range(len(frame))])
    summary = summaries.DataSummary({"test": counts(part, target)}, raw.skipped, None, "", raw.notes)
    return TableParts(part, part, part, encoder, target, spec["kinds"], summary, None, spec["decisions"])


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


def _without_target(raw: RawTable, columns: list[str], config: TableDataConfig) -> None:
    """Leaves out the rows whose target is missing.

    Raises:
        UserError: More rows than `max_broken` allows are unusable, or none is left.
    """
    needed = [*columns, *([config.duration] if config.duration else [])]
    for part, frame in raw.parts.items():
        for name in [n for n in (*needed, config.group_column, config.time_column, config.split_column) if n]:
            if name not in frame:
                raise UserError(f"data.source {config.source} has no column {name!r}; it has {types.listed(frame)}")
        missing = frame[needed].isna().any(axis=1)
        raw.skipped += [(f"{part} row {i}", f"no {needed[0]}") for i in frame.index[missing]]
        raw.parts[part] = frame[~missing]
        if missing.all():
            raise UserError(f"data.source {config.source}: no row has a {needed[0]}")
    check_broken(
        raw, config.max_broken,
        f"{len(raw.skipped)} rows of {config.source} cannot be used, more than data.max_broken = {config.max_broken}",
    )  # fmt: skip
