"""Lookahead: k steps forward, one step back."""

from __future__ import annotations

from typing import Any, ClassVar

import keras
from keras import ops

from optimizers.base import copies
from optimizers.wrapper import Wrapper


@keras.saving.register_keras_serializable(package="optimizers")
class Lookahead(Wrapper):
    """Lets another optimizer explore, and every few steps moves a fraction of the way to its weights.

    The slow weights are those to judge: `evaluation_values` gives them, and they are the model's when `fit` ends.

    Args:
        inner: The optimizer that explores.
        period: Its steps between two steps of the slow weights.
        alpha: Part of the way that the slow weights go, above 0 and at most 1.
        **kwargs: The arguments of `Wrapper`.

    Reference:
        Zhang et al., "Lookahead Optimizer: k steps forward, 1 step back", NeurIPS 2019.
    """

    settings: ClassVar = ("period", "alpha")

    def __init__(self, inner: keras.optimizers.Optimizer, period: int = 5, alpha: float = 0.5, **kwargs: Any) -> None:
        if period < 1 or not 0 < alpha <= 1:
            raise ValueError(f"period must be at least 1 and alpha above 0 and at most 1, got {period} and {alpha}")
        super().__init__(inner, **kwargs)
        self.period = period
        self.alpha = alpha

    def build(self, variables: Any) -> None:
        if self.built:
            return
        super().build(variables)
        self._slow = copies(self, variables, "slow")

    def wrapped_step(self, gradients: list[Any], variables: list[Any]) -> None:
        self.inner_step(gradients, variables)
        due = ops.equal((self.iterations + 1) % self.period, 0)
        for slot, variable in zip(self.slots_of(self._slow, variables), variables, strict=True):
            slow, fast = ops.convert_to_tensor(slot), ops.convert_to_tensor(variable)
            moved = slow + self.alpha * (fast - slow)
            self.assign(slot, ops.where(due, moved, slow))
            self.assign(variable, ops.where(due, moved, fast))

    def evaluation_values(self) -> list[Any]:
        """The slow weights, in the order of the variables that the optimizer was built with."""
        pairs = zip(self._trainable_variables, self._slow, strict=True)
        return [ops.convert_to_tensor(w if slow is None else slow) for w, slow in pairs]

    def finalize_variable_values(self, var_list: Any) -> None:
        for variable, value in zip(self._trainable_variables, self.evaluation_values(), strict=True):
            # A copy: on JAX the two would be one array, which the step of a second `fit` could not take.
            variable.assign(ops.copy(value))
        super().finalize_variable_values(var_list)
