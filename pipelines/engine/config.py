"""Options that all tasks share, as typed dataclasses; the `Config` of a task adds its data and its model.

Nothing slow is imported here: the command line builds its `--help` from these classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from pipelines.core.config import check


@dataclass
class OptimizerConfig:
    """The optimizer.

    Args:
        name: Optimizer, by name; `python -m optimizers` lists them.
        learning_rate: Peak learning rate; null uses the tested default of the optimizer.
        weight_decay: Decoupled weight decay, not applied to biases, norms and other vectors; null uses the default.
        clipnorm: Clip the gradient of each variable to this norm; null does not clip.
        settings: Further arguments of the optimizer, such as `{momentum: 0.9}`.
        wrap: Wrappers around the optimizer, the innermost first: centralized, cautious, lookahead, schedule-free.
        rates: Factor of the learning rate for weights whose path matches a regular expression, such as
            `{backbone: 0.1}`; 0 freezes them.
        decays: Weight decay for weights whose path matches a regular expression, such as `{embedding: 0}`.
        layer_decay: Factor of the learning rate from each layer to the one below it, for fine-tuning; null is off.
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
    """The learning-rate schedule.

    Args:
        name: Shape of the schedule, after the warm-up.
        warmup: Fraction of all steps in which the learning rate rises from near zero to its peak.
        final: Final learning rate, as a fraction of the peak.
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
    """Length, batch size, loss and speed of training.

    Args:
        epochs: Passes over the training set.
        batch_size: Samples in each training step.
        imbalance: How to handle rare classes: `weights` and `effective-number` weight the loss by class, `focal`
            focuses it on hard samples, `oversample` draws all classes equally often.
        label_smoothing: Fraction of the target that is spread over all classes, at least 0 and below 1.
        ema: Momentum of an exponential moving average of the weights, such as 0.99, that is evaluated and saved; 0 is
            off.
        precision: Number format of the computation; mixed precision keeps the weights in float32.
        jit: Compile with XLA; auto chooses what was measured to be faster on this backend and device.
        steps_per_execution: Training steps per call into the backend; 0 chooses what was measured to be faster.
        checkpoint_seconds: Also write a checkpoint within an epoch when the last one is older than this; one is
            always written at the end of an epoch.
        nan_retries: How often training returns to its last good epoch, with half the learning rate, when the loss is
            not finite; after that it stops with an error.
        overfit_patience: Epochs without a better validation score after which a growing gap between training and
            validation is reported; 0 is off.
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
        check(not isinstance(self.epochs, int) or self.epochs >= 1, "fit.epochs", "at least 1", self.epochs)
        batch = self.batch_size
        check(not isinstance(batch, int) or batch >= 1, "fit.batch_size", "at least 1", batch)
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
    """When to stop before the last epoch. The weights with the best validation score are kept in any case.

    Args:
        patience: Stop after this many epochs without a better validation score; 0 is off.
        min_delta: Smallest change of the score that counts as an improvement.
        warmup: Epochs at the start that neither stop training nor count as the best.
        minutes: Stop at the end of the epoch that passes this training time; null sets no limit.
        criterion: Also stop by a criterion of Prechelt (1998): `gl`, the validation error is threshold percent above
            its minimum; `pq`, the same relative to the progress of training; `up`, the error rose in threshold strips
            in a row. For a score that should rise, the error is 1 - score.
        threshold: Threshold of the criterion; null uses 5 (gl), 2 (pq) or 3 (up).
        strip: Number of epochs in a strip.
        smoothing: Judge an exponential moving average of the score with this momentum; 0 judges the score itself.
        window: Judge the mean of this many last scores.
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
    """A penalty on the kernels of the model (not on biases and norms), on its features, or in the training step.

    Args:
        name: Penalty, by name; `python -m regularizers` lists them.
        strength: Factor of the penalty in the loss; null uses its default.
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
    """The logs for TensorBoard.

    Args:
        enabled: Write logs for TensorBoard.
        every_steps: Also write training loss, learning rate and norms every this many steps; 0 writes epochs only.
        norms: Record the norms of gradient, update and weights of each layer every ten steps; this makes the steps of
            a small network a few percent slower.
        histograms_every: Write histograms of the weights every this many epochs; 0 is off.
        graph: Write the model's graph.
        figures: Also write the figures and texts of the report (confusion matrix, example predictions ...) and, for
            classification, precision-recall curves.
        embeddings: Number of validation samples whose features the projector shows (classification); 0 is off.
        profile: First and last step that the profiler of TensorFlow or JAX records, such as `[20, 30]`; empty is off.
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
    """Where the run is saved, and what it starts from.

    Args:
        out: Folder of all runs; this run is saved in OUT/TASK/NAME.
        name: Name of the run; null uses date and time. An existing run is never overwritten.
        seed: Seed of everything random: split, initial weights, order, augmentation and dropout.
        deterministic: Make the same seed give the same weights bit for bit (same machine and backend); slower.
        init_from: Run directory or `.keras` file from whose weights training starts.
        backend: Keras backend; null uses KERAS_BACKEND, or TensorFlow.
        resamples: Number of bootstrap resamples for the confidence intervals.
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
    """The options that are the same for all tasks."""

    run: RunConfig = field(default_factory=RunConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    regularizer: RegularizerConfig = field(default_factory=RegularizerConfig)
    fit: FitConfig = field(default_factory=FitConfig)
    early_stopping: EarlyStoppingConfig = field(default_factory=EarlyStoppingConfig)
    tensorboard: TensorBoardConfig = field(default_factory=TensorBoardConfig)
