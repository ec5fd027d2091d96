"""A small one-stage detector without anchors that is cheap on a CPU."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

PRIOR = 0.01  # probability of a class at a location before training (Lin et al., 2017)


def choose_strides(sides: Any) -> tuple[int, ...]:
    """Strides of the pyramid that suit boxes, by the square roots of their areas at the model's size, in pixels.

    The finest level has about four to nine locations along the side of a median box; coarser ones follow for the
    largest boxes.
    """
    import numpy as np

    sides = np.asarray(sides, float)
    if not len(sides):
        return (8, 16)
    median, large = np.quantile(sides, [0.5, 0.95])
    first = int(np.clip(2 ** math.floor(math.log2(max(median, 1) / 4.5)), 4, 16))
    levels = 1 + int(np.clip(math.ceil(math.log2(max(large / (first * 8), 1))), 1, 3))
    return tuple(first * 2**i for i in range(levels))


def detector(
    input_shape: tuple[int, int, int], classes: int, strides: Sequence[int], *, width: int = 24, depth: int = 1,
    head: int = 48,
) -> keras.Model:  # fmt: skip
    """Builds the network: residual backbone, feature pyramid, and a head for each level.

    The stem reads squares of pixels as channels (space to depth), so that nothing is computed at full resolution. Batch
    normalization is everywhere but in the last layers, as training from scratch needs (ScratchDet; Zhu et al., 2019).
    At each location the head gives the distances to the four sides of a box (FCOS; Tian et al., 2019) and a logit for
    each class, which is trained to be the box's IoU as well (task-aligned; Feng et al., 2021).

    Args:
        input_shape: (H, W, C) of images 0..255, which the network scales itself; multiples of the largest stride.
        classes: K.
        strides: Of the levels, powers of two from 4 on, each twice the one before it.
        width: Channels at stride 4, doubled at each further one up to eight times.
        depth: Residual blocks of a stage.
        head: Channels of the pyramid and the heads.

    Returns:
        A functional model from (B, H, W, C) to float32 (B, A, 4 + K): boxes in pixels and class logits.
    """
    import keras
    from keras import layers

    from pipelines.detection.layers import DetectionOutput
    from pipelines.layers import SpaceToDepth

    def conv(x: Any, filters: int, size: int = 3, strides: int = 1) -> Any:
        x = layers.Conv2D(filters, size, strides, "same", use_bias=False, kernel_initializer="he_normal")(x)
        return layers.BatchNormalization(momentum=0.9, epsilon=1e-4)(x)

    def relu(x: Any) -> Any:
        return layers.ReLU()(x)

    def block(x: Any, filters: int, strides: int = 1) -> Any:
        branch = conv(relu(conv(x, filters, 3, strides)), filters)
        if strides > 1:
            x = layers.AveragePooling2D(2, padding="same")(x)
        if x.shape[-1] != filters:
            x = conv(x, filters, 1)
        return relu(layers.Add()([x, branch]))

    inputs = keras.Input(input_shape, name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1.0)(inputs)
    x = SpaceToDepth(2)(x)
    x = relu(conv(x, max(width // 2, 8)))
    stages, stride = {}, 2
    while stride < strides[-1]:
        stride *= 2
        filters = width * min(stride // 4, 8)
        x = block(x, filters, 2)
        for _ in range(depth - 1 if stride < strides[0] else depth):
            x = block(x, filters)
        stages[stride] = x
    # Top-down and back up, so that each level sees the detail of the finer and the context of the coarser ones.
    levels = {s: relu(conv(stages[s], head, 1)) for s in strides}
    pairs = [(s, 2 * s) for s in strides[:-1]]
    for fine, coarse in reversed(pairs):
        larger = layers.UpSampling2D(interpolation="nearest")(levels[coarse])
        levels[fine] = relu(conv(layers.Add()([levels[fine], larger]), head))
    for fine, coarse in pairs:
        levels[coarse] = relu(conv(layers.Add()([levels[coarse], relu(conv(levels[fine], head, 3, 2))]), head))
    outputs = []
    for s in strides:
        of_class, of_box = relu(conv(levels[s], head)), relu(conv(levels[s], head))
        box = layers.Conv2D(4, 3, padding="same", dtype="float32", bias_initializer="ones", name=f"box_{s}")(of_box)
        prior = keras.initializers.Constant(-math.log((1 - PRIOR) / PRIOR))
        logits = layers.Conv2D(
            classes, 3, padding="same", dtype="float32", bias_initializer=prior, name=f"class_{s}",
            kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
        )(of_class)  # fmt: skip
        outputs.append(layers.Concatenate()([box, logits]))
    found = DetectionOutput(*input_shape[:2], strides, dtype="float32", name="logits")(outputs)
    return keras.Model(inputs, found, name="detector")
