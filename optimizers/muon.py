"""Muon for convolutional networks."""

from __future__ import annotations

import math
import re
from typing import Any

import keras
from keras import ops

from optimizers.base import SumsRows, matrix_shape


@keras.saving.register_keras_serializable(package="optimizers")
class ConvMuon(SumsRows, keras.optimizers.Muon):
    """Muon that orthogonalizes the momentum of convolutions and of attention as well.

    Keras's Muon leaves everything but matrices to Adam, and so nearly all of a convolutional network, and the kernels
    of Keras's attention, which have three axes. Here a kernel (..., in, out) is treated as the matrix (... * in, out),
    as Jordan et al. do; the query, key and value kernels (in, heads, size) of an attention as (in, heads * size).
    Biases, norms, depthwise kernels and whatever else is but a vector, embeddings and the layers in `exclude_layers`
    (by default the last one, if it is called `logits`) are left to Adam; `registry.get` finds the last one by itself if
    it is given the model.

    Args:
        learning_rate: A number or a schedule.
        weight_decay: Decoupled weight decay of the matrices and kernels.
        exclude_layers: Patterns of variable paths that are left to Adam.
        **kwargs: The arguments of `keras.optimizers.Muon`.

    Reference:
        Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024; the scale of the update that
        allows the rates of AdamW is that of Liu et al., "Muon is Scalable for LLM Training", 2025.
    """

    def __init__(
        self,
        learning_rate: Any = 4e-3,
        weight_decay: float | None = 0.05,
        exclude_layers: list[str] | None = None,
        **kwargs: Any,
    ) -> None:
        excluded = ["logits"] if exclude_layers is None else exclude_layers
        super().__init__(learning_rate, weight_decay=weight_decay, exclude_layers=excluded, **kwargs)

    def build(self, variables: Any) -> None:
        if self.built:
            return
        super().build(variables)
        self._matrices = [
            matrix_shape(v) for v in variables
        ]  # here, since a step may be given variables without a path

    def _should_use_adamw(self, variable: keras.Variable) -> bool:
        if len(variable.shape) < 2 or min(matrix_shape(variable)) == 1:
            return True
        if self.exclude_embeddings and "embedding" in variable.path.lower():
            return True
        return any(re.search(pattern, variable.path) for pattern in self.exclude_layers)

    def _muon_update_step(self, gradient: Any, variable: keras.Variable, lr: Any, m: keras.Variable) -> None:
        self.assign_add(m, ops.add(gradient, m * (self.momentum - 1)))
        update = ops.add(gradient, self.momentum * m) if self.nesterov else ops.convert_to_tensor(m)
        matrix = self._matrices[self._get_variable_index(variable)]
        update = self.zeropower_via_newtonschulz5(ops.reshape(update, matrix), self.ns_steps)
        scale = 1.0 if self.rms_rate is None else self.rms_rate * math.sqrt(max(matrix))
        self.assign_sub(variable, ops.reshape(update, variable.shape) * (lr * scale))


def output_kernels(model: keras.Model) -> list[str]:
    """Paths of the last kernel, of two axes or more, before each output of a model.

    Of a model that is not made of layers with known inputs (a subclass of `keras.Model`), the last one of all.
    """
    found: dict[str, None] = {}
    for output in keras.tree.flatten(getattr(model, "outputs", None) or []):
        kernels: list[str] = []
        while not kernels:
            history = output._keras_history
            kernels = _kernels(history.operation)
            inputs = history.operation._inbound_nodes[history.node_index].input_tensors
            if not inputs:
                break
            output = inputs[0]
        found |= dict.fromkeys(kernels[-1:])
    return list(found) or _kernels(model)[-1:]


def _kernels(layer: Any) -> list[str]:
    return [v.path for v in getattr(layer, "trainable_variables", ()) if len(v.shape) > 1]
