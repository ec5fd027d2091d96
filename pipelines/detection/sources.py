"""Where images with boxes come from: the source is recognized by what lies there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.core.errors import UserError
from pipelines.data import sources
from pipelines.detection.annotations import Annotated, Raw, annotated
from pipelines.detection.formats import coco, table, voc, yolo

if TYPE_CHECKING:
    from pipelines.detection.config import DetectionDataConfig


def load(config: DetectionDataConfig, source: str, seed: int = 0) -> Raw:
    """Recognizes the source and reads its annotations.

    Raises:
        UserError: It is unknown, missing or not what it must be.
    """
    images = None
    if config.images is not None:
        images = Path(config.images).expanduser()
        if not images.is_dir():
            raise UserError(f"data.images {config.images} is not a folder")
    raw = sources.read(
        source,
        named={"sample": lambda: _sample(config.scenes, seed)},
        kinds={"tfds": _tfds},
        folder=lambda path: read_folder(path, images),
        file=lambda path: read_file(path, images),
        value=_from_value,
        known="sample, tfds:NAME",
    )
    if not any(raw.splits.values()):
        complaint = f"data.source {source} has no image with annotations that can be used"
        first = "; ".join(f"{name}: {reason}" for name, reason in raw.skipped[: sources.SEVERAL])
        raise UserError(f"{complaint}, among them {first}" if first else complaint)
    return raw


def read_folder(path: Path, images: Path | None) -> Raw:
    """Reads a folder of COCO, VOC or YOLO annotations, or with one CSV of boxes.

    Raises:
        UserError: It holds none of them.
    """
    if yolo.find(path) and not (path / "Annotations").is_dir():
        return yolo.read(path, images)
    files = coco.find(path)
    if files:
        return coco.read(files, path, images)
    if voc.find(path):
        return voc.read(path, images)
    tables = sorted(path.glob("*.csv"))
    if len(tables) == 1:
        return table.read(tables[0], images)
    raise UserError(
        f"data.source {path} holds no annotations: expected COCO JSON, Pascal VOC XML, YOLO labels with data.yaml or "
        "classes.txt, or one CSV of boxes"
    )


def read_file(path: Path, images: Path | None) -> Raw:
    """Reads a COCO JSON file, YOLO's data.yaml or a CSV of boxes.

    Raises:
        UserError: It is something else.
    """
    suffix = path.suffix.lower()
    if suffix == ".json":
        return coco.read([path], path.parent, images)
    if suffix in (".yaml", ".yml"):
        return yolo.read(path, images)
    if suffix in (".csv", ".tsv", ".txt"):
        return table.read(path, images)
    raise UserError(f"data.source {path}: a file must be COCO .json, YOLO .yaml or .csv; VOC and YOLO are folders")


def _sample(number: int, seed: int) -> Raw:
    from pipelines.images import scenes

    raw = Raw({}, classes=scenes.CLASSES)
    for split, size in {"train": number, "val": max(number // 5, 20), "test": max(number // 5, 20)}.items():
        raw.splits[split] = [
            annotated(scene.image, f"{split}_{i:05}", scene.boxes, [scenes.CLASSES[k] for k in scene.labels])
            for i, scene in enumerate(scenes.scenes(split, size, seed=seed))
        ]
    raw.notes.append("the scenes are composed: scans of digits on photographs, both real, at random places")
    return raw


def _tfds(name: str) -> Raw:
    builder = sources.tfds_builder(name, "voc/2007")
    import tensorflow_datasets as tfds

    objects = builder.info.features.get("objects")
    label = objects.get("label") if objects is not None else None
    if label is None or "image" not in builder.info.features:
        raise UserError(f"data.source tfds:{name} is no detection data set (no image, or no objects with labels)")
    classes = tuple(label.names)
    raw = Raw({}, classes=classes)
    for split, to in sources.tfds_splits(builder, name):
        items = raw.splits.setdefault(to, [])
        for i, row in enumerate(tfds.as_numpy(builder.as_dataset(split=split))):
            found = row["objects"]
            boxes = np.asarray(found["bbox"], np.float64).reshape(-1, 4)[:, [1, 0, 3, 2]]  # from y, x, y, x
            ignored = next((found[key] for key in ("is_crowd", "is_difficult") if key in found), None)
            labels = [classes[int(k)] for k in found["label"]]
            items.append(annotated(row["image"], f"{name}[{split}][{i}]", boxes, labels, ignored, relative=True))
    return raw


def _from_value(value: Any, what: str) -> Raw:
    """What a user's function may return: a list of (image, boxes, labels), or a dictionary of them by split."""
    expected = f"data.source {what} must return a list of (image, boxes (N, 4), N labels), or a dict of these by split"
    splits = value if isinstance(value, Mapping) else {"all": value}
    raw = Raw({})
    for name, rows in splits.items():
        split = "all" if name == "all" else sources.SPLITS.get(str(name))
        if split is None or not isinstance(rows, Sequence):
            raise UserError(expected)
        items: list[Annotated] = []
        for i, row in enumerate(rows):
            try:
                image, boxes, labels = row
                item = annotated(image if isinstance(image, np.ndarray) else Path(image), f"{split}[{i}]", boxes,
                                 [str(label) for label in labels])  # fmt: skip
            except (TypeError, ValueError):
                raise UserError(f"{expected}; row {i} is something else") from None
            if len(item.boxes) != len(item.labels):
                raise UserError(f"{expected}; row {i} has {len(item.boxes)} boxes and {len(item.labels)} labels")
            items.append(item)
        raw.splits[split] = items
    return raw
