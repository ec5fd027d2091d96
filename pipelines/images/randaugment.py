"""RandAugment on whole batches (Cubuk et al., 2020)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.images.draws import Draws

GEOMETRIC = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")
COLOUR = ("autocontrast", "brightness", "contrast", "equalize", "posterize", "sharpness", "solarize")
GREY = 114.0


def rand_augment(images: Any, operations: int, magnitude: float, draw: Draws) -> Any:
    """Each image goes through `operations` operations drawn at random, "none" among them.

    The geometric ones that an image has drawn become one projective transform.

    Args:
        images: (B, H, W, C) float32, 0..255.
        operations: How many.
        magnitude: Strength, 0 to 10.
        draw: Source of random numbers.
    """
    import tensorflow as tf

    strength = magnitude / 10
    colour = (*COLOUR, "saturation") if images.shape[-1] == 3 else COLOUR
    names = ("none", *GEOMETRIC, *colour)
    matrix = tf.eye(3, batch_shape=[tf.shape(images)[0]])
    for _ in range(operations):
        choice = draw.integers(high=len(names))
        sign = tf.where(draw.uniform() < 0.5, -1.0, 1.0)
        for number, name in enumerate(names[1:], start=1):
            chosen = choice == number
            if name in GEOMETRIC:
                step = geometric(name, sign * strength, images.shape[1], images.shape[2])
                step = tf.where(chosen[:, None, None], step, tf.eye(3)[None])
                matrix = matrix @ step
            else:
                changed = recolour(name, images, sign * strength, strength)
                images = tf.where(chosen[:, None, None, None], changed, images)
    flat = tf.reshape(matrix, (-1, 9))[:, :8]
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=flat,
        output_shape=tf.shape(images)[1:3],
        fill_value=GREY,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )


def geometric(name: str, amount: Any, height: int, width: int) -> Any:
    """(B, 3, 3) transforms from output to input pixels, around the centre; `amount` (B,) is in -1..1."""
    import tensorflow as tf

    one, zero = tf.ones_like(amount), tf.zeros_like(amount)
    a, b, c, d, tx, ty = one, zero, zero, one, zero, zero
    if name == "rotate":
        angle = amount * math.radians(30)
        a, b, c, d = tf.cos(angle), -tf.sin(angle), tf.sin(angle), tf.cos(angle)
    elif name == "shear_x":
        b = 0.3 * amount
    elif name == "shear_y":
        c = 0.3 * amount
    elif name == "translate_x":
        tx = 0.3 * width * amount
    else:
        ty = 0.3 * height * amount
    x, y = (width - 1) / 2, (height - 1) / 2
    rows = [a, b, x - a * x - b * y + tx, c, d, y - c * x - d * y + ty, zero, zero, one]
    return tf.reshape(tf.stack(rows, 1), (-1, 3, 3))


def recolour(name: str, images: Any, signed: Any, strength: float) -> Any:
    """One operation on the values of all images; `signed` (B,) is the strength with a random sign."""
    import tensorflow as tf

    factor = (1 + 0.9 * signed)[:, None, None, None]
    if name == "brightness":
        return tf.clip_by_value(images * factor, 0, 255)
    if name == "contrast":
        mean = tf.round(tf.reduce_mean(luminance(images), (1, 2), keepdims=True))
        return tf.clip_by_value(mean + (images - mean) * factor, 0, 255)
    if name == "saturation":
        grey = luminance(images)
        return tf.clip_by_value(grey + (images - grey) * factor, 0, 255)
    if name == "sharpness":
        soft = smooth(images)
        return tf.clip_by_value(soft + (images - soft) * factor, 0, 255)
    if name == "autocontrast":
        low = tf.reduce_min(images, (1, 2), keepdims=True)
        high = tf.reduce_max(images, (1, 2), keepdims=True)
        return tf.where(high > low, (images - low) * 255 / tf.maximum(high - low, 1e-6), images)
    if name == "solarize":
        return tf.where(images >= 256 - 256 * strength, 255 - images, images)
    if name == "posterize":
        kept = 2.0 ** round(4 * strength)  # the size of a step: up to four bits go
        return tf.floor(images / kept) * kept
    return equalize(images)


def luminance(images: Any) -> Any:
    """(B, H, W, 1), the ITU-R 601 weights that PIL uses."""
    import tensorflow as tf

    if images.shape[-1] == 1:
        return images
    return tf.reduce_sum(images * tf.constant([0.299, 0.587, 0.114]), -1, keepdims=True)


def smooth(images: Any) -> Any:
    """PIL's SMOOTH filter; the border stays as it is."""
    import tensorflow as tf

    if min(images.shape[1:3]) < 3:
        return images
    channels = images.shape[-1]
    kernel = tf.constant([[1, 1, 1], [1, 5, 1], [1, 1, 1]], tf.float32)[:, :, None, None] / 13
    inner = tf.nn.depthwise_conv2d(images, tf.tile(kernel, [1, 1, channels, 1]), [1, 1, 1, 1], "VALID")
    border = [[0, 0], [1, 1], [1, 1], [0, 0]]
    mask = tf.pad(tf.ones_like(inner), border)
    return tf.where(mask > 0, tf.pad(inner, border), images)


def equalize(images: Any) -> Any:
    """Flattens the histogram of each channel, as PIL's ImageOps.equalize."""
    import tensorflow as tf

    batch, pixels = tf.shape(images)[0], images.shape[1] * images.shape[2]
    channels = images.shape[-1]
    flat = tf.reshape(tf.transpose(images, (0, 3, 1, 2)), (-1, pixels))
    levels = tf.cast(tf.clip_by_value(flat, 0, 255), tf.int32)
    counts = tf.math.bincount(levels, minlength=256, maxlength=256, axis=-1)
    filled = counts > 0
    last = 255 - tf.argmax(filled[:, ::-1], axis=-1, output_type=tf.int32)
    step = (pixels - tf.gather(counts, last, batch_dims=1)) // 255
    before = tf.cumsum(counts, axis=-1, exclusive=True)
    table = tf.clip_by_value((before + step[:, None] // 2) // tf.maximum(step[:, None], 1), 0, 255)
    flattened = tf.where(step[:, None] > 0, tf.gather(table, levels, batch_dims=1), levels)
    restored = tf.reshape(tf.cast(flattened, tf.float32), (batch, channels, images.shape[1], images.shape[2]))
    return tf.transpose(restored, (0, 2, 3, 1))
