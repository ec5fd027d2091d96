"""What can be done with a finished run: evaluate, predict, explain."""

from __future__ import annotations

import csv
import glob
import io
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.engine.console import say, table
from pipelines.engine.files import whole, write_json
from pipelines.engine.run_dir import RunDir, load_model
from pipelines.errors import UserError

if TYPE_CHECKING:
    from pipelines.engine.task import Task

EXPLAINED = 6


def evaluate(task: Task, config: Any, path: str, source: str | None) -> None:
    """Scores the model again on the run's test part, or on all of another source.

    Raises:
        UserError: The run or the data cannot be used, or the classes are others.
    """
    run = RunDir.open(path, task.name)
    model = load_model(run)
    if source is None:
        data = task.load_data(config)
        name = "evaluation.json"
    else:
        data = task.load_test(replace(config, data=replace(config.data, source=source)), run.read_spec())
        name = f"evaluation-{Path(source).name.replace(':', '-')}.json"
    assessment = task.assess(config, data, model)
    table(("score", "value", ""), [(h.name, h.value, h.note) for h in assessment.headline])
    write_json(run.path / name, assessment.metrics)
    say(f"scores: {run.path / name}")


def predict(task: Task, path: str, inputs: Sequence[str], out: str | None, kind: str | None, overwrite: bool) -> None:
    """Writes a row for each input to standard output or a file; unreadable inputs get a row that says why.

    Raises:
        UserError: The run or an input cannot be found, the output exists, or no input could be read.
    """
    run = RunDir.open(path, task.name)
    if out is not None and Path(out).exists() and not overwrite:
        raise UserError(f"{out} exists: give another --out, or --overwrite")
    if kind is None:
        kind = "jsonl" if out is not None and Path(out).suffix.lower() in (".jsonl", ".ndjson") else "csv"
    files = list(expand(inputs))
    model = load_model(run)
    counts = {"read": 0, "broken": 0}

    def counted() -> Iterator[dict[str, Any]]:
        for row in task.predict(model, run.read_spec(), files):
            counts["broken" if row.get("error") else "read"] += 1
            yield row

    names = task.columns(run.read_spec())
    with ExitStack() as stack:
        file: Any = sys.stdout
        if out is not None:
            file = stack.enter_context(open(stack.enter_context(whole(out)), "w", encoding="utf-8", newline=""))
        for line in lines(counted(), names, kind):
            file.write(line)
    if counts["broken"] and counts["read"]:
        say(f"{counts['broken']} of {len(files)} inputs could not be read; their rows say why")
    if not counts["read"]:
        raise UserError("none of the inputs could be read")
    if out is not None:
        say(f"predictions: {out}")


def lines(rows: Iterable[dict[str, Any]], names: Sequence[str], kind: str) -> Iterator[str]:
    """Rows as lines of CSV (with a header) or JSON."""
    if kind == "jsonl":
        for row in rows:
            yield json.dumps(row, ensure_ascii=False) + "\n"
        return
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, names, lineterminator="\n", restval="")
    writer.writeheader()
    for row in rows:
        writer.writerow(row)
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()


def expand(inputs: Sequence[str]) -> Iterator[str]:
    """Files for files, folders (all pictures in them), globs, and `-` for paths on standard input.

    Raises:
        UserError: Nothing is found under a name.
    """
    from pipelines.data.image_sources import EXTENSIONS

    for name in inputs:
        path = Path(name)
        if name == "-":
            yield from (line.rstrip("\r\n") for line in sys.stdin if line.strip())
        elif path.is_dir():
            found = sorted(str(p) for p in path.rglob("*") if p.suffix.lower() in EXTENSIONS)
            if not found:
                raise UserError(f"no pictures in the folder {name}")
            yield from found
        elif path.exists():
            yield name
        else:
            matches = sorted(glob.glob(name, recursive=True))
            if not matches:
                raise UserError(f"input not found: {name}")
            yield from (match for match in matches if Path(match).is_file())


def explain(task: Task, config: Any, path: str, inputs: Sequence[str]) -> None:
    """Draws explanations into the run's figures.

    Raises:
        UserError: The run or an input cannot be used.
    """
    import numpy as np

    from pipelines.data.images import ImageSpec
    from pipelines.engine.figures import png

    run = RunDir.open(path, task.name)
    model, spec = load_model(run), run.read_spec()
    if inputs:
        image = ImageSpec(**spec["image"])
        names, pictures = [], []
        for file in expand(inputs):
            try:
                pictures.append(image.read(file))
                names.append(Path(file).name)
            except ValueError as error:
                raise UserError(f"{file}: {error}") from None
        images = np.stack(pictures)
    else:
        part = task.load_data(config).test
        present, first = np.unique(part.labels, return_index=True)
        images = part.pictures.read(first[:EXPLAINED])
        names = [f"is {spec['classes'][k]}" for k in present[:EXPLAINED]]
    number = 1
    while (target := run.figures / f"explanations_{number}.png").exists():
        number += 1
    try:
        figure = task.explain(model, spec, images, names)
    except ValueError as error:
        raise UserError(f"explain: {error}") from None
    with whole(target) as aside:
        aside.write_bytes(png(figure))
    say(f"explanations: {target}")
