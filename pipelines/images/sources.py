"""Where images come from: each source gives samples by split."""

from __future__ import annotations

import csv
import gzip
import os
import re
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.core.errors import UserError
from pipelines.core.files import one_line
from pipelines.data import samples, sources
from pipelines.images.decode import to_uint8

if TYPE_CHECKING:
    from pipelines.images.config import ImageDataConfig

EXTENSIONS = {
    ".png",
    ".jpg",
    ".jpeg",
    ".bmp",
    ".gif",
    ".webp",
    ".tif",
    ".tiff",
    ".ppm",
    ".pgm",
    ".pbm",
    ".jfif",
}
DEBIAN_FASHION = Path("/usr/share/datasets/fashion-mnist")
IMAGE_NAMES = ("image", "path", "file", "filename", "image_path", "filepath")
LABEL_NAMES = ("label", "class", "target", "category", "y")
KERAS_NAMES = ("mnist", "fashion_mnist", "cifar10", "cifar100")
FASHION = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@dataclass
class RawSplit:
    """Samples as the source gives them.

    Args:
        images: uint8 (N, H, W, C), or N paths.
        labels: N labels, as text or whole numbers.
        names: N names for reports.
        groups: N keys of what must stay together, or none.
    """

    images: np.ndarray | list[Path]
    labels: list[Any]
    names: list[str]
    groups: list[Any] | None = None


@dataclass
class Raw(sources.Raw[RawSplit]):
    """What a source gave; `classes` are their names where it names them."""

    classes: tuple[str, ...] | None = None


def load(config: ImageDataConfig, source: str) -> Raw:
    """Recognizes the source and reads it.

    Raises:
        UserError: It is unknown, missing or not what it must be.
    """
    return sources.read(
        source,
        named={
            "sample": lambda: _from_arrays({"all": samples.digits()}, "digits"),
            "fashion_mnist": lambda: _keras("fashion_mnist"),
        },
        kinds={"keras": _keras, "tfds": _tfds},
        folder=_folder,
        file=lambda path: _file(path, config),
        value=_from_value,
        known="sample, fashion_mnist, keras:NAME, tfds:NAME",
    )


def _file(path: Path, config: ImageDataConfig) -> Raw:
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return _npz(path)
    if suffix in (".csv", ".tsv", ".txt"):
        return _csv(path, config)
    raise UserError(
        f"data.source {config.source}: a file must be .csv, .tsv or .npz; images go into one folder a class"
    )


def join(first: RawSplit, second: RawSplit) -> RawSplit:
    """Two splits as one."""
    images: Any
    if isinstance(first.images, np.ndarray) and isinstance(second.images, np.ndarray):
        images = np.concatenate([first.images, second.images])
    else:
        images = [*first.images, *second.images]
    return RawSplit(images, first.labels + second.labels, first.names + second.names)


def _from_arrays(splits: dict[str, tuple[Any, Any]], what: str, classes: tuple[str, ...] | None = None) -> Raw:
    raw: dict[str, RawSplit] = {}
    for split, (images, labels) in splits.items():
        images, labels = np.asarray(images), np.asarray(labels)
        if labels.ndim == 2 and labels.shape[1] == 1:
            labels = labels[:, 0]
        if labels.ndim == 2:
            if labels.dtype.kind not in "biuf" or not np.all(np.sum(labels != 0, axis=1) == 1):
                raise UserError(f"{what}: labels of shape {labels.shape} must be one-hot rows")
            labels = labels.argmax(1)
        if images.ndim == 3:
            images = images[..., None]
        if images.ndim != 4 or images.shape[-1] not in (1, 3, 4):
            raise UserError(f"{what}: images must be (N, H, W) or (N, H, W, 1, 3 or 4), got {images.shape}")
        if labels.shape != (len(images),):
            raise UserError(f"{what}: {len(images)} images, but labels of shape {labels.shape}")
        if not len(images):
            raise UserError(f"{what}: the split {split!r} is empty")
        if labels.dtype.kind == "f" and not np.all(labels == np.floor(labels)):
            raise UserError(f"{what}: labels must be whole numbers or text, got {labels.dtype} with fractions or NaN")
        if labels.dtype.kind == "f":
            labels = labels.astype(np.int64)
        if labels.dtype.kind not in "biuUSO":
            raise UserError(f"{what}: labels must be whole numbers or text, got {labels.dtype}")
        try:
            images = to_uint8(images)
        except ValueError as error:
            raise UserError(f"{what}: {error}") from None
        if images.shape[-1] == 4:
            alpha = images[..., 3:].astype(np.uint16)
            images = ((images[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
        texts = [x.decode("utf-8", "replace") if isinstance(x, bytes) else x for x in labels.tolist()]
        raw[split] = RawSplit(
            np.ascontiguousarray(images), texts, [f"{what}[{split}][{i}]" for i in range(len(images))]
        )
    shapes = {split.images.shape[1:] for split in raw.values() if isinstance(split.images, np.ndarray)}
    if len(shapes) > 1:
        raise UserError(f"{what}: the splits have images of different shapes: {sorted(shapes)}")
    return Raw(raw, classes=classes)


def _from_value(value: Any, what: str) -> Raw:
    """What a user's function may return: (images, labels), ((train), (test)), or a dictionary of splits."""
    expected = f"data.source {what} must return (images, labels), (train, test) pairs of these, or a dict of splits"
    return _from_arrays(sources.pairs_by_split(value, expected, lambda pairs: not _is_labels(pairs)), what)


def _is_labels(value: Any) -> bool:
    return np.ndim(value[1]) == 1 if not isinstance(value[1][0], np.ndarray) else False


def _npz(path: Path) -> Raw:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name.lower(): file[name] for name in file.files}
    except (OSError, ValueError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise UserError(f"data.source {path} cannot be read as .npz: {one_line(error)}") from None
    splits: dict[str, tuple[Any, Any]] = {}
    for split in ("train", "val", "test"):
        for x, y in (("x", "y"), ("images", "labels")):
            if f"{x}_{split}" in arrays and f"{y}_{split}" in arrays:
                splits[split] = (arrays[f"{x}_{split}"], arrays[f"{y}_{split}"])
    for x, y in (("x", "y"), ("images", "labels")):
        if not splits and x in arrays and y in arrays:
            splits["all"] = (arrays[x], arrays[y])
    if not splits:
        raise UserError(
            f"data.source {path}: expected arrays x and y, images and labels, or x_train, y_train, x_test, y_test; "
            f"it has {', '.join(arrays) or 'none'}"
        )
    return _from_arrays(splits, path.name)


def _keras(name: str) -> Raw:
    if name not in KERAS_NAMES:
        raise UserError(f"data.source keras:{name} is unknown: expected one of {', '.join(KERAS_NAMES)}")
    classes = {"fashion_mnist": FASHION, "cifar10": CIFAR10}.get(name)
    if name == "fashion_mnist" and DEBIAN_FASHION.is_dir() and not _in_keras_cache("fashion-mnist"):
        splits = _idx_folder(DEBIAN_FASHION)
    else:
        import keras

        try:
            train, test = getattr(keras.datasets, name).load_data()
        except Exception as error:
            hint = "; Debian's dataset-fashion-mnist works as well" if name == "fashion_mnist" else ""
            raise UserError(f"{sources.keras_failed(name, error)}{hint}") from None
        splits = {"train": train, "test": test}
    raw = _from_arrays(splits, name)
    if classes:
        for split in raw.splits.values():
            split.labels = [classes[label] for label in split.labels]
        raw.classes = classes
    return raw


def _in_keras_cache(folder: str) -> bool:
    home = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"))
    return (home / "datasets" / folder).is_dir()


def _idx_folder(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    pairs = {"train": "train", "test": "t10k"}
    return {
        split: (
            read_idx(folder / f"{stem}-images-idx3-ubyte.gz"),
            read_idx(folder / f"{stem}-labels-idx1-ubyte.gz"),
        )
        for split, stem in pairs.items()
    }


def read_idx(path: Path) -> np.ndarray:
    """A gzipped IDX file of bytes, the format of MNIST (LeCun), as uint8 of the shape that it names.

    Raises:
        UserError: It is missing, damaged or of another type.
    """
    try:
        with gzip.open(path) as file:
            content = file.read()
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be read: {one_line(error)}") from None
    if len(content) < 4 or content[:3] != b"\0\0\x08":
        raise UserError(f"{path} is not an IDX file of bytes")
    dimensions = content[3]
    start = 4 + 4 * dimensions
    shape = struct.unpack(f">{dimensions}I", content[4:start])
    if len(content) - start != int(np.prod(shape)):
        raise UserError(f"{path} is cut off: it names the shape {shape}, but holds {len(content) - start} bytes")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _tfds(name: str) -> Raw:
    builder = sources.tfds_builder(name, "beans")
    import tensorflow_datasets as tfds

    features = builder.info.supervised_keys
    if not features or not isinstance(builder.info.features[features[0]], tfds.features.Image):
        raise UserError(f"data.source tfds:{name} is no image classification data set (no image and label)")
    label = builder.info.features[features[1]]
    classes = tuple(label.names) if isinstance(label, tfds.features.ClassLabel) else None
    splits: dict[str, RawSplit] = {}
    for stored, split in sources.tfds_splits(builder, name):
        images, labels = [], []
        for image, value in tfds.as_numpy(builder.as_dataset(split=stored, as_supervised=True)):
            images.append(image)
            labels.append(classes[int(value)] if classes else value)
        splits[split] = RawSplit(_stack(images, name), labels, [f"{name}[{stored}][{i}]" for i in range(len(labels))])
    return Raw(splits, classes=classes)


def _stack(images: list[np.ndarray], name: str) -> np.ndarray:
    shapes = {image.shape for image in images}
    if len(shapes) == 1:
        return np.stack(images)
    from pipelines.images.decode import Channels, read

    channels: Channels = "grey" if {shape[-1] for shape in shapes} == {1} else "rgb"
    squeezed = [image[..., 0] if image.shape[-1] == 1 else image for image in images]
    return np.stack([read(image, 224, 224, channels, "crop") for image in squeezed])


def _folder(root: Path) -> Raw:
    raw = Raw({})
    for split, folder in sources.split_folders(root).items():
        raw.splits[split] = _class_folders(folder, root, raw)
    return raw


def _class_folders(folder: Path, root: Path, raw: Raw) -> RawSplit:
    images: list[Path] = []
    labels: list[str] = []
    for sub in sources.subfolders(folder):
        found, others = sources.files_below(sub, EXTENSIONS, raw.notes)
        raw.notes += sources.class_notes(sub.relative_to(root).as_posix(), "images", len(found), others)
        images += found
        labels += [sub.name] * len(found)
    if not images:
        raise sources.no_class_folders(folder, EXTENSIONS, "images", "image.jpg")
    return RawSplit(images, labels, [p.relative_to(root).as_posix() for p in images])


def _csv(path: Path, config: ImageDataConfig) -> Raw:
    import pandas as pd

    try:
        table = pd.read_csv(path, sep=None, engine="python", dtype=str, encoding="utf-8-sig", keep_default_na=False)
    except (OSError, ValueError, csv.Error, pd.errors.ParserError) as error:
        raise UserError(f"data.source {path} cannot be read as CSV: {one_line(error)}") from None
    table.columns = [str(name).strip() for name in table.columns]
    names = list(table.columns)
    image = _column(names, config.image_column, IMAGE_NAMES, "image_column", path)
    label = _column(names, config.label_column, LABEL_NAMES, "label_column", path)
    split_column = sources.choose(names, config.split_column, sources.SPLIT_COLUMNS, "split_column", path)
    group = sources.choose(names, config.group_column, (), "group_column", path)
    raw = Raw({})
    for number, row in enumerate(table.to_dict("records"), start=2):
        name = re.sub(r"[\\/]+", "/", row[image].strip())
        value = row[label].strip()
        split = sources.SPLITS.get(row[split_column].strip().lower()) if split_column else "all"
        if not name or not value or value.lower() == "nan" or split is None:
            missing = "image" if not name else "label" if split else f"known split ({row[split_column]!r})"
            raw.skipped.append((f"{path.name} line {number}", f"no {missing}"))
            continue
        rows = raw.splits.setdefault(split, RawSplit([], [], [], [] if group else None))
        assert isinstance(rows.images, list)
        rows.images.append(path.parent / name)
        rows.labels.append(value)
        rows.names.append(name)
        if group and rows.groups is not None:
            rows.groups.append(row[group])
    if not raw.splits:
        raise UserError(f"data.source {path} has no row with an image and a label")
    if split_column and "train" not in raw.splits:
        raise UserError(f"data.source {path}: column {split_column!r} names no row train")
    return raw


def _column(names: list[str], chosen: str | None, usual: tuple[str, ...], option: str, path: Path) -> str:
    found = sources.choose(names, chosen, usual, option, path)
    if found is None:
        raise UserError(f"{path} has no column named {' or '.join(usual)}: say which with --data.{option} "
                        f"(it has {', '.join(names)})")  # fmt: skip
    return found
