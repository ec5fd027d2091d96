"""What is predicted from a table: found among its columns, told by its kind, turned into numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pipelines.core.errors import UserError
from pipelines.data.labels import natural
from pipelines.tables import types
from pipelines.tables.config import TableDataConfig
from pipelines.tables.values import decimal_mark, numbers, texts

if TYPE_CHECKING:
    from pipelines.tables.raw import RawTable

TARGETS = ("target", "label", "class", "outcome", "y", "status", "default", "diagnosis", "death", "churn", "fraud")
POSITIVE = ("bad", "default", "defaulted", "yes", "y", "true", "1", "positive", "malignant", "dead", "died", "event",
            "fraud", "churn", "case", "sick", "disease")  # fmt: skip
MANY_VALUES = 20
INTERVALS = 20


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
        decimals: The decimal mark of the duration, if there is one, and of each column, where they hold numbers.
    """

    columns: list[str]
    problem: str
    classes: list[str] = field(default_factory=list)
    center: list[float] = field(default_factory=list)
    scale: list[float] = field(default_factory=list)
    duration: str | None = None
    edges: list[float] = field(default_factory=list)
    decimals: list[str] = field(default_factory=list)

    @property
    def numeric(self) -> list[str]:
        """The columns that hold numbers: none of classes, first the duration of survival."""
        if self.problem == "classes":
            return []
        return [*([self.duration] if self.duration is not None else []), *self.columns]

    @property
    def outputs(self) -> tuple[int, ...]:
        """Shape of the model's output for one row."""
        if self.problem == "classes":
            return (len(self.classes),)
        return (len(self.columns),) if self.problem == "number" else (len(self.edges) - 1, 2)

    def notes(self, config: TableDataConfig) -> list[str]:
        """Which of two classes is the one to be found, where the user did not say so."""
        if len(self.classes) != 2 or config.positive is not None:
            return []
        other, positive = self.classes
        return [f"the class to be found is {positive!r}; --data.positive '{other}' takes the other"]

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


def named_targets(names: Sequence[str], config: TableDataConfig) -> list[str]:
    """Which of these columns the user names as targets, or else the first with a usual name; perhaps none."""
    if config.target is None:
        return [name for wanted in TARGETS for name in names if name.lower() == wanted][:1]
    if config.target in names:
        return [config.target]
    return [name for name in (one.strip() for one in config.target.split(",")) if name in names]


def target_columns(raw: RawTable, config: TableDataConfig) -> list[str]:
    """The columns that the user names, or else the source, or else the first with a usual name.

    Raises:
        UserError: There is no such column.
    """
    frame = next(iter(raw.splits.values()))
    if config.target is None and raw.target is not None:
        return [raw.target]
    found = named_targets(list(frame), config)
    if config.target is not None:
        absent = [name for name in (one.strip() for one in config.target.split(",")) if name not in frame]
        if absent and config.target not in frame:
            raise UserError(f"data.target: there is no column {absent[0]!r}; there are {types.listed(frame)}")
        return found
    if not found:
        raise UserError(f"say with --data.target which column to predict; there are {types.listed(frame)}")
    raw.notes.append(f"the target is taken to be {found[0]}")
    return found


def target_of(frame: pd.DataFrame, columns: list[str], config: TableDataConfig) -> Target:
    """What kind of target these columns of the training part are, and its classes.

    Raises:
        UserError: They cannot be what the options say, or classes are too few or too many.
    """
    column = frame[columns[0]]
    problem = config.problem
    if problem == "auto" and config.duration is not None:
        problem = "survival"
    if problem == "auto":
        numeric = pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype)
        many = types.distinct_values(column) > MANY_VALUES or (numeric and bool((column % 1 != 0).any()))
        problem = "number" if len(columns) > 1 or (numeric and many) else "classes"
    if len(columns) > 1 and problem != "number":
        raise UserError(f"data.target names several columns: they can only be numbers, not {problem}")
    if problem != "classes":
        target = Target(columns, problem, duration=config.duration if problem == "survival" else None)
        return replace(target, decimals=[decimal_mark(frame[name]) for name in target.numeric])
    found = texts(column).value_counts()
    classes = sorted(found.index, key=natural)
    if len(classes) < 2:
        raise UserError(f"data.target {columns[0]} has only the class {classes[0]!r}; at least two are needed")
    if len(classes) > 0.5 * len(column):
        raise UserError(f"data.target {columns[0]} has {len(classes)} classes in {len(column)} rows: is it a number?")
    if config.positive is not None and (len(classes) != 2 or config.positive not in classes):
        raise UserError(f"data.positive must be one of two classes, got {config.positive!r} of {', '.join(classes)}")
    if len(classes) == 2:
        named = [name for word in POSITIVE for name in classes if name.lower() == word]
        if classes == ["1", "2"]:  # either may be the one to be found
            named = []
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
        values = texts(frame[target.columns[0]])
        unknown = sorted(set(values) - set(number))
        if unknown:
            raise UserError(
                f"{what} has the class {unknown[0]!r}, which the training part has not: leave its rows out, or join it "
                "with another class"
            )
        return values.map(number).to_numpy(np.int64)
    names = target.numeric
    marks = target.decimals or ["."] * len(names)  # runs of before have none
    read = [numbers(frame[name], mark).to_numpy(np.float64) for name, mark in zip(names, marks, strict=True)]
    values = np.stack(read, axis=1)
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
    """The target with what is learned from the training part: scales of numbers, intervals of time.

    Raises:
        UserError: Numbers do not differ, or events are too few.
    """
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


def strata(values: np.ndarray, target: Target) -> np.ndarray:
    """int64 (N,): what is spread evenly over the parts."""
    if target.problem == "classes":
        return values
    if target.problem == "survival":
        return values[:, 1].astype(np.int64)
    edges = np.unique(np.quantile(values[:, 0], np.linspace(0.1, 0.9, 9)))
    return np.searchsorted(edges, values[:, 0])
