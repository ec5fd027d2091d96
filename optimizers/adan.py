"""Adan: adaptive Nesterov momentum."""

from __future__ import annotations

from typing import Any, ClassVar

import keras
from keras import ops

from optimizers.base import Optimizer, blend, check_rates, debias


@keras.saving.register_keras_serializable(package="optimizers")
class Adan(Optimizer):
    """Nesterov momentum from differences of gradients, with an adaptive step; it bears large learning rates.

    Args:
        learning_rate: A number or a schedule; five to ten times Adam's.
        beta_1: Decay rate of the average of the gradients.
        beta_2: Decay rate of the average of their differences.
        beta_3: Decay rate of the second moment.
        epsilon: Added to the root of the second moment.
        **kwargs: The arguments of `keras.optimizers.Optimizer`; weight decay is decoupled (the authors' `no_prox`).

    Reference:
        Xie et al., "Adan: Adaptive Nesterov Momentum Algorithm for Faster Optimizing Deep Models", TPAMI 2024. The
        decay rates are one minus those of the paper, as in the authors' code.
    """

    settings: ClassVar = ("beta_1", "beta_2", "beta_3", "epsilon")
    slots: ClassVar = ("momentum", "difference", "velocity", "previous")

    def __init__(
        self,
        learning_rate: Any = 5e-3,
        beta_1: float = 0.98,
        beta_2: float = 0.92,
        beta_3: float = 0.99,
        epsilon: float = 1e-8,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, **kwargs)
        check_rates(self, beta_1=beta_1, beta_2=beta_2, beta_3=beta_3)
        self.epsilon = epsilon

    def step(self, gradient: Any, variable: Any, rate: Any, *slots: Any) -> None:
        momentum, difference, velocity, previous = slots
        t = self.count(gradient.dtype)
        change = ops.where(t > 1, gradient - previous, ops.zeros_like(gradient))
        m = blend(momentum, gradient, self.beta_1)
        d = blend(difference, change, self.beta_2)
        v = blend(velocity, ops.square(gradient + self.beta_2 * change), self.beta_3)
        for slot, value in zip(slots, (m, d, v, gradient), strict=True):
            self.assign(slot, value)
        root = ops.sqrt(v / debias(self.beta_3, t)) + self.epsilon
        ahead = m / debias(self.beta_1, t) + self.beta_2 * d / debias(self.beta_2, t)
        self.assign_sub(variable, rate * ahead / root)
