"""LARS: layer-wise rates for very large batches."""

from __future__ import annotations

from typing import Any, ClassVar

import keras
from keras import ops

from optimizers.base import Optimizer, check_rates, norm


@keras.saving.register_keras_serializable(package="optimizers")
class LARS(Optimizer):
    """Momentum whose rate is, for each kernel, in proportion to the norm of its weights over that of its gradient.

    Biases, norms and other vectors take plain momentum.

    Args:
        learning_rate: A number or a schedule.
        momentum: Decay rate of the momentum.
        trust: Step of a kernel in relation to its norm.
        nesterov: Look ahead.
        epsilon: Added to the norm of the gradient.
        weight_decay: L2 decay, added to the gradient before its norm is taken.
        **kwargs: The other arguments of `keras.optimizers.Optimizer`.

    Reference:
        You et al., "Large Batch Training of Convolutional Networks", 2017.
    """

    settings: ClassVar = ("momentum", "trust", "nesterov", "epsilon")
    slots: ClassVar = ("velocity",)

    def __init__(
        self,
        learning_rate: Any = 1.0,
        momentum: float = 0.9,
        trust: float = 0.001,
        nesterov: bool = False,
        epsilon: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, **kwargs)
        check_rates(self, momentum=momentum)
        self.trust = trust
        self.nesterov = nesterov
        self.epsilon = epsilon

    def _apply_weight_decay(self, variables: Any) -> None:
        """Part of the gradient, in `step`."""

    def step(self, gradient: Any, variable: Any, rate: Any, *slots: Any) -> None:
        (velocity,) = slots
        held = ops.cast(variable, gradient.dtype)
        if self.weight_decay and self._use_weight_decay(variable):
            gradient = gradient + self.weight_decay * held
        if len(variable.shape) > 1:
            weight, length = norm(held), norm(gradient)
            usable = ops.logical_and(weight > 0, length > 0)
            safe = ops.where(usable, length + self.epsilon, ops.ones_like(length))
            rate = rate * ops.where(usable, self.trust * weight / safe, ops.ones_like(length))
        v = self.momentum * velocity + rate * gradient
        self.assign(velocity, v)
        self.assign_sub(variable, self.momentum * v + rate * gradient if self.nesterov else v)
