"""DropConnect: dropout of weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="regularizers")
class DropConnect(keras.layers.Wrapper):
    """Drops single weights of the layer it wraps while training: `DropConnect(keras.layers.Dense(64), 0.5)`.

    Weights that stay are divided by `1 - rate`, so that nothing changes at inference. The draw is one for the batch,
    not one for each sample as in the paper, which would need a kernel for each sample.

    Args:
        layer: A layer with kernels, such as `Dense`, a convolution or a recurrent layer.
        rate: Probability, at least 0 and below 1, that a weight is dropped.
        kernels: Names of the variables to drop from; `("recurrent_kernel",)` makes of an LSTM that of Merity et al.
            ("Regularizing and Optimizing LSTM Language Models", 2018).
        seed: Seed of the layer's random generator.

    Reference:
        Wan et al., "Regularization of Neural Networks using DropConnect", ICML 2013.
    """

    def __init__(
        self,
        layer: keras.layers.Layer,
        rate: float,
        kernels: Sequence[str] = ("kernel",),
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(layer, **kwargs)
        if not 0 <= rate < 1:
            raise ValueError(f"rate must be at least 0 and below 1, got {rate}")
        self.rate = rate
        self.kernels = tuple(kernels)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.supports_masking = getattr(layer, "supports_masking", False)

    def build(self, input_shape: Any = None) -> None:
        super().build(input_shape)
        found = sorted({v.name for v in self.layer.variables})
        if not set(self.kernels) & set(found):
            raise ValueError(
                f"{self.layer.name} has no variable {' or '.join(self.kernels)} to drop weights from: "
                f"it has {', '.join(found) or 'none'}"
            )

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        if not training or self.rate == 0:
            return self.layer(inputs)
        values = [(v, self._dropped(v) if v.name in self.kernels else v.value) for v in self.layer.variables]
        with keras.StatelessScope(state_mapping=values, collect_losses=True) as scope:
            outputs = self.layer(inputs)
        for variable in self.layer.non_trainable_variables:
            if variable.name not in self.kernels:
                variable.assign(scope.get_current_value(variable))
        for loss in scope.losses:
            self.add_loss(loss)
        return outputs

    def _dropped(self, kernel: keras.Variable) -> Any:
        stays = keras.random.uniform(kernel.shape, dtype="float32", seed=self.seed_generator) >= self.rate
        value = ops.convert_to_tensor(kernel.value)
        return value * ops.cast(stays, value.dtype) / (1 - self.rate)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return self.layer.compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self.rate, "kernels": list(self.kernels), "seed": self.seed}
