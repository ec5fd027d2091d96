"""Compile and fit: one way for all tasks."""

from __future__ import annotations

import csv
import io
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import keras

import regularizers
from callbacks import (
    Checkpoint,
    DivergenceError,
    EarlyStopping,
    EvaluationWeights,
    NanGuard,
    OverfitMonitor,
    Progress,
    TensorBoard,
)
from optimizers import registry, schedules
from pipelines.core.config import to_yaml
from pipelines.core.errors import UserError
from pipelines.core.files import write_text
from pipelines.data.stream import Stream
from pipelines.engine import backend
from pipelines.engine.config import TrainConfig

if TYPE_CHECKING:
    from pipelines.core.run_dir import RunDir


@dataclass(frozen=True)
class Objective:
    """What training minimizes, and which validation score decides which weights are kept.

    Args:
        loss: A Keras loss.
        metrics: Keras metrics, weighted by sample weights where there are any.
        monitor: Name of the value to watch on validation, such as `val_accuracy`.
        mode: `min` or `max`.
    """

    loss: Any
    metrics: Sequence[Any]
    monitor: str
    mode: Literal["min", "max"]


@dataclass(frozen=True)
class Phase:
    """A phase of training with its own trainable layers, learning rate and checkpoints.

    Args:
        name: Folder of its checkpoints.
        epochs: How many.
        rate_factor: Factor of the learning rate.
        backbone: Whether the pretrained backbone is trained; None if the model has none.
    """

    name: str
    epochs: int
    rate_factor: float = 1.0
    backbone: bool | None = None


FEW_STEPS = 10  # steps of an epoch
SMALL_BATCH = 8  # samples
EXPLODED = 10.0  # times the first and the lowest validation loss


class History(keras.callbacks.Callback):
    """The values of each epoch, in memory and in `history.csv`; it survives a resume.

    `kept` is the epoch, counted from 1 over all phases, whose weights the model has after training.
    """

    def __init__(self, path: Path, phase: str = "main", rows: Sequence[Mapping[str, Any]] = ()) -> None:
        super().__init__()
        self.path = path
        self.phase = phase
        self.rows: list[dict[str, Any]] = [dict(row) for row in rows]
        self.kept: int | None = None
        self._elapsed = 0.0

    def get_state(self) -> dict[str, Any]:
        return {"rows": self.rows, "elapsed": self._elapsed + time.perf_counter() - self._start}

    def set_state(self, state: Mapping[str, Any]) -> None:
        self.rows = [dict(row) for row in state["rows"]]
        self._elapsed = float(state["elapsed"])

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        self._start = time.perf_counter()

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        self._epoch_start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if logs is None:
            return
        logs["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        values = {name: float(value) for name, value in logs.items()}
        seconds = time.perf_counter() - self._epoch_start
        self.rows.append({"epoch": len(self.rows) + 1, "phase": self.phase, **values, "seconds": round(seconds, 3)})
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_text(self.path, text.getvalue())

    def columns(self) -> dict[str, list[float]]:
        """The numbers by name, one an epoch."""
        names = dict.fromkeys(name for row in self.rows for name in row if name not in ("epoch", "phase"))
        return {name: [row.get(name, float("nan")) for row in self.rows] for name in names}


def compile_model(
    model: keras.Model, config: TrainConfig, objective: Objective, *, steps: int, rate_factor: float = 1.0
) -> None:
    """Compiles with the configured optimizer and a schedule over `steps` steps."""
    with regularized(model, config):  # a model that is not fit for it is known before anything is written
        pass
    options = config.optimizer
    peak = options.learning_rate or registry.record(options.name).defaults["learning_rate"]
    rate = schedules.get(
        config.schedule.name,
        peak=peak * rate_factor,
        steps=max(steps, 1),
        warmup=config.schedule.warmup,
        final=config.schedule.final,
    )
    watched = config.tensorboard.enabled and config.tensorboard.norms and "monitored" not in options.wrap
    try:
        optimizer = registry.get(
            options.name,
            learning_rate=rate,
            weight_decay=options.weight_decay,
            clipnorm=options.clipnorm,
            ema=config.fit.ema or None,
            model=model,
            wrap=[*options.wrap, *(["monitored"] if watched else [])],
            rates=options.rates,
            decays=options.decays,
            layer_decay=options.layer_decay,
            **options.settings,
        )
    except (TypeError, ValueError) as error:
        raise UserError(f"optimizer {options.name}: {error}") from None
    if config.fit.precision == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    model.compile(
        optimizer=optimizer,
        loss=objective.loss,
        weighted_metrics=list(objective.metrics),
        jit_compile=backend.use_jit(config.fit.jit),
        steps_per_execution=config.fit.steps_per_execution or 1,
    )


def fit(
    model: keras.Model,
    stream: Stream,
    validation: Any,
    config: TrainConfig,
    objective: Objective,
    run: RunDir,
    *,
    phases: Sequence[Phase] | None = None,
    resume: bool = False,
) -> History:
    """Trains through all phases; on return the model holds its best weights.

    Raises:
        UserError: The checkpoints do not fit the model, or training diverged again and again.
    """
    from pipelines.core.console import say

    phases = phases or [Phase("main", config.fit.epochs)]
    history = History(run.history)
    with regularized(model, config):
        for number, phase in enumerate(phases):
            later = [run.checkpoints / p.name for p in phases[number + 1 :]]
            if resume and any(any(folder.glob("epoch-*.npz")) for folder in later):
                continue  # this phase had ended, and the next one's checkpoint holds all that it left
            history = _fit_phase(model, stream, validation, config, objective, run, phase, history, resume, say)
    return history


@contextmanager
def regularized(model: keras.Model, config: TrainConfig) -> Iterator[None]:
    """Applies the penalty while the model is trained; the saved model does not contain it."""
    options = config.regularizer
    if options.name == "none":
        yield
        return
    with ExitStack() as stack:
        try:
            stack.enter_context(regularizers.applied(model, options.name, options.strength))
        except ValueError as error:
            raise UserError(f"regularizer {options.name}: {error}") from None
        yield


def _fit_phase(
    model: keras.Model,
    stream: Stream,
    validation: Any,
    config: TrainConfig,
    objective: Objective,
    run: RunDir,
    phase: Phase,
    history: History,
    resume: bool,
    say: Any,
) -> History:
    if phase.backbone is not None:
        set_backbone_trainable(model, phase.backbone)
    steps = phase.epochs * stream.steps_per_epoch
    compile_model(model, config, objective, steps=steps, rate_factor=phase.rate_factor)
    history = History(run.history, phase.name, history.rows)
    guard = NanGuard(config.fit.nan_retries, say=lambda line: say(f"warning: {line}"))
    stopping = _early_stopping(config, objective)
    callbacks: list[Any] = [guard, EvaluationWeights()]
    tracked: list[Any] = [guard, history, stopping]
    if config.fit.overfit_patience:
        monitor = _overfit_monitor(config, objective, say)
        callbacks.append(monitor)
        tracked.append(monitor)
    if stream.steps_per_epoch < FEW_STEPS and stream.batch_size > SMALL_BATCH:
        say(
            f"warning: an epoch has only {stream.steps_per_epoch} steps, so the weights are updated rarely; a smaller "
            "--fit.batch_size or more --fit.epochs trains better"
        )
    progress = Progress(samples=stream.batch_size)
    callbacks += [history, progress, stopping]
    if config.tensorboard.enabled:
        board = _tensorboard(config, run.tensorboard / phase.name if phase.name != "main" else run.tensorboard)
        callbacks.append(board)
        tracked.append(board)
    checkpoint = Checkpoint(
        run.checkpoints / phase.name,
        track=tracked,
        stream=stream,
        every_seconds=config.fit.checkpoint_seconds,
    )
    start = 0
    if resume:
        _build_metrics(model, validation)
        try:
            start = checkpoint.restore(model)
        except ValueError as error:
            raise UserError(str(error)) from None
        for message in checkpoint.messages:
            say(message)
    with warnings.catch_warnings():
        # The stream shuffles; Keras warns that it will not.
        warnings.filterwarnings("ignore", message=".*shuffle=True.*")
        try:
            model.fit(
                stream.dataset,
                validation_data=validation,
                initial_epoch=start,
                epochs=start if checkpoint.finished else phase.epochs,
                callbacks=[*callbacks, checkpoint],
                verbose=0,
            )
        except DivergenceError as error:
            raise UserError(f"{error} (options: optimizer.learning_rate, optimizer.clipnorm; {run})") from None
        finally:
            progress.close()  # before anything is said about an error
    if stopping.reason is not None and not checkpoint.finished:
        say(f"early stopping: {stopping.reason}")
    rows = [row for row in history.rows if row["phase"] == phase.name]
    if stopping.best_epoch is not None:
        before = next(i for i, row in enumerate(history.rows) if row["phase"] == phase.name)
        history.kept = before + stopping.best_epoch + 1
        value = f"{objective.monitor} {stopping.best:.4f}"
        say(f"kept the weights of epoch {stopping.best_epoch + 1} of {len(rows)} ({value})")
    for line in complaints(rows, stopping.best_epoch):
        say(f"warning: {line}")
    return history


def complaints(rows: Sequence[Mapping[str, Any]], best: int | None) -> Iterator[str]:
    """What the course of a phase says about its settings.

    Args:
        rows: The values of its epochs.
        best: The epoch that was kept, from 0, or None.
    """
    losses = [float(row["val_loss"]) for row in rows if "val_loss" in row]
    lowest = min(losses, default=0.0)
    highest = max(losses, default=0.0)
    if len(losses) > 1 and lowest > 0 and highest > EXPLODED * max(lowest, losses[0]):
        yield (
            f"the validation loss rose to {highest:.3g} (lowest {lowest:.3g}): training was unstable; lower "
            "--optimizer.learning_rate or set --optimizer.clipnorm"
        )
    if best == 0 and len(rows) > 2:
        yield (
            "the first epoch was the best, so training gained nothing after it: lower --optimizer.learning_rate, or "
            "check the labels and the validation set"
        )


def _early_stopping(config: TrainConfig, objective: Objective) -> EarlyStopping:
    options = config.early_stopping
    return EarlyStopping(
        monitor=objective.monitor,
        mode=objective.mode,
        patience=options.patience or None,
        min_delta=options.min_delta,
        warmup=options.warmup,
        seconds=60 * options.minutes if options.minutes else None,
        criterion=options.criterion,
        threshold=options.threshold,
        strip=options.strip,
        smoothing=options.smoothing,
        window=options.window,
    )


def _overfit_monitor(config: TrainConfig, objective: Objective, say: Any) -> OverfitMonitor:
    """Watches the monitored score if training has it too, else the loss."""
    name = objective.monitor.removeprefix("val_")
    both = objective.monitor != name and name in [metric.name for metric in objective.metrics]
    return OverfitMonitor(
        name if both else "loss",
        mode=objective.mode if both else "min",
        patience=config.fit.overfit_patience,
        say=lambda line: say(f"note: {line}"),
        advice=_advice(config),
    )


def _advice(config: TrainConfig) -> str:
    """What helps against over-fitting and is not in use."""
    augment, model = getattr(config, "augment", None), getattr(config, "model", None)
    open_ways = [
        "more data",
        "augmentation (--augment.*)" if augment is not None and augment == type(augment)() else "",
        "a regularizer (--regularizer.name)" if config.regularizer.name == "none" else "",
        "dropout (--model.dropout)" if getattr(model, "dropout", None) == 0 else "",
        "a smaller model",
        "early stopping (--early_stopping.patience)" if not config.early_stopping.patience else "",
    ]
    ways = [way for way in open_ways if way]
    return f"{', '.join(ways[:-1])} or {ways[-1]} would help"


def _tensorboard(config: TrainConfig, folder: Path) -> TensorBoard:
    options = config.tensorboard
    try:
        return TensorBoard(
            folder,
            update_freq=options.every_steps or "epoch",
            text={"config": f"```yaml\n{to_yaml(config)}```"},
            histograms_every=options.histograms_every,
            graph=options.graph,
            profile=(options.profile[0], options.profile[1]) if options.profile else None,
        )
    except ValueError as error:
        raise UserError(f"tensorboard.{error}") from None


def _build_metrics(model: keras.Model, validation: Any) -> None:
    """Makes the metrics' variables exist, which Keras does at the first batch, so that they can be restored."""
    model.evaluate(validation.take(1), verbose=0)


BACKBONE = "backbone"


def set_backbone_trainable(model: keras.Model, trainable: bool) -> None:
    """Freezes or unfreezes the pretrained backbone; compile afterwards.

    Batch norms stay frozen with the statistics of pretraining, which a small data set would spoil. (Keras 3 passes on
    `training` of the whole model, so calling the backbone with `training=False` would not keep them.)
    """
    import keras

    backbone = model.get_layer(BACKBONE)
    backbone.trainable = trainable
    for layer in backbone._flatten_layers(include_self=False):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
