"""Where images with masks come from: each source gives pairs by split."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.core.errors import UserError
from pipelines.core.files import one_line
from pipelines.data import sources
from pipelines.images import scenes
from pipelines.images.sources import EXTENSIONS
from pipelines.segmentation.masks import CROWD, Polygons

if TYPE_CHECKING:
    from pipelines.segmentation.config import SegmentDataConfig

IMAGE_FOLDERS = ("images", "image", "imgs", "img", "jpegimages", "photos")
MASK_FOLDERS = ("masks", "mask", "labels", "label", "annotations", "segmentationclass", "gt", "ground_truth")
IMAGE_NAMES = ("image", "image_path", "path", "file", "filename")
MASK_NAMES = ("mask", "mask_path", "label", "annotation", "segmentation")
DIGITS = 5  # classes of the scenes: the digits from 0 on
OBJECTS = (4, 9)  # in a scene
HIDDEN = 0.2  # fraction of an object that others may cover
SUFFIXES = ("_mask", "-mask", "_label", "_labels", "_gt", "_seg")


@dataclass
class Pairs:
    """Images with their masks, as the source has them.

    Args:
        images: Paths or arrays.
        masks: Paths, arrays or `Polygons`.
        names: Names for reports.
        groups: Keys of what must stay in one split, or None.
    """

    images: list[Any] = field(default_factory=list)
    masks: list[Any] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    groups: list[str] | None = None

    def add(self, image: Any, mask: Any, name: str) -> None:
        self.images.append(image)
        self.masks.append(mask)
        self.names.append(name)


@dataclass
class Raw(sources.Raw[Pairs]):
    """What a source gave.

    Args:
        names: Names of stored mask values, where the source knows them.
    """

    names: dict[int, str] | None = None


def load(config: SegmentDataConfig, source: str, seed: int = 0) -> Raw:
    """Recognizes the source and reads it.

    Raises:
        UserError: It is unknown, missing or not valid.
    """
    return sources.read(
        source,
        named={"sample": lambda: _sample(config, seed)},
        kinds={"tfds": _tfds},
        folder=lambda path: _folder(path, config),
        file=lambda path: _file(path, config),
        value=_from_value,
        known="sample, tfds:NAME",
    )


def _sample(config: SegmentDataConfig, seed: int) -> Raw:
    raw = Raw({}, names={0: "background", **{i + 1: name for i, name in enumerate(scenes.CLASSES[:DIGITS])}})
    for split, number in (("train", config.scenes), ("val", 100), ("test", 150)):
        pairs = raw.splits[split] = Pairs()
        made = scenes.scenes(split, number, seed=seed, digits=DIGITS, objects=OBJECTS, hidden=HIDDEN)
        for i, scene in enumerate(made):
            pairs.add(scene.image, scene.semantic, f"scene {split} {i}")
    raw.notes.append("the scenes are composed: scans of digits (scikit-learn) on regions of its two photographs")
    return raw


def _file(path: Path, config: SegmentDataConfig) -> Raw:
    suffix = path.suffix.lower()
    if suffix == ".json":
        return _coco(path, config)
    if suffix in (".csv", ".tsv", ".jsonl", ".ndjson"):
        return _listed(path, config)
    raise UserError(f"data.source {path}: a file must be .csv, .tsv, .jsonl (paths) or .json (COCO)")


def _folder(root: Path, config: SegmentDataConfig) -> Raw:
    """images/ and masks/, by split or not, on either level; or COCO files by split, as Roboflow exports them."""
    raw = Raw({})
    folders = sources.split_folders(root)
    files = {split: sorted(folder.glob("*.json")) for split, folder in folders.items()}
    if all(len(found) == 1 for found in files.values()):
        for split, found in files.items():
            one = _coco(found[0], config)
            if raw.names not in (None, one.names):
                raise UserError(f"data.source {root}: {found[0].name} of {split} has other categories")
            raw.splits[split], raw.names = one.splits["all"], one.names
            raw.skipped += one.skipped
            raw.notes += [f"{split}: {note}" for note in one.notes]
        return raw
    for split, folder in folders.items():
        images, masks = (_one_of(folder, names) for names in (IMAGE_FOLDERS, MASK_FOLDERS))
        if images is None or masks is None:
            raise UserError(f"data.source {folder}: expected the folders images/ and masks/ in it, or train/images/ …")
        inner, stored = sources.split_folders(images), sources.split_folders(masks)
        if split == "all" and "train" in inner and set(inner) <= set(stored):
            for part, of_part in inner.items():
                raw.splits[part] = _matched(of_part, stored[part], root, raw)
        else:
            raw.splits[split] = _matched(images, masks, root, raw)
    return raw


def _one_of(folder: Path, names: Sequence[str]) -> Path | None:
    found = {p.name.lower(): p for p in sources.subfolders(folder)}
    return next((found[name] for name in names if name in found), None)


def _matched(images: Path, masks: Path, root: Path, raw: Raw) -> Pairs:
    """Pairs of files with the same path below their folders, suffixes aside; `_mask` and the like are allowed."""
    found, _ = sources.files_below(images, EXTENSIONS | {".npy"})
    stored, _ = sources.files_below(masks, EXTENSIONS | {".npy"})
    by_stem: dict[str, Path] = {}
    for path in stored:
        stem = path.relative_to(masks).with_suffix("").as_posix()
        for suffix in SUFFIXES:
            by_stem.setdefault(stem.removesuffix(suffix), path)
    pairs, used = Pairs(), set()
    for path in found:
        stem = path.relative_to(images).with_suffix("").as_posix()
        mask = by_stem.get(stem)
        if mask is None:
            raw.skipped.append((path.relative_to(root).as_posix(), f"no mask {stem}.* in {masks.name}/"))
            continue
        used.add(mask)
        pairs.add(path, mask, path.relative_to(root).as_posix())
    if lonely := [p for p in stored if p not in used]:
        raw.notes.append(f"{len(lonely)} masks in {masks.name}/ have no image, such as {lonely[0].name}")
    return pairs


def _listed(path: Path, config: SegmentDataConfig) -> Raw:
    import pandas as pd

    try:
        if path.suffix.lower() in (".jsonl", ".ndjson"):
            table = pd.read_json(path, lines=True, dtype=False)
        else:
            table = pd.read_csv(path, sep=None, engine="python", dtype=str, encoding="utf-8-sig", keep_default_na=False)
    except (OSError, ValueError) as error:
        raise UserError(f"data.source {path} cannot be read: {one_line(error)}") from None
    names = [str(name) for name in table.columns]
    image = sources.choose(names, config.image_column, IMAGE_NAMES, "image_column", path)
    mask = sources.choose(names, config.mask_column, MASK_NAMES, "mask_column", path)
    split = sources.choose(names, config.split_column, sources.SPLIT_COLUMNS, "split_column", path)
    group = sources.choose(names, config.group_column, (), "group_column", path)
    if image is None or mask is None:
        raise UserError(f"data.source {path}: expected the columns image and mask, it has {', '.join(names)}")
    raw = Raw({})
    for number, row in enumerate(table.to_dict("records"), start=2):
        part = sources.SPLITS.get(str(row[split]).strip().lower()) if split else "all"
        if not row[image] or not row[mask] or part is None:
            raw.skipped.append((f"{path.name} line {number}", "no image, no mask, or an unknown split"))
            continue
        pairs = raw.splits.setdefault(part, Pairs(groups=[] if group else None))
        pairs.add(path.parent / str(row[image]), path.parent / str(row[mask]), str(row[image]))
        if group and pairs.groups is not None:
            pairs.groups.append(str(row[group]))
    return raw


def _coco(path: Path, config: SegmentDataConfig) -> Raw:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        images, annotations = content["images"], content["annotations"]
        categories = {int(c["id"]): str(c["name"]) for c in content["categories"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"data.source {path} is not COCO JSON: {type(error).__name__} {one_line(error)}") from None
    folders = [Path(config.images)] if config.images else [path.parent, path.parent / "images", path.parent.parent]
    if not config.images:
        folders += [folder / path.stem.replace("instances_", "") for folder in (path.parent, path.parent.parent)]
    numbers = {identifier: i + 1 for i, identifier in enumerate(sorted(categories))}
    by_image: dict[Any, list[tuple[int, Any]]] = {}
    raw = Raw({}, names={0: "background", **{numbers[i]: categories[i] for i in numbers}})
    without = crowds = 0
    for annotation in annotations:
        segment, number = annotation.get("segmentation"), numbers.get(annotation.get("category_id"))
        if isinstance(segment, list):  # fewer than three corners are no area
            segment = [part for part in segment if len(part) >= 6 and len(part) % 2 == 0]
        if not segment or number is None:
            without += 1
            continue
        crowd = bool(annotation.get("iscrowd"))
        crowds += crowd
        by_image.setdefault(annotation["image_id"], []).append((CROWD if crowd else number, segment))
    if without:
        raw.notes.append(f"{without} annotations have no segmentation or an unknown category and are skipped")
    if crowds:
        raw.notes.append(f"{crowds} annotations are of crowds, whose pixels are ignored")
    pairs = raw.splits["all"] = Pairs()
    for image in images:
        name = str(image["file_name"])
        file = next((folder / name for folder in folders if (folder / name).is_file()), None)
        if file is None:
            raw.skipped.append((name, f"not found beside {path.name}; --data.images names its folder"))
            continue
        mask = Polygons(int(image["height"]), int(image["width"]), by_image.get(image["id"], []))
        pairs.add(file, mask, name)
    return raw


def _tfds(name: str) -> Raw:
    builder = sources.tfds_builder(name, "oxford_iiit_pet")
    import tensorflow_datasets as tfds

    features = builder.info.features
    mask = next((key for key in ("segmentation_mask", "segmentation_label", "mask", "label") if key in features), None)
    if "image" not in features or mask is None or not isinstance(features[mask], tfds.features.Image):
        raise UserError(f"data.source tfds:{name} has no image with a mask")
    raw = Raw({})
    for split, part in sources.tfds_splits(builder, name):
        pairs = raw.splits.setdefault(part, Pairs())
        for i, row in enumerate(tfds.as_numpy(builder.as_dataset(split=split))):
            pairs.add(row["image"], row[mask][..., 0], f"{name}[{split}][{i}]")
    return raw


def _from_value(value: Any, what: str) -> Raw:
    """A user's function may return (images, masks), pairs of these as (train, test), or a dictionary of them."""
    expected = f"data.source {what} must return (images, masks), (train, test) pairs of these, or a dict of splits"
    raw = Raw({})
    pairs = sources.pairs_by_split(value, expected, lambda found: all(len(pair) == 2 for pair in found))
    if "all" not in pairs and all(np.ndim(pair[0]) < 3 for pair in pairs.values()):
        raise UserError(expected)
    for split, (images, masks) in pairs.items():
        if len(images) != len(masks):
            raise UserError(f"{expected}, got {len(images)} images and {len(masks)} masks")
        part = raw.splits[split] = Pairs()
        for i, (image, mask) in enumerate(zip(images, masks, strict=True)):
            part.add(np.asarray(image), np.asarray(mask), f"{what}[{split}][{i}]")
    return raw
