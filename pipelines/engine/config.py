"""Options that every task shares, as typed dataclasses; a task's own `Config` adds its kind of data and model.

Nothing slow is imported here: the command line builds its `--help` from these classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from pipelines.core.config import check


@dataclass
class OptimizerConfig:
    """What changes the weights.

    Args:
        name: Optimizer, by name; `python -m optimizers` lists them.
        learning_rate: Peak learning rate; none takes the optimizer's own tested default.
        weight_decay: Decoupled weight decay; biases, norms and other vectors are left out. None takes the default.
        clipnorm: Gradients of each variable are scaled down to this norm; none leaves them.
        settings: Further arguments of the optimizer, such as `{momentum: 0.9}`.
        wrap: Wrappers around it, from the inside: any of centralized, cautious, lookahead and schedule-free.
        rates: Factors of the learning rate for the weights whose path matches a regular expression, such as
            `{backbone: 0.1}`; 0 freezes them.
        decays: Weight decays of the weights whose path matches a regular expression, such as `{embedding: 0}`.
        layer_decay: Factor of the learning rate from each layer to the one before it, for fine-tuning; none has none.
    """

    name: str = "adamw"
    learning_rate: float | None = None
    weight_decay: float | None = None
    clipnorm: float | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    wrap: list[str] = field(default_factory=list)
    rates: dict[str, float] = field(default_factory=dict)
    decays: dict[str, float] = field(default_factory=dict)
    layer_decay: float | None = None

    def __post_init__(self) -> None:
        from optimizers import registry

        registry.record(self.name)
        for wrapper in self.wrap:
            check(wrapper in registry.WRAPPERS, "optimizer.wrap", f"among {', '.join(registry.WRAPPERS)}", wrapper)
        decay = self.layer_decay
        check(decay is None or 0 < decay <= 1, "optimizer.layer_decay", "above 0 and at most 1", decay)
        for option in ("learning_rate", "clipnorm"):
            value = getattr(self, option)
            check(value is None or 0 < value < math.inf, f"optimizer.{option}", "a positive number", value)
        decays = {"weight_decay": self.weight_decay}
        for option in ("rates", "decays"):
            decays |= {f"{option}.{pattern}": value for pattern, value in getattr(self, option).items()}
        for option, value in decays.items():
            ok = value is None or 0 <= value < math.inf
            check(ok, f"optimizer.{option}", "zero or a positive number", value)


@dataclass
class ScheduleConfig:
    """How the learning rate moves over the run.

    Args:
        name: Shape of the schedule; all of them start with the warm-up.
        warmup: Part of all steps during which the rate rises from near zero to its peak, 0 to 1.
        final: Learning rate at the end, as a fraction of the peak.
    """

    name: Literal["constant", "cosine", "one-cycle", "warmup-stable-decay", "polynomial", "exponential"] = "one-cycle"
    warmup: float = 0.2
    final: float = 0.001

    def __post_init__(self) -> None:
        check(0 <= self.warmup < 1, "schedule.warmup", "at least 0 and below 1", self.warmup)
        check(0 <= self.final <= 1, "schedule.final", "between 0 and 1", self.final)
        if self.name == "exponential":
            check(self.final > 0, "schedule.final", "positive for an exponential schedule", self.final)


@dataclass
class FitConfig:
    """How long, how large and how fast.

    Args:
        epochs: Passes over the training part.
        batch_size: Samples a step.
        imbalance: What to do about rare classes. `weights` and `effective-number` weigh the samples' losses,
            `focal` turns to the hard samples, `oversample` draws every class equally often.
        label_smoothing: Part of the target spread over all classes, 0 to below 1.
        ema: Momentum of the moving average of the weights that is evaluated and saved, such as 0.99; 0 turns it off.
        precision: Number format of the computation; the mixed ones keep the weights in float32.
        jit: Compile with XLA; auto does what was measured to be faster for the backend and the device.
        steps_per_execution: Steps in one call into the backend; 0 chooses by what was measured.
        checkpoint_seconds: Within an epoch a checkpoint is written when the last one is older than this; one is
            written at the end of each epoch in any case.
        nan_retries: How often training goes back to its last good epoch, with half the learning rate, when the loss
            is no longer finite; then it ends with an error.
        overfit_patience: Epochs without a better validation score after which a growing gap between training and
            validation is told; 0 keeps quiet.
    """

    epochs: int = 20
    batch_size: int = 64
    imbalance: Literal["none", "weights", "effective-number", "focal", "oversample"] = "none"
    label_smoothing: float = 0.0
    ema: float = 0.0
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    jit: Literal["auto", "on", "off"] = "auto"
    steps_per_execution: int = 0
    checkpoint_seconds: float = 300.0
    nan_retries: int = 3
    overfit_patience: int = 5

    def __post_init__(self) -> None:
        check(self.epochs >= 1, "fit.epochs", "at least 1", self.epochs)
        check(self.batch_size >= 1, "fit.batch_size", "at least 1", self.batch_size)
        check(
            0 <= self.label_smoothing < 1,
            "fit.label_smoothing",
            "at least 0 and below 1",
            self.label_smoothing,
        )
        check(0 <= self.ema < 1, "fit.ema", "at least 0 and below 1", self.ema)
        check(self.steps_per_execution >= 0, "fit.steps_per_execution", "0 or more", self.steps_per_execution)
        check(self.checkpoint_seconds > 0, "fit.checkpoint_seconds", "positive", self.checkpoint_seconds)
        check(self.nan_retries >= 0, "fit.nan_retries", "0 or more", self.nan_retries)
        check(self.overfit_patience >= 0, "fit.overfit_patience", "0 or more", self.overfit_patience)


@dataclass
class EarlyStoppingConfig:
    """When to stop before the last epoch; the best weights on validation are kept in any case.

    Args:
        patience: Epochs without a better validation score after which training stops; 0 never stops early.
        min_delta: The least change of the score that counts as better.
        warmup: Epochs at the start that neither stop the run nor count as its best.
        minutes: Training stops at the end of the epoch that passes this time; none sets no limit.
        criterion: Also stop by a criterion of Prechelt (1998): `gl`, the validation error is threshold percent above
            its lowest; `pq`, that in relation to how much training still learns; `up`, it rose in threshold strips in a
            row. The error of a score that is to rise is 1 - score.
        threshold: See criterion; none takes 5 (gl), 2 (pq) or 3 (up).
        strip: Epochs of a strip.
        smoothing: Momentum of the moving average of the score that is judged in its place, 0 to below 1.
        window: Judge the mean of the last so many scores.
    """

    patience: int = 0
    min_delta: float = 0.0
    warmup: int = 0
    minutes: float | None = None
    criterion: Literal["none", "gl", "pq", "up"] = "none"
    threshold: float | None = None
    strip: int = 5
    smoothing: float = 0.0
    window: int = 1

    def __post_init__(self) -> None:
        check(self.patience >= 0, "early_stopping.patience", "0 or more", self.patience)
        check(self.min_delta >= 0, "early_stopping.min_delta", "0 or more", self.min_delta)
        check(self.warmup >= 0, "early_stopping.warmup", "0 or more", self.warmup)
        check(self.minutes is None or self.minutes > 0, "early_stopping.minutes", "positive", self.minutes)
        threshold = self.threshold
        check(threshold is None or threshold >= 0, "early_stopping.threshold", "zero or a positive number", threshold)
        if self.criterion == "up" and threshold is not None:
            whole = threshold >= 1 and threshold == int(threshold)
            check(whole, "early_stopping.threshold", "a whole number from 1 for up", threshold)
        check(self.strip >= 1, "early_stopping.strip", "at least 1", self.strip)
        check(0 <= self.smoothing < 1, "early_stopping.smoothing", "at least 0 and below 1", self.smoothing)
        check(self.window >= 1, "early_stopping.window", "at least 1", self.window)
        if self.smoothing:
            check(self.window == 1, "early_stopping.window", "1 with early_stopping.smoothing", self.window)


@dataclass
class RegularizerConfig:
    """A penalty on the kernels of the model (biases and norms are left out), its features, or the training step.

    Args:
        name: Penalty, by name; `python -m regularizers` lists them. None has none.
        strength: Its factor in the loss; null takes the penalty's own default.
    """

    name: str = "none"
    strength: float | None = None

    def __post_init__(self) -> None:
        from regularizers import registry

        strength = self.strength
        check(
            strength is None or 0 <= strength < math.inf,
            "regularizer.strength",
            "zero or a positive number",
            strength,
        )
        if self.name != "none":
            try:
                registry.applicable(self.name)
            except ValueError as error:
                raise ValueError(f"regularizer.name: {error}") from None


@dataclass
class TensorBoardConfig:
    """What is written for TensorBoard.

    Args:
        enabled: Write the logs at all.
        every_steps: Also write the training loss, the learning rate and the norms every so many steps; 0 writes epochs
            only.
        norms: Measure the norms of each layer's gradient, update and weights inside the step, every ten steps; a step
            of a small network then takes a few percent longer.
        histograms_every: Write the distributions of the weights every so many epochs; 0 never.
        graph: Write the model's graph.
        figures: Also write the pictures and texts of the report (confusion matrix, example predictions ...) and, for a
            classification, precision-recall curves at the end.
        embeddings: Validation samples whose features are written for the projector, for a classification; 0 for none.
        profile: First and last step of which TensorFlow or JAX records what it does, such as `[20, 30]`; empty for
            none.
    """

    enabled: bool = True
    every_steps: int = 0
    norms: bool = False
    histograms_every: int = 5
    graph: bool = True
    figures: bool = True
    embeddings: int = 500
    profile: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        for option in ("every_steps", "histograms_every", "embeddings"):
            check(getattr(self, option) >= 0, f"tensorboard.{option}", "0 or more", getattr(self, option))
        steps = self.profile
        fits = not steps or (len(steps) == 2 and 1 <= steps[0] <= steps[1])
        check(fits, "tensorboard.profile", "a first step from 1 and a last one, such as [20, 30]", steps)


@dataclass
class RunConfig:
    """Where the run is kept, and what it starts from.

    Args:
        out: Folder of all runs; the run's own is OUT/TASK/NAME.
        name: Name of the run; none takes the date and time. An existing run is never overwritten.
        seed: The one seed: split, initial weights, order, augmentation and dropout come from it.
        deterministic: The same seed gives the same weights bit for bit (same machine and backend); slower.
        init_from: Run directory or `.keras` file whose weights a new training starts from.
        backend: Keras backend; none takes KERAS_BACKEND, or TensorFlow.
        resamples: Bootstrap resamples behind the confidence intervals.
    """

    out: str = "runs"
    name: str | None = None
    seed: int = 0
    deterministic: bool = False
    init_from: str | None = None
    backend: Literal["tensorflow", "jax", "torch"] | None = None
    resamples: int = 1000

    def __post_init__(self) -> None:
        check(0 <= self.seed < 2**31, "run.seed", "between 0 and 2147483647", self.seed)
        check(self.resamples >= 10, "run.resamples", "at least 10", self.resamples)
        if self.name is not None:
            plain = self.name not in ("", ".", "..") and not any(c in self.name for c in '/\\:*?"<>|\0')
            check(plain, "run.name", "a plain folder name", self.name)


@dataclass
class TrainConfig:
    """The part of a task's configuration that is the same for all tasks."""

    run: RunConfig = field(default_factory=RunConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    regularizer: RegularizerConfig = field(default_factory=RegularizerConfig)
    fit: FitConfig = field(default_factory=FitConfig)
    early_stopping: EarlyStoppingConfig = field(default_factory=EarlyStoppingConfig)
    tensorboard: TensorBoardConfig = field(default_factory=TensorBoardConfig)
