"""Images with a class each: reading, checking, splitting."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pipelines.data import summary as summaries
from pipelines.data.labels import alike, natural
from pipelines.images.config import ImageDataConfig

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from pipelines.images.sources import Raw, RawSplit

KEEP_SIZE_UP_TO = 64
DEFAULT_SIZE = 96  # of larger images
PRETRAINED_SIZE = 224  # what most backbones were trained with
SCAN_BLOCK = 256

Step = Callable[[int, int], None]


class Images(Protocol):
    """Images by number."""

    shape: tuple[int, int, int]
    names: Sequence[str]

    def __len__(self) -> int: ...

    def read(self, indices: np.ndarray) -> np.ndarray:
        """uint8 (B, H, W, C) of these images."""
        ...


class ArrayImages:
    """Images in memory: uint8 (N, H, W, C)."""

    def __init__(self, images: np.ndarray, names: Sequence[str]) -> None:
        self.images = images
        self.names = names
        self.shape = (int(images.shape[1]), int(images.shape[2]), int(images.shape[3]))

    def __len__(self) -> int:
        return len(self.names)

    def read(self, indices: np.ndarray) -> np.ndarray:
        return self.images[indices]


class ImageFiles:
    """Images on disk, decoded each time they are read."""

    def __init__(self, paths: Sequence[Path], names: Sequence[str], spec: ImageSpec) -> None:
        self.paths = paths
        self.names = names
        self.spec = spec
        self.shape = spec.shape

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, indices: np.ndarray) -> np.ndarray:
        import numpy as np

        return np.stack([self.spec.read(self.paths[i]) for i in indices])


@dataclass(frozen=True)
class ImageSpec:
    """How a raw image becomes the model's input."""

    height: int
    width: int
    channels: Literal["grey", "rgb"]
    resize: Literal["crop", "pad", "stretch"]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C)"""
        return self.height, self.width, 1 if self.channels == "grey" else 3

    def read(self, source: Any) -> np.ndarray:
        """A path, bytes, an open file, a PIL image or an array to uint8 (H, W, C).

        Raises:
            ValueError: It cannot be decoded.
        """
        from pipelines.images import decode

        return decode.read(source, self.height, self.width, self.channels, self.resize)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, eq=False)
class ImageSplit:
    """One split: images and their classes as int64 (N,)."""

    images: Images
    labels: np.ndarray


@dataclass(frozen=True, eq=False)
class ImageData:
    """Images ready for training and testing."""

    train: ImageSplit
    val: ImageSplit
    test: ImageSplit
    classes: tuple[str, ...]
    spec: ImageSpec
    summary: summaries.DataSummary

    def splits(self) -> dict[str, ImageSplit]:
        return {"train": self.train, "val": self.val, "test": self.test}

    def assignment(self) -> list[dict[str, str]]:
        """Which sample is in which split, a row each."""
        rows = [(name, split, label) for name, split in self.splits().items() for label in range(len(split.labels))]
        return [
            {"part": name, "sample": split.images.names[i], "label": self.classes[split.labels[i]]}
            for name, split, i in rows
        ]

    def describe(self) -> str:
        """One sentence."""
        sizes = ", ".join(f"{len(split.labels):,} {name}" for name, split in self.splits().items())
        height, width, channels = self.spec.shape
        kind = "grey" if channels == 1 else "colour"
        return f"{sizes} images of {len(self.classes)} classes, {height} x {width} {kind}."


def load_images(
    config: ImageDataConfig, *, seed: int, progress: Step | None = None, default_size: int = DEFAULT_SIZE
) -> ImageData:
    """Reads, checks and splits the images of a source.

    Every file is decoded once before training starts, so that a broken one is known by its name at once.

    Args:
        config: Options.
        seed: Seed of the split.
        progress: Called with the number of images checked and their total.
        default_size: Height and width where the options and the images leave it open, unless the images are smaller.

    Raises:
        UserError: The source cannot be used.
    """
    import numpy as np

    from pipelines.core.errors import UserError
    from pipelines.data import sources
    from pipelines.images import sources as image_sources

    raw = image_sources.load(config, config.source)
    spec, kept = scan(raw, config, progress, default_size=default_size)
    classes = raw.classes or tuple(sorted({str(x) for p in raw.splits.values() for x in p.labels}, key=natural))
    number = {name: i for i, name in enumerate(classes)}
    sources.check_classes(raw, classes, config.source, "images")
    labels = {name: np.array([number[str(x)] for x in split.labels], np.int64) for name, split in raw.splits.items()}
    notes = [*raw.notes, *alike(classes)]
    index = _split(raw, labels, kept.hashes, config, seed, notes)
    splits: dict[str, ImageSplit] = {}
    for split, (origin, chosen) in index.items():
        if not len(chosen):
            raise UserError(f"data.source {config.source}: the {split} set is empty; there are too few images")
        splits[split] = ImageSplit(kept.take(origin, chosen, spec), labels[origin][chosen])
    absent = sorted(set(np.unique(splits["test"].labels)) - set(np.unique(splits["train"].labels)))
    if absent:
        raise UserError(f"class {classes[absent[0]]!r} is in the test set, but not in the training set")
    hashes = {split: [kept.hashes[origin][i] for i in chosen] for split, (origin, chosen) in index.items()}
    counts = {
        name: dict(zip(classes, np.bincount(split.labels, minlength=len(classes)).tolist(), strict=True))
        for name, split in splits.items()
    }
    duplicates = summaries.duplicates(hashes, {name: split.images.names for name, split in splits.items()})
    fingerprint = summaries.fingerprint(hashes, {name: split.labels for name, split in splits.items()})
    summary = summaries.DataSummary(counts, raw.skipped, duplicates, fingerprint, notes)
    return ImageData(splits["train"], splits["val"], splits["test"], classes, spec, summary)


def load_test_images(config: ImageDataConfig, spec: dict[str, Any]) -> ImageData:
    """All images of a source as the test set of a trained model.

    Raises:
        UserError: The source cannot be used, or has a class that the model does not know.
    """
    import numpy as np

    from pipelines.core.errors import UserError
    from pipelines.images import sources as image_sources

    raw = image_sources.load(config, config.source)
    merged = image_sources.RawSplit([], [], [])
    chosen = raw.splits.get("test")
    for split in [chosen] if chosen else raw.splits.values():
        merged = split if not merged.labels else image_sources.join(merged, split)
    raw.splits = {"all": merged}
    image, classes = ImageSpec(**spec["image"]), tuple(spec["classes"])
    unknown = sorted({str(label) for label in merged.labels} - set(classes))
    if unknown:
        raise UserError(f"data {config.source} has the class {unknown[0]!r}, which the model does not know")
    _, kept = scan(raw, config, spec=image)
    labels = np.array([classes.index(str(label)) for label in merged.labels], np.int64)
    if not len(labels):
        raise UserError(f"data {config.source} has no usable image")
    everything = ImageSplit(kept.take("all", np.arange(len(labels)), image), labels)
    counts = {"test": dict(zip(classes, np.bincount(labels, minlength=len(classes)).tolist(), strict=True))}
    summary = summaries.DataSummary(counts, raw.skipped, [], "", raw.notes)
    return ImageData(everything, everything, everything, classes, image, summary)


@dataclass
class Scanned:
    """What the first reading of all images found: hashes, and the images themselves where they fit."""

    raw: Raw
    hashes: dict[str, list[bytes]]
    arrays: dict[str, np.ndarray]

    def take(self, origin: str, chosen: np.ndarray, spec: ImageSpec) -> Images:
        split = self.raw.splits[origin]
        names = [split.names[i] for i in chosen]
        if origin in self.arrays:
            images = self.arrays[origin]
            return ArrayImages(images if len(chosen) == len(images) else images[chosen], names)
        return ImageFiles([split.images[i] for i in chosen], names, spec)


def scan(
    raw: Raw,
    config: ImageDataConfig,
    progress: Step | None = None,
    spec: ImageSpec | None = None,
    default_size: int = DEFAULT_SIZE,
) -> tuple[ImageSpec, Scanned]:
    """Decodes everything once; broken images leave `raw` and are noted in it.

    Raises:
        UserError: More are broken than `max_broken` allows.
    """
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np

    spec = spec or _decide_spec(raw, config, default_size)
    total = sum(len(split.labels) for split in raw.splits.values())
    in_memory = total * math.prod(spec.shape) <= config.memory_gib * 2**30
    scanned = Scanned(raw, {}, {})
    done = 0

    def attempt(source: Any) -> np.ndarray | str:
        try:
            return spec.read(source)
        except ValueError as error:
            return str(error)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, split in raw.splits.items():
            ready = isinstance(split.images, np.ndarray) and split.images.shape[1:] == spec.shape
            good: list[int] = []
            images: list[np.ndarray] = []
            scanned.hashes[name] = []
            for start in range(0, len(split.labels), SCAN_BLOCK):
                block = split.images[start : start + SCAN_BLOCK]
                if not ready and isinstance(block, np.ndarray) and block.shape[-1] == 1:
                    block = block[..., 0]
                for i, result in enumerate(block if ready else pool.map(attempt, block), start):
                    if isinstance(result, str):
                        raw.skipped.append((split.names[i], result))
                        continue
                    good.append(i)
                    scanned.hashes[name].append(summaries.digest(result.tobytes()))
                    if not ready and (in_memory or isinstance(split.images, np.ndarray)):
                        images.append(result)
                done += len(block)
                if progress is not None:
                    progress(done, total)
                _check_broken(raw, config)
            if ready:
                assert isinstance(split.images, np.ndarray)
                scanned.arrays[name] = split.images
            elif images:
                scanned.arrays[name] = np.stack(images)
            if len(good) < len(split.labels):
                _keep(split, good)
    _check_broken(raw, config)
    return spec, scanned


def _keep(split: RawSplit, good: list[int]) -> None:
    split.labels = [split.labels[i] for i in good]
    split.names = [split.names[i] for i in good]
    split.groups = [split.groups[i] for i in good] if split.groups is not None else None
    split.images = [split.images[i] for i in good]


def _check_broken(raw: Raw, config: ImageDataConfig) -> None:
    from pipelines.data import sources

    complaint = f"more than data.max_broken = {config.max_broken} images or rows of {config.source} are broken"
    sources.check_broken(raw, config.max_broken, complaint)


def _decide_spec(raw: Raw, config: ImageDataConfig, default_size: int) -> ImageSpec:
    """Size and channels, from the images themselves where the options leave it open."""
    import numpy as np

    from pipelines.images import decode

    training = raw.splits.get("train") or raw.splits["all"]
    sizes: set[tuple[int, int]] = set()
    grey = True
    if isinstance(training.images, np.ndarray):
        sizes.add((training.images.shape[1], training.images.shape[2]))
        grey = training.images.shape[-1] == 1
    else:
        # A sample of the headers decides; it is the same for the same files.
        step = max(1, len(training.images) // 512)
        for path in training.images[::step]:
            try:
                with decode.Image.open(path) as image:
                    turned = image.getexif().get(0x0112, 1) >= 5
                    width, height = image.size
                    sizes.add((width, height) if turned else (height, width))
                    grey = grey and decode.is_grey(image)
            except Exception:  # broken files are counted by the scan
                continue
    if config.size is not None:
        height = width = config.size
    elif len(sizes) == 1 and max(next(iter(sizes))) <= KEEP_SIZE_UP_TO:
        height, width = next(iter(sizes))
    else:
        shorter = sorted(min(size) for size in sizes)
        height = width = min(default_size, max(shorter[len(shorter) // 2], 8)) if shorter else default_size
    chosen = config.channels if config.channels != "auto" else "grey" if grey else "rgb"
    return ImageSpec(height, width, chosen, config.resize)


def _split(
    raw: Raw,
    labels: dict[str, np.ndarray],
    hashes: dict[str, list[bytes]],
    config: ImageDataConfig,
    seed: int,
    notes: list[str],
) -> dict[str, tuple[str, np.ndarray]]:
    """For each split the source's split that it comes from, and the numbers of its images."""
    from pipelines.data.split import cut

    keys: dict[str, Sequence[Any]] = {name: split.groups or hashes[name] for name, split in raw.splits.items()}
    origin = "train" if "train" in labels else "all"
    if {"test", "val"} - set(labels) and not raw.splits[origin].groups:
        copies = len(keys[origin]) - len(set(keys[origin]))
        if copies:
            notes.append(f"{copies} images are copies of others and stay in the same split")
    return cut(
        labels, keys, val_fraction=config.val_fraction, test_fraction=config.test_fraction, limit=config.limit,
        seed=seed, what="images", notes=notes,
    )  # fmt: skip
