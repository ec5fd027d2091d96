"""Tables with something to predict: reading, checking, splitting, encoding."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from pipelines.data import summary as summaries
from pipelines.data import table_kinds, table_stream
from pipelines.data.images import natural
from pipelines.data.sources import PARTS, check_broken
from pipelines.data.split import folds as deal
from pipelines.data.split import stratified
from pipelines.data.table_config import TableDataConfig
from pipelines.data.table_encode import Encoder
from pipelines.data.table_sources import RawTable, load
from pipelines.data.table_stream import DiskRows
from pipelines.errors import UserError

Samples = Mapping[str, Callable[[], RawTable]]

TARGETS = ("target", "label", "class", "outcome", "y", "status", "default", "diagnosis", "death", "churn", "fraud")
POSITIVE = ("bad", "default", "defaulted", "yes", "y", "true", "1", "positive", "malignant", "dead", "died", "event",
            "fraud", "churn", "case", "sick", "disease")  # fmt: skip
MANY_VALUES = 20
INTERVALS = 20
LEAK_ROWS, LEAK_SCORE = 5000, 0.985


@dataclass(frozen=True)
class Target:
    """What is predicted, as spec.json keeps it.

    Args:
        columns: Names of the target columns; one, unless several numbers are predicted.
        problem: classes, number or survival.
        classes: For classes, their names; of two the second is the one to be found.
        center: For numbers, what is taken off each before training.
        scale: For numbers, what each is then divided by.
        duration: For survival, the column of the time.
        edges: For survival, the ends of the intervals of time, from 0.
    """

    columns: list[str]
    problem: str
    classes: list[str] = field(default_factory=list)
    center: list[float] = field(default_factory=list)
    scale: list[float] = field(default_factory=list)
    duration: str | None = None
    edges: list[float] = field(default_factory=list)

    @property
    def outputs(self) -> tuple[int, ...]:
        """Shape of the model's output for one row."""
        if self.problem == "classes":
            return (len(self.classes),)
        return (len(self.columns),) if self.problem == "number" else (len(self.edges) - 1, 2)

    def encode(self, values: np.ndarray) -> np.ndarray:
        """float32 (N, *outputs): one-hot classes, scaled numbers, or for each interval survived and not survived.

        Args:
            values: (N,) class numbers, (N, T) numbers, or (N, 2) times and events.

        An interval of which a row was seen less than half is zero in both places, so that it counts for nothing in
        the likelihood (Gensheimer & Narasimhan, "A scalable discrete-time survival model for neural networks", 2019).
        """
        if self.problem == "classes":
            return np.eye(len(self.classes), dtype=np.float32)[values]
        if self.problem == "number":
            return ((values - np.array(self.center)) / np.array(self.scale)).astype(np.float32)
        edges = np.array(self.edges)
        time, event = values[:, :1], values[:, 1:] == 1
        died = event & (time > edges[:-1]) & (time <= edges[1:])
        died[:, 0] |= event[:, 0] & (time[:, 0] <= edges[0])
        middle = (edges[:-1] + edges[1:]) / 2
        survived = np.where(event, time > edges[1:], time >= middle)
        return np.stack([survived, died], axis=2).astype(np.float32)


@dataclass(frozen=True, eq=False)
class TablePart:
    """One part.

    Args:
        frame: The columns that may be features, as they came; of a streamed table a sample of the training rows.
        x: float32 (N, D), encoded; of a streamed table on disk.
        values: The target as `Target.encode` takes it.
        names: N names for reports.
    """

    frame: pd.DataFrame
    x: np.ndarray | DiskRows
    values: np.ndarray
    names: Sequence[str]

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
    if table_stream.is_large(config, config.source):
        return table_stream.load_large(config, seed=seed)
    raw = load(config, config.source, samples)
    if raw.duration is not None and config.duration is None:
        config = replace(config, duration=raw.duration)
    columns = target_columns(raw, config)
    _without_target(raw, columns, config)
    training = raw.parts.get("train", raw.parts.get("all"))
    if training is None:
        raise UserError(f"data.source {config.source} has no training part")
    target = target_of(training, columns, config)
    values = {part: target_values(frame, target, config.source) for part, frame in raw.parts.items()}
    notes = list(raw.notes)
    away = {*columns, *config.drop, *raw.drop, config.duration, config.group_column, config.split_column}
    features = {part: frame.drop(columns=[c for c in frame if c in away]) for part, frame in raw.parts.items()}
    absent = sorted(set(config.drop) - set(training.columns))
    if absent:
        raise UserError(f"data.drop: there is no column {absent[0]!r}; there are {table_kinds.listed(training)}")
    if features[next(iter(features))].shape[1] == 0:
        raise UserError("no column is left to predict from: all are the target, dropped, or only for the split")
    hashes = {part: _hashes(frame, values[part]) for part, frame in features.items()}
    index = _split(raw, target, values, hashes, config, seed, notes)
    origin, chosen = index["train"]
    kinds = table_kinds.kinds_of(features[origin].iloc[chosen], config.kinds)
    encoder = Encoder.fit(features[origin].iloc[chosen], kinds, config.numbers, config.max_categories)
    target = fitted(target, values[origin][chosen])
    parts = {
        part: TablePart(
            features[origin].iloc[chosen].reset_index(drop=True),
            encoder.encode(features[origin].iloc[chosen]),
            values[origin][chosen],
            [f"{origin} {i}" if origin != "all" else f"row {i}" for i in raw.parts[origin].index[chosen]],
        )
        for part, (origin, chosen) in index.items()
    }
    if raw.drop:
        notes.append(f"left out, since they give {columns[0]} away: {', '.join(raw.drop)}")
    notes += table_kinds.describe(kinds)
    notes += leaks(encoder, parts["train"], target, seed)
    by_part = {part: [hashes[o][i] for i in chosen] for part, (o, chosen) in index.items()}
    summary = summaries.DataSummary(
        {part: counts(one, target) for part, one in parts.items()},
        raw.skipped,
        summaries.duplicates(by_part, {part: one.names for part, one in parts.items()}),
        summaries.fingerprint(by_part, {part: one.values for part, one in parts.items()}),
        notes,
    )
    dealt = None
    if folds:
        if config.time_column is not None:
            raise UserError(
                "model.folds deals rows to folds, but data.time_column keeps their order: --model.folds false"
            )
        strata = np.concatenate([_strata(values[o][i], target) for o, i in (index["train"], index["val"])])
        keys = [key for part in ("train", "val") for key in _keys(raw, hashes, config, *index[part])]
        dealt = deal(strata, folds, seed=seed + 4, groups=keys)
    return TableParts(parts["train"], parts["val"], parts["test"], encoder, target, kinds, summary, dealt)


def load_test_tables(config: TableDataConfig, samples: Samples, spec: Mapping[str, Any]) -> TableParts:
    """All rows of a source (or its own test part) as the test part of a trained model.

    Raises:
        UserError: The source cannot be used, or has a class that the model does not know.
    """
    raw = load(config, config.source, samples)
    if "test" in raw.parts:
        raw.parts = {"test": raw.parts["test"]}
    target, encoder = Target(**spec["target"]), Encoder.from_json(spec["encoder"])
    for name in [*target.columns, *([target.duration] if target.duration else [])]:
        for frame in raw.parts.values():
            if name not in frame:
                raise UserError(f"data {config.source} has no column {name!r}, which is the target of the model")
    _without_target(raw, target.columns, config)
    frame = pd.concat(raw.parts.values(), ignore_index=True)
    values = target_values(frame, target, f"data {config.source}")
    part = TablePart(frame, encoder.encode(frame), values, [f"row {i}" for i in range(len(frame))])
    summary = summaries.DataSummary({"test": counts(part, target)}, raw.skipped, [], "", raw.notes)
    return TableParts(part, part, part, encoder, target, spec["kinds"], summary, None, spec["decisions"])


def counts(part: TablePart, target: Target) -> dict[str, int]:
    """Rows by class, by event, or of each target."""
    if target.problem == "classes":
        return dict(zip(target.classes, np.bincount(part.values, minlength=len(target.classes)).tolist(), strict=True))
    if target.problem == "survival":
        events = int(part.values[:, 1].sum())
        return {"event": events, "censored": len(part) - events}
    return dict.fromkeys(target.columns, len(part))


def target_columns(raw: RawTable, config: TableDataConfig) -> list[str]:
    frame = next(iter(raw.parts.values()))
    if config.target is not None:
        names = [config.target] if config.target in frame else [name.strip() for name in config.target.split(",")]
        for name in names:
            if name not in frame:
                raise UserError(f"data.target: there is no column {name!r}; there are {table_kinds.listed(frame)}")
        return names
    if raw.target is not None:
        return [raw.target]
    found = [name for wanted in TARGETS for name in frame if name.lower() == wanted]
    if not found:
        raise UserError(f"say with --data.target which column to predict; there are {table_kinds.listed(frame)}")
    raw.notes.append(f"the target is taken to be {found[0]}")
    return [found[0]]


def _without_target(raw: RawTable, columns: list[str], config: TableDataConfig) -> None:
    """Leaves out the rows whose target is missing.

    Raises:
        UserError: More rows than `max_broken` allows are unusable, or none is left.
    """
    needed = [*columns, *([config.duration] if config.duration else [])]
    for part, frame in raw.parts.items():
        for name in [n for n in (*needed, config.group_column, config.time_column, config.split_column) if n]:
            if name not in frame:
                raise UserError(
                    f"data.source {config.source} has no column {name!r}; it has {table_kinds.listed(frame)}"
                )
        missing = frame[needed].isna().any(axis=1)
        raw.skipped += [(f"{part} row {i}", f"no {needed[0]}") for i in frame.index[missing]]
        raw.parts[part] = frame[~missing]
        if missing.all():
            raise UserError(f"data.source {config.source}: no row has a {needed[0]}")
    check_broken(
        raw, config.max_broken,
        f"{len(raw.skipped)} rows of {config.source} cannot be used, more than data.max_broken = {config.max_broken}",
    )  # fmt: skip


def target_of(frame: pd.DataFrame, columns: list[str], config: TableDataConfig) -> Target:
    column = frame[columns[0]]
    problem = config.problem
    if problem == "auto" and config.duration is not None:
        problem = "survival"
    if problem == "auto":
        numeric = pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype)
        many = column.nunique() > MANY_VALUES or (numeric and bool((column % 1 != 0).any()))
        problem = "number" if len(columns) > 1 or (numeric and many) else "classes"
    if len(columns) > 1 and problem != "number":
        raise UserError(f"data.target names several columns: they can only be numbers, not {problem}")
    if problem != "classes":
        return Target(columns, problem, duration=config.duration if problem == "survival" else None)
    found = table_kinds.texts(column).value_counts()
    classes = sorted(found.index, key=natural)
    if len(classes) < 2:
        raise UserError(f"data.target {columns[0]} has only the class {classes[0]!r}; at least two are needed")
    if len(classes) > 0.5 * len(column):
        raise UserError(f"data.target {columns[0]} has {len(classes)} classes in {len(column)} rows: is it a number?")
    if config.positive is not None and (len(classes) != 2 or config.positive not in classes):
        raise UserError(f"data.positive must be one of two classes, got {config.positive!r} of {', '.join(classes)}")
    if len(classes) == 2:
        named = [name for word in POSITIVE for name in classes if name.lower() == word]
        positive = config.positive or (named[0] if len(named) == 1 else min(classes, key=lambda name: found[name]))
        classes.sort(key=lambda name: name == positive)
    return Target(columns, problem, classes)


def target_values(frame: pd.DataFrame, target: Target, what: str) -> np.ndarray:
    """The target of a frame as `Target.encode` takes it.

    Raises:
        UserError: It has unknown classes, or what should be numbers is none.
    """
    if target.problem == "classes":
        number = {name: i for i, name in enumerate(target.classes)}
        values = table_kinds.texts(frame[target.columns[0]])
        unknown = sorted(set(values) - set(number))
        if unknown:
            raise UserError(f"{what} has the class {unknown[0]!r}, which the training part has not")
        return values.map(number).to_numpy(np.int64)
    names = target.columns if target.problem == "number" else [target.duration, *target.columns]
    values = np.stack([table_kinds.numbers(frame[name]).to_numpy(np.float64) for name in names], axis=1)
    broken = np.isnan(values).any(axis=0)
    if broken.any():
        raise UserError(f"{what}: the column {names[int(broken.argmax())]!r} must hold numbers only")
    if target.problem == "survival":
        if not np.isin(values[:, 1], (0, 1)).all():
            raise UserError(f"{what}: {target.columns[0]} must be 1 where the event came and 0 where not")
        if (values[:, 0] < 0).any():
            raise UserError(f"{what}: {target.duration} must not be negative")
    return values


def fitted(target: Target, values: np.ndarray) -> Target:
    """What of the target is learned from the training part."""
    if target.problem == "number":
        scale = values.std(0)
        if not (scale > 0).all():
            raise UserError(f"data.target {target.columns[int(scale.argmin())]} is the same in all rows")
        return replace(target, center=values.mean(0).tolist(), scale=scale.tolist())
    if target.problem == "survival":
        times = values[values[:, 1] == 1, 0]
        if len(times) < INTERVALS:
            raise UserError(f"data.target {target.columns[0]}: {len(times)} events are too few, {INTERVALS} are needed")
        edges = np.unique(np.quantile(times, np.linspace(0, 1, INTERVALS + 1)))
        edges[0] = 0.0
        return replace(target, edges=np.unique(edges).tolist())
    return target


def _hashes(frame: pd.DataFrame, values: np.ndarray) -> list[bytes]:
    """A hash of each row and its target."""
    plain = frame.apply(lambda column: table_kinds.texts(column).fillna("") if column.dtype == object else column)
    of_rows = pd.util.hash_pandas_object(plain, index=False).to_numpy(np.uint64)
    keys = np.column_stack([of_rows, np.ascontiguousarray(values).view(np.uint64).reshape(len(values), -1)])
    return [row.tobytes() for row in keys]


def _split(
    raw: RawTable,
    target: Target,
    values: Mapping[str, np.ndarray],
    hashes: Mapping[str, list[bytes]],
    config: TableDataConfig,
    seed: int,
    notes: list[str],
) -> dict[str, tuple[str, np.ndarray]]:
    """For each part the source's part that it comes from, and the numbers of its rows."""
    origin = "train" if "train" in values else "all"
    frame = raw.parts[origin]
    strata = _strata(values[origin], target)

    def cut(among: np.ndarray, fraction: float, salt: int) -> tuple[np.ndarray, np.ndarray]:
        if config.time_column is not None:
            moments = frame[config.time_column].iloc[among]
            if table_kinds.guess(moments) == "date":
                moments = table_kinds.dates(moments)
            order = among[np.argsort(moments.to_numpy(), kind="stable")]
            return np.split(order, [len(order) - round(fraction * len(order))])
        keys = _keys(raw, hashes, config, origin, among)
        chosen = stratified(strata[among], fraction, seed=seed + salt, groups=keys)
        return among[~chosen], among[chosen]

    copies = len(frame) - len(set(hashes[origin]))
    if copies:
        together = " and stay in the same part" if config.group_column is None and config.time_column is None else ""
        notes.append(f"{copies} rows are copies of others{together}")
    rest = np.arange(len(frame))
    index: dict[str, tuple[str, np.ndarray]] = {part: (part, np.arange(len(raw.parts[part]))) for part in raw.parts}
    if config.split_column is not None and origin == "all":
        said = frame[config.split_column].astype(str).str.strip().str.lower().map(PARTS)
        if said.isna().any():
            strange = frame[config.split_column][said.isna()].iloc[0]
            raise UserError(f"data.split_column {config.split_column}: expected train, val or test, got {strange!r}")
        rest = np.flatnonzero(said == "train")
        index |= {part: ("all", np.flatnonzero(said == part)) for part in ("val", "test") if (said == part).any()}
    index.pop("all", None)
    for part, fraction, salt in (("test", config.test_fraction, 1), ("val", config.val_fraction, 2)):
        if part not in index:
            rest, chosen = cut(rest, fraction, salt)
            index[part] = (origin, chosen)
    if config.limit is not None and config.limit < len(rest):
        kept = stratified(strata[rest], config.limit / len(rest), seed=seed + 3)
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
    return {part: index[part] for part in ("train", "val", "test")}


def _keys(
    raw: RawTable, hashes: Mapping[str, list[bytes]], config: TableDataConfig, origin: str, among: np.ndarray
) -> list[Any]:
    """What must stay together: the group of each row, or the row itself with its copies."""
    if config.group_column is not None:
        return raw.parts[origin][config.group_column].iloc[among].astype(str).tolist()
    return [hashes[origin][i] for i in among]


def _strata(values: np.ndarray, target: Target) -> np.ndarray:
    """int64 (N,): what is spread evenly over the parts."""
    if target.problem == "classes":
        return values
    if target.problem == "survival":
        return values[:, 1].astype(np.int64)
    edges = np.unique(np.quantile(values[:, 0], np.linspace(0.1, 0.9, 9)))
    return np.searchsorted(edges, values[:, 0])


def leaks(encoder: Encoder, part: TablePart, target: Target, seed: int) -> list[str]:
    """Remarks on columns that predict the target alone: a small tree on one half, tried on the other."""
    from scipy.stats import rankdata, spearmanr
    from sklearn.metrics import r2_score, roc_auc_score
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    rows = np.random.default_rng(seed).permutation(len(part))[:LEAK_ROWS]
    fit, test = np.array_split(rows, 2)
    classes = target.problem != "number"
    labels = part.values if target.problem == "classes" else part.values[:, -1]
    if target.problem == "survival":
        labels = labels.astype(np.int64)
    if not classes:
        labels = rankdata(labels)
    if classes and (len(np.unique(labels[fit])) < len(np.unique(labels)) or len(np.unique(labels[test])) < 2):
        return []
    kind = DecisionTreeClassifier if classes else DecisionTreeRegressor
    blocks = encoder.split(part.x)
    remarks = []
    for column in encoder.columns:
        x = np.concatenate(
            [b for b, block in zip(blocks, encoder.blocks, strict=True) if block.column == column.name], 1
        )
        tree = kind(max_leaf_nodes=8, min_samples_leaf=5, random_state=0).fit(x[fit], labels[fit])
        if classes:
            hit = tree.predict_proba(x[test])
            found = np.arange(hit.shape[1])
            present = np.unique(labels[test])
            scores = [
                roc_auc_score(labels[test] == tree.classes_[k], hit[:, k]) for k in found if tree.classes_[k] in present
            ]
            score, name = float(np.mean(scores)), "AUC"
        else:
            score, name = float(r2_score(labels[test], tree.predict(x[test]))), "R² of the ranks"
            if len(np.unique(x[:, 0])) > 1:
                score = max(score, float(spearmanr(x[:, 0], labels).statistic) ** 2)
        if score >= LEAK_SCORE:
            remarks.append(
                f"warning: {column.name} alone predicts {target.columns[-1]} ({name} {score:.3f}); is it known only "
                f"afterwards? Leave it out with --data.drop '[{column.name}]'"
            )
    return remarks
