"""Augmentation of images with their masks: TensorFlow functions without state, so that a resumed run draws the same."""

from __future__ import annotations

import math
from typing import Any

from pipelines.images.draws import Draws
from pipelines.segmentation.config import SegmentAugmentConfig


def augment_batch(images: Any, masks: Any, seed: Any, config: SegmentAugmentConfig) -> tuple[Any, Any]:
    """Changes a batch at random; the result depends on the arguments alone.

    Args:
        images: (B, H, W, C) tensor, 0..255.
        masks: uint8 (B, H, W), class numbers.
        seed: int32 (2,).
        config: What to do.

    Returns:
        Images as float32 0..255, and masks as uint8, moved alike.
    """
    import tensorflow as tf

    draw = Draws(seed, tf.shape(images)[0])
    images = tf.cast(images, tf.float32)
    if config.flip or config.turn or config.rotate or config.shear or config.scale < 1:
        transforms = moves(config, draw, images.shape[1], images.shape[2])
        images = _moved(images, transforms, "BILINEAR", "NEAREST")
        masks = _moved(masks[..., None], transforms, "NEAREST", "CONSTANT")[..., 0]
    if config.colour:
        images = change_colour(images, config.colour, draw)
    return images, masks


def moves(config: SegmentAugmentConfig, draw: Draws, height: int, width: int) -> Any:
    """Random maps from the new pixels to the old ones, (B, 8) as ImageProjectiveTransformV3 takes them."""
    import tensorflow as tf

    zeros, ones = draw.uniform() * 0, draw.uniform() * 0 + 1
    side = tf.exp(draw.uniform(low=-1.0) * -math.log(config.scale)) if config.scale < 1 else ones
    turned = tf.cast(draw.integers(high=4), tf.float32) * (math.pi / 2) if config.turn and height == width else zeros
    mirror = tf.where(draw.uniform() < 0.5, -ones, ones) if config.flip else ones
    # About the centre: mirror, turn, scale, slant; then shift within what a smaller square leaves free, or a larger
    # one has to spare.
    cos, sin = tf.round(tf.cos(turned)), tf.round(tf.sin(turned))
    if config.rotate:
        angle = draw.uniform(low=-1.0) * math.radians(config.rotate)
        cos, sin = cos * tf.cos(angle) - sin * tf.sin(angle), sin * tf.cos(angle) + cos * tf.sin(angle)
    centre = [(width - 1) / 2, (height - 1) / 2]
    free = [(1 - side) * extent * draw.uniform(low=-0.5, high=0.5) for extent in (width, height)]
    wider, slant = ones, zeros
    if config.shear:
        wider = tf.exp(draw.uniform(low=-1.0) * math.log(1 + config.shear) / 2)
        slant = draw.uniform(low=-config.shear, high=config.shear)
    # The matrix (mirror, turn) times (stretch, slant), both times the scale.
    a, b, c, d = mirror * cos * side, -sin * side, mirror * sin * side, cos * side
    a, b = a * wider, a * slant + b / wider
    c, d = c * wider, c * slant + d / wider
    x0 = centre[0] + free[0] - a * centre[0] - b * centre[1]
    y0 = centre[1] + free[1] - c * centre[0] - d * centre[1]
    return tf.stack([a, b, x0, c, d, y0, zeros, zeros], 1)


def _moved(images: Any, transforms: Any, interpolation: str, border: str) -> Any:
    import tensorflow as tf

    from pipelines.segmentation.masks import IGNORED

    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images, transforms=transforms, output_shape=tf.shape(images)[1:3], fill_value=float(IGNORED),
        interpolation=interpolation, fill_mode=border,
    )  # fmt: skip


def change_colour(images: Any, strength: float, draw: Draws) -> Any:
    """Random brightness, contrast and colour balance, each by at most `strength`; (B, H, W, C) 0..255 to the same."""
    import tensorflow as tf

    mean = tf.reduce_mean(images, (1, 2, 3), keepdims=True)
    contrast = 1 + draw.uniform(1, 1, 1, low=-strength, high=strength)
    brightness = 128 * draw.uniform(1, 1, 1, low=-strength, high=strength)
    balance = 1 + draw.uniform(1, 1, images.shape[-1], low=-strength / 2, high=strength / 2)
    return tf.clip_by_value(((images - mean) * contrast + mean + brightness) * balance, 0, 255)
