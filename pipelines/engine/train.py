"""From a configuration to a finished run directory."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from pipelines.core.config import to_yaml
from pipelines.core.console import say, table
from pipelines.core.errors import UserError
from pipelines.core.files import one_line, read_json, write_csv, write_json
from pipelines.core.run_dir import RunDir
from pipelines.engine import backend, fit, report
from pipelines.engine.config import TrainConfig
from pipelines.engine.report import Assessment

if TYPE_CHECKING:
    from pipelines.data.summary import Data
    from pipelines.engine.record import TaskRecord


@dataclass(frozen=True)
class Run:
    """A finished run, as `train` returns it in Python.

    Args:
        task: The task.
        directory: The run directory.
        model: The trained Keras model.
        metrics: Test scores by name.
    """

    task: TaskRecord
    directory: RunDir
    model: keras.Model
    metrics: dict[str, Any]

    def predict(self, *inputs: Any) -> list[dict[str, Any]]:
        """One row for each raw input: a path, or what the task takes from memory."""
        return list(self.task.predict(self.model, self.directory.read_spec(), list(inputs)))

    def evaluate(self, data: str | None = None) -> dict[str, Any]:
        """Scores on the test set of the run, or of another source.

        Raises:
            UserError: The data cannot be used.
        """
        from pipelines.engine import apply

        return apply.assess(
            self.task, self.task.config_of(self.directory.path), self.model, self.directory, data
        ).metrics

    def explain(self, *inputs: str) -> Path:
        """Explains predictions for the inputs, or for samples of the test set; returns the page with the figures.

        Raises:
            UserError: An input cannot be used, or the task has no explanations.
        """
        from pipelines.engine import apply

        config = self.task.config_of(self.directory.path)
        return apply.explain_model(self.task, config, self.model, self.directory, inputs)


def train(task: TaskRecord, config: TrainConfig, resume: str | None) -> Run:
    """Trains, tests and reports, or continues an interrupted run.

    Raises:
        UserError: Options, data or the run directory cannot be used.
    """
    backend.prepare(config.run.seed, config.run.deterministic, config.fit.precision)
    run = RunDir.open(resume, task.name) if resume is not None else None
    if run is not None and run.complete:
        say(f"{run} is complete: nothing to resume")
        return Run(task, run, _load(run), read_json(run.metrics, "metrics"))
    with ExitStack() as stack:
        if run is not None:
            stack.enter_context(run.locked())
        data: Data = task.load_data(config)
        _tell(data)
        config = task.resolved(config, data, say)
        model = task.build_model(config, data)
        objective = task.objective(config, data)
        if config.run.init_from is not None:
            _init_from(model, config.run.init_from, task)
        fit.compile_model(model, config, objective, steps=1)  # bad settings are known before anything is written
        fingerprint = data.summary.fingerprint
        if run is None:
            values = {
                "environment.json": {**backend.environment(), "seed": config.run.seed, "data": fingerprint},
                "spec.json": {"task": task.name, **task.spec(config, data)},
            }
            run = RunDir.create(
                config.run.out,
                task.name,
                config.run.name,
                texts={"config.yaml": to_yaml(config)},
                values=values,
            )
            write_csv(run.split, data.assignment())
            stack.enter_context(run.locked())
        else:
            _check_same(run, fingerprint)
        say(f"run directory: {run}")
        try:
            stream, validation = task.batches(config, data)
            history = fit.fit(
                model, stream, validation, config, objective, run,
                phases=task.phases(config), resume=resume is not None,
            )  # fmt: skip
        except KeyboardInterrupt:
            say(f"interrupted; to continue: {task.prog} --resume {run}")
            raise
        return _finish(task, config, data, model, history, run, validation)


def _finish(
    task: TaskRecord, config: TrainConfig, data: Data, trained: keras.Model, history: fit.History, run: RunDir,
    validation: Any,
) -> Run:  # fmt: skip
    from pipelines.core.files import whole
    from pipelines.engine import figures, tensorboard

    model, more = task.finish(config, data, trained) if task.finish is not None else (trained, {})
    with whole(run.model) as aside:
        model.save(aside)
    if more:
        write_json(run.spec, {**run.read_spec(), **more})
    start = time.perf_counter()
    assessment: Assessment = task.assess(config, data, model)
    seconds = sum(row["seconds"] for row in history.rows)
    gap = " The gap is how much worse validation is than training." if "gap" in history.columns() else ""
    curves = report.Figure(
        "learning_curves", figures.learning_curves(history.columns(), history.kept), "One point per epoch." + gap,
        "Learning curves of training and validation",
    )  # fmt: skip
    sections = [
        *assessment.sections,
        report.Section("Training", [
            curves,
            report.Text(
                f"{len(history.rows)} epochs in {seconds:.1f} s with {model.count_params():,} parameters."
                + (f" The weights of epoch {history.kept} were kept." if history.kept else "")
            ),
        ]),
        report.Section("Configuration and environment", [
            report.Details("Configuration", run.config.read_text(encoding="utf-8")),
            report.Details("Environment", run.environment.read_text(encoding="utf-8")),
        ]),
    ]  # fmt: skip
    if config.tensorboard.enabled:
        tensorboard.write(run, config, trained, assessment, validation)
    write_csv(run.predictions, assessment.predictions)
    for name, rows in assessment.tables.items():
        if rows:
            write_csv(run.path / name, rows)
    report.save_figures(run.figures, sections)
    report.write_report(
        run.report,
        title=f"{task.name}: {run.path.name}",
        summary=assessment.summary,
        lead=f"{data.describe()} Trained with {keras.backend.backend()} on {time.strftime('%Y-%m-%d')}.",
        headline=assessment.headline,
        sections=sections,
    )
    metrics = {**assessment.metrics, "training_seconds": round(seconds, 2), "epochs": len(history.rows)}
    if history.kept:
        metrics["kept_epoch"] = history.kept
    write_json(run.metrics, metrics)
    table(
        ("test score", "value", ""),
        [(item.name, item.value, item.note) for item in assessment.headline],
    )
    if assessment.summary:
        say(assessment.summary)
    say(f"training {seconds:.1f} s, test and report {time.perf_counter() - start:.1f} s")
    print(f"report:      {run.report}")
    print(f"model:       {run.model}")
    if config.tensorboard.enabled:
        print(f"tensorboard: tensorboard --logdir {run.tensorboard}")
    return Run(task, run, model, metrics)


def _load(run: RunDir) -> keras.Model:
    from pipelines.engine.load import load_model

    return load_model(run)


def _tell(data: Data) -> None:
    say(data.describe())
    for name, reason in data.summary.skipped:
        say(f"skipped {name}: {reason}")
    for note in data.summary.notes:
        say(f"note: {note}")
    if data.summary.duplicates:
        split, name, other, same = data.summary.duplicates[0]
        number = len(data.summary.duplicates)
        both = f"{name} ({split}) and {same} ({other})"
        say(f"warning: {number} samples occur in two splits, such as {both}: scores may be too good")


def _check_same(run: RunDir, fingerprint: str) -> None:
    environment = read_json(run.environment, "environment of the run")
    if environment.get("data") != fingerprint:
        raise UserError(f"{run} cannot be resumed: the data have changed since it began")
    began = environment.get("backend")
    if began != keras.backend.backend():
        raise UserError(f"{run} began with the backend {began}: resume it with KERAS_BACKEND={began}")
    now = backend.versions()
    changed = [p for p in ("keras", began) if environment.get("versions", {}).get(p) != now.get(p)]
    if changed:
        say(f"warning: {', '.join(changed)} changed since the run began; the weights may differ in the last bits")


def _init_from(model: keras.Model, source: str, task: TaskRecord) -> None:
    """Copies the weights of another run's model, or of a `.keras` file, layer by layer."""
    from pipelines.core import functions
    from pipelines.engine.load import load_model

    path = Path(source)
    if path.is_dir():
        with functions.untrusted(source):
            other = load_model(RunDir.open(path, task.name))
    elif path.is_file():
        try:
            other = keras.models.load_model(path, compile=False)
        except Exception as error:
            raise UserError(f"run.init_from {source} cannot be read: {one_line(error)}") from None
    else:
        raise UserError(f"run.init_from not found: {source}")
    ours, theirs = model.weights, other.weights
    if len(ours) != len(theirs):
        raise UserError(f"run.init_from {source} has {len(theirs)} weights, the model has {len(ours)}")
    fitting = [tuple(a.shape) == tuple(b.shape) for a, b in zip(ours, theirs, strict=True)]
    # The last layer may have another number of classes; it is then trained from scratch.
    for number, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        if fitting[number]:
            a.assign(b)
        elif number < len(ours) - 2:
            raise UserError(
                f"run.init_from {source}: {b.path} has shape {tuple(b.shape)}, the model's {tuple(a.shape)}"
            )
    if not all(fitting):
        say("note: the last layer has another number of classes and is trained from scratch")
