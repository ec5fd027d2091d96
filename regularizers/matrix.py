"""What the penalties on kernels share: a kernel seen as a matrix with one column a neuron or filter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

TINY = 1e-30  # under a root, where it keeps the slope at zero finite; far below the square of any weight that counts


class OnMatrix(keras.Regularizer):
    """A penalty on a kernel as a matrix (inputs, outputs): each column is a neuron, or a filter.

    Args:
        strength: Factor of the penalty in the loss.
        axis: The kernel's axis, or axes, that number the outputs. None means the last, and lets `regularizers.apply`
            choose by the layer: a depthwise kernel has two, a transposed convolution's is the one before the last.
    """

    def __init__(self, strength: float, axis: int | Sequence[int] | None = None) -> None:
        if not strength >= 0:
            raise ValueError(f"strength must not be negative, got {strength}")
        self.strength = strength
        self.axis = axis if axis is None or isinstance(axis, int) else tuple(axis)

    def matrix(self, kernel: Any) -> Any:
        """The kernel as (inputs, outputs), at least in float32."""
        kernel = at_least_float32(kernel)
        axes = (-1,) if self.axis is None else (self.axis,) if isinstance(self.axis, int) else self.axis
        axes = tuple(sorted(a % len(kernel.shape) for a in axes))
        order = [a for a in range(len(kernel.shape)) if a not in axes] + list(axes)
        outputs = 1
        for a in axes:
            outputs *= kernel.shape[a]
        return ops.reshape(ops.transpose(kernel, order), (-1, outputs))

    def get_config(self) -> dict[str, Any]:
        return {"strength": self.strength, "axis": self.axis}


def at_least_float32(values: Any) -> Any:
    """Half-precision numbers as float32, which sums of squares need; float64 stays."""
    values = ops.convert_to_tensor(values)
    return ops.cast(values, keras.backend.result_type(values.dtype, "float32"))


def column_norms(matrix: Any) -> Any:
    """(m, n) to the Euclidean norms of the columns, (n,), with slope zero where a column is zero."""
    return ops.sqrt(ops.maximum(ops.sum(ops.square(matrix), axis=0), TINY))
