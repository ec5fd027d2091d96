"""Where pictures come from: each source gives samples by part."""

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
class RawPart:
    """Samples as the source gives them.

    Args:
        pictures: uint8 (N, H, W, C), or N paths.
        labels: N labels, as text or whole numbers.
        names: N names for reports.
        groups: N keys of what must stay together, or none.
    """

    pictures: np.ndarray | list[Path]
    labels: list[Any]
    names: list[str]
    groups: list[Any] | None = None


@dataclass
class Raw(sources.Raw[RawPart]):
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
        f"data.source {config.source}: a file must be .csv, .tsv or .npz; pictures go into one folder a class"
    )


def join(first: RawPart, second: RawPart) -> RawPart:
    """Two parts as one."""
    pictures: Any
    if isinstance(first.pictures, np.ndarray) and isinstance(second.pictures, np.ndarray):
        pictures = np.concatenate([first.pictures, second.pictures])
    else:
        pictures = [*first.pictures, *second.pictures]
    return RawPart(pictures, first.labels + second.labels, first.names + second.names)


def _from_arrays(parts: dict[str, tuple[Any, Any]], what: str, classes: tuple[str, ...] | None = None) -> Raw:
    raw: dict[str, RawPart] = {}
    for part, (images, labels) in parts.items():
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
            raise UserError(f"{what}: pictures must be (N, H, W) or (N, H, W, 1, 3 or 4), got {images.shape}")
        if labels.shape != (len(images),):
            raise UserError(f"{what}: {len(images)} pictures, but labels of shape {labels.shape}")
        if not len(images):
            raise UserError(f"{what}: the part {part!r} is empty")
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
        raw[part] = RawPart(np.ascontiguousarray(images), texts, [f"{what}[{part}][{i}]" for i in range(len(images))])
    shapes = {part.pictures.shape[1:] for part in raw.values() if isinstance(part.pictures, np.ndarray)}
    if len(shapes) > 1:
        raise UserError(f"{what}: the parts have pictures of different shapes: {sorted(shapes)}")
    return Raw(raw, classes=classes)


def _from_value(value: Any, what: str) -> Raw:
    """What a user's function may return: (images, labels), ((train), (test)), or a dictionary of parts."""
    expected = f"data.source {what} must return (images, labels), (train, test) pairs of these, or a dict of parts"
    return _from_arrays(sources.pairs_by_split(value, expected, lambda pairs: not _is_labels(pairs)), what)


def _is_labels(value: Any) -> bool:
    return np.ndim(value[1]) == 1 if not isinstance(value[1][0], np.ndarray) else False


def _npz(path: Path) -> Raw:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name.lower(): file[name] for name in file.files}
    except (OSError, ValueError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise UserError(f"data.source {path} cannot be read as .npz: {one_line(error)}") from None
    parts: dict[str, tuple[Any, Any]] = {}
    for part in ("train", "val", "test"):
        for x, y in (("x", "y"), ("images", "labels")):
            if f"{x}_{part}" in arrays and f"{y}_{part}" in arrays:
                parts[part] = (arrays[f"{x}_{part}"], arrays[f"{y}_{part}"])
    for x, y in (("x", "y"), ("images", "labels")):
        if not parts and x in arrays and y in arrays:
            parts["all"] = (arrays[x], arrays[y])
    if not parts:
        raise UserError(
            f"data.source {path}: expected arrays x and y, images and labels, or x_train, y_train, x_test, y_test; "
            f"it has {', '.join(arrays) or 'none'}"
        )
    return _from_arrays(parts, path.name)


def _keras(name: str) -> Raw:
    if name not in KERAS_NAMES:
        raise UserError(f"data.source keras:{name} is unknown: expected one of {', '.join(KERAS_NAMES)}")
    classes = {"fashion_mnist": FASHION, "cifar10": CIFAR10}.get(name)
    if name == "fashion_mnist" and DEBIAN_FASHION.is_dir() and not _in_keras_cache("fashion-mnist"):
        parts = _idx_folder(DEBIAN_FASHION)
    else:
        import keras

        try:
            train, test = getattr(keras.datasets, name).load_data()
        except Exception as error:
            hint = "; Debian's dataset-fashion-mnist works as well" if name == "fashion_mnist" else ""
            raise UserError(f"{sources.keras_failed(name, error)}{hint}") from None
        parts = {"train": train, "test": test}
    raw = _from_arrays(parts, name)
    if classes:
        for part in raw.splits.values():
            part.labels = [classes[label] for label in part.labels]
        raw.classes = classes
    return raw


def _in_keras_cache(folder: str) -> bool:
    home = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"))
    return (home / "datasets" / folder).is_dir()


def _idx_folder(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    pairs = {"train": "train", "test": "t10k"}
    return {
        part: (
            read_idx(folder / f"{stem}-images-idx3-ubyte.gz"),
            read_idx(folder / f"{stem}-labels-idx1-ubyte.gz"),
        )
        for part, stem in pairs.items()
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
        raise UserError(f"data.source tfds:{name} is no picture classification data set (no image and label)")
    label = builder.info.features[features[1]]
    classes = tuple(label.names) if isinstance(label, tfds.features.ClassLabel) else None
    parts: dict[str, RawPart] = {}
    for split, part in sources.tfds_splits(builder, name):
        images, labels = [], []
        for image, value in tfds.as_numpy(builder.as_dataset(split=split, as_supervised=True)):
            images.append(image)
            labels.append(classes[int(value)] if classes else value)
        parts[part] = RawPart(_stack(images, name), labels, [f"{name}[{split}][{i}]" for i in range(len(labels))])
    return Raw(parts, classes=classes)


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
    for part, folder in sources.split_folders(root).items():
        raw.splits[part] = _class_folders(folder, root, raw)
    return raw


def _class_folders(folder: Path, root: Path, raw: Raw) -> RawPart:
    pictures: list[Path] = []
    labels: list[str] = []
    for sub in sources.subfolders(folder):
        found, others = sources.files_below(sub, EXTENSIONS)
        raw.notes += sources.class_notes(sub.relative_to(root).as_posix(), "pictures", len(found), others)
        pictures += found
        labels += [sub.name] * len(found)
    if not pictures:
        raise sources.no_class_folders(folder, EXTENSIONS, "pictures", "picture.jpg")
    return RawPart(pictures, labels, [p.relative_to(root).as_posix() for p in pictures])


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
    split = sources.choose(names, config.split_column, sources.SPLIT_COLUMNS, "split_column", path)
    group = sources.choose(names, config.group_column, (), "group_column", path)
    raw = Raw({})
    for number, row in enumerate(table.to_dict("records"), start=2):
        name = re.sub(r"[\\/]+", "/", row[image].strip())
        value = row[label].strip()
        part = sources.SPLITS.get(row[split].strip().lower()) if split else "all"
        if not name or not value or value.lower() == "nan" or part is None:
            missing = "picture" if not name else "label" if part else f"known split ({row[split]!r})"
            raw.skipped.append((f"{path.name} line {number}", f"no {missing}"))
            continue
        rows = raw.splits.setdefault(part, RawPart([], [], [], [] if group else None))
        assert isinstance(rows.pictures, list)
        rows.pictures.append(path.parent / name)
        rows.labels.append(value)
        rows.names.append(name)
        if group and rows.groups is not None:
            rows.groups.append(row[group])
    if not raw.splits:
        raise UserError(f"data.source {path} has no row with a picture and a label")
    if split and "train" not in raw.splits:
        raise UserError(f"data.source {path}: column {split!r} names no row train")
    return raw


def _column(names: list[str], chosen: str | None, usual: tuple[str, ...], option: str, path: Path) -> str:
    found = sources.choose(names, chosen, usual, option, path)
    if found is None:
        raise UserError(f"{path} has no column named {' or '.join(usual)}: say which with --data.{option} "
                        f"(it has {', '.join(names)})")  # fmt: skip
    return found
