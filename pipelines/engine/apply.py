"""What can be done with a finished run: evaluate, predict, explain."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.core.console import say, table
from pipelines.core.errors import UserError
from pipelines.core.files import whole, write_json
from pipelines.core.run_dir import RunDir
from pipelines.engine.load import load_model

if TYPE_CHECKING:
    from pipelines.engine.record import TaskRecord
    from pipelines.engine.report import Assessment


def evaluate(task: TaskRecord, config: Any, path: str, source: str | None) -> None:
    """Scores the model again on the run's test set, or on another source, and writes the scores into the run directory.

    Raises:
        UserError: The run or the data cannot be used, or the classes differ.
    """
    run = RunDir.open(path, task.name)
    assessment = assess(task, config, load_model(run), run, source)
    name = "evaluation.json" if source is None else f"evaluation-{Path(source).name.replace(':', '-')}.json"
    table(("score", "value", ""), [(h.name, h.value, h.note) for h in assessment.headline])
    write_json(run.path / name, assessment.metrics)
    say(f"scores: {run.path / name}")


def assess(task: TaskRecord, config: Any, model: Any, run: RunDir, source: str | None) -> Assessment:
    """What `evaluate` finds out.

    Raises:
        UserError: The data cannot be used, or the classes differ.
    """
    if source is None:
        data = task.load_data(config)
    elif task.load_test is None:
        raise UserError(f"{task.name} cannot evaluate other data than the run's own test set")
    else:
        data = task.load_test(replace(config, data=replace(config.data, source=source)), run.read_spec())
    return task.assess(config, data, model)


def predict(
    task: TaskRecord, path: str, inputs: Sequence[str], out: str | None, kind: str | None, overwrite: bool,
    options: Mapping[str, Any] | None = None,
) -> None:  # fmt: skip
    """Writes a row for each input to standard output or a file; unreadable inputs get a row that says why.

    Raises:
        UserError: The run or an input cannot be found, the output exists, or no input could be read.
    """
    run, files = RunDir.open(path, task.name), (options or {}).get("files")
    if out is not None and Path(out).exists() and not overwrite:
        raise UserError(f"{out} exists: give another --out, or --overwrite")
    if kind is None:
        suffix = Path(out).suffix.lower().lstrip(".") if out is not None else "csv"
        kind = {"ndjson": "jsonl"}.get(suffix, suffix if suffix in ("jsonl", *task.formats) else "csv")
    spec = {**run.read_spec(), **({"options": dict(options)} if options else {})}
    raw = task.inputs(spec, inputs)
    model = load_model(run)
    counts = {"read": 0, "broken": 0}

    def counted() -> Iterator[dict[str, Any]]:
        for row in task.predict(model, spec, raw):
            counts["broken" if row.get("error") else "read"] += 1
            if files is not None and task.files is not None and not row.get("error"):
                task.files(spec, row, Path(files))
            yield row

    write = task.formats.get(kind, lambda rows: lines(_public(rows), task.columns(spec), kind))
    with ExitStack() as stack:
        file: Any = sys.stdout
        if out is not None:
            file = stack.enter_context(open(stack.enter_context(whole(out)), "w", encoding="utf-8", newline=""))
        for line in write(counted()):
            file.write(line)
    if counts["broken"] and counts["read"]:
        say(f"{counts['broken']} of {sum(counts.values())} inputs could not be read; their rows say why")
    if not counts["read"]:
        raise UserError("none of the inputs could be read")
    if files is not None:
        say(f"files: {files}")
    if out is not None:
        say(f"predictions: {out}")


def _public(rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The rows without what only files and formats need: names that begin with an underscore."""
    for row in rows:
        yield {name: value for name, value in row.items() if not name.startswith("_")}


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


def explain(task: TaskRecord, config: Any, path: str, inputs: Sequence[str]) -> None:
    """Writes explanations into the run's figures: a page, and each figure on it as a PNG.

    Raises:
        UserError: The run or an input cannot be used.
    """
    run = RunDir.open(path, task.name)
    explain_model(task, config, load_model(run), run, inputs)


def explain_model(task: TaskRecord, config: Any, model: Any, run: RunDir, inputs: Sequence[str]) -> Path:
    """The page that `explain` writes.

    Raises:
        UserError: An input cannot be used, or the task has no explanations.
    """
    from pipelines.engine import report

    if task.explain is None:
        raise UserError(f"{task.name} has no explanations")
    try:
        blocks = task.explain(config, model, run.read_spec(), inputs)
    except ValueError as error:
        raise UserError(f"explain: {error}") from None
    number = 1
    while (page := run.figures / f"explanations_{number}.html").exists():
        number += 1
    named = [replace(b, name=f"{b.name}_{number}") if isinstance(b, report.Figure) else b for b in blocks]
    section = report.Section("What the predictions depend on", named)
    report.save_figures(run.figures, [section])
    report.write_report(page, title=f"{task.name}: {run.path.name}", lead="", headline=[], sections=[section])
    for figure in (b for b in named if isinstance(b, report.Figure)):
        say(f"{figure.name}: {run.figures / figure.name}.png")
    say(f"explanations: {page}")
    return page
