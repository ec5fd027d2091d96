"""Muon for convolutional networks."""

from __future__ import annotations

import math
import re
from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="optimizers")
class ConvMuon(keras.optimizers.Muon):
    """Muon that orthogonalizes the momentum of convolution kernels as well.

    Keras's Muon leaves everything but matrices to Adam, and so nearly all of a convolutional network. Here a kernel
    (h, w, in, out) is treated as the matrix (h * w * in, out), as Jordan et al. do. Biases, norms, embeddings and the
    layers in `exclude_layers` (by default the last one, if it is called `logits`) are left to Adam; `registry.get` finds
    the last one by itself if it is given the model.

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

    def _should_use_adamw(self, variable: keras.Variable) -> bool:
        if len(variable.shape) not in (2, 4):
            return True
        if self.exclude_embeddings and "embedding" in variable.path.lower():
            return True
        return any(re.search(pattern, variable.path) for pattern in self.exclude_layers)

    def _muon_update_step(self, gradient: Any, variable: keras.Variable, lr: Any, m: keras.Variable) -> None:
        self.assign_add(m, ops.add(gradient, m * (self.momentum - 1)))
        update = ops.add(gradient, self.momentum * m) if self.nesterov else ops.convert_to_tensor(m)
        rows, columns = math.prod(variable.shape[:-1]), variable.shape[-1]
        update = self.zeropower_via_newtonschulz5(ops.reshape(update, (rows, columns)), self.ns_steps)
        scale = 1.0 if self.rms_rate is None else self.rms_rate * math.sqrt(max(rows, columns))
        self.assign_sub(variable, ops.reshape(update, variable.shape) * (lr * scale))
