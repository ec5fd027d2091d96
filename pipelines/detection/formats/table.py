"""CSV: a row for each box; a row without a box is an image without objects."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

from pipelines.core.errors import UserError
from pipelines.core.files import one_line
from pipelines.data import sources
from pipelines.detection.annotations import Annotated, Raw, annotated
from pipelines.detection.formats.files import Finder

IMAGES = ("image", "filename", "image_path", "path", "file", "image_id", "img")
LABELS = ("label", "class", "name", "category", "class_name")
CORNERS = (("xmin", "ymin", "xmax", "ymax"), ("x_min", "y_min", "x_max", "y_max"), ("x1", "y1", "x2", "y2"),
           ("left", "top", "right", "bottom"))  # fmt: skip
SIDES = (("x", "y", "width", "height"), ("x", "y", "w", "h"), ("left", "top", "width", "height"))
HEADLESS = ["image", "xmin", "ymin", "xmax", "ymax", "label"]


def read(path: Path, images: Path | None) -> Raw:
    """Reads a file with columns for image, label and corners, and perhaps the split.

    Without a header: path, left, top, right, bottom, class.

    Raises:
        UserError: It cannot be read, or has other columns.
    """
    import pandas as pd

    try:
        with path.open(encoding="utf-8-sig") as file:
            head = file.readline()
        separator = next((s for s in ("\t", ";", ",") if s in head), ",")
        words = [word.strip().lower() for word in head.strip().split(separator)]
        header = any(word in IMAGES for word in words)
        table = pd.read_csv(
            path, sep=separator, dtype=str, encoding="utf-8-sig", keep_default_na=False,
            header=0 if header else None, names=None if header else HEADLESS,
        )  # fmt: skip
    except (OSError, ValueError, csv.Error, pd.errors.ParserError) as error:
        raise UserError(f"data.source {path} cannot be read as CSV: {one_line(error)}") from None
    table.columns = [str(name).strip().lower() for name in table.columns]
    names = list(table.columns)
    image = sources.choose(names, None, IMAGES, "image", path)
    label = sources.choose(names, None, LABELS, "label", path)
    split = sources.choose(names, None, sources.SPLIT_COLUMNS, "split", path)
    corners = next((c for c in (*CORNERS, *SIDES) if set(c) <= set(names)), None)
    if image is None or label is None or corners is None:
        raise UserError(
            f"data.source {path} must have columns for the image (such as image), the class (label) and the box "
            f"(xmin, ymin, xmax, ymax, or x, y, width, height); it has {', '.join(names)}"
        )
    numbers = np.stack([pd.to_numeric(table[c], errors="coerce").to_numpy(float) for c in corners], 1)
    blank = (table[list(corners)].map(str.strip) == "").all(axis=1).to_numpy()
    if corners in SIDES:
        numbers[:, 2:] += numbers[:, :2]
    raw = Raw({})
    finder = Finder(images or path.parent)
    groups: dict[tuple[str, str], tuple[list[np.ndarray], list[str]]] = {}
    columns = zip(table[image], table[label], table[split] if split else ["all"] * len(table), strict=True)
    for number, (name, of_class, of_split) in enumerate(columns):
        of_split = of_split.strip().lower()
        chosen = sources.SPLITS.get(of_split, "all" if of_split in ("all", "") else None)
        broken = not name.strip() or chosen is None
        no_box = blank[number]
        broken = broken or (not no_box and (not of_class.strip() or not np.isfinite(numbers[number]).all()))
        if broken or chosen is None:
            line = number + (2 if header else 1)
            raw.skipped.append((f"{path.name} line {line}", "no image, class, known split or four numbers of a box"))
            continue
        boxes, labels = groups.setdefault((chosen, name.strip()), ([], []))
        if not no_box:
            boxes.append(numbers[number])
            labels.append(of_class.strip())
    for (chosen, name), (boxes, labels) in groups.items():
        found = finder.find(name)
        if found is None:
            raw.skipped.append((name, "its image is not found; data.images says where to look"))
            continue
        raw.splits.setdefault(chosen, []).append(annotated(found, name, boxes, labels))
    return raw


def write(target: Path, splits: dict[str, list[Annotated]]) -> None:
    """Writes boxes.csv."""
    from pipelines.core.files import write_text

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "xmin", "ymin", "xmax", "ymax", "label", "split"])
    for split, items in splits.items():
        for item in items:
            for box, label in zip(item.boxes.tolist(), item.labels, strict=True):
                writer.writerow([item.name, *(f"{x:g}" for x in box), label, split])
            if not len(item.boxes):
                writer.writerow([item.name, "", "", "", "", "", split])
    write_text(target / "boxes.csv", text.getvalue())
