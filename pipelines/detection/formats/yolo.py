"""YOLO: a text file for each image, with a class number and middle, width and height as fractions on each line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.core.errors import UserError
from pipelines.core.files import one_line
from pipelines.data import sources
from pipelines.data.sources import SPLITS
from pipelines.detection.annotations import Annotated, Raw, annotated
from pipelines.detection.formats.files import images_below, text_of

YAMLS = ("data.yaml", "dataset.yaml", "data.yml", "dataset.yml")
LISTS = ("classes.txt", "obj.names", "labels.txt")


def find(folder: Path) -> bool:
    """Whether annotations of this kind lie in a folder."""
    return any((folder / name).is_file() for name in (*YAMLS, *LISTS)) or (folder / "labels").is_dir()


def read(source: Path, images: Path | None) -> Raw:
    """Reads a folder or its data.yaml.

    Raises:
        UserError: There are no names of classes, or the YAML file is damaged.
    """
    raw = Raw({})
    root = source if source.is_dir() else source.parent
    yamls = [source] if source.is_file() else [root / name for name in YAMLS if (root / name).is_file()]
    if yamls:
        names, places = _yaml(yamls[0])
    else:
        names, places = _classes(root), _places(root, images)
    raw.classes = tuple(names.values())
    raw.ids = {name: number for number, name in names.items()}
    for split, paths in places.items():
        items = raw.splits.setdefault(split, [])
        for place in paths:
            files = _listed(place) if place.is_file() else images_below(place)
            items += [item for path in files if (item := _image(path, root, names, raw)) is not None]
    raw.splits = {split: items for split, items in raw.splits.items() if items}
    if "train" not in raw.splits and "all" not in raw.splits:
        where = ", ".join(str(p) for paths in places.values() for p in paths)
        raise UserError(f"data.source {source} has no training images: looked in {where or 'no folder'}")
    return raw


def _yaml(path: Path) -> tuple[dict[int, str], dict[str, list[Path]]]:
    import yaml

    try:
        content = yaml.safe_load(text_of(path))
    except yaml.YAMLError as error:
        raise UserError(f"data.source {path} cannot be read as YAML: {one_line(error)}") from None
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names:
        raise UserError(f"data.source {path} must have the list `names` of the classes")
    base = path.parent / Path(str(content.get("path") or "."))
    places: dict[str, list[Path]] = {}
    for key, split in SPLITS.items():
        value = content.get(key)
        for one in value if isinstance(value, list) else [value] if value else []:
            # Files that were moved often name folders that are no more: those beside the YAML file are meant.
            tries = [base / str(one), path.parent / str(one), path.parent / str(one).lstrip("./")]
            found = next((p for p in tries if p.exists()), None)
            if found is None:
                raise UserError(f"data.source {path}: {key} names {one!r}, which is not found")
            places.setdefault(split, []).append(found)
    try:
        return {int(number): str(name) for number, name in names.items()}, places
    except ValueError as error:
        raise UserError(f"data.source {path}: names must be numbered: {one_line(error)}") from None


def _classes(root: Path) -> dict[int, str]:
    for name in LISTS:
        for folder in (root, root / "labels", *sources.subfolders(root)):
            if (folder / name).is_file():
                lines = [line.strip() for line in text_of(folder / name).splitlines()]
                return {i: line for i, line in enumerate(lines) if line}
    raise UserError(
        f"data.source {root} has YOLO labels, but no data.yaml or classes.txt with the names of the classes"
    )


def _places(root: Path, images: Path | None) -> dict[str, list[Path]]:
    base = images or (root / "images" if (root / "images").is_dir() else root)
    return {split: [folder] for split, folder in sources.split_folders(base).items()}


def _listed(path: Path) -> list[Path]:
    lines = [line.strip() for line in text_of(path).splitlines()]
    return [path.parent / line for line in lines if line]


def _image(path: Path, root: Path, names: dict[int, str], raw: Raw) -> Annotated | None:
    """An image without a label file is a negative."""
    inside = os.path.relpath(path, root)
    parts = list(Path(inside).parts)
    tries = [path.with_suffix(".txt")]
    if "images" in parts:
        place = len(parts) - 1 - parts[::-1].index("images")
        parts[place] = "labels"
        tries.insert(0, (root / Path(*parts)).with_suffix(".txt"))
    elif (root / "labels").is_dir():
        tries.insert(0, (root / "labels" / inside).with_suffix(".txt"))
        tries.append(root / "labels" / f"{path.stem}.txt")
    file = next((p for p in tries if p.is_file()), None)
    name = Path(inside).as_posix()
    boxes, labels = [], []
    for number, line in enumerate(text_of(file).splitlines() if file else [], start=1):
        words = line.split()
        if not words:
            continue
        row = _row(words)
        if row is None:
            raw.skipped.append((f"{name} line {number}", "expected a class number and four fractions, or a polygon"))
            return None
        label = names.get(int(row[0]), f"class {int(row[0])}")
        boxes.append(row[1:])
        labels.append(label)
    return annotated(path, name, boxes, labels, relative=True)


def _row(words: list[str]) -> list[float] | None:
    """Class, left, top, right, bottom; a polygon becomes the box around it."""
    try:
        values = np.array([float(word) for word in words])
    except ValueError:
        return None
    if values[0] != int(values[0]) or not np.isfinite(values).all():
        return None
    if len(values) == 5:
        x, y, width, height = values[1:]
        return [values[0], x - width / 2, y - height / 2, x + width / 2, y + height / 2]
    if len(values) >= 7 and len(values) % 2:
        xs, ys = values[1::2], values[2::2]
        return [values[0], xs.min(), ys.min(), xs.max(), ys.max()]
    return None


def write(target: Path, splits: dict[str, list[Annotated]], classes: tuple[str, ...]) -> None:
    """Writes `labels/SPLIT/NAME.txt` and data.yaml; the images belong into `images/SPLIT`. Crowds are left out."""
    import yaml

    from pipelines.core.files import write_text

    content: dict[str, Any] = {"path": "."}
    for split, items in splits.items():
        folder = "" if split == "all" else f"/{split}"
        content["train" if split == "all" else split] = f"images{folder}"
        for item in items:
            assert item.size is not None
            width, height = item.size
            lines = []
            for (left, top, right, bottom), label, ignored in zip(item.boxes, item.labels, item.ignored, strict=True):
                if ignored:
                    continue
                row = ((left + right) / 2 / width, (top + bottom) / 2 / height, (right - left) / width,
                       (bottom - top) / height)  # fmt: skip
                lines.append(f"{classes.index(label)} " + " ".join(f"{x:.7f}" for x in row))
            stem = Path(item.name).stem
            write_text(target / f"labels{folder}" / f"{stem}.txt", "".join(f"{line}\n" for line in lines))
    content["names"] = dict(enumerate(classes))
    write_text(target / "data.yaml", yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
