"""Search for better options: Optuna proposes, trials that fall behind are stopped early, any process can join."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from callbacks import EarlyStopping, EvaluationWeights
from pipelines.core import cli
from pipelines.core.config import to_dict, to_yaml
from pipelines.core.console import say, table
from pipelines.core.errors import UserError
from pipelines.core.files import read_json, write_csv, write_json, write_text
from pipelines.core.run_dir import RunDir
from pipelines.engine import backend, fit, report
from pipelines.engine.config import TrainConfig

if TYPE_CHECKING:
    import optuna

    from pipelines.engine.record import TaskRecord

SPACE: dict[str, dict[str, Any]] = {
    "optimizer.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
    "optimizer.weight_decay": {"low": 1e-5, "high": 0.3, "log": True},
}
WARMUP_TRIALS = 5


def tune(
    task: TaskRecord,
    config: TrainConfig,
    *,
    trials: int,
    processes: int,
    space: str | None,
    study: str,
    worker: bool,
    argv: Sequence[str],
) -> None:
    """Runs trials until the study has this many, and writes the best options as YAML for `--config`.

    The study is in OUT/TASK/STUDY; the same command continues it, also after a crash.

    Args:
        task: The task.
        config: What the trials have in common.
        trials: Trials of the study in all.
        processes: Processes that work on it.
        space: YAML file of options and their ranges; none takes the task's own.
        study: Name of the study.
        worker: Whether this is one of several processes, which only runs trials.
        argv: Arguments by which a further process is started.

    Raises:
        UserError: Optuna is missing, or the space or the study cannot be used.
    """
    try:
        import optuna
    except ImportError:
        raise UserError("tune needs the package optuna: pip install 'keras-task-pipelines[tune]'") from None
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    backend.prepare(config.run.seed, False, config.fit.precision)
    ranges = read_space(space, task, config)
    data = task.load_data(config)
    objective = task.objective(config, data)
    folder = Path(config.run.out) / task.name / study
    if not worker:
        _begin(folder, {"space": ranges, "fingerprint": data.summary.fingerprint, "monitor": objective.monitor})
    run = RunDir(folder)
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(folder / "study.log")))
    sampler = optuna.samplers.TPESampler(
        seed=config.run.seed + (os.getpid() if worker else 0), multivariate=True, constant_liar=processes > 1
    )
    searched = optuna.create_study(
        study_name=study, storage=storage, load_if_exists=True, sampler=sampler,
        direction="minimize" if objective.mode == "min" else "maximize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=WARMUP_TRIALS, n_warmup_steps=2),
    )  # fmt: skip
    if worker:
        _work(task, config, data, searched, ranges, trials)
        return
    with run.locked():
        for trial in searched.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
            # The process that ran it is gone, since none holds the lock: its options are tried again.
            searched.tell(trial.number, state=optuna.trial.TrialState.FAIL)
            searched.enqueue_trial(trial.params)
        others = [
            subprocess.Popen([sys.executable, "-m", task.module, *argv, "--worker"]) for _ in range(processes - 1)
        ]
        try:
            _work(task, config, data, searched, ranges, trials)
        finally:
            codes = [other.wait() for other in others]
        if any(codes):
            say(f"warning: {sum(map(bool, codes))} of {processes} processes ended early")
        _end(task, config, searched, objective.monitor, folder)


def read_space(path: str | None, task: TaskRecord, config: TrainConfig) -> dict[str, dict[str, Any]]:
    """Ranges by option: `{low, high}` with `log` or `step`, or `{choices}`.

    Raises:
        UserError: The file cannot be read, an option is unknown, or a range is not valid.
    """
    import yaml

    ranges: Any = {**SPACE, **task.space}
    if path is not None:
        try:
            ranges = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise UserError(f"space {path} cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(ranges, dict) or not ranges:
        raise UserError(f"space {path}: expected options with their ranges")
    names = cli.option_names(type(config))
    full: dict[str, dict[str, Any]] = {}
    for name, value in ranges.items():
        option = cli.expand(f"--{name}", names)[2:]
        if option not in names:
            raise UserError(cli.explain(f"unrecognized arguments: --{name}", [f"--{n}" for n in names]))
        keys = set(value) if isinstance(value, dict) else set()
        numbers = {"low", "high"} <= keys <= {"low", "high", "log", "step"}
        if numbers:
            numbers = (
                all(isinstance(value[end], (int, float)) for end in ("low", "high")) and value["low"] < value["high"]
            )
        choices = keys == {"choices"} and isinstance(value["choices"], list) and len(value["choices"]) > 0
        if not (numbers or choices):
            raise UserError(
                f"space: {option} must be {{low, high}} with log or step, or {{choices: [...]}}, got {value!r}"
            )
        full[option] = value
    return full


def _begin(folder: Path, about: dict[str, Any]) -> None:
    known = folder / "study.json"
    if known.exists():
        before = read_json(known, "study")
        changed = [key for key in about if before.get(key) != about[key]]
        if changed:
            raise UserError(f"the study {folder} began with another {changed[0]}: choose another --study")
        say(f"continuing the study {folder}")
    elif folder.exists():
        raise UserError(f"{folder} exists and is not a study: choose another --study")
    else:
        write_json(known, about)


def _work(
    task: TaskRecord, config: TrainConfig, data: Any, study: optuna.Study, ranges: Mapping[str, Any], trials: int
) -> None:
    from optuna.study import MaxTrialsCallback
    from optuna.trial import TrialState

    ended = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)

    def objective(trial: optuna.Trial) -> float:
        values = {name: suggest(trial, name, about) for name, about in ranges.items()}
        return run_trial(
            task, with_values(config, values), data, trial, anew=any(n.startswith(task.shape_data) for n in ranges)
        )

    began, before = time.monotonic(), len(study.get_trials(deepcopy=False, states=ended))

    def tell(_: Any, trial: Any) -> None:
        shown = ", ".join(f"{name} {_short(value)}" for name, value in trial.params.items())
        value = "no value" if trial.value is None else _short(trial.value)
        done = len(study.get_trials(deepcopy=False, states=ended))
        left = (time.monotonic() - began) / max(done - before, 1) * max(trials - done, 0)
        say(f"trial {done} of {trials}: {value} ({trial.state.name.lower()}) {shown}; about {_duration(left)} left")

    if len(study.get_trials(deepcopy=False, states=ended)) < trials:
        study.optimize(objective, callbacks=[tell, MaxTrialsCallback(trials, states=ended)], catch=(UserError,))


def suggest(trial: optuna.Trial, name: str, about: Mapping[str, Any]) -> Any:
    """The value that Optuna proposes for an option."""
    if "choices" in about:
        return trial.suggest_categorical(name, about["choices"])
    low, high, log, step = about["low"], about["high"], bool(about.get("log")), about.get("step")
    if isinstance(low, int) and isinstance(high, int):
        return trial.suggest_int(name, low, high, log=log, step=step or 1)
    return trial.suggest_float(name, low, high, log=log, step=step)


def with_values(config: TrainConfig, values: Mapping[str, Any]) -> Any:
    """A copy of the configuration with other values, checked as on the command line."""
    whole = to_dict(deepcopy(config))
    for name, value in values.items():
        group = whole
        *path, leaf = name.split(".")
        for part in path:
            group = group[part]
        group[leaf] = value
    return cli.from_dict(type(config), whole)


class _Watch(keras.callbacks.Callback):
    """Reports each epoch to the study, and stops where the trial has fallen behind."""

    def __init__(self, trial: optuna.Trial, monitor: str, epoch: int) -> None:
        super().__init__()
        self.trial, self.monitor, self.epoch = trial, monitor, epoch

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        import optuna

        value = float((logs or {})[self.monitor])
        if not math.isfinite(value):
            raise UserError(f"{self.monitor} is not finite in epoch {epoch + 1}")
        self.trial.report(value, self.epoch + epoch)
        if self.trial.should_prune():
            raise optuna.TrialPruned


def run_trial(task: TaskRecord, config: Any, data: Any, trial: optuna.Trial, *, anew: bool) -> float:
    """Trains once, without a run directory; the best value on validation."""
    backend.prepare(config.run.seed, False, config.fit.precision)
    if anew:
        data = task.load_data(config)
    config = task.resolved(config, data)
    model = task.build_model(config, data)
    objective = task.objective(config, data)
    stream, validation = task.batches(config, data)
    before = 0
    best = math.nan
    for phase in task.phases(config):
        if phase.backbone is not None:
            from pipelines.engine.fit import set_backbone_trainable

            set_backbone_trainable(model, phase.backbone)
        steps = phase.epochs * stream.steps_per_epoch
        fit.compile_model(model, config, objective, steps=steps, rate_factor=phase.rate_factor)
        stopping = EarlyStopping(
            objective.monitor, mode=objective.mode, patience=config.early_stopping.patience or None
        )
        seek = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: stream.seek(epoch))
        watch = _Watch(trial, objective.monitor, before)
        callbacks = [seek, EvaluationWeights(), stopping, watch]
        model.fit(
            stream.dataset,
            validation_data=validation,
            epochs=phase.epochs,
            callbacks=callbacks,
            shuffle=False,
            verbose=0,
        )
        before += phase.epochs
        best = stopping.best
    return best


def _end(task: TaskRecord, config: TrainConfig, study: optuna.Study, monitor: str, folder: Path) -> None:
    from optuna.trial import TrialState

    from pipelines.engine import figures

    done = [t for t in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)) if t.value is not None]
    if not done:
        raise UserError(f"no trial of {folder} finished")
    trials = [t for t in study.get_trials(deepcopy=False) if t.state.is_finished()]
    names = list(dict.fromkeys(name for t in trials for name in t.params))
    rows = [
        {"trial": t.number, "state": t.state.name.lower(), monitor: t.value, **{n: t.params.get(n) for n in names}}
        for t in trials
    ]
    write_csv(folder / "trials.csv", rows)
    write_text(folder / "best.yaml", to_yaml(with_values(config, study.best_trial.params)))
    sections = [
        report.Section(
            "Best options", [report.Table(("option", "value"), [(n, _short(v)) for n, v in study.best_params.items()])]
        )
    ]
    numeric = [n for n in names if all(isinstance(t.params.get(n), (int, float)) for t in done)]
    if numeric:
        drawn = figures.trials({n: [(t.params[n], float(t.value or 0.0)) for t in done] for n in numeric}, monitor)
        sections.append(
            report.Section("Trials", [report.Figure("trials", drawn, "One point per trial.", "Values of the trials")])
        )
    report.save_figures(folder / "figures", sections)
    headline = [
        report.Headline(monitor, _short(study.best_value), f"best of {len(done)} finished trials, {len(trials)} in all")
    ]
    report.write_report(
        folder / "report.html",
        title=f"{task.name}: {folder.name}",
        lead="Search for options.",
        headline=headline,
        sections=sections,
    )
    table(("option", "best value"), [(n, _short(v)) for n, v in study.best_params.items()])
    say(f"best {monitor}: {_short(study.best_value)} of {len(done)} finished trials, {len(trials)} in all")
    say(f"to train with it: {task.prog} --config {folder / 'best.yaml'}")


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
