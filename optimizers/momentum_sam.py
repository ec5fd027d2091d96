"""Momentum-SAM: flat minima without a second backward pass."""

from __future__ import annotations

from typing import Any, ClassVar

import keras
from keras import ops

from optimizers.base import Optimizer, check_rates, dense, judged, one_replica, working_type


@keras.saving.register_keras_serializable(package="optimizers")
class MomentumSAM(Optimizer):
    """Momentum whose gradients are taken a distance `rho` ahead, where its own momentum leads.

    Sharpness-aware minimization looks for a neighbourhood of low loss and pays two backward passes for it; this takes
    the direction from the momentum and pays one. While training, the model holds the shifted weights; when `fit` ends
    (`finalize_variable_values`) the plain ones come back, and `evaluation_values` gives them in between.

    Args:
        learning_rate: A number or a schedule.
        momentum: Decay rate of the momentum.
        rho: Distance, as the norm of the shift of all weights together.
        nesterov: Look ahead in the step as well.
        weight_decay: Decoupled weight decay of the plain weights.
        **kwargs: The other arguments of `keras.optimizers.Optimizer`.

    Reference:
        Becker et al., "Momentum-SAM: Sharpness Aware Minimization without Computational Overhead", 2024.
    """

    settings: ClassVar = ("momentum", "rho", "nesterov")
    slots: ClassVar = ("velocity",)
    all_at_once: ClassVar = True

    def __init__(
        self,
        learning_rate: Any = 0.1,
        momentum: float = 0.9,
        rho: float = 0.3,
        nesterov: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, **kwargs)
        check_rates(self, momentum=momentum)
        if rho < 0:
            raise ValueError(f"rho must not be negative, got {rho}")
        self.rho = rho
        self.nesterov = nesterov

    def build(self, variables: Any) -> None:
        if self.built:
            return
        super().build(variables)
        self._shift = self.add_variable((), "zeros", "float32", name="shift")

    def _apply_weight_decay(self, variables: Any) -> None:
        """Of the plain weights, in `_backend_update_step`."""

    def _backend_update_step(self, grads: Any, trainable_variables: Any, learning_rate: Any) -> None:
        one_replica(self)
        moved, squares = [], ops.zeros(())
        for gradient, variable in zip(grads, trainable_variables, strict=True):
            velocity = self._slots[0][self._get_variable_index(variable)]
            dtype = working_type(variable)
            gradient, rate = dense(gradient, dtype), ops.cast(learning_rate, dtype)
            plain = ops.cast(variable, dtype) + ops.cast(self._shift, dtype) * velocity
            if self.weight_decay and self._use_weight_decay(variable):
                plain = plain * (1 - rate * self.weight_decay)
            v = self.momentum * velocity + gradient
            plain = plain - rate * (gradient + self.momentum * v if self.nesterov else v)
            self.assign(velocity, v)
            squares = squares + ops.cast(ops.sum(ops.square(v)), "float32")
            moved.append((plain, v))
        shift = self.rho / (ops.sqrt(squares) + 1e-12)
        self._shift.assign(shift)
        for (plain, v), variable in zip(moved, trainable_variables, strict=True):
            self.assign(variable, plain - ops.cast(shift, v.dtype) * v)

    def evaluation_values(self) -> list[Any]:
        """The plain weights, in the order of the variables that the optimizer was built with."""
        pairs = zip(self._trainable_variables, self._slots[0], strict=True)
        return [
            ops.convert_to_tensor(w) if v is None else ops.cast(w + ops.cast(self._shift, v.dtype) * v, w.dtype)
            for w, v in pairs
        ]

    def _update_model_variables_moving_average(self, trainable_variables: Any) -> None:
        super()._update_model_variables_moving_average(judged(self, trainable_variables))

    def finalize_variable_values(self, var_list: Any) -> None:
        for variable, value in zip(self._trainable_variables, self.evaluation_values(), strict=True):
            variable.assign(value)
        self._shift.assign(0.0)
        super().finalize_variable_values(var_list)
