"""Decorrelation: activations of a layer that say different things."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from regularizers.matrix import at_least_float32

# Since 3.14 Keras divides what an activity regularizer gives by the number of samples, which suits sums over them.
KERAS_DIVIDES = tuple(int(part) for part in keras.__version__.split(".")[:2]) >= (3, 14)


class OnActivity(keras.Regularizer):
    """A penalty on what a layer gives out; `regularizers.apply` makes it the layer's `activity_regularizer`."""


@keras.saving.register_keras_serializable(package="regularizers")
class Decorrelation(OnActivity):
    """strength / 2 * (sum of the squares of the covariances between different features) over the batch.

    Features are the last axis, all others are samples. It is part of the validation loss too, as are all activity
    regularizers of Keras, and does not see sample weights.

    Args:
        strength: Factor of the penalty in the loss.

    Reference:
        Cogswell et al., "Reducing Overfitting in Deep Networks by Decorrelating Representations", 2016 (DeCov).
    """

    def __init__(self, strength: float) -> None:
        if not strength >= 0:
            raise ValueError(f"strength must not be negative, got {strength}")
        self.strength = strength

    def __call__(self, x: Any) -> Any:
        """(B, ..., F) activations to what Keras, which may divide it by B, adds to the loss."""
        penalty = self.penalty(x)
        return penalty * ops.cast(ops.shape(x)[0], penalty.dtype) if KERAS_DIVIDES else penalty

    def penalty(self, x: Any) -> Any:
        """(..., F) activations to a scalar."""
        x = at_least_float32(x)
        x = ops.reshape(x, (-1, x.shape[-1]))
        centred = x - ops.mean(x, axis=0, keepdims=True)
        covariance = ops.matmul(ops.transpose(centred), centred) / ops.cast(ops.shape(x)[0], x.dtype)
        own = ops.mean(ops.square(centred), axis=0)
        return self.strength / 2 * (ops.sum(ops.square(covariance)) - ops.sum(ops.square(own)))

    def get_config(self) -> dict[str, Any]:
        return {"strength": self.strength}
