"""Class probabilities of each pixel, for images of the model's size and for larger ones by windows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from scipy.special import softmax

from pipelines.segmentation.read import SegmentSpec, open_image

if TYPE_CHECKING:
    import keras

    from pipelines.segmentation.load import Samples

BATCH = 16
LARGEST = 2048  # pixels, side of an overlay


def probabilities_of(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """float32 (B, H, W, K) for images uint8 or float32 (B, H, W, C) of the model's size."""
    from keras import ops

    logits = np.asarray(ops.convert_to_numpy(model.predict_on_batch(images)), np.float32)
    return softmax(logits, axis=-1)


def each(model: keras.Model, samples: Samples) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Image, mask and probabilities of each sample of a split, in order."""
    for start in range(0, len(samples), BATCH):
        images, masks = samples.read(np.arange(start, min(start + BATCH, len(samples))))
        yield from zip(images, masks, probabilities_of(model, images), strict=True)


def of_source(model: keras.Model, spec: dict[str, Any], source: Any) -> tuple[np.ndarray, float]:
    """Class numbers uint8 (H, W) at the size of the image itself, and the mean confidence of its pixels.

    An image is resized to the model's size and its probabilities back; where the model was trained at the scale of the
    images, a larger one is cut into windows that overlap instead.

    Raises:
        ValueError: The image cannot be decoded.
    """
    image = SegmentSpec(**spec["image"])
    opened = open_image(source, image.white)
    pixels = image.pixels(opened)
    height, width = opened.size
    if spec["windows"] and (height > image.height or width > image.width):
        return by_windows(model, pixels, image, spec["overlap"])
    chances = probabilities_of(model, image.fit(pixels)[None])[0]
    if chances.shape[:2] == (height, width):
        return chances.argmax(-1).astype(np.uint8), float(chances.max(-1).mean())
    best, mask = np.full((height, width), -1, np.float32), np.zeros((height, width), np.uint8)
    for k, plane in enumerate(np.moveaxis(chances, -1, 0)):  # one class at a time: the image may be large
        small = Image.fromarray(np.ascontiguousarray(plane))
        large = np.asarray(small.resize((width, height), Image.Resampling.BILINEAR))
        mask[large > best] = k
        best = np.maximum(best, large)
    return mask, float(best.mean())


def by_windows(model: keras.Model, pixels: np.ndarray, spec: SegmentSpec, overlap: float) -> tuple[np.ndarray, float]:
    """Class numbers uint8 (H, W) of a large image (H, W, C), and the mean confidence of its pixels.

    Windows overlap, and their probabilities are averaged with weights that fall towards their borders. Only the rows
    that a row of windows covers are kept as probabilities, so that memory stays flat however high the image is.
    """
    height, width = (max(size, least) for size, least in zip(pixels.shape[:2], (spec.height, spec.width), strict=True))
    below, beside = height - pixels.shape[0], width - pixels.shape[1]
    if below or beside:
        pixels = np.pad(pixels, ((0, below), (0, beside), (0, 0)), mode="edge")
    tops, lefts = starts(height, spec.height, overlap), starts(width, spec.width, overlap)
    weight = np.outer(_ramp(spec.height), _ramp(spec.width)).astype(np.float32)[..., None]
    mask = np.zeros((height, width), np.uint8)
    confidence, band, weights = 0.0, np.zeros((0, width, 0)), np.zeros((0, width, 1))
    for number, top in enumerate(tops):
        for start in range(0, len(lefts), BATCH):
            chosen = lefts[start : start + BATCH]
            cut = np.stack([pixels[top : top + spec.height, left : left + spec.width] for left in chosen])
            for left, chances in zip(chosen, probabilities_of(model, cut), strict=True):
                if start == 0 and left == chosen[0]:  # rows that only this row of windows has
                    new = spec.height - len(band)
                    band = np.concatenate([band.reshape(len(band), width, chances.shape[-1]),
                                           np.zeros((new, width, chances.shape[-1]), np.float32)])  # fmt: skip
                    weights = np.concatenate([weights, np.zeros((new, width, 1), np.float32)])
                band[:, left : left + spec.width] += weight * chances
                weights[:, left : left + spec.width] += weight
        done = (tops[number + 1] if number + 1 < len(tops) else height) - top
        finished = band[:done] / weights[:done]
        mask[top : top + done] = finished.argmax(-1)
        inside = finished[: max(mask.shape[0] - below - top, 0), : width - beside]
        confidence += float(inside.max(-1).sum())
        band, weights = band[done:], weights[done:]
    mask = mask[: height - below, : width - beside]
    return mask, confidence / mask.size


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


def rows(
    model: keras.Model, spec: dict[str, Any], inputs: Iterable[Any]
) -> Iterator[tuple[Any, tuple[np.ndarray, float] | str]]:
    """Each input with its class numbers and mean confidence, or the reason why it cannot be read."""
    for source in inputs:
        try:
            yield source, of_source(model, spec, source)
        except ValueError as error:
            yield source, str(error)


def write_mask(mask: np.ndarray, source: str, spec: dict[str, Any], folder: Path) -> None:
    """Writes two PNGs, named after the image.

    STEM.png holds class numbers (index, with a palette that shows the classes in colour), STEM_overlay.png the image
    with the classes drawn over it.

    Args:
        mask: uint8 (H, W).
        source: Path of the image.
        spec: Of the run.
        folder: Where to; it is made if need be.
    """
    from pipelines.core.files import whole
    from pipelines.segmentation.colours import colours, overlay

    stem, path = Path(source).stem, Path(source)
    palette = colours(len(spec["classes"]))
    image = Image.fromarray(mask, "P")
    image.putpalette(palette.tobytes())
    with whole(folder / f"{stem}.png") as aside:
        image.save(aside)
    read = SegmentSpec(**spec["image"])
    drawn = Image.fromarray(overlay(viewable(read.pixels(open_image(path, read.white))), mask, palette))
    drawn.thumbnail((LARGEST, LARGEST))
    with whole(folder / f"{stem}_overlay.png") as aside:
        drawn.save(aside)


def viewable(images: np.ndarray) -> np.ndarray:
    """Images (..., C) of any type and channels as uint8 (..., 1 or 3): of more channels the first three."""
    shown = images if images.shape[-1] in (1, 3) else images[..., : 3 if images.shape[-1] > 3 else 1]
    return shown if shown.dtype == np.uint8 else np.clip(np.rint(shown), 0, 255).astype(np.uint8)
