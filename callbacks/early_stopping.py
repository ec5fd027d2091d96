"""Stop when validation no longer improves, and keep the best weights whether stopped or not."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import keras
import numpy as np

from callbacks.weights import evaluation_weights, set_weights

CRITERIA = ("none", "gl", "pq", "up")
THRESHOLDS = {"gl": 5.0, "pq": 2.0, "up": 3.0}


class EarlyStopping(keras.callbacks.Callback):
    """Keeps the best weights always, and stops when there is no point in going on.

    Beyond Keras's: the best weights come back also when training runs to its last epoch; with a moving average of the
    weights, the averages are what is kept; the state survives a resume (`get_state`, `set_state`); the criteria of
    Prechelt, which ask how much has been lost or how quickly training still learns rather than count epochs; and a
    smoothed value, for validation scores that jump. Epochs without validation (`validation_freq`) are skipped: patience
    counts epochs with validation. Each `fit` begins anew, unless `set_state` was called before it.

    Args:
        monitor: Name of the value to watch, such as `val_accuracy`.
        mode: `min` or `max`: which direction is better.
        patience: Epochs without an improvement after which training stops; None never stops.
        min_delta: Least change that counts as an improvement.
        warmup: First epochs that are not judged at all.
        seconds: Training stops at the end of the epoch in which it has lasted so long.
        criterion: `gl` stops when the generalization loss is above the threshold, `pq` when its quotient with the
            training progress is, `up` when the error has risen in so many strips in a row: see `generalization_loss`,
            `progress_quotient` and `strips_risen`. They need an error that is not negative; with mode `max` it is
            1 - value.
        threshold: Alpha of `gl` and `pq`, s of `up`; None uses 5, 2 and 3.
        strip: Epochs of a strip, k in the paper.
        smoothing: Momentum of the moving average that is judged in the place of the value, 0 to below 1.
        window: Judge the mean of the last so many values.

    Raises:
        ValueError: An argument is out of its range; or, at the end of an epoch, there is no value of that name, or a
            criterion meets a negative error.

    Reference:
        Prechelt, "Early Stopping - But When?", in Neural Networks: Tricks of the Trade, 1998.
    """

    def __init__(
        self,
        monitor: str,
        *,
        mode: Literal["min", "max"],
        patience: int | None = None,
        min_delta: float = 0.0,
        warmup: int = 0,
        seconds: float | None = None,
        criterion: Literal["none", "gl", "pq", "up"] = "none",
        threshold: float | None = None,
        strip: int = 5,
        smoothing: float = 0.0,
        window: int = 1,
    ) -> None:
        super().__init__()
        if mode not in ("min", "max"):
            raise ValueError(f"mode must be 'min' or 'max', got {mode!r}")
        if patience is not None and patience < 1:
            raise ValueError(f"patience must be at least 1 or None, got {patience}")
        if min_delta < 0 or warmup < 0:
            raise ValueError(f"min_delta and warmup must not be negative, got {min_delta} and {warmup}")
        if seconds is not None and not seconds > 0:
            raise ValueError(f"seconds must be positive or None, got {seconds}")
        if criterion not in CRITERIA:
            raise ValueError(f"criterion must be one of {', '.join(CRITERIA)}, got {criterion!r}")
        threshold = THRESHOLDS.get(criterion, 0.0) if threshold is None else threshold
        if threshold < 0 or (criterion == "up" and (threshold < 1 or threshold != int(threshold))):
            raise ValueError(f"threshold must not be negative, and for 'up' a whole number from 1, got {threshold}")
        if strip < 1 or window < 1:
            raise ValueError(f"strip and window must be at least 1, got {strip} and {window}")
        if not 0 <= smoothing < 1 or (smoothing and window > 1):
            raise ValueError(
                f"smoothing must be at least 0 and below 1, and 0 with a window, got {smoothing} and window={window}"
            )
        self.monitor = monitor
        self.mode = mode
        self.patience = patience
        self.min_delta = min_delta
        self.warmup = warmup
        self.seconds = seconds
        self.criterion = criterion
        self.threshold = threshold
        self.strip = strip
        self.smoothing = smoothing
        self.window = window
        self._resumed = False
        self._watched = False
        self._begin()

    def _begin(self) -> None:
        self.best = math.nan
        self.best_epoch: int | None = None
        self.best_weights: list[np.ndarray] | None = None
        self.wait = 0
        self.reason: str | None = None
        self._seen: list[float] = []
        self._validation: list[float] = []
        self._training: list[float] = []
        self._elapsed = 0.0
        self._start = time.monotonic()

    def get_state(self) -> dict[str, Any]:
        """The best weights and what was counted so far."""
        return {
            "best": self.best,
            "best_epoch": self.best_epoch,
            "best_weights": self.best_weights,
            "wait": self.wait,
            "reason": self.reason,
            "seen": self._seen,
            "validation": self._validation,
            "training": self._training,
            "elapsed": self._elapsed + time.monotonic() - self._start,
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `get_state` gave."""
        self.best = float(state["best"])
        self.best_epoch = state["best_epoch"]
        self.best_weights = state["best_weights"]
        self.wait = int(state["wait"])
        self.reason = state["reason"]
        self._seen = [float(value) for value in state["seen"]]
        self._validation = [float(value) for value in state["validation"]]
        self._training = [float(value) for value in state["training"]]
        self._elapsed = float(state["elapsed"])
        self._resumed = True

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        self._watched = self._resumed
        if not self._resumed:  # what an earlier `fit` has left may be of another model
            self._begin()
        self._resumed = False
        self._start = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        logs = logs or {}
        if not self._judged(logs):
            pass  # an epoch without validation: `validation_freq`
        elif epoch >= self.warmup:
            value = self._smooth(self._value(logs, self.monitor))
            if self._better(value):
                self.best, self.best_epoch, self.wait = value, epoch, 0
                self.best_weights = evaluation_weights(self.model)
            else:
                self.wait += 1
                if self.patience is not None and self.wait >= self.patience:
                    self._stop(f"{self.monitor} has not improved for {self.wait} epochs")
            if self.criterion != "none":
                self._judge(value, logs)
        elapsed = self._elapsed + time.monotonic() - self._start
        if self.seconds is not None and elapsed >= self.seconds:
            self._stop(f"{self.seconds:g} seconds are over")

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        if not self._watched:
            warnings.warn(f"no epoch had a value {self.monitor!r} to watch: the last weights are kept", stacklevel=2)
        # Keras has by now put the moving averages into the model, if there are any: the best ones replace them.
        if self.best_weights is not None:
            set_weights(self.model, self.best_weights)

    def _stop(self, reason: str) -> None:
        self.reason = reason
        self.model.stop_training = True

    def _judged(self, logs: Mapping[str, Any]) -> bool:
        """Whether this epoch has a value to watch; a wrong name is an error as soon as there was validation."""
        validated = any(name.startswith("val_") for name in logs)
        if self.monitor not in logs and (validated or not self.monitor.startswith("val_")):
            self._value(logs, self.monitor)
        self._watched |= self.monitor in logs
        return self.monitor in logs

    def _value(self, logs: Mapping[str, Any], name: str) -> float:
        if name not in logs:
            raise ValueError(f"there is no value {name!r} to watch: available are {', '.join(sorted(logs))}")
        return float(logs[name])

    def _smooth(self, value: float) -> float:
        if math.isnan(value):
            return value
        self._seen.append(value)
        if self.smoothing:
            powers = self.smoothing ** np.arange(len(self._seen))[::-1]
            return float(powers @ self._seen / powers.sum())
        return float(np.mean(self._seen[-self.window :]))

    def _better(self, value: float) -> bool:
        if math.isnan(value):
            return False
        if math.isnan(self.best):
            return True
        gain = value - self.best if self.mode == "max" else self.best - value
        return gain > self.min_delta

    def _judge(self, value: float, logs: Mapping[str, Any]) -> None:
        if math.isnan(value):
            return
        self._validation.append(self._error(value, self.monitor))
        if self.criterion == "gl":
            loss = generalization_loss(self._validation)
            if loss > self.threshold:
                self._stop(f"the generalization loss {loss:.3g} is above {self.threshold:g}")
        elif self.criterion == "pq":
            name = self.monitor.removeprefix("val_")
            self._training.append(self._error(self._value(logs, name), name))
            quotient = progress_quotient(self._validation, self._training, self.strip)
            if quotient > self.threshold:
                self._stop(f"generalization loss over training progress, {quotient:.3g}, is above {self.threshold:g}")
        elif strips_risen(self._validation, self.strip) >= self.threshold:
            self._stop(f"{self.monitor} got worse in {self.threshold:g} strips of {self.strip} epochs in a row")

    def _error(self, value: float, name: str) -> float:
        error = 1 - value if self.mode == "max" else value
        if error < 0:
            kind = "values up to 1" if self.mode == "max" else "values that are not negative"
            raise ValueError(f"the criterion {self.criterion!r} needs {kind}, but {name} is {value:g}: use patience")
        return error


def generalization_loss(validation: Sequence[float]) -> float:
    """GL: how many percent the last validation error is above the lowest one.

    Args:
        validation: Validation error of each epoch, not negative.
    """
    lowest, last = min(validation), validation[-1]
    return 100 * (_ratio(last, lowest) - 1)


def progress_quotient(validation: Sequence[float], training: Sequence[float], strip: int) -> float:
    """PQ: the generalization loss over the progress of training, at the end of a strip; 0 within a strip.

    The progress is how far, in thousandths, the mean training error of the strip is above its lowest one.

    Args:
        validation: Validation error of each epoch, not negative.
        training: Training error of each epoch, not negative.
        strip: Epochs of a strip.
    """
    if len(validation) % strip:
        return 0.0
    last = training[-strip:]
    progress = 1000 * (_ratio(sum(last) / strip, min(last)) - 1)
    loss = generalization_loss(validation)
    return 0.0 if loss == 0 or math.isinf(progress) else _ratio(loss, progress)


def strips_risen(validation: Sequence[float], strip: int) -> int:
    """UP: the number of strips, the last one first, at whose end the error was higher than at their beginning.

    Args:
        validation: Validation error of each epoch.
        strip: Epochs of a strip.
    """
    ends = validation[strip - 1 :: strip]
    if len(validation) % strip:
        return 0
    count = 0
    while count + 1 < len(ends) and ends[-1 - count] > ends[-2 - count]:
        count += 1
    return count


def _ratio(above: float, below: float) -> float:
    if below:
        return above / below
    return 1.0 if above == 0 else math.inf
