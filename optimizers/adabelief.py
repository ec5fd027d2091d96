"""AdaBelief."""

from __future__ import annotations

from typing import Any, ClassVar

import keras
from keras import ops

from optimizers.base import Optimizer, blend, check_rates, debias


@keras.saving.register_keras_serializable(package="optimizers")
class AdaBelief(Optimizer):
    """Adam whose second moment is that of the surprise: the gradient's distance from its own average.

    Where gradients agree with their average the step is long, also where they are large.

    Args:
        learning_rate: A number or a schedule.
        beta_1: Decay rate of the average of the gradients.
        beta_2: Decay rate of the average of the squared surprise.
        epsilon: Added to the second moment at each step, and to its root.
        **kwargs: The arguments of `keras.optimizers.Optimizer`.

    Reference:
        Zhuang et al., "AdaBelief Optimizer: Adapting Stepsizes by the Belief in Observed Gradients", NeurIPS 2020.
    """

    settings: ClassVar = ("beta_1", "beta_2", "epsilon")
    slots: ClassVar = ("momentum", "surprise")

    def __init__(
        self,
        learning_rate: Any = 1e-3,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-16,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, **kwargs)
        check_rates(self, beta_1=beta_1, beta_2=beta_2)
        self.epsilon = epsilon

    def step(self, gradient: Any, variable: Any, rate: Any, *slots: Any) -> None:
        momentum, surprise = slots
        count = self.count(gradient.dtype)
        m = blend(momentum, gradient, self.beta_1)
        s = blend(surprise, ops.square(gradient - m), self.beta_2) + self.epsilon
        self.assign(momentum, m)
        self.assign(surprise, s)
        root = ops.sqrt(s / debias(self.beta_2, count)) + self.epsilon
        self.assign_sub(variable, rate / debias(self.beta_1, count) * m / root)
