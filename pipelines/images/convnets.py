"""A small residual convolutional network that is cheap on a CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from regularizers.stochastic_depth import StochasticDepth

if TYPE_CHECKING:
    import keras


def stages_for(side: int) -> tuple[int, int]:
    """Stride of the stem and number of stages for images whose shorter side is `side` pixels.

    The stem brings an image to at most about 56 pixels, where convolutions are affordable; each later stage halves
    it, until 7 pixels or fewer are left: 8 -> [8, 4], 28 -> [14, 7], 32 -> [16, 8, 4], 224 -> [56, 28, 14, 7].
    """
    stride = 1 if side <= 16 else 2 if side <= 80 else 4
    side, stages = -(-side // stride), 1
    while side > 7:
        side, stages = -(-side // 2), stages + 1
    return stride, stages


def convnet(
    input_shape: tuple[int, int, int],
    classes: int,
    *,
    width: int = 32,
    depth: int = 2,
    dropout: float = 0.0,
    stochastic_depth: float = 0.0,
) -> keras.Model:
    """Builds the network: basic residual blocks (He et al., 2016) behind an early downsampling stem.

    Most of the work happens at 14 x 14 and below, where a two-core CPU gives the most accuracy for a second. The
    shortcut of a downsampling block averages before it projects (ResNet-D, He et al., 2019). The first stage has one
    block fewer than the others: it is the dearest.

    Args:
        input_shape: (H, W, C) of raw images, 0..255; the network scales them itself.
        classes: Number of outputs.
        width: Channels of the first stage, doubled at each further one up to eight times.
        depth: Blocks of a stage.
        dropout: Rate before the last layer.
        stochastic_depth: Rate of the last block; it rises to this from zero at the first.

    Returns:
        A functional model from (B, H, W, C) to float32 logits (B, classes).
    """
    import keras
    from keras import layers

    stride, stages = stages_for(min(input_shape[:2]))
    depths = [max(depth - 1, 1), *[depth] * (stages - 1)]

    def conv(x: Any, filters: int, size: int, strides: int = 1) -> Any:
        x = layers.Conv2D(filters, size, strides, "same", use_bias=False, kernel_initializer="he_normal")(x)
        return layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)

    def block(x: Any, filters: int, strides: int, rate: float) -> Any:
        branch = conv(layers.ReLU()(conv(x, filters, 3, strides)), filters, 3)
        if rate:
            branch = StochasticDepth(rate)(branch)
        if strides > 1:
            x = layers.AveragePooling2D(2, padding="same")(x)
        if x.shape[-1] != filters:
            x = conv(x, filters, 1)
        return layers.ReLU()(layers.Add()([x, branch]))

    inputs = keras.Input(input_shape, name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1.0)(inputs)
    x = layers.ReLU()(conv(x, width if stride == 1 else max(width // 2, 16), 3, 2 if stride == 4 else 1))
    if stride > 1:
        x = layers.ReLU()(conv(x, width, 3, 2))
    done, total = 0, sum(depths)
    for stage, blocks in enumerate(depths):
        for number in range(blocks):
            strides = 2 if stage and number == 0 else 1
            x = block(x, width * 2 ** min(stage, 3), strides, stochastic_depth * done / max(total - 1, 1))
            done += 1
    x = layers.GlobalAveragePooling2D()(x)
    if dropout:
        x = layers.Dropout(dropout)(x)
    return keras.Model(inputs, layers.Dense(classes, dtype="float32", name="logits")(x), name="convnet")
