"""AdEMAMix: Adam with a second, slow momentum."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import keras
from keras import ops

from optimizers.base import Optimizer, blend, check_rates, debias


@keras.saving.register_keras_serializable(package="optimizers")
class AdEMAMix(Optimizer):
    """Adam that also remembers gradients of thousands of steps ago.

    Args:
        learning_rate: A number or a schedule.
        beta_1: Decay rate of the fast average of the gradients.
        beta_2: Decay rate of the average of the squared gradients.
        beta_3: Decay rate of the slow average of the gradients.
        alpha: Weight of the slow average.
        slow_steps: Steps during which `alpha` and `beta_3` grow to their values; the paper takes all steps of the
            training. None has no such warm-up.
        epsilon: Added to the root of the second moment.
        **kwargs: The arguments of `keras.optimizers.Optimizer`.

    Reference:
        Pagliardini et al., "The AdEMAMix Optimizer: Better, Faster, Older", ICLR 2025.
    """

    settings: ClassVar = ("beta_1", "beta_2", "beta_3", "alpha", "slow_steps", "epsilon")
    slots: ClassVar = ("momentum", "slow_momentum", "velocity")

    def __init__(
        self,
        learning_rate: Any = 1e-3,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        beta_3: float = 0.9999,
        alpha: float = 5.0,
        slow_steps: int | None = None,
        epsilon: float = 1e-8,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, **kwargs)
        check_rates(self, beta_1=beta_1, beta_2=beta_2, beta_3=beta_3)
        if slow_steps is not None and (slow_steps < 1 or not 0 < beta_1 <= beta_3):
            raise ValueError(f"slow_steps must be at least 1 and 0 < beta_1 <= beta_3, got {slow_steps}")
        self.alpha = alpha
        self.slow_steps = slow_steps
        self.epsilon = epsilon

    def step(self, gradient: Any, variable: Any, rate: Any, *slots: Any) -> None:
        momentum, slow_momentum, velocity = slots
        t = self.count(gradient.dtype)
        alpha, beta_3 = self._grown(t)
        m = blend(momentum, gradient, self.beta_1)
        slow = blend(slow_momentum, gradient, beta_3)
        v = blend(velocity, ops.square(gradient), self.beta_2)
        for slot, value in zip(slots, (m, slow, v), strict=True):
            self.assign(slot, value)
        root = ops.sqrt(v / debias(self.beta_2, t)) + self.epsilon
        self.assign_sub(variable, rate * (m / debias(self.beta_1, t) + alpha * slow) / root)

    def _grown(self, t: Any) -> tuple[Any, Any]:
        """alpha, and beta_3 such that the half-life of the slow average grows evenly."""
        if self.slow_steps is None:
            return self.alpha, self.beta_3
        part = ops.minimum(t / self.slow_steps, 1.0)
        fast, slow = math.log(self.beta_1), math.log(self.beta_3)
        return self.alpha * part, ops.exp(fast * slow / ((1 - part) * slow + part * fast))
