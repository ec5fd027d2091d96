"""Detections in images of any size, and in large ones by tiles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.detection.boxes import Detections, areas, decode, overlaps
from pipelines.detection.load import GREY, fit
from pipelines.images import decode as decoding

if TYPE_CHECKING:
    import keras

    from pipelines.detection.load import Samples

BATCH = 16
LEAST = 0.01  # confidence below which a box says nothing, in scores
COVERED = 0.7  # fraction of a box that another one of its class covers, from which it is a piece of that at a seam
SEAM = 2.0  # pixels


def outputs_of(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """float32 (B, A, 4 + K) for images uint8 (B, S, S, 3)."""
    from keras import ops

    return np.asarray(ops.convert_to_numpy(model.predict_on_batch(images)), np.float32)


def moved(found: Detections, scale: float, size: tuple[int, int], origin: tuple[float, float] = (0, 0)) -> Detections:
    """From pixels of the model's input to those of an image of `size` (width, height), within it."""
    boxes = found.boxes / scale + np.array([*origin, *origin], np.float32)
    boxes = np.clip(boxes, 0, [*size, *size]).astype(np.float32)
    return Detections(boxes, found.scores, found.labels).take(areas(boxes) > 0)


def of_samples(
    model: keras.Model, samples: Samples, *, iou: float, most: int, least: float = LEAST
) -> list[Detections]:
    """The detections in each image of a split, in pixels of the image."""
    found = []
    for start in range(0, len(samples), BATCH):
        index = np.arange(start, min(start + BATCH, len(samples)))
        for number, output in zip(index, outputs_of(model, samples.read(index)), strict=True):
            size = samples.items[number].size
            assert size is not None
            one = decode(output, least=least, threshold=iou, most=most)
            found.append(moved(one, samples.scale(number), size))
    return found


def of_source(
    model: keras.Model, spec: dict[str, Any], source: Any, *, least: float, tiles: bool
) -> tuple[Detections, np.ndarray]:
    """The detections in an image, and its pixels uint8 (H, W, 3).

    An image is scaled to the model's input. With `tiles`, one that is larger is cut into tiles of that size instead,
    which overlap, at its own scale.

    Raises:
        ValueError: The image cannot be decoded.
    """
    opened = decoding.open_image(source)
    pixels = np.asarray(decoding.to_mode(opened, "rgb"))
    iou, most = spec["nms_iou"], spec["max_detections"]
    if tiles and max(opened.size) > spec["size"]:
        return by_tiles(model, pixels, spec, least=least), pixels
    image, scale = fit(opened, spec["size"])
    output = outputs_of(model, image[None])[0]
    return moved(decode(output, least=least, threshold=iou, most=most), scale, opened.size), pixels


def by_tiles(model: keras.Model, pixels: np.ndarray, spec: dict[str, Any], *, least: float) -> Detections:
    """The detections in a large image uint8 (H, W, 3), from tiles that overlap.

    A box that ends at a seam is dropped where the next tile shows more than the overlap of the two; what is found twice
    is suppressed, pieces of larger boxes too.
    """
    height, width = pixels.shape[:2]
    size, overlap = spec["size"], spec["overlap"]
    places = [(top, left) for top in starts(height, size, overlap) for left in starts(width, size, overlap)]
    parts: list[Detections] = []
    for start in range(0, len(places), BATCH):
        chosen = places[start : start + BATCH]
        cut = np.full((len(chosen), size, size, 3), GREY, np.uint8)
        for tile, (top, left) in zip(cut, chosen, strict=True):
            piece = pixels[top : top + size, left : left + size]
            tile[: piece.shape[0], : piece.shape[1]] = piece
        for output, (top, left) in zip(outputs_of(model, cut), chosen, strict=True):
            found = decode(output, least=least, threshold=spec["nms_iou"], most=spec["max_detections"])
            found = moved(found, 1.0, (min(left + size, width), min(top + size, height)), (left, top))
            parts.append(found.take(~_cut(found.boxes, (left, top), size, (width, height), overlap)))
    joined = Detections(*(np.concatenate(x) for x in zip(*((p.boxes, p.scores, p.labels) for p in parts), strict=True)))
    return joined.take(merge(joined, spec["nms_iou"]))


def starts(extent: int, size: int, overlap: float) -> list[int]:
    """Where tiles begin along a side, so that they cover it and overlap by at least the fraction."""
    if extent <= size:
        return [0]
    number = int(np.ceil((extent - size) / max(size * (1 - overlap), 1))) + 1
    return np.linspace(0, extent - size, number).round().astype(int).tolist()


def _cut(boxes: np.ndarray, origin: tuple[int, int], size: int, image: tuple[int, int], overlap: float) -> np.ndarray:
    """Whether boxes end at a side of a tile that is none of the image, and are small enough to be whole next to it."""
    cut = np.zeros(len(boxes), bool)
    for axis in (0, 1):
        small = boxes[:, 2 + axis] - boxes[:, axis] < overlap * size
        low, high = origin[axis], origin[axis] + size
        if low > 0:
            cut |= small & (boxes[:, axis] <= low + SEAM)
        if high < image[axis]:
            cut |= small & (boxes[:, 2 + axis] >= high - SEAM)
    return cut


def merge(found: Detections, iou: float) -> np.ndarray:
    """Numbers of the detections that stay, the most confident first: within a class no copies and no covered pieces."""
    kept: list[int] = []
    for label in np.unique(found.labels):
        order = np.flatnonzero(found.labels == label)
        order = order[np.argsort(-found.scores[order], kind="stable")]
        size = areas(found.boxes)
        while len(order):
            first, rest = order[0], order[1:]
            kept.append(int(first))
            one = found.boxes[first : first + 1]
            same = overlaps(one, found.boxes[rest])[0]
            shared = same * (size[first] + size[rest]) / (1 + same)
            order = rest[(same < iou) & (shared < COVERED * np.minimum(size[first], size[rest]))]
    index = np.array(kept, np.int64)
    return index[np.argsort(-found.scores[index], kind="stable")]


def rows(model: keras.Model, spec: dict[str, Any], inputs: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """A row for each detection; an image without any has one row without label, a broken one a row that says why."""
    options = spec.get("options", {})
    least = options.get("confidence", spec["confidence"])
    tiles = {"yes": True, "no": False}.get(options.get("tiles", "auto"), spec["tiles"])
    wanted = _wanted(spec, options.get("classes"))
    for source in inputs:
        try:
            found, pixels = of_source(model, spec, source, least=least, tiles=tiles)
        except ValueError as error:
            yield {"input": str(source), "label": None, "error": str(error)}
            continue
        found = found.take(np.isin(found.labels, wanted))
        size = {"width": pixels.shape[1], "height": pixels.shape[0]}
        more: dict[str, Any] = {DRAWN: (pixels, found)} if options.get("files") else {}
        name = str(source) if isinstance(source, (str, Path)) else "array"
        for box, score, label in zip(found.boxes.tolist(), found.scores, found.labels, strict=True):
            of_class = spec["classes"][label]
            corners = dict(zip(CORNERS, (round(x, 2) for x in box), strict=True))
            yield {"input": name, "label": of_class, "class_id": spec["ids"][of_class],
                   "confidence": round(float(score), 6), **corners, **size, **more}  # fmt: skip
            more = {}
        if not len(found):
            yield {"input": name, "label": "", **size, **more}


CORNERS = ("left", "top", "right", "bottom")
DRAWN = "_drawn"  # pixels and detections, which `predict --files` draws; not a column


def _wanted(spec: dict[str, Any], names: str | None) -> Sequence[int]:
    from pipelines.core.errors import UserError

    if names is None:
        return list(range(len(spec["classes"])))
    chosen = [name.strip() for name in names.split(",")]
    for name in chosen:
        if name not in spec["classes"]:
            raise UserError(f"--classes: the model has no class {name!r}; it has {', '.join(spec['classes'])}")
    return [spec["classes"].index(name) for name in chosen]


def coco_lines(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Rows as a COCO file, whose annotations have a score; `file_name` is the input."""
    import json

    images: dict[str, dict[str, Any]] = {}
    categories: dict[int, str] = {}
    notes: list[dict[str, Any]] = []
    for row in rows:
        if row.get("error"):
            continue
        name = row["input"]
        entry = {"id": len(images) + 1, "file_name": name, "width": row["width"], "height": row["height"]}
        image = images.setdefault(name, entry)
        if not row["label"]:
            continue
        categories[row["class_id"]] = row["label"]
        left, top, right, bottom = (row[corner] for corner in CORNERS)
        side = [left, top, round(right - left, 2), round(bottom - top, 2)]
        notes.append({"id": len(notes) + 1, "image_id": image["id"], "category_id": row["class_id"], "bbox": side,
                      "area": round(side[2] * side[3], 2), "iscrowd": 0, "score": row["confidence"]})  # fmt: skip
    named = [{"id": number, "name": name} for number, name in sorted(categories.items())]
    content = {"images": list(images.values()), "annotations": notes, "categories": named}
    yield json.dumps(content, ensure_ascii=False, indent=1) + "\n"


def draw(pixels: np.ndarray, found: Detections, classes: Sequence[str], target: Path) -> None:
    """Writes an image with its detections as PNG."""
    from PIL import Image, ImageDraw

    from pipelines.core.files import whole

    image = Image.fromarray(pixels)
    pen = ImageDraw.Draw(image)
    width = max(1, round(max(image.size) / 400))
    for box, score, label in zip(found.boxes.tolist(), found.scores, found.labels, strict=True):
        colour = f"hsl({(int(label) * 137) % 360}, 90%, 45%)"
        pen.rectangle(box, outline=colour, width=width)
        text = f"{classes[label]} {score:.0%}"
        place = (box[0], max(box[1] - 11, 0))
        pen.rectangle(pen.textbbox(place, text), fill=colour)
        pen.text(place, text, fill="white")
    with whole(target) as aside:
        image.save(aside)
