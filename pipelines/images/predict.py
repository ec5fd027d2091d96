"""Predictions for images, plain or averaged over changed copies (test-time augmentation)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import softmax

if TYPE_CHECKING:
    import keras

    from pipelines.images.load import Images

# A shifted copy is a little less like the training images: it counts half.
SHIFT_WEIGHT = 0.5


def probabilities_of(model: keras.Model, images: np.ndarray, tta: dict[str, bool] | None = None) -> np.ndarray:
    """float64 (B, K) for images uint8 (B, H, W, C)."""
    from keras import ops

    total, weights = np.zeros(()), 0.0
    for view, weight in views(images, tta):
        logits = np.asarray(ops.convert_to_numpy(model.predict_on_batch(view)), np.float64)
        total = total + weight * softmax(logits, axis=1)
        weights += weight
    return total / weights


def views(images: np.ndarray, tta: dict[str, bool] | None) -> Iterator[tuple[np.ndarray, float]]:
    """The images themselves, mirrored, and shifted by a pixel each way, with their weights."""
    tta = tta or {}
    for base in (images, images[:, :, ::-1]) if tta.get("flip") else (images,):
        yield base, 1.0
        if tta.get("shift"):
            height, width = images.shape[1:3]
            padded = np.pad(base, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
            for top, left in ((0, 1), (2, 1), (1, 0), (1, 2)):
                yield padded[:, top : top + height, left : left + width], SHIFT_WEIGHT


def logits_of(model: keras.Model, images: Images, batch_size: int) -> np.ndarray:
    """float64 (N, K) for all images, without test-time augmentation."""
    from keras import ops

    return np.concatenate(
        [
            np.asarray(ops.convert_to_numpy(model.predict_on_batch(images.read(i))), np.float64)
            for i in _blocks(len(images), batch_size)
        ]
    )


def predict_images(model: keras.Model, images: Images, tta: dict[str, bool] | None, batch_size: int) -> np.ndarray:
    """float64 (N, K) for all images."""
    blocks = _blocks(len(images), batch_size)
    return np.concatenate([probabilities_of(model, images.read(i), tta) for i in blocks])


def _blocks(number: int, size: int) -> list[np.ndarray]:
    return [np.arange(start, min(start + size, number)) for start in range(0, number, size)]


def predict_raw(
    model: keras.Model, spec: dict[str, Any], inputs: Iterable[Any], batch_size: int
) -> Iterator[tuple[Any, np.ndarray | str]]:
    """For each raw input its probabilities (K,), or the reason why it cannot be read; in their order."""
    from pipelines.images.load import ImageSpec

    image = ImageSpec(**spec["image"])
    block: list[tuple[Any, np.ndarray | str]] = []
    for source in inputs:
        try:
            block.append((source, image.read(source)))
        except ValueError as error:
            block.append((source, str(error)))
        if len(block) == batch_size:
            yield from _flush(model, block, spec["tta"])
            block = []
    yield from _flush(model, block, spec["tta"])


def _flush(
    model: keras.Model, block: Sequence[tuple[Any, np.ndarray | str]], tta: dict[str, bool] | None
) -> Iterator[tuple[Any, np.ndarray | str]]:
    images = [image for _, image in block if not isinstance(image, str)]
    rows = iter(probabilities_of(model, np.stack(images), tta)) if images else iter(())
    for source, image in block:
        yield source, image if isinstance(image, str) else next(rows)
