"""The last layer of a detector: from distances and scores at each location to boxes with class logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops


def locations(height: int, width: int, strides: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Centres (A, 2) as x and y in pixels, and strides (A,), of all locations of a feature pyramid, level by level."""
    centres, sizes = [], []
    for stride in strides:
        ys, xs = (np.arange(-(-side // stride)) + 0.5 for side in (height, width))
        grid = np.stack(np.meshgrid(xs, ys), -1).reshape(-1, 2) * stride
        centres.append(grid)
        sizes.append(np.full(len(grid), stride))
    return np.concatenate(centres).astype(np.float32), np.concatenate(sizes).astype(np.float32)


@keras.saving.register_keras_serializable(package="pipelines")
class DetectionOutput(keras.layers.Layer):
    """Joins the levels of a pyramid: features (B, h, w, 4 + K) of each to (B, A, 4 + K).

    The first four numbers of a location become left, top, right and bottom of a box in pixels: they are the logarithms
    of the distances of its sides from the location, in strides. The others are class logits, to which a scale and a
    bias are applied that calibration sets and training leaves.

    Args:
        height: Of the image.
        width: Of the image.
        strides: Of the levels, in the order of the inputs.
    """

    def __init__(self, height: int, width: int, strides: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.height, self.width, self.strides = height, width, [int(s) for s in strides]
        centres, sizes = locations(height, width, self.strides)
        self._centres, self._sizes = centres, sizes[:, None]

    def build(self, input_shape: Any) -> None:
        self.scale = self.add_weight(shape=(), initializer="ones", trainable=False, name="scale")
        self.bias = self.add_weight(shape=(), initializer="zeros", trainable=False, name="bias")

    def call(self, levels: Sequence[Any]) -> Any:
        flat = [ops.reshape(x, (-1, x.shape[1] * x.shape[2], x.shape[3])) for x in levels]
        x = ops.cast(ops.concatenate(flat, 1), "float32")
        distances = ops.exp(ops.clip(x[..., :4], -6.0, 6.0)) * self._sizes
        corners = ops.concatenate([self._centres - distances[..., :2], self._centres + distances[..., 2:]], -1)
        return ops.concatenate([corners, x[..., 4:] * self.scale + self.bias], -1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape[0][0], len(self._centres), input_shape[0][-1]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "height": self.height, "width": self.width, "strides": self.strides}
