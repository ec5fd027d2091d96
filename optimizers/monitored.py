"""Gradient, update and weight norms, measured inside the step."""

from __future__ import annotations

from typing import Any, ClassVar

import keras
from keras import ops

from optimizers.base import dense, norm, one_replica
from optimizers.wrapper import Wrapper

KINDS = ("gradient", "update", "weight")


@keras.saving.register_keras_serializable(package="optimizers")
class Monitored(Wrapper):
    """Keeps the norms of each variable's gradient, update and weights in variables, and changes nothing.

    They are computed on the device as part of the step, every so many steps, and stay there until `norms` reads them:
    a callback that would look at gradients or weights after a step holds up the device at each of them. Outermost it
    sees the gradients before they are clipped, and the whole update, weight decay included; within another wrapper,
    what that gives and takes.

    Args:
        inner: The optimizer.
        every: Steps from one measurement to the next; the first step is measured.
        **kwargs: The arguments of `Wrapper`.
    """

    settings: ClassVar = ("every",)
    transparent: ClassVar = True

    def __init__(self, inner: keras.optimizers.Optimizer, every: int = 10, **kwargs: Any) -> None:
        if every < 1:
            raise ValueError(f"every must be at least 1, got {every}")
        super().__init__(inner, **kwargs)
        self.every = every
        self._unclipped: list[Any] = []
        self._before: dict[int, Any] = {}
        if hasattr(inner, "evaluation_values"):
            self.evaluation_values = inner.evaluation_values

    def build(self, variables: Any) -> None:
        if self.built:
            return
        one_replica(self)
        super().build(variables)
        self._paths = [variable.path for variable in variables]
        shape = (len(self._paths),)
        self._norms = [self.add_variable(shape, "zeros", "float32", name=f"{kind}_norms") for kind in KINDS]

    def norms(self) -> dict[str, dict[str, float]]:
        """The last measured norms on the host: `gradient`, `update` and `weight`, each by the path of the variable."""
        if not self.built:
            return {}
        rows = [ops.convert_to_numpy(variable).tolist() for variable in self._norms]
        return {kind: dict(zip(self._paths, row, strict=True)) for kind, row in zip(KINDS, rows, strict=True)}

    def _clip_gradients(self, grads: Any) -> Any:
        self._unclipped = list(grads)
        return super()._clip_gradients(grads)

    def _apply_weight_decay(self, variables: Any) -> None:
        if not self._known_to_wait():
            self._before |= {self._get_variable_index(v): ops.copy(ops.convert_to_tensor(v)) for v in variables}
        super()._apply_weight_decay(variables)

    def _due(self) -> Any:
        return ops.equal(self.iterations % self.every, 0)

    def _known_to_wait(self) -> bool:
        """PyTorch knows before the step whether it is measured; the others compile one step for both."""
        return keras.backend.backend() == "torch" and not bool(self._due())

    def wrapped_step(self, gradients: list[Any], variables: list[Any]) -> None:
        if self._known_to_wait():
            self._unclipped = []
            self.inner_step(gradients, variables)
            return
        indices = [self._get_variable_index(variable) for variable in variables]
        before = [self._before.pop(index) for index in indices]
        given, self._unclipped = self._unclipped or gradients, []
        self.inner_step(gradients, variables)

        def measured() -> list[Any]:
            rows = [list(ops.unstack(ops.convert_to_tensor(row))) for row in self._norms]
            for index, gradient, old, variable in zip(indices, given, before, variables, strict=True):
                new = ops.cast(ops.convert_to_tensor(variable), "float32")
                rows[0][index] = norm(dense(gradient, "float32"))
                rows[1][index] = norm(new - ops.cast(old, "float32"))
                rows[2][index] = norm(new)
            return [ops.stack(row) for row in rows]

        rows = ops.cond(self._due(), measured, lambda: [ops.convert_to_tensor(row) for row in self._norms])
        for variable, row in zip(self._norms, rows, strict=True):
            variable.assign(row)

    def finalize_variable_values(self, var_list: Any) -> None:
        self.inner.finalize_variable_values(var_list)
        super().finalize_variable_values(var_list)
