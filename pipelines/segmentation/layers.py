"""Layers that trade resolution for channels and back."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="pipelines")
class SpaceToDepth(keras.layers.Layer):
    """(B, H, W, C) to (B, H / n, W / n, n * n * C): each square of n x n pixels becomes one.

    Args:
        block: n; height and width must be multiples of it.
    """

    def __init__(self, block: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.block = block

    def call(self, x: Any) -> Any:
        _, height, width, channels = x.shape
        n = self.block
        x = ops.reshape(x, (-1, height // n, n, width // n, n, channels))
        return ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, height // n, width // n, n * n * channels))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "block": self.block}


@keras.saving.register_keras_serializable(package="pipelines")
class DepthToSpace(keras.layers.Layer):
    """(B, H, W, n * n * C) to (B, H * n, W * n, C): the inverse of `SpaceToDepth`.

    Args:
        block: n.
    """

    def __init__(self, block: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.block = block

    def call(self, x: Any) -> Any:
        _, height, width, channels = x.shape
        n, left = self.block, channels // self.block**2
        x = ops.reshape(x, (-1, height, width, n, n, left))
        return ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, height * n, width * n, left))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "block": self.block}
