"""Learning-rate schedules by name, each with a warm-up."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

NAMES = ("constant", "cosine", "one-cycle", "warmup-stable-decay", "polynomial", "exponential")


@keras.saving.register_keras_serializable(package="optimizers")
class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """A warm-up to the peak, then one of the usual shapes down to the final rate.

    With p the fraction of the steps after the warm-up that is done, from 0 to 1, and f = `final`:

    - `constant`: stays at the peak.
    - `cosine`: f + (1 - f) (1 + cos(pi p)) / 2 (Loshchilov & Hutter, 2017).
    - `one-cycle`: the same, with a warm-up along a cosine from peak / 25 (Smith & Topin, 2018).
    - `warmup-stable-decay`: the peak up to p = 0.8, then a straight line (Hu et al., 2024).
    - `polynomial`: f + (1 - f) (1 - p) ** power.
    - `exponential`: f ** p.

    All but `one-cycle` warm up along a straight line.

    Args:
        name: Shape.
        peak: Highest rate.
        steps: Steps of the whole training; the rate stays at its last value after them.
        warmup_steps: Steps of the warm-up.
        final: Last rate as a fraction of the peak.
        power: Of the polynomial; 1 is a straight line.
    """

    def __init__(
        self, name: str, peak: float, steps: int, warmup_steps: int = 0, final: float = 0.0, power: float = 1.0
    ) -> None:
        if name not in NAMES:
            raise ValueError(f"unknown schedule {name!r}: expected one of {', '.join(NAMES)}")
        if not peak > 0 or steps < 1 or not 0 <= warmup_steps <= steps or not 0 <= final <= 1:
            raise ValueError(
                "a schedule needs peak > 0, steps >= 1, 0 <= warmup_steps <= steps and 0 <= final <= 1, got "
                f"peak={peak}, steps={steps}, warmup_steps={warmup_steps}, final={final}"
            )
        if not power > 0:
            raise ValueError(f"a polynomial schedule needs power > 0, got {power}")
        if name == "exponential" and final == 0:
            raise ValueError("an exponential schedule never reaches 0: final must be positive")
        self.shape = name
        self.peak = peak
        self.steps = steps
        self.warmup_steps = warmup_steps
        self.final = final
        self.power = power

    def __call__(self, step: Any) -> Any:
        """The rate (scalar float32) of step 0, 1, ..."""
        step = ops.cast(step, "float32")
        down = max(self.steps - self.warmup_steps, 1)
        p = ops.clip((step - self.warmup_steps) / down, 0.0, 1.0)
        factor = self._after(p)
        if self.warmup_steps:
            rise = ops.clip((step + 1) / (self.warmup_steps + 1), 0.0, 1.0)
            if self.shape == "one-cycle":
                rise = 0.04 + 0.96 * (1 - ops.cos(math.pi * rise)) / 2
            factor = ops.where(step < self.warmup_steps, rise, factor)
        return self.peak * factor

    def _after(self, p: Any) -> Any:
        final = self.final
        if self.shape in ("cosine", "one-cycle"):
            return final + (1 - final) * (1 + ops.cos(math.pi * p)) / 2
        if self.shape == "warmup-stable-decay":
            return 1 - (1 - final) * ops.maximum(p - 0.8, 0.0) / 0.2
        if self.shape == "polynomial":
            return final + (1 - final) * (1 - p) ** self.power
        if self.shape == "exponential":
            return ops.exp(math.log(final) * p)
        return ops.ones_like(p)

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.shape,
            "peak": self.peak,
            "steps": self.steps,
            "warmup_steps": self.warmup_steps,
            "final": self.final,
            "power": self.power,
        }


def get(
    name: str, *, peak: float, steps: int, warmup: float | None = None, final: float = 0.0, power: float = 1.0
) -> Schedule:
    """A schedule by name.

    Args:
        name: One of `NAMES`.
        peak: Highest rate.
        steps: Steps of the whole training.
        warmup: Part of the steps that warms up, 0 to below 1; none takes 0.3 for `one-cycle`, whose rise is half of the
            method (fastai's and PyTorch's default), and 0 for the others.
        final: Last rate as a fraction of the peak.
        power: Of the polynomial; 1 is a straight line.

    Raises:
        ValueError: A value is out of its range.
    """
    if warmup is None:
        warmup = 0.3 if name == "one-cycle" else 0.0
    return Schedule(name, peak, steps, round(warmup * steps), final, power)
