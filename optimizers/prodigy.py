"""Prodigy: Adam that finds its own learning rate."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import keras
from keras import ops

from optimizers.base import Optimizer, blend, check_rates, copies, debias, dense, one_replica, working_type


@keras.saving.register_keras_serializable(package="optimizers")
class Prodigy(Optimizer):
    """Adam whose step is in proportion to an estimate of how far the solution is, made from the gradients.

    Leave `learning_rate` at 1, or let a schedule fall from 1.

    Args:
        learning_rate: A factor of the estimated rate, as a number or a schedule.
        beta_1: Decay rate of the average of the gradients.
        beta_2: Decay rate of the average of the squared gradients.
        beta_3: Decay rate of the estimate's sums; none takes the root of `beta_2`.
        initial_distance: First estimate of the distance.
        distance_factor: Factor of the estimate; 0.5 or 2 if steps are too long or too short.
        growth: Largest factor by which the estimate grows in a step.
        bias_correction: Adam's bias correction.
        safeguard_warmup: Do not let small rates of a warm-up raise the estimate.
        epsilon: Added to the root of the second moment, times the distance.
        weight_decay: Decoupled weight decay, in proportion to the estimated rate.
        **kwargs: The other arguments of `keras.optimizers.Optimizer`.

    Reference:
        Mishchenko & Defazio, "Prodigy: An Expeditiously Adaptive Parameter-Free Learner", ICML 2024.
    """

    settings: ClassVar = (
        "beta_1", "beta_2", "beta_3", "initial_distance", "distance_factor", "growth", "bias_correction",
        "safeguard_warmup", "epsilon",
    )  # fmt: skip
    slots: ClassVar = ("momentum", "velocity", "sum")
    all_at_once: ClassVar = True

    def __init__(
        self,
        learning_rate: Any = 1.0,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        beta_3: float | None = None,
        initial_distance: float = 1e-6,
        distance_factor: float = 1.0,
        growth: float = math.inf,
        bias_correction: bool = False,
        safeguard_warmup: bool = False,
        epsilon: float = 1e-8,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, **kwargs)
        check_rates(self, beta_1=beta_1, beta_2=beta_2)
        if beta_3 is not None:
            check_rates(self, beta_3=beta_3)
        if not (initial_distance > 0 and distance_factor > 0 and growth > 1):
            raise ValueError(
                "initial_distance and distance_factor must be positive and growth above 1, got "
                f"{initial_distance}, {distance_factor} and {growth}"
            )
        self.beta_3 = beta_3
        self.initial_distance = initial_distance
        self.distance_factor = distance_factor
        self.growth = growth
        self.bias_correction = bias_correction
        self.safeguard_warmup = safeguard_warmup
        self.epsilon = epsilon

    def build(self, variables: Any) -> None:
        if self.built:
            return
        super().build(variables)
        self._slots.append(copies(self, variables, "start"))
        constant = keras.initializers.Constant(self.initial_distance)
        self._distance = self.add_variable((), constant, "float32", name="distance")
        self._largest = self.add_variable((), constant, "float32", name="largest_distance")
        self._numerator = self.add_variable((), "zeros", "float32", name="numerator")

    def _apply_weight_decay(self, variables: Any) -> None:
        """Follows the estimated rate, in `_backend_update_step`."""

    def _backend_update_step(self, grads: Any, trainable_variables: Any, learning_rate: Any) -> None:
        one_replica(self)
        rate = ops.cast(learning_rate, "float32")
        distance = ops.convert_to_tensor(self._distance)
        scale = distance / self.initial_distance
        step = distance * rate
        if self.bias_correction:
            count = self.count("float32")
            step = step * ops.sqrt(debias(self.beta_2, count)) / debias(self.beta_1, count)
        moments, progress, length = [], ops.zeros(()), ops.zeros(())
        beta_3 = math.sqrt(self.beta_2) if self.beta_3 is None else self.beta_3
        for gradient, variable in zip(grads, trainable_variables, strict=True):
            index = self._get_variable_index(variable)
            momentum, velocity, total, start = (slot[index] for slot in self._slots)
            dtype = working_type(variable)
            gradient, d = dense(gradient, dtype), ops.cast(distance, dtype)
            m = self.beta_1 * momentum + (1 - self.beta_1) * d * gradient
            v = blend(velocity, ops.square(d * gradient), self.beta_2)
            push = ops.cast(scale * (distance if self.safeguard_warmup else step), dtype)
            s = beta_3 * total + push * gradient
            progress = progress + ops.cast(ops.sum(gradient * ops.cast(start - variable, dtype)), "float32")
            length = length + ops.cast(ops.sum(ops.abs(s)), "float32")
            self.assign(momentum, m)
            self.assign(velocity, v)
            self.assign(total, s)
            moments.append((m, v))
        numerator = beta_3 * self._numerator + scale * step * progress
        distance = self._estimate(distance, numerator, length, rate)
        self._numerator.assign(ops.where(length > 0, numerator, ops.convert_to_tensor(self._numerator)))
        for (m, v), variable in zip(moments, trainable_variables, strict=True):
            d, amount = ops.cast(distance, m.dtype), ops.cast(step, m.dtype)
            change = m / (ops.sqrt(v) + d * self.epsilon)
            if self.weight_decay and self._use_weight_decay(variable):
                change = change + self.weight_decay * ops.cast(variable, m.dtype)
            self.assign_sub(variable, amount * change)

    def _estimate(self, distance: Any, numerator: Any, length: Any, rate: Any) -> Any:
        known = ops.logical_and(length > 0, rate > 0)
        found = self.distance_factor * numerator / ops.where(known, length, ops.ones_like(length))
        found = ops.where(known, found, distance)
        first = ops.equal(distance, ops.cast(self.initial_distance, "float32"))
        current = ops.where(first, ops.maximum(distance, found), distance)
        before = ops.convert_to_tensor(self._largest)
        largest = ops.maximum(before, found)
        current = ops.where(known, ops.minimum(largest, current * self.growth), distance)
        self._largest.assign(ops.where(known, largest, before))
        self._distance.assign(current)
        return current
