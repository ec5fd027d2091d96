"""Augmentation of image batches: TensorFlow functions without state, so that a resumed run draws the same."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pipelines.images.config import AugmentConfig
from pipelines.images.draws import Draws

if TYPE_CHECKING:
    import numpy as np


def augment_batch(images: Any, labels: Any, weights: Any, seed: Any, config: AugmentConfig) -> tuple[Any, Any, Any]:
    """Changes a batch at random; the result depends on the arguments alone.

    Args:
        images: (B, H, W, C) tensor, 0..255.
        labels: (B, K) float32, one-hot or soft.
        weights: (B,) float32 weights of the samples.
        seed: int32 (2,).
        config: What to do.

    Returns:
        Images as float32 0..255, labels and weights; MixUp and CutMix mix the latter two like the images.
    """
    import tensorflow as tf

    from pipelines.images.randaugment import rand_augment

    crop, zoom, colour = (float(value) for value in (config.crop, config.zoom, config.colour))  # no longer `auto`
    draw = Draws(seed, tf.shape(images)[0])
    if config.flip:
        images = tf.where(draw.uniform(1, 1, 1) < 0.5, images[:, :, ::-1], images)
    if crop:
        images = pad_and_crop(images, int(crop), draw)
    images = tf.cast(images, tf.float32)
    if zoom < 1:
        images = random_zoom(images, zoom, draw)
    if colour:
        images = vary_colours(images, colour, draw)
    if config.randaugment:
        images = rand_augment(images, config.randaugment, config.magnitude, draw)
    if config.mixup or config.cutmix:
        images, labels, weights = mix(images, labels, weights, config, draw)
    if config.erase:
        images = erase(images, config.erase, draw)
    return images, labels, weights


def augmented_examples(images: np.ndarray, config: AugmentConfig, seed: int) -> np.ndarray:
    """Images uint8 (N, H, W, C) after augmentation, uint8, for a figure."""
    import numpy as np

    labels, weights = np.zeros((len(images), 1), np.float32), np.ones(len(images), np.float32)
    changed, _, _ = augment_batch(images, labels, weights, np.array([seed, 0], np.int32), config)
    return np.clip(np.rint(np.asarray(changed)), 0, 255).astype(np.uint8)


def pad_and_crop(images: Any, pixels: int, draw: Draws) -> Any:
    """Pads by reflection (as far as the image reaches), then cuts the old size at a random place."""
    import tensorflow as tf

    height, width = images.shape[1:3]
    mode = "REFLECT" if pixels < min(height, width) else "CONSTANT"
    padded = tf.pad(images, [[0, 0], [pixels, pixels], [pixels, pixels], [0, 0]], mode)
    rows = draw.integers(1, high=2 * pixels + 1) + tf.range(height)
    columns = draw.integers(1, high=2 * pixels + 1) + tf.range(width)
    return tf.gather(tf.gather(padded, rows, axis=1, batch_dims=1), columns, axis=2, batch_dims=1)


def random_zoom(images: Any, smallest: float, draw: Draws) -> Any:
    """Cuts a random rectangle of 3:4 to 4:3 and resizes it (Szegedy et al., 2015)."""
    import tensorflow as tf

    area = draw.uniform(low=smallest)
    # A side is at most the image's: the more area is kept, the nearer the ratio is to one.
    widest = tf.minimum(math.log(4 / 3), -tf.math.log(area))
    ratio = tf.exp(draw.uniform(low=-1.0) * widest)
    height, width = tf.sqrt(area / ratio), tf.sqrt(area * ratio)
    top, left = draw.uniform() * (1 - height), draw.uniform() * (1 - width)
    boxes = tf.stack([top, left, top + height, left + width], 1)
    return tf.image.crop_and_resize(images, boxes, tf.range(tf.shape(images)[0]), images.shape[1:3])


def vary_colours(images: Any, strength: float, draw: Draws) -> Any:
    """Scales brightness, contrast and saturation of each image by random factors of 1 - strength to 1 + strength."""
    from pipelines.images.randaugment import recolour

    for name in ("brightness", "contrast", "saturation") if images.shape[-1] == 3 else ("brightness", "contrast"):
        images = recolour(name, images, draw.uniform(low=-strength, high=strength) / 0.9, strength)
    return images


def rectangle(height: int, width: int, top: Any, left: Any, bottom: Any, right: Any) -> Any:
    """Mask (B, H, W, 1), 1 inside the rectangles whose edges are whole numbers (B,)."""
    import tensorflow as tf

    rows, columns = tf.range(height)[None], tf.range(width)[None]
    inside_rows = (rows >= top[:, None]) & (rows < bottom[:, None])
    inside_columns = (columns >= left[:, None]) & (columns < right[:, None])
    return tf.cast(inside_rows[:, :, None, None] & inside_columns[:, None, :, None], tf.float32)


def erase(images: Any, probability: float, draw: Draws) -> Any:
    """Blanks a rectangle of 2 % to 33 % of the area with the image's mean (Zhong et al., 2020)."""
    import tensorflow as tf

    height, width = images.shape[1:3]
    area = draw.uniform(low=0.02, high=0.33) * height * width
    ratio = tf.exp(draw.uniform(low=math.log(0.3), high=math.log(1 / 0.3)))
    h = tf.minimum(tf.cast(tf.sqrt(area * ratio), tf.int32), height)
    w = tf.minimum(tf.cast(tf.sqrt(area / ratio), tf.int32), width)
    top = tf.cast(draw.uniform() * tf.cast(height - h + 1, tf.float32), tf.int32)
    left = tf.cast(draw.uniform() * tf.cast(width - w + 1, tf.float32), tf.int32)
    chosen = tf.cast(draw.uniform(1, 1, 1) < probability, tf.float32)
    mask = rectangle(height, width, top, left, top + h, left + w) * chosen
    return images * (1 - mask) + tf.reduce_mean(images, (1, 2), keepdims=True) * mask


def mix(images: Any, labels: Any, weights: Any, config: AugmentConfig, draw: Draws) -> tuple[Any, Any, Any]:
    """MixUp (Zhang et al., 2018) or CutMix (Yun et al., 2019) with the batch in another order."""
    import tensorflow as tf

    order = tf.random.experimental.stateless_shuffle(tf.range(tf.shape(images)[0]), draw.fresh())
    other = tf.gather(images, order)

    def mixup() -> tuple[Any, Any]:
        share = draw.beta(config.mixup)
        return images * share + other * (1 - share), share

    def cutmix() -> tuple[Any, Any]:
        height, width = images.shape[1:3]
        side = tf.sqrt(1 - draw.beta(config.cutmix))
        h, w = tf.cast(side * height, tf.int32), tf.cast(side * width, tf.int32)
        center = tf.random.stateless_uniform((2,), draw.fresh())
        top = tf.cast(center[0] * height, tf.int32) - h // 2
        left = tf.cast(center[1] * width, tf.int32) - w // 2
        edges = [tf.reshape(edge, (1,)) for edge in (top, left, top + h, left + w)]
        mask = rectangle(height, width, *edges)
        return images * (1 - mask) + other * mask, 1 - tf.reduce_mean(mask)

    if config.mixup and config.cutmix:
        first = tf.random.stateless_uniform((), draw.fresh()) < 0.5
        images, share = tf.cond(first, mixup, cutmix)
    else:
        images, share = mixup() if config.mixup else cutmix()
    mixed = weights * share + tf.gather(weights, order) * (1 - share)
    # Labels are mixed by what each side weighs, so that the weighted loss is the mixture of the two losses.
    own, others = (weights * share)[:, None], (tf.gather(weights, order) * (1 - share))[:, None]
    labels = (labels * own + tf.gather(labels, order) * others) / tf.maximum(own + others, 1e-12)
    return images, labels, mixed
