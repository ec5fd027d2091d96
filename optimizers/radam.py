"""Rectified Adam."""

from __future__ import annotations

from typing import Any, ClassVar

import keras
from keras import ops

from optimizers.base import Optimizer, blend, check_rates, debias


@keras.saving.register_keras_serializable(package="optimizers")
class RAdam(Optimizer):
    """Adam without the need for a warm-up: steps are short while the second moment is known from few gradients.

    Args:
        learning_rate: A number or a schedule.
        beta_1: Decay rate of the average of the gradients.
        beta_2: Decay rate of the average of the squared gradients.
        epsilon: Added to the root of the second moment.
        **kwargs: The arguments of `keras.optimizers.Optimizer`.

    Reference:
        Liu et al., "On the Variance of the Adaptive Learning Rate and Beyond", ICLR 2020.
    """

    settings: ClassVar = ("beta_1", "beta_2", "epsilon")
    slots: ClassVar = ("momentum", "velocity")

    def __init__(
        self,
        learning_rate: Any = 1e-3,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, **kwargs)
        check_rates(self, beta_1=beta_1, beta_2=beta_2)
        self.epsilon = epsilon

    def step(self, gradient: Any, variable: Any, rate: Any, *slots: Any) -> None:
        momentum, velocity = slots
        t = self.count(gradient.dtype)
        m = blend(momentum, gradient, self.beta_1)
        v = blend(velocity, ops.square(gradient), self.beta_2)
        self.assign(momentum, m)
        self.assign(velocity, v)
        # The length of the simple moving average that the exponential one stands for.
        longest = 2 / (1 - self.beta_2) - 1
        correction = debias(self.beta_2, t)
        length = longest - 2 * t * (1 - correction) / correction
        known = ops.maximum(length, 5.0)
        rectifier = ops.sqrt((known - 4) * (known - 2) * longest / ((longest - 4) * (longest - 2) * known) * correction)
        adaptive = m * rectifier / (ops.sqrt(v) + self.epsilon)
        self.assign_sub(variable, rate / debias(self.beta_1, t) * ops.where(length > 5, adaptive, m))
