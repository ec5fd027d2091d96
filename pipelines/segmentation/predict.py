"""Class probabilities of each pixel, for images of the model's size and for larger ones by windows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import softmax

from pipelines.images import decode
from pipelines.images.load import ImageSpec

if TYPE_CHECKING:
    import keras

    from pipelines.segmentation.load import Samples

BATCH = 16


def probabilities_of(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """float32 (B, H, W, K) for images uint8 (B, H, W, C) of the model's size."""
    from keras import ops

    logits = np.asarray(ops.convert_to_numpy(model.predict_on_batch(images)), np.float32)
    return softmax(logits, axis=-1)


def each(model: keras.Model, samples: Samples) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Image, mask and probabilities of each sample of a split, in order."""
    for start in range(0, len(samples), BATCH):
        images, masks = samples.read(np.arange(start, min(start + BATCH, len(samples))))
        yield from zip(images, masks, probabilities_of(model, images), strict=True)


def of_source(model: keras.Model, spec: dict[str, Any], source: Any) -> np.ndarray:
    """float32 (H, W, K) at the size of the image itself.

    An image is resized to the model's size and its probabilities back; where the model was trained at the scale of the
    images, a larger one is cut into windows that overlap instead.

    Raises:
        ValueError: The image cannot be decoded.
    """
    image = ImageSpec(**spec["image"])
    opened = decode.open_image(source)
    width, height = opened.size
    if spec["windows"] and (height > image.height or width > image.width):
        pixels = np.asarray(decode.to_mode(opened, image.channels))
        return by_windows(model, pixels if pixels.ndim == 3 else pixels[..., None], image, spec["overlap"])
    chances = probabilities_of(model, image.read(opened)[None])[0]
    if chances.shape[:2] == (height, width):
        return chances
    from keras import ops

    return np.asarray(ops.convert_to_numpy(ops.image.resize(chances, (height, width), data_format="channels_last")))


def by_windows(model: keras.Model, pixels: np.ndarray, spec: ImageSpec, overlap: float) -> np.ndarray:
    """float32 (H, W, K) of a large image uint8 (H, W, C): windows overlap, and count less towards their borders."""
    height, width = (max(size, least) for size, least in zip(pixels.shape[:2], (spec.height, spec.width), strict=True))
    below, beside = height - pixels.shape[0], width - pixels.shape[1]
    padded = np.pad(pixels, ((0, below), (0, beside), (0, 0)), mode="edge")
    places = [
        (top, left)
        for top in starts(height, spec.height, overlap) for left in starts(width, spec.width, overlap)
    ]  # fmt: skip
    weight = np.outer(_ramp(spec.height), _ramp(spec.width)).astype(np.float32)[..., None]
    total: np.ndarray | None = None
    weights = np.zeros((height, width, 1), np.float32)
    for start in range(0, len(places), BATCH):
        chosen = places[start : start + BATCH]
        cut = np.stack([padded[top : top + spec.height, left : left + spec.width] for top, left in chosen])
        for (top, left), chances in zip(chosen, probabilities_of(model, cut), strict=True):
            if total is None:
                total = np.zeros((height, width, chances.shape[-1]), np.float32)
            total[top : top + spec.height, left : left + spec.width] += weight * chances
            weights[top : top + spec.height, left : left + spec.width] += weight
    assert total is not None
    return (total / weights)[: pixels.shape[0], : pixels.shape[1]]


def starts(size: int, window: int, overlap: float) -> list[int]:
    """Where windows begin along a side, so that they cover it and overlap by at least the fraction."""
    if size <= window:
        return [0]
    number = int(np.ceil((size - window) / max(window * (1 - overlap), 1))) + 1
    return np.linspace(0, size - window, number).round().astype(int).tolist()


def _ramp(size: int) -> np.ndarray:
    """Weights along a side: 1 in the middle, smaller towards the ends, nowhere 0."""
    place = np.minimum(np.arange(size), np.arange(size)[::-1]) + 1
    return np.minimum(place / max(size / 4, 1), 1.0)


def rows(model: keras.Model, spec: dict[str, Any], inputs: Iterable[Any]) -> Iterator[tuple[Any, np.ndarray | str]]:
    """Each input with its probabilities, or the reason why it cannot be read."""
    for source in inputs:
        try:
            yield source, of_source(model, spec, source)
        except ValueError as error:
            yield source, str(error)


def write_mask(mask: np.ndarray, source: str, classes: int, folder: Path) -> None:
    """Writes class numbers uint8 (H, W) as FOLDER/STEM.png: an index PNG whose palette shows the classes in colour."""
    from PIL import Image

    from pipelines.core.files import whole
    from pipelines.segmentation.colours import colours

    image = Image.fromarray(mask, "P")
    image.putpalette(colours(classes).tobytes())
    with whole(folder / f"{Path(source).stem}.png") as aside:
        image.save(aside)
