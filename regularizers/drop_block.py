"""DropBlock: dropout for convolutions."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="regularizers")
class DropBlock(keras.layers.Layer):
    """Drops squares of feature maps while training.

    Neighbouring pixels of a feature map say nearly the same: dropping single ones hides nothing. Each channel has its
    own squares; what stays is scaled up, so that the mean over the batch does not change.

    Args:
        rate: Share of the pixels to drop, about, at least 0 and below 1.
        block_size: Side of the squares in pixels; a smaller feature map is dropped whole.
        data_format: `channels_last` or `channels_first`; none takes Keras's setting.
        seed: Seed of the layer's random generator.

    Reference:
        Ghiasi et al., "DropBlock: A Regularization Method for Convolutional Networks", NeurIPS 2018.
    """

    def __init__(
        self,
        rate: float,
        block_size: int = 7,
        data_format: str | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not 0 <= rate < 1:
            raise ValueError(f"rate must be at least 0 and below 1, got {rate}")
        if block_size < 1:
            raise ValueError(f"block_size must be at least 1, got {block_size}")
        self.rate = rate
        self.block_size = block_size
        self.data_format = data_format or keras.config.image_data_format()
        if self.data_format not in ("channels_last", "channels_first"):
            raise ValueError(f"data_format must be channels_last or channels_first, got {data_format!r}")
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Takes and returns (B, H, W, C), or (B, C, H, W)."""
        if not training or self.rate == 0:
            return inputs
        kept = self._kept(ops.shape(inputs))
        share = ops.mean(kept)
        return inputs * ops.cast(kept / ops.maximum(share, 1e-6), inputs.dtype)

    def _kept(self, shape: Any) -> Any:
        rows = 1 if self.data_format == "channels_last" else 2
        starts, blocks, gamma = list(shape), [], self.rate
        for axis in (rows, rows + 1):
            side = shape[axis]
            block = min(self.block_size, side) if isinstance(side, int) else self.block_size
            blocks.append(block)
            starts[axis] = side - block + 1  # squares lie whole in the image
            gamma = gamma / block * (side if isinstance(side, int) else ops.cast(side, "float32"))
            gamma = gamma / (starts[axis] if isinstance(side, int) else ops.cast(starts[axis], "float32"))
        seeds = keras.random.uniform(starts, dtype="float32", seed=self.seed_generator) < gamma
        margins = [(0, 0)] * 4
        margins[rows], margins[rows + 1] = [(block - 1, block - 1) for block in blocks]
        dropped = ops.max_pool(
            ops.pad(ops.cast(seeds, "float32"), margins), tuple(blocks), 1, "valid", self.data_format
        )
        return 1 - dropped

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        own = {
            "rate": self.rate, "block_size": self.block_size, "data_format": self.data_format, "seed": self.seed,
        }  # fmt: skip
        return {**super().get_config(), **own}
