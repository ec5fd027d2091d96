"""COCO: one JSON file for all images of a split."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.core.errors import UserError
from pipelines.core.files import one_line
from pipelines.data.sources import SPLITS
from pipelines.detection.annotations import Annotated, Raw, annotated
from pipelines.detection.formats.files import Finder

KEYS = ("images", "annotations", "categories")


def find(folder: Path) -> list[Path]:
    """The annotation files in a folder, its `annotations` or the folders of its splits."""
    places = [folder, *sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))]
    found = [p for place in places for p in sorted(place.glob("*.json")) if _is_coco(p)]
    plain = [p for p in found if re.match(r"(person_keypoints|captions|image_info|stuff|panoptic)", p.name) is None]
    return plain or found


def _is_coco(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(1 << 20)
            file.seek(max(0, path.stat().st_size - (1 << 20)))
            ends = head + file.read()
    except OSError:
        return False
    return b'"images"' in ends or b'"annotations"' in ends


def split_of(path: Path) -> str:
    """The split that a file or its folder is named after, or `all`."""
    for text in (path.stem, path.parent.name):
        words = re.split(r"[^a-z]+", text.lower())
        for word in words:
            if word in SPLITS:
                return SPLITS[word]
    return "all"


def read(files: list[Path], root: Path, images: Path | None) -> Raw:
    """Reads annotation files.

    Raises:
        UserError: One is damaged or holds other things.
    """
    raw = Raw({})
    finders = [images] if images else [root]
    names = [split_of(path) for path in files] if len(files) > 1 else ["all"]
    if "train" not in names:
        names = ["all"] * len(files)
    listed: dict[str, int] = {}
    for path, split in zip(files, names, strict=True):
        beside = [path.parent.parent] if path.parent.name.lower() in ("annotations", "labels") else []
        folders = [*finders, path.parent, *beside] if images is None else finders
        items, categories = read_file(path, Finder(*dict.fromkeys(folders)), raw)
        raw.splits.setdefault(split, []).extend(items)
        for name, number in categories.items():
            listed.setdefault(name, number)
    raw.classes, raw.ids = tuple(listed), listed
    return raw


def read_file(path: Path, finder: Finder, raw: Raw) -> tuple[list[Annotated], dict[str, int]]:
    """The images of one file, and its categories with their ids, which need not be contiguous.

    Raises:
        UserError: It is damaged or holds other things.
    """
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(f"data.source {path} cannot be read as JSON: {one_line(error)}") from None
    if not isinstance(content, dict) or not all(isinstance(content.get(key), list) for key in KEYS[:2]):
        raise UserError(f"data.source {path} is no COCO file: expected an object with the lists {', '.join(KEYS)}")
    try:
        categories = {c["id"]: str(c["name"]) for c in content.get("categories") or []}
        known: dict[Any, dict[str, Any]] = {image["id"]: image for image in content["images"]}
    except (KeyError, TypeError) as error:
        raise UserError(f"data.source {path}: an image or category lacks {one_line(error)}") from None
    groups: dict[Any, list[dict[str, Any]]] = {number: [] for number in known}
    for place, note in enumerate(content["annotations"]):
        problem = _problem(note, groups)
        if problem:
            raw.skipped.append((f"{path.name} annotation {place}", problem))
            continue
        groups[note["image_id"]].append(note)
    items = []
    for number, image in known.items():
        name = str(image.get("file_name", number))
        found = finder.find(name)
        if found is None:
            raw.skipped.append((name, f"its image is not found (named in {path.name}); data.images says where to look"))
            continue
        notes = groups[number]
        boxes = np.array([note["bbox"] for note in notes], np.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]  # width and height
        labels = [categories.get(note.get("category_id"), f"category_id {note.get('category_id')}") for note in notes]
        width, height = image.get("width"), image.get("height")
        size = (int(width), int(height)) if width and height else None
        crowd = [bool(note.get("iscrowd", 0)) for note in notes]
        items.append(annotated(found, name, boxes, labels, crowd, size=size))
    return items, {name: number for number, name in categories.items()}


def _problem(note: Any, groups: dict[Any, Any]) -> str | None:
    if not isinstance(note, dict):
        return "is no object"
    if note.get("image_id") not in groups:
        return f"its image_id {note.get('image_id')!r} is not among the images"
    box = note.get("bbox")
    if not isinstance(box, list) or len(box) != 4 or not all(isinstance(x, (int, float)) for x in box):
        return f"its bbox must be four numbers, got {box!r}"
    if box[2] < 0 or box[3] < 0:
        return f"its bbox has a negative width or height: {box!r}"
    return None


def write(target: Path, splits: dict[str, list[Annotated]], classes: tuple[str, ...], ids: dict[str, int]) -> None:
    """Writes `annotations/instances_SPLIT.json`."""
    from pipelines.core.files import write_text

    numbers = {name: ids.get(name, i) for i, name in enumerate(classes, start=1)}
    for split, items in splits.items():
        images: list[dict[str, Any]] = []
        notes: list[dict[str, Any]] = []
        for number, item in enumerate(items, start=1):
            assert item.size is not None
            images.append({"id": number, "file_name": item.name, "width": item.size[0], "height": item.size[1]})
            for box, label, ignored in zip(item.boxes.tolist(), item.labels, item.ignored.tolist(), strict=True):
                left, top, right, bottom = (round(x, 3) for x in box)
                side = [left, top, round(right - left, 3), round(bottom - top, 3)]
                notes.append({"id": len(notes) + 1, "image_id": number, "category_id": numbers[label], "bbox": side,
                              "area": round(side[2] * side[3], 3), "iscrowd": int(ignored)})  # fmt: skip
        named = [{"id": numbers[name], "name": name} for name in classes]
        content = {"images": images, "annotations": notes, "categories": named}
        write_text(target / "annotations" / f"instances_{split}.json", json.dumps(content, ensure_ascii=False))
