"""What every format of boxes is read into, and what is done with boxes that are not as they should be."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.data import sources

NONE = np.zeros((0, 4), np.float64)


@dataclass
class Annotated:
    """An image with its boxes, as the source gives them.

    Args:
        image: Path, or uint8 (H, W, 3).
        name: For reports, and what keeps the image apart from others.
        boxes: float64 (N, 4): left, top, right and bottom in pixels, or in fractions of the size where `relative`.
        labels: N classes.
        ignored: Boolean (N,): regions that count neither as right nor as wrong (`iscrowd`, `difficult`).
        size: Width and height that the annotations name.
        relative: Whether the boxes are fractions of width and height.
    """

    image: Any
    name: str
    boxes: np.ndarray
    labels: list[str]
    ignored: np.ndarray
    size: tuple[int, int] | None = None
    relative: bool = False


@dataclass
class Raw(sources.Raw[list[Annotated]]):
    """What a source gave.

    Args:
        classes: Their names, where the source lists them.
        ids: Number of each class in the source, such as COCO's category_id.
        problems: Image and problem of each box that was changed or dropped.
    """

    classes: tuple[str, ...] | None = None
    ids: dict[str, int] = field(default_factory=dict)
    problems: list[tuple[str, str]] = field(default_factory=list)


def annotated(
    image: Path | np.ndarray, name: str, boxes: Any, labels: list[str], ignored: Any = None, **more: Any
) -> Annotated:
    """An image whose boxes may be any sequence of four numbers."""
    rows = np.asarray(boxes, np.float64).reshape(-1, 4)
    flags = np.zeros(len(rows), bool) if ignored is None else np.asarray(ignored, bool).reshape(-1)
    return Annotated(image, name, rows, labels, flags, **more)


def clean(item: Annotated, width: int, height: int, problems: list[tuple[str, str]]) -> None:
    """Sets boxes right, in pixels, or drops them; each is named in `problems`.

    Args:
        item: Changed in place.
        width: Of the image as it is shown, in pixels.
        height: Likewise.
        problems: Gets image and problem of each box that was not as it should be.
    """
    boxes = item.boxes * ([width, height, width, height] if item.relative else 1.0)
    item.relative = False
    finite = np.isfinite(boxes).all(1)
    boxes[~finite] = 0
    ordered = np.concatenate([np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])], 1)
    swapped = (ordered != boxes).any(1)
    clipped = np.clip(ordered, 0, [width, height, width, height])
    # What YOLO's six digits round away is no error.
    outside = np.abs(clipped - ordered).max(1, initial=0) > 0.01
    empty = (clipped[:, 2:] - clipped[:, :2]).min(1, initial=np.inf) < 1e-3
    seen: set[tuple[Any, ...]] = set()
    keep = np.ones(len(boxes), bool)
    for i, (box, label) in enumerate(zip(clipped.tolist(), item.labels, strict=True)):
        key = (label, *(round(x, 2) for x in box))
        shown = f"box ({', '.join(f'{x:g}' for x in item.boxes[i])}) of {label!r}"
        if not finite[i] or empty[i]:
            keep[i] = False
            why = "is not finite" if not finite[i] else "lies outside the image" if outside[i] else "is empty"
            problems.append((item.name, f"{shown} {why}: dropped"))
        elif key in seen:
            keep[i] = False
            problems.append((item.name, f"{shown} occurs twice: dropped"))
        else:
            if swapped[i]:
                problems.append((item.name, f"{shown} has swapped corners: put right"))
            if outside[i]:
                problems.append((item.name, f"{shown} reaches out of the image of {width} x {height}: clipped"))
            seen.add(key)
    item.boxes, item.ignored = clipped[keep], item.ignored[keep]
    item.labels = [label for label, kept in zip(item.labels, keep, strict=True) if kept]
    item.size = (width, height)


def upright(item: Annotated, stored: tuple[int, int], orientation: int) -> None:
    """Turns boxes that were drawn on the stored pixels of a photo as its EXIF orientation turns the photo.

    Where the annotations name the size of the stored, not of the upright photo, the boxes belong to the stored one.

    Args:
        item: Changed in place.
        stored: Width and height of the file's pixels.
        orientation: EXIF's, 1 to 8; 5 to 8 swap width and height.
    """
    if orientation < 5 or item.size is None or item.size != stored or stored[0] == stored[1]:
        return
    width, height = (1.0, 1.0) if item.relative else (float(stored[0]), float(stored[1]))
    left, top, right, bottom = item.boxes.T
    turned = {
        5: (top, left, bottom, right),
        6: (height - bottom, left, height - top, right),
        7: (height - bottom, width - right, height - top, width - left),
        8: (top, width - right, bottom, width - left),
    }[orientation]
    item.boxes = np.stack(turned, 1)
    item.size = (stored[1], stored[0])


def drop_unknown(raw: Raw, classes: tuple[str, ...]) -> None:
    """Drops the boxes of other classes than these and names them."""
    for items in raw.splits.values():
        for item in items:
            keep = np.array([label in classes for label in item.labels], bool)
            if keep.all():
                continue
            for label, number in Counter(x for x, k in zip(item.labels, keep, strict=True) if not k).items():
                raw.problems.append((item.name, f"{number} boxes of the unknown class {label!r}: dropped"))
            item.boxes, item.ignored = item.boxes[keep], item.ignored[keep]
            item.labels = [x for x, k in zip(item.labels, keep, strict=True) if k]
