"""Composed scenes: real scans of digits on real photographs, with exact boxes and masks.

They are the embedded data of object detection and semantic segmentation. The objects are scans of handwritten digits,
the backgrounds are crops of the two photographs that come with scikit-learn; only the composition
is made, from a seed. Training, validation and test scenes share neither scans nor regions of a photograph.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

CLASSES = tuple("0123456789")
SIZE = 96  # pixels, height and width of a scene
OBJECTS = (2, 7)  # in a scene that has any, at most
SIDES = (30, 56)  # pixels, range of the height of a scan with its margin; scenes of another size have it in proportion
TURN = 12  # degrees, how far a scan is turned at most
EMPTY = 0.05  # fraction of scenes without an object
HIDDEN = 0.35  # fraction of an object that later ones may cover
SHARES = {"train": (0.0, 0.6), "val": (0.6, 0.8), "test": (0.8, 1.0)}  # of the scans, and of a photograph's width


@dataclass(frozen=True, eq=False)
class Scene:
    """One scene.

    Args:
        image: uint8 (H, W, 3).
        boxes: float32 (N, 4): left, top, right and bottom in pixels, tight around the visible pixels of each object.
        labels: int64 (N,), the classes.
        masks: bool (N, H, W), the visible pixels of each object.
    """

    image: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    masks: np.ndarray

    @property
    def semantic(self) -> np.ndarray:
        """uint8 (H, W): 0 for the background, 1 + class for the pixels of an object."""
        found = np.zeros(self.image.shape[:2], np.uint8)
        for mask, label in zip(self.masks, self.labels, strict=True):
            found[mask] = label + 1
        return found


def scenes(
    split: str, number: int, *, seed: int = 0, size: int = SIZE, digits: int = len(CLASSES),
    objects: tuple[int, int] = OBJECTS, hidden: float = HIDDEN,
) -> list[Scene]:  # fmt: skip
    """Composes the scenes of a split.

    Args:
        split: `train`, `val` or `test`.
        number: How many.
        seed: The same seed gives the same scenes.
        size: Height and width of a scene in pixels.
        digits: How many classes, from 0 on.
        objects: Fewest and most objects of a scene that has any.
        hidden: Fraction of an object that later ones may cover.
    """
    scans, labels = _scans(split)
    scans, labels = scans[labels < digits], labels[labels < digits]
    photos = _regions(split, size)
    salt = list(SHARES).index(split)
    return [
        _compose(np.random.default_rng([seed, salt, i]), scans, labels, photos, size, objects, hidden)
        for i in range(number)
    ]


def _scans(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Scans of digits (N, 8, 8) between 0 and 1 with their classes (N,): other ones for each split."""
    from sklearn.datasets import load_digits

    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    start, end = (round(share * len(order)) for share in SHARES[split])
    return data.images[order[start:end]] / 16, data.target[order[start:end]]


def _regions(split: str, size: int) -> list[np.ndarray]:
    """The region of each photograph that a split may use, uint8 (H, W, 3), at least `size` pixels wide and high."""
    from sklearn.datasets import load_sample_images

    regions = []
    for photo in load_sample_images().images:
        start, end = (round(share * photo.shape[1]) for share in SHARES[split])
        region = Image.fromarray(photo[:, start:end])
        scale = max(1.0, 1.25 * size / min(region.size))
        regions.append(np.asarray(region.resize((round(region.width * scale), round(region.height * scale)))))
    return regions


def _compose(
    draw: np.random.Generator, scans: np.ndarray, labels: np.ndarray, photos: list[np.ndarray], size: int,
    objects: tuple[int, int], hidden: float,
) -> Scene:  # fmt: skip
    photo = photos[draw.integers(len(photos))]
    top, left = (draw.integers(0, extent - size + 1) for extent in photo.shape[:2])
    image = photo[top : top + size, left : left + size].astype(np.float32)
    if draw.random() < 0.5:
        image = image[:, ::-1]
    image = np.clip(image * draw.uniform(0.7, 1.2), 0, 255)
    wanted = 0 if draw.random() < EMPTY else int(draw.integers(*objects, endpoint=True))
    masks: list[np.ndarray] = []
    classes: list[int] = []
    areas: list[int] = []
    for _ in range(4 * wanted):  # some places are taken
        if len(masks) == wanted:
            break
        chosen = int(draw.integers(len(scans)))
        alpha = _object(draw, scans[chosen], size)
        mask = alpha > 0.5
        left_over = [old & ~mask for old in masks]
        if any(new.sum() < (1 - hidden) * area for new, area in zip(left_over, areas, strict=True)):
            continue
        image = image + alpha[..., None] * (_colour(draw, image, mask) - image)
        masks = [*left_over, mask]
        classes.append(int(labels[chosen]))
        areas.append(int(mask.sum()))
    stacked = np.stack(masks) if masks else np.zeros((0, size, size), bool)
    return Scene(np.rint(image).astype(np.uint8), boxes_of(stacked), np.array(classes, np.int64).reshape(-1), stacked)


def _object(draw: np.random.Generator, scan: np.ndarray, size: int) -> np.ndarray:
    """Opacity float32 (size, size) of a scan at a random place, height and width."""
    height = int(draw.integers(*(side * size // SIZE for side in SIDES), endpoint=True))
    width = max(int(height * draw.uniform(0.75, 1.0)), 8)
    scaled = Image.fromarray(np.pad(scan, 1).astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC)
    scaled = scaled.rotate(draw.uniform(-TURN, TURN), Image.Resampling.BILINEAR)
    opacity = np.clip((np.asarray(scaled) - 0.35) * 4 + 0.5, 0, 1)
    alpha = np.zeros((size, size), np.float32)
    top, left = draw.integers(0, size - height + 1), draw.integers(0, size - width + 1)
    alpha[top : top + height, left : left + width] = opacity
    return alpha


def _colour(draw: np.random.Generator, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A random colour (3,) that is lighter or darker than what it covers."""
    behind = float(image[mask].mean()) if mask.any() else 128.0
    bright = 255.0 if behind < 128 else 0.0
    return np.clip(bright + (1 if bright == 0 else -1) * draw.uniform(0, 90, 3), 0, 255).astype(np.float32)


def boxes_of(masks: np.ndarray) -> np.ndarray:
    """The tight boxes float32 (N, 4) of masks bool (N, H, W), none of them empty: left, top, right, bottom."""
    boxes = np.zeros((len(masks), 4), np.float32)
    for box, mask in zip(boxes, masks, strict=True):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        box[:] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return boxes
