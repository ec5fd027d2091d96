"""What the tasks on tables say of new rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

EVALUATION_BATCH = 4096
# New rows are compared with the training part when there are enough for a difference to mean something.
DRIFT_ROWS, DRIFT_INDEX = 100, 0.25


def answers(model: Any, x: np.ndarray) -> np.ndarray:
    """The model's outputs float64 (N, ...) for encoded rows (N, D)."""
    import numpy as np
    from keras import ops

    starts = range(0, len(x), EVALUATION_BATCH)
    parts = [model.predict_on_batch(x[start : start + EVALUATION_BATCH]) for start in starts]
    return np.concatenate([np.asarray(ops.convert_to_numpy(part), np.float64) for part in parts])


def numbers(got: np.ndarray, target: Any) -> np.ndarray:
    """The model's scaled numbers (N, T) as the target's own."""
    import numpy as np

    return got * np.array(target.scale) + np.array(target.center)


def inputs(spec: dict[str, Any], arguments: Sequence[str]) -> Iterable[Any]:
    from pipelines.core.inputs import expand
    from pipelines.tables.sources import SUFFIXES, from_stdin

    if list(arguments) == ["-"]:
        return [from_stdin()]
    return list(expand(arguments, SUFFIXES, "tables"))


def predict(model: Any, spec: dict[str, Any], inputs: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """Rows for each row of each input: a file, a DataFrame, a dictionary or a list of dictionaries."""
    from pathlib import Path

    from pipelines.core.errors import UserError
    from pipelines.tables.encode import Encoder
    from pipelines.tables.target import Target

    target, encoder = Target(**spec["target"]), Encoder.from_json(spec["encoder"])
    for source in inputs:
        try:
            name, frame, skipped = frame_of(source)
            x = encoder.encode(frame)
        except UserError as error:
            yield {"input": str(source) if isinstance(source, (str, Path)) else "row", "error": str(error)}
            continue
        _tell_drift(name, frame, x, encoder, spec.get("rows", math.inf))
        # The index of the frame numbers the rows of the file: what it lacks are the rows that cannot be read, in order.
        known, total = set(frame.index), len(frame) + len(skipped)
        broken = zip((i for i in range(total) if i not in known), skipped, strict=True)
        faults = {i: f"{where}: {fault}" for i, (where, fault) in broken}
        starts = range(0, len(frame), EVALUATION_BATCH)
        blocks = (_rows(model, spec, target, encoder, x[start : start + EVALUATION_BATCH]) for start in starts)
        answers_of = (row for block in blocks for row in block)
        for number in range(total):
            row = {"error": faults[number]} if number in faults else next(answers_of)
            yield {"input": f"{name}:{number}", **row}


def frame_of(source: Any) -> tuple[str, Any, list[tuple[str, str]]]:
    """Name and rows of an input, and the rows of it that cannot be read."""
    from pathlib import Path

    import pandas as pd

    from pipelines.core.errors import UserError
    from pipelines.tables.raw import RawTable
    from pipelines.tables.sources import from_value, read_file

    if isinstance(source, (pd.DataFrame, Mapping, list)):
        rows = pd.DataFrame([source] if isinstance(source, Mapping) else source)
        return "row", from_value(rows, "input").splits["all"], []
    if isinstance(source, RawTable):
        return "row", source.splits["all"], source.skipped
    path = Path(source)
    if not path.is_file():
        raise UserError(f"input not found: {source}")
    raw = read_file(path)
    return path.name, raw.splits["all"], raw.skipped


def _tell_drift(name: str, frame: Any, x: np.ndarray, encoder: Any, rows: float) -> None:
    """Says where new rows are unlike those of the training."""
    from pipelines.core.console import say

    for column, count in encoder.unknown(frame).items():
        say(f"warning: {name}: {count} of {len(frame)} rows have a {column} that the training part has not")
    for column, count in encoder.unread(frame).items():
        say(f"warning: {name}: {count} of {len(frame)} rows have a {column} that cannot be read: taken for missing")
    for column, count in encoder.absent(frame).items():
        say(f"warning: {name}: {count} of {len(frame)} rows have no {column}, which no row of the training part lacked")
    if len(frame) < DRIFT_ROWS:
        return
    moved = [f"{block} ({index:.2f})" for block, index in encoder.drift(x, rows) if index > DRIFT_INDEX]
    if moved:
        say(f"warning: {name}: distributed unlike the training part (index above {DRIFT_INDEX}): {', '.join(moved)}")


def _rows(model: Any, spec: dict[str, Any], target: Any, encoder: Any, x: np.ndarray) -> Iterator[dict[str, Any]]:
    import numpy as np

    from pipelines.tables.scores import decide
    from pipelines.tables.scores.survival import risk, survival_curves

    got, learned = answers(model, x), spec["decisions"]
    if target.problem == "number":
        half = np.array(learned["half_width"])
        for row in numbers(got, target):
            found = {name: _short(v) for name, v in zip(target.columns, row, strict=True)}
            low = {f"{n}_low": _short(v - h) for n, v, h in zip(target.columns, row, half, strict=True)}
            high = {f"{n}_high": _short(v + h) for n, v, h in zip(target.columns, row, half, strict=True)}
            yield {**found, **low, **high}
        return
    if target.problem == "survival":
        curves = survival_curves(got)
        for index, curve in zip(risk(got), curves, strict=True):
            below = np.flatnonzero(curve < 0.5)
            median = _short(target.edges[below[0] + 1]) if len(below) else None
            shares = {f"s_{edge:g}": round(float(s), 6) for edge, s in zip(target.edges[1:], curve, strict=True)}
            yield {"risk": round(float(index), 6), "median": median, **shares}
        return
    p = decide.apply(learned, got)
    labels, sets = decide.chosen(learned, p), decide.possible(learned, p)
    unsure = decide.unsure(sets, labels)
    named = reasons(model, encoder, x, labels, spec["reasons"]) if spec["reasons"] else [""] * len(x)
    for k, row, held, doubt, why in zip(labels, p, sets, unsure, named, strict=True):
        possible = [name for name, inside in zip(target.classes, held, strict=True) if inside]
        yield {
            "label": target.classes[k],
            "confidence": round(float(row[k]), 6),
            "possible": "|".join(possible),
            "unsure": bool(doubt),
            **{f"p_{name}": round(float(v), 6) for name, v in zip(target.classes, row, strict=True)},
            "reasons": why,
        }


def reasons(model: Any, encoder: Any, x: np.ndarray, labels: np.ndarray, number: int) -> list[str]:
    """For each row the columns that speak most for its label."""
    import numpy as np

    from pipelines.engine.explain import integrated_gradients_of_rows

    by_column = encoder.by_column(integrated_gradients_of_rows(model, x, labels))
    names = [column.name for column in encoder.columns]
    top = np.argsort(-by_column, axis=1)[:, :number]
    return [
        "; ".join(f"{names[j]} {row[j]:+.2f}" for j in chosen if row[j] > 0)
        for row, chosen in zip(by_column, top, strict=True)
    ]


def _short(value: float) -> float:
    return float(f"{value:.6g}")


def columns(spec: dict[str, Any]) -> list[str]:
    from pipelines.tables.target import Target

    target = Target(**spec["target"])
    if target.problem == "number":
        own = [f"{name}{suffix}" for suffix in ("", "_low", "_high") for name in target.columns]
    elif target.problem == "survival":
        own = ["risk", "median", *(f"s_{edge:g}" for edge in target.edges[1:])]
    else:
        own = ["label", "confidence", "possible", "unsure", *(f"p_{name}" for name in target.classes), "reasons"]
    return ["input", *own, "error"]


def example(spec: dict[str, Any], generator: Any) -> Any:
    from pipelines.tables.encode import Encoder

    return generator.normal(size=(1, Encoder.from_json(spec["encoder"]).width)).astype("float32")
