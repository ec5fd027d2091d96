"""Augmentation of images with boxes: TensorFlow functions without state, so that a resumed run draws the same.

Each image is moved by one affine map (mirror, quarter turns, scale, shift). A mosaic takes
another such map and another image in each quarter. The boxes go through the same maps.
"""

from __future__ import annotations

from typing import Any

from pipelines.detection.boxes import NOTHING
from pipelines.detection.config import DetectionAugmentConfig
from pipelines.images.draws import Draws

GREY = 114.0  # what lies beyond an image
VISIBLE = 0.25  # fraction of a box's area that must stay in view
LEAST = 2.0  # pixels, the least side of a box


def augment_batch(images: Any, truth: Any, seed: Any, config: DetectionAugmentConfig, mosaic: Any = None) -> Any:
    """Changes a batch at random; the result depends on the arguments alone.

    Args:
        images: (B, S, S, 3) tensor, 0..255.
        truth: (B, M, 5) float32 boxes in pixels and classes, `NOTHING` for none.
        seed: int32 (2,).
        config: What to do.
        mosaic: Chance of a mosaic, a scalar tensor; by default that of `config`.

    Returns:
        Images as float32 0..255 and boxes (B, M, 5).
    """
    import tensorflow as tf

    size = images.shape[1]
    draw = Draws(seed, tf.shape(images)[0])
    images, most = tf.cast(images, tf.float32), truth.shape[1]
    moved, boxes = move(images, truth, random_maps(draw, size, config), (0.0, 0.0, size, size))
    if config.mosaic:
        chosen = draw.uniform() < (config.mosaic if mosaic is None else mosaic)

        def with_mosaic() -> tuple[Any, Any]:
            whole, of_quarters = mosaics(images, truth, draw, config)
            kept = first(of_quarters, most)
            some = tf.where(chosen[:, None, None, None], whole, moved)
            return some, tf.where(chosen[:, None, None], kept, boxes)

        images, boxes = tf.cond(tf.reduce_any(chosen), with_mosaic, lambda: (moved, boxes))
    else:
        images = moved
    if config.colour:
        images = recolour(images, config.colour, draw)
    return images, first(boxes, most)


def random_maps(draw: Draws, size: int, config: DetectionAugmentConfig, shrink: float = 1.0) -> Any:
    """(B, 2, 3) affine maps from the pixels of an image to those of the new one, about its middle."""
    import tensorflow as tf

    factor = shrink * draw.uniform(low=1 - config.scale, high=1 + config.scale)
    mirror = tf.where(draw.uniform() < 0.5, -1.0, 1.0) if config.flip else tf.ones_like(factor)
    turns = draw.integers(high=4) if config.turns else tf.zeros_like(factor, tf.int32)
    cosine = tf.gather([1.0, 0.0, -1.0, 0.0], turns)
    sine = tf.gather([0.0, 1.0, 0.0, -1.0], turns)
    a, b, c, d = factor * cosine * mirror, -factor * sine, factor * sine * mirror, factor * cosine
    half = size / 2
    x = half - (a + b) * half + draw.uniform(low=-1.0) * config.shift * size
    y = half - (c + d) * half + draw.uniform(low=-1.0) * config.shift * size
    return tf.stack([tf.stack([a, b, x], 1), tf.stack([c, d, y], 1)], 1)


def move(images: Any, truth: Any, maps: Any, view: Any) -> tuple[Any, Any]:
    """Images and boxes under affine maps; what is beyond an image is grey, and boxes out of view are padding.

    Args:
        images: (B, S, S, 3).
        truth: (B, M, 5).
        maps: (B, 2, 3).
        view: Left, top, right and bottom of what can be seen, each a number or (B, 1).
    """
    import tensorflow as tf

    linear, shift = maps[:, :, :2], maps[:, :, 2]
    inverse = tf.linalg.inv(linear)
    # Pixel i of an image is the square from i to i + 1: its centre is at i + 1/2.
    offset = -tf.linalg.matvec(inverse, shift) + tf.reduce_sum(inverse, -1) / 2 - 0.5
    flat = [inverse[:, 0, 0], inverse[:, 0, 1], offset[:, 0], inverse[:, 1, 0], inverse[:, 1, 1], offset[:, 1]]
    zero = tf.zeros_like(offset[:, 0])
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=images, transforms=tf.stack([*flat, zero, zero], 1), output_shape=tf.shape(images)[1:3],
        interpolation="BILINEAR", fill_mode="CONSTANT", fill_value=GREY,
    )  # fmt: skip
    moved.set_shape(images.shape)
    boxes = truth[..., :4]
    corners = tf.stack([tf.gather(boxes, [0, 1], axis=-1), tf.gather(boxes, [2, 3], axis=-1)], 2)  # (B, M, 2, 2)
    corners = tf.einsum("bij,bmkj->bmki", linear, corners) + shift[:, None, None]
    low, high = tf.reduce_min(corners, 2), tf.reduce_max(corners, 2)
    left, top, right, bottom = view
    seen_low = tf.stack([tf.maximum(low[..., 0], left), tf.maximum(low[..., 1], top)], -1)
    seen_high = tf.stack([tf.minimum(high[..., 0], right), tf.minimum(high[..., 1], bottom)], -1)
    sides = tf.maximum(seen_high - seen_low, 0.0)
    visible = tf.reduce_prod(sides, -1) / tf.maximum(tf.reduce_prod(high - low, -1), 1e-6)
    stays = (visible >= VISIBLE) & (tf.reduce_min(sides, -1) >= LEAST) & (truth[..., 4] != NOTHING)
    classes = tf.where(stays, truth[..., 4], NOTHING)
    found = tf.concat([seen_low, seen_high], -1) * tf.cast(stays, tf.float32)[..., None]
    return moved, tf.concat([found, classes[..., None]], -1)


def mosaics(images: Any, truth: Any, draw: Draws, config: DetectionAugmentConfig) -> tuple[Any, Any]:
    """Four images in the quarters of one, cut at a random cross (Bochkovskiy et al., "YOLOv4", 2020).

    Returns:
        (B, S, S, 3) and (B, 4 M, 5).
    """
    import tensorflow as tf

    size = images.shape[1]
    cross = tf.round(draw.uniform(2, low=0.3, high=0.7) * size)
    x, y = cross[:, :1], cross[:, 1:]
    columns, rows = tf.range(size, dtype=tf.float32)[None], tf.range(size, dtype=tf.float32)[None]
    canvas, boxes = tf.zeros_like(images), []
    for number in range(4):
        order = tf.random.experimental.stateless_shuffle(tf.range(draw.batch), draw.fresh())
        if number == 0:
            order = tf.range(draw.batch)
        right, low = number % 2, number // 2
        view = (x if right else 0.0, y if low else 0.0, float(size) if right else x, float(size) if low else y)
        maps = random_maps(draw, size, config, shrink=0.85)
        # The middle of the image comes to the middle of its quarter.
        middle = tf.concat([(view[0] + view[2]) / 2, (view[1] + view[3]) / 2], 1) - size / 2
        maps = tf.concat([maps[:, :, :2], (maps[:, :, 2] + middle)[..., None]], -1)
        moved, found = move(tf.gather(images, order), tf.gather(truth, order), maps, view)
        across = (columns >= x) if right else (columns < x)
        down = (rows >= y) if low else (rows < y)
        mask = tf.cast(across[:, None, :, None] & down[:, :, None, None], tf.float32)
        canvas += moved * mask
        boxes.append(found)
    return canvas, tf.concat(boxes, 1)


def first(truth: Any, most: int) -> Any:
    """The boxes that are not padding come first; of too many, the last are dropped. (B, M, 5) to (B, most, 5)."""
    import tensorflow as tf

    order = tf.argsort(tf.cast(truth[..., 4] == NOTHING, tf.int32), axis=1, stable=True)[:, :most]
    return tf.gather(truth, order, axis=1, batch_dims=1)


def recolour(images: Any, strength: float, draw: Draws) -> Any:
    """Brightness, contrast and saturation, each by a factor of its own."""
    import tensorflow as tf

    light, contrast, colour = (draw.uniform(1, 1, 1, low=1 - strength, high=1 + strength) for _ in range(3))
    grey = tf.reduce_mean(images, -1, keepdims=True)
    images = grey + (images - grey) * colour
    middle = tf.reduce_mean(images, (1, 2, 3), keepdims=True)
    return tf.clip_by_value(((images - middle) * contrast + middle) * light, 0.0, 255.0)
