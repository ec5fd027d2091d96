"""Orthonormal filters: activations and gradients keep their length, and no two filters say the same."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from regularizers.matrix import TINY, OnMatrix
from regularizers.spectral import _ByPowerIteration, top_direction


def _tall(matrix: Any) -> Any:
    """Columns, or rows where there are fewer of them: more vectors than dimensions cannot be orthonormal."""
    return matrix if matrix.shape[0] >= matrix.shape[1] else ops.transpose(matrix)


@keras.saving.register_keras_serializable(package="regularizers")
class SoftOrthogonal(OnMatrix):
    """strength * ||W'W - 1||^2 (Frobenius) for the kernel as a matrix W (inputs, outputs).

    Where there are more outputs than inputs it is ||WW' - 1||^2, which has the same gradient and can reach zero.

    Args:
        strength: Factor of the penalty in the loss.
        axis: The axis, or axes, that number the outputs; see `OnMatrix`.

    Reference:
        Bansal et al., "Can We Gain More from Orthogonality Regularizations in Training Deep CNNs?", 2018 (SO).
    """

    def __call__(self, x: Any) -> Any:
        matrix = _tall(self.matrix(x))
        gram = ops.matmul(ops.transpose(matrix), matrix)
        return self.strength * ops.sum(ops.square(gram - ops.eye(matrix.shape[1], dtype=gram.dtype)))


@keras.saving.register_keras_serializable(package="regularizers")
class SRIP(_ByPowerIteration):
    """strength * the spectral norm of W'W - 1: how far the length of any vector may change.

    "Spectral restricted isometry property" regularization; where there are more outputs than inputs, of WW' - 1.

    Args:
        strength: Factor of the penalty in the loss.
        iterations: Steps of power iteration at each call.
        axis: The axis, or axes, that number the outputs; see `OnMatrix`.

    Reference:
        Bansal et al., "Can We Gain More from Orthogonality Regularizations in Training Deep CNNs?", 2018.
    """

    def __call__(self, x: Any) -> Any:
        matrix = _tall(self.matrix(x))
        back = ops.transpose(matrix)

        def deviation(v: Any) -> Any:
            return ops.matmul(back, ops.matmul(matrix, v)) - v

        # Twice: an eigenvalue and its negative would make a single step swing between their directions.
        direction = top_direction(lambda v: deviation(deviation(v)), matrix.shape[1], self.iterations, matrix.dtype)
        return self.strength * ops.sqrt(ops.maximum(ops.sum(ops.square(deviation(direction))), TINY))
