"""Images with masks: reading, checking, splitting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.core.errors import UserError
from pipelines.data import sources
from pipelines.data import summary as summaries
from pipelines.data.split import cut
from pipelines.segmentation import sources as segment_sources
from pipelines.segmentation.masks import IGNORED, Encoding, find_encoding, resize
from pipelines.segmentation.read import SegmentSpec, open_image, turned

if TYPE_CHECKING:
    from pipelines.segmentation.config import SegmentDataConfig
    from pipelines.segmentation.sources import Pairs, Raw

KEEP_SIZE_UP_TO = 512
DEFAULT_SIZE = 256
LOOKED_AT = 200  # masks from which the classes are found

Step = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Samples:
    """The images and masks of a split.

    Args:
        pairs: Where they are.
        chosen: (N,) numbers in `pairs`.
        spec: How images are read.
        encoding: How masks are read.
        images: uint8 or float32 (M, H, W, C) of all pairs, where they fit into memory.
        masks: uint8 (M, H, W), likewise.
    """

    pairs: Pairs
    chosen: np.ndarray
    spec: SegmentSpec
    encoding: Encoding
    images: np.ndarray | None
    masks: np.ndarray | None

    def __len__(self) -> int:
        return len(self.chosen)

    @property
    def names(self) -> list[str]:
        return [self.pairs.names[i] for i in self.chosen]

    def read(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Images uint8 or float32 (B, H, W, C) and class numbers uint8 (B, H, W), 255 where ignored."""
        rows = self.chosen[indices]
        if self.images is not None and self.masks is not None:
            return self.images[rows], self.masks[rows]
        read = [read_pair(self.pairs.images[i], self.pairs.masks[i], self.spec, self.encoding) for i in rows]
        return np.stack([image for image, _ in read]), np.stack([mask for _, mask in read])


@dataclass(frozen=True, eq=False)
class SegmentSplits:
    """Images with masks, ready for training and testing.

    Args:
        train: The training set.
        val: The validation set.
        test: The test set.
        classes: Names of the classes.
        spec: How an image becomes the model's input.
        encoding: How masks are stored.
        windows: Whether images have the model's scale, so that larger ones are cut into windows.
        pixels: int64 (K,), pixels of each class in the training set.
        summary: For the report.
    """

    train: Samples
    val: Samples
    test: Samples
    classes: tuple[str, ...]
    spec: SegmentSpec
    encoding: Encoding
    windows: bool
    pixels: np.ndarray
    summary: summaries.DataSummary

    def splits(self) -> dict[str, Samples]:
        return {"train": self.train, "val": self.val, "test": self.test}

    def assignment(self) -> list[dict[str, str]]:
        """The split of each sample, a row each."""
        return [{"part": split, "sample": name} for split, of in self.splits().items() for name in of.names]

    def describe(self) -> str:
        """One sentence."""
        sizes = ", ".join(
            f"{len(of):,} {name}"
            for name, of in zip(("training", "validation", "test"), self.splits().values(), strict=True)
        )
        height, width, channels = self.spec.shape
        kind = {1: "grey", 3: "colour"}.get(channels, f"with {channels} channels")
        return f"{sizes} images with masks of {len(self.classes)} classes, {height} x {width} {kind}."


def read_pair(image: Any, mask: Any, spec: SegmentSpec, encoding: Encoding) -> tuple[np.ndarray, np.ndarray]:
    """An image and its mask, both upright and of the model's size.

    Raises:
        ValueError: One cannot be read, or their sizes differ.
    """
    opened = open_image(image, spec.white)
    size = opened.size
    try:
        numbers = encoding.encode(mask)
    except ValueError as error:
        raise ValueError(f"mask: {error}") from None
    if numbers.shape == size[::-1] != size and not isinstance(image, np.ndarray):
        numbers = turned(numbers, image)  # drawn on the pixels as they are stored
    if size != numbers.shape:
        raise ValueError(f"the image is {size[0]} x {size[1]}, its mask {numbers.shape[0]} x {numbers.shape[1]} pixels")
    return spec.fit(spec.pixels(opened)), resize(numbers, spec.height, spec.width)


def load_segments(config: SegmentDataConfig, *, seed: int, progress: Step | None = None) -> SegmentSplits:
    """Reads, checks and splits the images of a source; each file is decoded once before training starts.

    Args:
        config: Options.
        seed: Seed of the split (and of the sample's scenes).
        progress: Called with the number of images checked and their total.

    Raises:
        UserError: The source cannot be used.
    """
    raw = segment_sources.load(config, config.source, seed)
    training = raw.splits.get("train") or raw.splits.get("all")
    if training is None or len(training.images) < 3:
        _check_broken(raw, config)
        raise UserError(f"data.source {config.source} has fewer than three training images with masks")
    try:
        classes, encoding = find_encoding(
            _looked_at(training.masks), classes=config.classes, palette=config.palette, ignore=config.ignore,
            nearest=config.nearest_colour, names=raw.names, notes=raw.notes,
        )  # fmt: skip
    except ValueError as error:
        raise UserError(f"data.source {config.source}: a mask cannot be read: {error}") from None
    spec, windows = _spec(training, config)
    arrays, hashes = scan(raw, spec, encoding, config, progress)
    keys: dict[str, Any] = {name: pairs.groups or hashes[name] for name, pairs in raw.splits.items()}
    labels = {name: np.zeros(len(pairs.images), np.int64) for name, pairs in raw.splits.items()}
    index = cut(
        labels, keys, val_fraction=config.val_fraction, test_fraction=config.test_fraction, limit=config.limit,
        seed=seed, what="images", notes=raw.notes,
    )  # fmt: skip
    made = {}
    for split, (origin, chosen) in index.items():
        if not len(chosen):
            raise UserError(f"data.source {config.source}: the {split} set is empty; there are too few images")
        made[split] = Samples(raw.splits[origin], chosen, spec, encoding, *arrays.get(origin, (None, None)))
    pixels = {split: count_pixels(samples, len(classes)) for split, samples in made.items()}
    if absent := [name for name, number in zip(classes, pixels["train"], strict=True) if not number]:
        raw.notes.append(f"no training image has the class {', '.join(absent)}, which cannot be learned")
    counts = {split: dict(zip(classes, found.tolist(), strict=True)) for split, found in pixels.items()}
    by_split = {split: [hashes[origin][i] for i in chosen] for split, (origin, chosen) in index.items()}
    duplicates = summaries.duplicates(by_split, {split: samples.names for split, samples in made.items()})
    fingerprint = summaries.fingerprint(by_split, {split: np.zeros(0) for split in by_split})
    summary = summaries.DataSummary(counts, raw.skipped, duplicates, fingerprint, raw.notes)
    return SegmentSplits(
        made["train"], made["val"], made["test"], classes, spec, encoding, windows, pixels["train"], summary
    )


def load_test_segments(config: SegmentDataConfig, spec: dict[str, Any]) -> SegmentSplits:
    """All images of a source (or its own test set) as the test set of a trained model.

    Raises:
        UserError: The source cannot be used, or its masks have other values.
    """
    raw = segment_sources.load(config, config.source)
    chosen = raw.splits.get("test") or next(iter(raw.splits.values()))
    raw.splits = {"all": chosen}
    stored = spec["masks"]
    encoding = Encoding(
        {int(value): number for value, number in stored["values"].items()}, stored["colours"], stored["nearest"],
        stored["ignore"],
    )  # fmt: skip
    image, classes = SegmentSpec(**spec["image"]), tuple(spec["classes"])
    arrays, _ = scan(raw, image, encoding, config, None)
    if not chosen.images:
        raise UserError(f"data {config.source} has no usable image")
    samples = Samples(chosen, np.arange(len(chosen.images)), image, encoding, *arrays.get("all", (None, None)))
    pixels = count_pixels(samples, len(classes))
    counts = {"test": dict(zip(classes, pixels.tolist(), strict=True))}
    summary = summaries.DataSummary(counts, raw.skipped, None, "", raw.notes)
    return SegmentSplits(samples, samples, samples, classes, image, encoding, spec["windows"], pixels, summary)


def scan(
    raw: Raw, spec: SegmentSpec, encoding: Encoding, config: SegmentDataConfig, progress: Step | None
) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], dict[str, list[bytes]]]:
    """Reads everything once; broken pairs leave `raw` and are noted in it.

    Returns:
        Images and masks by split where they fit into memory, and a hash of each image by split.

    Raises:
        UserError: More are broken than `max_broken` allows.
    """
    total = sum(len(pairs.images) for pairs in raw.splits.values())
    height, width, channels = spec.shape
    in_memory = total * height * width * (channels * (4 if spec.wide else 1) + 1) <= config.memory_gib * 2**30
    arrays, hashes, done = {}, {}, 0
    for split, pairs in raw.splits.items():
        good, images, masks, found = [], [], [], []
        for i, (image, mask) in enumerate(zip(pairs.images, pairs.masks, strict=True)):
            done += 1
            try:
                pixels, numbers = read_pair(image, mask, spec, encoding)
            except ValueError as error:
                raw.skipped.append((pairs.names[i], str(error)))
                _check_broken(raw, config)
                continue
            good.append(i)
            found.append(summaries.digest(pixels.tobytes() + numbers.tobytes()))
            if in_memory:
                images.append(pixels)
                masks.append(numbers)
            if progress is not None:
                progress(done, total)
        pairs.images, pairs.masks, pairs.names = (
            [values[i] for i in good] for values in (pairs.images, pairs.masks, pairs.names)
        )
        if pairs.groups is not None:
            pairs.groups = [pairs.groups[i] for i in good]
        hashes[split] = found
        if images:
            arrays[split] = np.stack(images), np.stack(masks)
    _check_broken(raw, config)
    return arrays, hashes


def count_pixels(samples: Samples, classes: int) -> np.ndarray:
    """int64 (K,): pixels of each class."""
    total = np.zeros(classes, np.int64)
    for start in range(0, len(samples), 64):
        _, masks = samples.read(np.arange(start, min(start + 64, len(samples))))
        total += np.bincount(masks[masks != IGNORED], minlength=classes)[:classes]
    return total


def _looked_at(masks: list[Any]) -> list[Any]:
    return masks[:: max(1, len(masks) // LOOKED_AT)]


def _check_broken(raw: Raw, config: SegmentDataConfig) -> None:
    complaint = f"more than data.max_broken = {config.max_broken} images or masks of {config.source} are broken"
    sources.check_broken(raw, config.max_broken, complaint)


def _spec(training: Pairs, config: SegmentDataConfig) -> tuple[SegmentSpec, bool]:
    """Size, channels and type, and whether the images keep their scale."""
    sizes, channels, wide = set(), set(), False
    for image in training.images[:: max(1, len(training.images) // LOOKED_AT)]:
        try:
            opened = open_image(image, config.white)
        except ValueError:  # the scan counts it
            continue
        sizes.add(opened.size)
        channels.add(opened.channels)
        wide |= isinstance(opened.content, np.ndarray)
    if not sizes:
        raise UserError(f"data.source {config.source}: none of the images looked at can be read")
    same = len(sizes) == 1 and max(next(iter(sizes))) <= KEEP_SIZE_UP_TO
    height = width = config.size or DEFAULT_SIZE
    if config.size is None and same:
        height, width = next(iter(sizes))
    number = {"grey": 1, "rgb": 3}.get(config.channels, 1 if channels == {1} else 3)
    if config.channels == "all" or (config.channels == "auto" and channels - {1, 3, 4}):
        number = max(channels)
    return SegmentSpec(height, width, number, config.white, wide), sizes == {(height, width)}
