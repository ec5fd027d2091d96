"""Annotations from one format to another."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipelines.core import cli
from pipelines.core.console import say
from pipelines.core.errors import UserError

FORMATS = ("coco", "voc", "yolo", "csv")


def command(task: Any, argv: Sequence[str]) -> None:
    """`convert SRC DST --format FORMAT`.

    Raises:
        UserError: The source cannot be read, or the target exists.
    """
    about = "Write the boxes of a source in another format. Boxes that are wrong are put right or dropped, and named."
    parser = cli.OneLineParser(prog=f"{task.prog} convert", description=about)
    parser.add_argument("source", help="what --data takes")
    parser.add_argument("target", help="folder to write, which must not exist")
    parser.add_argument("--format", choices=FORMATS, required=True, help="of the annotations that are written")
    parser.add_argument("--images", help="folder of the source's images, where they do not lie beside the annotations")
    parser.add_argument("--copy", action="store_true", help="also copy the images where the format expects them")
    options = parser.parse_args(argv)
    convert(options.source, Path(options.target), options.format, images=options.images, copy=options.copy)


def convert(source: str, target: Path, kind: str, *, images: str | None = None, copy: bool = False) -> None:
    """Reads a source, sets its boxes right, and writes them; splits, negatives, classes and their ids stay.

    Raises:
        UserError: The source cannot be read, or the target exists.
    """
    from pipelines.data.labels import natural
    from pipelines.detection import annotations, sources
    from pipelines.detection.config import DetectionDataConfig
    from pipelines.detection.formats import coco, table, voc, yolo
    from pipelines.detection.load import scan_sizes

    if target.exists():
        raise UserError(f"{target} exists: give another folder")
    raw = sources.load(DetectionDataConfig(source, images=images), source)
    found = {label for items in raw.splits.values() for item in items for label in item.labels}
    classes = raw.classes or tuple(sorted(found, key=natural))
    annotations.drop_unknown(raw, classes)
    scan_sizes(raw)
    if kind == "coco":
        coco.write(target, raw.splits, classes, raw.ids)
    elif kind == "voc":
        voc.write(target, raw.splits)
    elif kind == "yolo":
        yolo.write(target, raw.splits, classes)
    else:
        table.write(target, raw.splits)
    if copy:
        _copy(raw.splits, target, kind)
    for name, reason in raw.skipped[:20]:
        say(f"skipped {name}: {reason}")
    for name, problem in raw.problems[:20]:
        say(f"{name}: {problem}")
    if len(raw.problems) > 20:
        say(f"and {len(raw.problems) - 20} more")
    number = sum(map(len, raw.splits.values()))
    boxes = sum(len(item.boxes) for items in raw.splits.values() for item in items)
    many = "class" if len(classes) == 1 else "classes"
    say(f"{number:,} images with {boxes:,} boxes of {len(classes)} {many}: {target}")


def _copy(splits: dict[str, Any], target: Path, kind: str) -> None:
    for split, items in splits.items():
        part = "" if split == "all" else split
        for item in items:
            name = item.name if kind in ("coco", "csv") else Path(item.name).name
            place = target / ("images" if kind in ("coco", "yolo") else "")
            place = place / (part if kind in ("voc", "yolo") else "") / name
            place.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(item.image, Path):
                shutil.copyfile(item.image, place)
            else:
                from PIL import Image

                Image.fromarray(item.image).save(place.with_name(f"{place.name}.png"))
