"""Stochastic depth: residual branches that are dropped at random."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="regularizers")
class StochasticDepth(keras.layers.Layer):
    """Drops the whole residual branch of single samples while training.

    Put it on the branch, before it is added to the shortcut: `x + StochasticDepth(0.1)(branch)`. Branches that stay
    are divided by `1 - rate`, so that nothing changes at inference.

    Args:
        rate: Probability, at least 0 and below 1, that a sample's branch is dropped.
        seed: Seed of the layer's random generator.

    Reference:
        Huang et al., "Deep Networks with Stochastic Depth", ECCV 2016.
    """

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 <= rate < 1:
            raise ValueError(f"rate must be at least 0 and below 1, got {rate}")
        self.rate = rate
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.supports_masking = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Takes and returns (B, ...); in training, whole rows may become zero."""
        if not training or self.rate == 0:
            return inputs
        shape = (ops.shape(inputs)[0],) + (1,) * (len(inputs.shape) - 1)
        stays = keras.random.uniform(shape, dtype="float32", seed=self.seed_generator) >= self.rate
        return inputs * ops.cast(stays, inputs.dtype) / (1 - self.rate)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}
