"""Images with boxes: reading, checking, splitting."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.core.errors import UserError
from pipelines.data import sources
from pipelines.data import summary as summaries
from pipelines.data.labels import natural
from pipelines.data.split import cut
from pipelines.detection import annotations as rules
from pipelines.detection import sources as detection_sources
from pipelines.detection.boxes import CROWD, NOTHING
from pipelines.images import decode

if TYPE_CHECKING:
    from PIL import Image

    from pipelines.detection.annotations import Annotated, Raw
    from pipelines.detection.config import DetectionDataConfig

LARGEST = 320  # pixels, the side of the input that is chosen at most
BLOCK = 256  # images that are read at a time
GREY = 114  # what pads an image
ORIENTATION = 0x0112  # the EXIF tag

Step = Callable[[int, int], None]


def fit(image: Image.Image, size: int) -> tuple[np.ndarray, float]:
    """Scales an image to fit a square from its top left corner; the rest is grey.

    Returns:
        uint8 (size, size, 3), and the factor from pixels of the image to those of the square.
    """
    scale = size / max(image.size)
    width, height = (max(round(side * scale), 1) for side in image.size)
    square = np.full((size, size, 3), GREY, np.uint8)
    square[:height, :width] = decode.read(image, height, width, "rgb", "stretch")
    return square, scale


@dataclass(frozen=True, eq=False)
class Samples:
    """The images of a split and their boxes.

    Args:
        items: Images with boxes in pixels of the images.
        labels: For each image int64 (N,), the classes of its boxes.
        size: Height and width of the model's input.
        pixels: uint8 (N, size, size, 3), where they fit into memory.
    """

    items: Sequence[Annotated]
    labels: Sequence[np.ndarray]
    size: int
    pixels: np.ndarray | None

    def __len__(self) -> int:
        return len(self.items)

    @property
    def names(self) -> list[str]:
        return [item.name for item in self.items]

    def scale(self, number: int) -> float:
        """Factor from pixels of an image to those of the model's input."""
        size = self.items[number].size
        assert size is not None
        return self.size / max(size)

    def read(self, indices: np.ndarray) -> np.ndarray:
        """uint8 (B, size, size, 3)."""
        if self.pixels is not None:
            return self.pixels[indices]
        return np.stack([fit(decode.open_image(self.items[i].image), self.size)[0] for i in indices])

    def truth(self, most: int) -> np.ndarray:
        """float32 (N, most, 5): boxes in pixels of the model's input and their classes, padded with `NOTHING`."""
        found = np.zeros((len(self), most, 5), np.float32)
        found[..., 4] = NOTHING
        for number, (row, item, labels) in enumerate(zip(found, self.items, self.labels, strict=True)):
            count = min(len(labels), most)
            row[:count, :4] = item.boxes[:count] * self.scale(number)
            row[:count, 4] = np.where(item.ignored, CROWD, labels)[:count]
        return found

    def sides(self) -> np.ndarray:
        """Square roots of the areas of all boxes in pixels of the model's input."""
        found = [
            np.sqrt(np.prod(item.boxes[:, 2:] - item.boxes[:, :2], axis=1)) * self.scale(i)
            for i, item in enumerate(self.items)
        ]
        return np.concatenate(found) if found else np.zeros(0)


@dataclass(frozen=True, eq=False)
class DetectionSplits:
    """Images with boxes, ready for training and testing.

    Args:
        train: The training set.
        val: The validation set.
        test: The test set.
        classes: Names of the classes.
        ids: Number of each class in the source, such as COCO's category_id.
        size: Height and width of the model's input.
        problems: Image and problem of each box that was changed or dropped.
        summary: For the report.
    """

    train: Samples
    val: Samples
    test: Samples
    classes: tuple[str, ...]
    ids: dict[str, int]
    size: int
    problems: list[tuple[str, str]]
    summary: summaries.DataSummary

    def splits(self) -> dict[str, Samples]:
        return {"train": self.train, "val": self.val, "test": self.test}

    @property
    def most_boxes(self) -> int:
        """Of an image of the training or the validation set."""
        return max(1, *(len(labels) for of in (self.train, self.val) for labels in of.labels))

    @property
    def full_scale(self) -> bool:
        """Whether the training images have the size of the model's input, so that larger ones are cut into tiles."""
        return all(self.train.scale(i) == 1 for i in range(len(self.train)))

    def assignment(self) -> list[dict[str, str]]:
        """The split of each image, a row each."""
        return [{"part": split, "sample": name} for split, of in self.splits().items() for name in of.names]

    def describe(self) -> str:
        """One sentence."""
        names = ("training", "validation", "test")
        sizes = ", ".join(f"{len(of):,} {name}" for name, of in zip(names, self.splits().values(), strict=True))
        boxes = sum(len(labels) for of in self.splits().values() for labels in of.labels)
        many = "class" if len(self.classes) == 1 else "classes"
        return f"{sizes} images with {boxes:,} boxes of {len(self.classes)} {many}, read at {self.size} x {self.size}."


def load_detection(config: DetectionDataConfig, *, seed: int, progress: Step | None = None) -> DetectionSplits:
    """Reads, checks and splits the images of a source; each image is decoded once before training starts.

    Args:
        config: Options.
        seed: Seed of the split (and of the sample's scenes).
        progress: Called with the number of images checked and their total.

    Raises:
        UserError: The source cannot be used.
    """
    raw = detection_sources.load(config, config.source, seed)
    _check_broken(raw, config)
    found = {label for items in raw.splits.values() for item in items for label in item.labels}
    classes = raw.classes or tuple(sorted(found, key=natural))
    if raw.classes:
        rules.drop_unknown(raw, classes)
    if not classes or not found:
        raise UserError(f"data.source {config.source} has no boxes: there is nothing to learn")
    size = config.size or _size(raw)
    pixels, hashes = scan(raw, size, config, progress)
    number = {name: i for i, name in enumerate(classes)}
    labels = {
        split: [np.array([number[x] for x in item.labels], np.int64) for item in items]
        for split, items in raw.splits.items()
    }
    index = cut(
        {split: _strata(of, len(classes)) for split, of in labels.items()}, hashes, val_fraction=config.val_fraction,
        test_fraction=config.test_fraction, limit=config.limit, seed=seed, what="images", notes=raw.notes,
    )  # fmt: skip
    made = {}
    for split, (origin, chosen) in index.items():
        if not len(chosen):
            raise UserError(f"data.source {config.source}: the {split} set is empty; there are too few images")
        made[split] = _samples(raw, labels, pixels, origin, chosen, size)
    if not any(len(of) for of in made["train"].labels):
        raise UserError(f"data.source {config.source}: no training image has a box")
    counts = {split: _counts(of, classes) for split, of in made.items()}
    if absent := [name for name in classes if not counts["train"][name]]:
        raw.notes.append(f"no training image has the class {', '.join(absent)}, which cannot be learned")
    _tell_problems(raw)
    by_split = {split: [hashes[origin][i] for i in chosen] for split, (origin, chosen) in index.items()}
    duplicates = summaries.duplicates(by_split, {split: of.names for split, of in made.items()})
    flat = {
        split: np.concatenate([_flat(item, k) for item, k in zip(of.items, of.labels, strict=True)])
        for split, of in made.items()
    }
    fingerprint = summaries.fingerprint(by_split, flat)
    summary = summaries.DataSummary(counts, raw.skipped, duplicates, fingerprint, raw.notes)
    ids = {name: raw.ids.get(name, i) for i, name in enumerate(classes, start=1)}
    return DetectionSplits(made["train"], made["val"], made["test"], classes, ids, size, raw.problems, summary)


def load_test_detection(config: DetectionDataConfig, spec: dict[str, Any]) -> DetectionSplits:
    """All images of a source (or its own test set) as the test set of a trained model.

    Raises:
        UserError: The source cannot be used, or has none of the model's classes.
    """
    raw = detection_sources.load(config, config.source)
    chosen = raw.splits.get("test") or [item for items in raw.splits.values() for item in items]
    raw.splits, classes = {"all": chosen}, tuple(spec["classes"])
    rules.drop_unknown(raw, classes)
    pixels, _ = scan(raw, spec["size"], config, None)
    labels = {"all": [np.array([classes.index(x) for x in item.labels], np.int64) for item in raw.splits["all"]]}
    everything = np.arange(len(raw.splits["all"]))
    if not sum(map(len, labels["all"])):
        raise UserError(f"data {config.source} has no boxes of the model's classes ({', '.join(classes)})")
    samples = _samples(raw, labels, pixels, "all", everything, spec["size"])
    _tell_problems(raw)
    summary = summaries.DataSummary({"test": _counts(samples, classes)}, raw.skipped, None, "", raw.notes)
    return DetectionSplits(samples, samples, samples, classes, spec["ids"], spec["size"], raw.problems, summary)


def scan(
    raw: Raw, size: int, config: DetectionDataConfig, progress: Step | None
) -> tuple[dict[str, np.ndarray], dict[str, list[bytes]]]:
    """Decodes everything once and sets the boxes right; broken images leave `raw` and are noted in it.

    Returns:
        uint8 (N, size, size, 3) by split where they fit into memory, and a hash of each image by split.

    Raises:
        UserError: More are broken than `max_broken` allows.
    """
    _check_broken(raw, config)
    total, done = sum(map(len, raw.splits.values())), 0
    in_memory = total * size * size * 3 <= config.memory_gib * 2**30
    pixels: dict[str, np.ndarray] = {}
    hashes: dict[str, list[bytes]] = {}

    def attempt(item: Annotated) -> tuple[np.ndarray, tuple[int, int], tuple[int, int], int] | str:
        try:
            return _decoded(item, size)
        except ValueError as error:
            return str(error)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for split, items in raw.splits.items():
            good: list[Annotated] = []
            images: list[np.ndarray] = []
            hashes[split] = []
            for start in range(0, len(items), BLOCK):
                block = items[start : start + BLOCK]
                for item, result in zip(block, pool.map(attempt, block), strict=True):
                    if isinstance(result, str):
                        raw.skipped.append((item.name, result))
                        continue
                    image, shown, stored, orientation = result
                    rules.upright(item, stored, orientation)
                    if item.size is not None and item.size != shown:
                        named = f"the annotations name the size {item.size[0]} x {item.size[1]}"
                        raw.problems.append((item.name, f"{named}, the image has {shown[0]} x {shown[1]}: boxes kept"))
                    rules.clean(item, *shown, raw.problems)
                    good.append(item)
                    hashes[split].append(summaries.digest(image.tobytes()))
                    if in_memory:
                        images.append(image)
                done += len(block)
                if progress is not None:
                    progress(done, total)
                _check_broken(raw, config)
            raw.splits[split] = good
            if images:
                pixels[split] = np.stack(images)
    return pixels, hashes


def scan_sizes(raw: Raw) -> None:
    """Sets the boxes right without decoding the images; those whose header cannot be read leave `raw`."""
    for split, items in raw.splits.items():
        good = []
        for item in items:
            try:
                if isinstance(item.image, np.ndarray):
                    shown, stored, orientation = (item.image.shape[1], item.image.shape[0]), None, 1
                else:
                    with decode.Image.open(item.image) as file:
                        orientation, stored = file.getexif().get(ORIENTATION, 1), file.size
                    shown = stored if orientation < 5 else (stored[1], stored[0])
            except Exception as error:  # Pillow raises what it likes on damaged files
                raw.skipped.append((item.name, " ".join(str(error).split()) or type(error).__name__))
                continue
            rules.upright(item, stored or shown, orientation)
            rules.clean(item, *shown, raw.problems)
            good.append(item)
        raw.splits[split] = good


def _decoded(item: Annotated, size: int) -> tuple[np.ndarray, tuple[int, int], tuple[int, int], int]:
    """The input, width and height as shown and as stored, and EXIF's orientation."""
    orientation, stored = 1, None
    if not isinstance(item.image, np.ndarray):
        try:
            with decode.Image.open(item.image) as file:
                orientation, stored = file.getexif().get(ORIENTATION, 1), file.size
        except Exception:  # `open_image` says what is wrong
            pass
    image = decode.open_image(item.image)
    return fit(image, size)[0], image.size, stored or image.size, orientation


def _size(raw: Raw) -> int:
    """The largest side of a sample of the images, at most `LARGEST`, as a multiple of 32."""
    items = raw.splits.get("train") or next(iter(raw.splits.values()))
    sides = [1]
    for item in items[:: max(1, len(items) // 200)]:
        if isinstance(item.image, np.ndarray):
            sides.append(max(item.image.shape[:2]))
            continue
        try:
            with decode.Image.open(item.image) as file:
                sides.append(max(file.size))
        except Exception:  # broken files are counted by the scan
            continue
    return int(min(-(-max(sides) // 32) * 32, LARGEST))


def _strata(labels: Sequence[np.ndarray], classes: int) -> np.ndarray:
    """For each image its class that is the rarest of all, counted from 1; 0 for images without objects."""
    frequency = np.bincount(np.concatenate([*labels, np.zeros(0, np.int64)]), minlength=classes)
    return np.array([0 if not len(k) else 1 + int(k[np.argmin(frequency[k])]) for k in labels], np.int64)


def _samples(
    raw: Raw, labels: dict[str, list[np.ndarray]], pixels: dict[str, np.ndarray], origin: str, chosen: np.ndarray,
    size: int,
) -> Samples:  # fmt: skip
    images = pixels.get(origin)
    return Samples(
        [raw.splits[origin][i] for i in chosen], [labels[origin][i] for i in chosen], size,
        None if images is None else images if len(chosen) == len(images) else images[chosen],
    )  # fmt: skip


def _counts(samples: Samples, classes: tuple[str, ...]) -> dict[str, int]:
    numbers = np.bincount(np.concatenate([*samples.labels, np.zeros(0, np.int64)]), minlength=len(classes))
    return dict(zip(classes, numbers.tolist(), strict=True))


def _flat(item: Annotated, labels: np.ndarray) -> np.ndarray:
    return np.concatenate([item.boxes, labels[:, None], item.ignored[:, None]], 1).ravel()


def _tell_problems(raw: Raw) -> None:
    kinds = Counter(problem.rpartition(": ")[2] for _, problem in raw.problems)
    for kind, number in kinds.items():
        name, problem = next((n, p) for n, p in raw.problems if p.endswith(f": {kind}"))
        what = "images" if kind == "boxes kept" else "boxes"
        raw.notes.append(f"{number} {what} {kind}, such as in {name}: {problem}")


def _check_broken(raw: Raw, config: DetectionDataConfig) -> None:
    complaint = f"more than data.max_broken = {config.max_broken} images or annotations of {config.source} are broken"
    sources.check_broken(raw, config.max_broken, complaint)
