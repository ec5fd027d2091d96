"""Does the model over-fit?"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Literal

import keras

ADVICE = "more data or augmentation, a stronger penalty or dropout, a smaller model, or stopping earlier would help"


class OverfitMonitor(keras.callbacks.Callback):
    """Follows the gap between training and validation, and says in words when it grows while validation gets no better.
    When validation was best in the first epoch, it says that instead: the learning rate is often too high then.

    The gap, as the value `gap` in the logs, is how much worse validation is than training. What Keras gives as the
    training value is the mean over an epoch, with augmentation and dropout: the gap begins too small, often negative,
    so that it is its growth that counts.

    Put it before callbacks that write the logs down.

    Args:
        metric: Name of the value, such as `loss`; on validation it is `val_` and this name.
        mode: `min` or `max`: which direction is better.
        patience: Epochs without a better validation value after which it speaks, if the gap has grown.
        growth: By how much the gap must have grown since, as a fraction of the best validation value.
        say: Called with the line; a warning by default. It is said once for each best value.
        advice: What to do about it.

    Raises:
        ValueError: An argument is out of its range; or, at the end of an epoch, there are no values of that name.
    """

    def __init__(
        self,
        metric: str = "loss",
        *,
        mode: Literal["min", "max"] = "min",
        patience: int = 3,
        growth: float = 0.05,
        say: Callable[[str], None] | None = None,
        advice: str = ADVICE,
    ) -> None:
        super().__init__()
        if mode not in ("min", "max"):
            raise ValueError(f"mode must be 'min' or 'max', got {mode!r}")
        if patience < 1:
            raise ValueError(f"patience must be at least 1, got {patience}")
        if growth < 0:
            raise ValueError(f"growth must not be negative, got {growth}")
        self.metric = metric
        self.mode = mode
        self.patience = patience
        self.growth = growth
        self.advice = advice
        self._say = say or (lambda line: warnings.warn(line, stacklevel=2))
        self._resumed = False
        self._begin()

    def _begin(self) -> None:
        self.best = math.nan
        self.best_epoch = 0
        self.gap_at_best = math.nan
        self.told = False
        self._first: int | None = None

    def get_state(self) -> dict[str, Any]:
        """The best value so far, and whether it was spoken about."""
        return {
            "best": self.best, "best_epoch": self.best_epoch, "gap_at_best": self.gap_at_best, "told": self.told,
            "first": self._first,
        }  # fmt: skip

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `get_state` gave."""
        self.best, self.gap_at_best = float(state["best"]), float(state["gap_at_best"])
        self.best_epoch, self.told = int(state["best_epoch"]), bool(state["told"])
        self._first = state.get("first")
        self._resumed = True

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        if not self._resumed:
            self._begin()
        self._resumed = False

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        logs = {} if logs is None else logs
        if self.metric in logs and not any(name.startswith("val_") for name in logs):
            return  # an epoch without validation: `validation_freq`
        for name in (self.metric, f"val_{self.metric}"):
            if name not in logs:
                raise ValueError(f"there is no value {name!r} to watch: available are {', '.join(sorted(logs))}")
        training, validation = float(logs[self.metric]), float(logs[f"val_{self.metric}"])
        gap = validation - training if self.mode == "min" else training - validation
        logs["gap"] = gap
        if self._first is None:
            self._first = epoch
        better = validation < self.best if self.mode == "min" else validation > self.best
        if better or math.isnan(self.best):
            self.best, self.best_epoch, self.gap_at_best, self.told = validation, epoch, gap, False
            return
        grown = gap > 0 and gap - self.gap_at_best > self.growth * abs(self.best)
        if epoch - self.best_epoch < self.patience or self.told or not grown:
            return
        self.told = True
        if self.best_epoch == self._first:
            self._say(
                f"val_{self.metric} has not improved since the first epoch ({self.best:.4g}, now {validation:.4g}): "
                "this is not over-fitting; lower the learning rate, or check the validation set and the labels"
            )
        else:
            self._say(
                f"over-fitting: val_{self.metric} was best in epoch {self.best_epoch + 1} ({self.best:.4g}, now "
                f"{validation:.4g}), while the gap to training grew from {self.gap_at_best:.4g} to {gap:.4g}; "
                + self.advice
            )
