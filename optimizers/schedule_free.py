"""Schedule-free learning around any optimizer."""

from __future__ import annotations

from typing import Any, ClassVar

import keras
from keras import ops

from optimizers.base import copies
from optimizers.wrapper import Wrapper


@keras.saving.register_keras_serializable(package="optimizers")
class ScheduleFree(Wrapper):
    """Replaces the schedule by an average of the weights: there is no need to know when training will end.

    Another optimizer moves z; x is the average of the z, and gradients are taken between the two, at
    y = momentum * x + (1 - momentum) * z. While training, the model holds y; x is to be judged and kept:
    `evaluation_values` gives it, and it is the model's when `fit` ends. (Keras's `ScheduleFreeAdamW` leaves y there.)
    Use a constant learning rate, or a warm-up to a constant, and turn the inner optimizer's own momentum off.

    Args:
        inner: The optimizer that moves z; its weight decay is in proportion to y, as in the authors' code.
        momentum: Part of x in y, above 0 and below 1.
        weight_power: Weights in the average are the largest rate so far, raised to this power.
        **kwargs: The arguments of `Wrapper`.

    Reference:
        Defazio et al., "The Road Less Scheduled", NeurIPS 2024.
    """

    settings: ClassVar = ("momentum", "weight_power")

    def __init__(
        self, inner: keras.optimizers.Optimizer, momentum: float = 0.9, weight_power: float = 2.0, **kwargs: Any
    ) -> None:
        if not 0 < momentum < 1 or weight_power < 0:
            raise ValueError(
                "momentum must be between 0 and 1 and weight_power not negative, got "
                f"momentum={momentum}, weight_power={weight_power}"
            )
        super().__init__(inner, **kwargs)
        self.momentum = momentum
        self.weight_power = weight_power

    def build(self, variables: Any) -> None:
        if self.built:
            return
        super().build(variables)
        self._z = copies(self, variables, "z")
        self._largest_rate = self.add_variable((), "zeros", "float32", name="largest_rate")
        self._weight_sum = self.add_variable((), "zeros", "float32", name="weight_sum")
        # 1 while the model holds y, 0 at the start and after `fit` has put x there.
        self._between = self.add_variable((), "zeros", "float32", name="between")

    def _apply_weight_decay(self, variables: Any) -> None:
        """In `wrapped_step`."""

    def wrapped_step(self, gradients: list[Any], variables: list[Any]) -> None:
        slots = self.slots_of(self._z, variables)
        averages = [self._average(y, z) for y, z in zip(variables, slots, strict=True)]
        between = [ops.copy(ops.convert_to_tensor(y)) for y in variables]
        self.inner._apply_weight_decay(variables)
        for variable, z, y in zip(variables, slots, between, strict=True):
            self.assign(variable, z + (variable - y))
        self.inner_step(gradients, variables)
        largest = ops.maximum(self._largest_rate, ops.cast(self.learning_rate, "float32"))
        weight = ops.power(largest, self.weight_power)
        total = self._weight_sum + weight
        part = ops.where(total > 0, weight / ops.where(total > 0, total, 1.0), 0.0)
        for slot, variable, x in zip(slots, variables, averages, strict=True):
            z = ops.convert_to_tensor(variable)
            x = x + ops.cast(part, variable.dtype) * (z - x)
            self.assign(slot, z)
            self.assign(variable, self.momentum * x + (1 - self.momentum) * z)
        self._largest_rate.assign(largest)
        self._weight_sum.assign(total)
        self._between.assign(1.0)

    def _average(self, variable: Any, z: Any) -> Any:
        """x, from what the model holds."""
        held = ops.convert_to_tensor(variable)
        return ops.where(self._between > 0, (held - (1 - self.momentum) * z) / self.momentum, ops.copy(held))

    def evaluation_values(self) -> list[Any]:
        """x, in the order of the variables that the optimizer was built with."""
        pairs = zip(self._trainable_variables, self._z, strict=True)
        return [ops.convert_to_tensor(w) if z is None else self._average(w, z) for w, z in pairs]

    def finalize_variable_values(self, var_list: Any) -> None:
        for variable, value in zip(self._trainable_variables, self.evaluation_values(), strict=True):
            variable.assign(value)
        self._between.assign(0.0)
        super().finalize_variable_values(var_list)
