"""Stop when validation no longer improves, and keep the best weights whether stopped or not."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any, Literal

import keras
import numpy as np

from callbacks.weights import evaluation_weights, set_weights


class EarlyStopping(keras.callbacks.Callback):
    """Keeps the best weights always, and stops when there is no point in going on.

    Beyond Keras's: the best weights come back also when training runs to its last epoch; with a moving average of the
    weights, the averages are what is kept; the state survives a resume (`get_state`, `set_state`).

    Args:
        monitor: Name of the value to watch, such as `val_accuracy`.
        mode: `min` or `max`: which direction is better.
        patience: Epochs without an improvement after which training stops; none never stops.
        min_delta: Least change that counts as an improvement.
        warmup: First epochs that are not judged at all.
        seconds: Training stops at the end of the epoch in which it has lasted so long.

    Raises:
        ValueError: At the end of an epoch, when there is no value of that name.
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
    ) -> None:
        super().__init__()
        if mode not in ("min", "max"):
            raise ValueError(f"mode must be 'min' or 'max', got {mode!r}")
        if patience is not None and patience < 1:
            raise ValueError(f"patience must be at least 1 or None, got {patience}")
        if min_delta < 0 or warmup < 0:
            raise ValueError(f"min_delta and warmup must not be negative, got {min_delta} and {warmup}")
        self.monitor = monitor
        self.mode = mode
        self.patience = patience
        self.min_delta = min_delta
        self.warmup = warmup
        self.seconds = seconds
        self.best = math.nan
        self.best_epoch: int | None = None
        self.best_weights: list[np.ndarray] | None = None
        self.wait = 0
        self._elapsed = 0.0
        self._start = time.monotonic()

    def get_state(self) -> dict[str, Any]:
        """The best weights and what was counted so far."""
        return {
            "best": self.best,
            "best_epoch": self.best_epoch,
            "best_weights": self.best_weights,
            "wait": self.wait,
            "elapsed": self._elapsed + time.monotonic() - self._start,
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `get_state` gave."""
        self.best = float(state["best"])
        self.best_epoch = state["best_epoch"]
        self.best_weights = state["best_weights"]
        self.wait = int(state["wait"])
        self._elapsed = float(state["elapsed"])

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        self._start = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        logs = logs or {}
        if self.monitor not in logs:
            raise ValueError(f"there is no value {self.monitor!r} to watch: available are {', '.join(sorted(logs))}")
        if epoch >= self.warmup:
            value = float(logs[self.monitor])
            if self._better(value):
                self.best, self.best_epoch, self.wait = value, epoch, 0
                self.best_weights = evaluation_weights(self.model)
            else:
                self.wait += 1
                if self.patience is not None and self.wait >= self.patience:
                    self.model.stop_training = True
        elapsed = self._elapsed + time.monotonic() - self._start
        if self.seconds is not None and elapsed >= self.seconds:
            self.model.stop_training = True

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        # Keras has by now put the moving averages into the model, if there are any: the best ones replace them.
        if self.best_weights is not None:
            set_weights(self.model, self.best_weights)

    def _better(self, value: float) -> bool:
        if math.isnan(value):
            return False
        if math.isnan(self.best):
            return True
        gain = value - self.best if self.mode == "max" else self.best - value
        return gain > self.min_delta
