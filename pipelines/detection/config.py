"""Options of object detection; nothing slow is imported here."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise

from pipelines.core.config import check, check_data

STRIDES = (4, 8, 16, 32, 64)


@dataclass
class DetectionDataConfig:
    """The images with their boxes, and how they are read.

    Args:
        source: `sample` (composed scenes of digits on photographs, embedded), a COCO JSON file or a folder of them, a
            folder of Pascal VOC XML files, a YOLO folder or its data.yaml, a CSV of boxes, `tfds:NAME`, or
            my_module:function.
        images: Folder of the images, where the annotations do not lie beside it.
        val_fraction: Fraction of the training images for validation when the source has no validation set.
        test_fraction: Fraction of all images for the test when the source has no test set.
        size: Height and width of the model's input in pixels, a multiple of 32; images are scaled to fit, and padded.
            Null chooses it: the largest image side, at most 320.
        max_broken: Broken images and annotations that are skipped and reported; one more is an error that lists them.
        memory_gib: Decoded images up to this size are kept in memory; larger sets are read from disk each epoch.
        limit: Use only so many training images.
        scenes: Training scenes of `sample`; it has a fifth as many for validation, and as many for the test.
    """

    source: str = "sample"
    images: str | None = None
    val_fraction: float = 0.15
    test_fraction: float = 0.15
    size: int | None = None
    max_broken: int = 10
    memory_gib: float = 2.0
    limit: int | None = None
    scenes: int = 1200

    def __post_init__(self) -> None:
        check_data(self)
        ok = self.size is None or (32 <= self.size <= 4096 and self.size % 32 == 0)
        check(ok, "data.size", "a multiple of 32 between 32 and 4096", self.size)
        check(0 <= self.memory_gib < math.inf, "data.memory_gib", "zero or a positive number", self.memory_gib)
        check(self.scenes >= 20, "data.scenes", "at least 20", self.scenes)


@dataclass
class DetectionAugmentConfig:
    """Random changes of the training images; the boxes move with them.

    Args:
        flip: Mirror left and right; not for text and digits.
        turns: Turn by a random number of quarter turns, for images without an up and down, such as aerial images.
        scale: Enlarge or shrink by a factor between 1 - scale and 1 + scale.
        shift: Move by up to this fraction of the size.
        colour: Change brightness, contrast and saturation by up to this fraction.
        mosaic: Fraction of images that are made of four; 0 is off.
        plain_epochs: Fraction of the epochs, at the end, without mosaic.
    """

    flip: bool = False
    turns: bool = False
    scale: float = 0.2
    shift: float = 0.1
    colour: float = 0.2
    mosaic: float = 0.5
    plain_epochs: float = 0.25

    def __post_init__(self) -> None:
        for name in ("scale", "shift", "colour"):
            value = getattr(self, name)
            check(0 <= value < 1, f"augment.{name}", "at least 0 and below 1", value)
        for name in ("mosaic", "plain_epochs"):
            value = getattr(self, name)
            check(0 <= value <= 1, f"augment.{name}", "between 0 and 1", value)


@dataclass
class DetectionModelConfig:
    """The detector.

    Args:
        builder: `detector`, our own, or my_module:build, a function of (shape, classes, strides) that returns a Keras
            model from (B, H, W, 3) to (B, locations, 4 + classes): boxes in pixels and logits of the classes.
        width: Channels at stride 4, doubled at each further stage up to eight times.
        depth: Residual blocks of a stage.
        head: Channels of the feature pyramid and the heads.
        strides: Pixels between the locations of each level of the pyramid, neighbours among 4, 8, 16, 32 and 64; empty
            chooses them from the sizes of the training boxes.
        nms_iou: Overlap (IoU) from which the less confident of two boxes of a class is suppressed.
        confidence: Lowest confidence of what `predict` gives; null chooses the one with the best F1 in validation.
        max_detections: Most boxes of an image.
        calibrate: Scale the confidences on the validation set, so that they agree with how often boxes are right.
        overlap: Fraction by which the tiles overlap into which `predict` cuts larger images.
    """

    builder: str = "detector"
    width: int = 24
    depth: int = 1
    head: int = 48
    strides: list[int] = field(default_factory=list)
    nms_iou: float = 0.6
    confidence: float | None = None
    max_detections: int = 100
    calibrate: bool = True
    overlap: float = 0.25

    def __post_init__(self) -> None:
        check(bool(self.builder), "model.builder", "not empty", self.builder)
        known = self.builder == "detector" or ":" in self.builder
        check(known, "model.builder", "detector or my_module:build", self.builder)
        for name in ("width", "depth", "head", "max_detections"):
            check(getattr(self, name) >= 1, f"model.{name}", "at least 1", getattr(self, name))
        found = [s for s in STRIDES if s in self.strides]
        neighbours = all(b == 2 * a for a, b in pairwise(found))
        ok = found == self.strides and neighbours
        check(ok, "model.strides", "rising neighbours among 4, 8, 16, 32, 64", self.strides)
        check(0 <= self.overlap < 0.9, "model.overlap", "at least 0 and below 0.9", self.overlap)
        check(0 < self.nms_iou <= 1, "model.nms_iou", "above 0 and at most 1", self.nms_iou)
        ok = self.confidence is None or 0 <= self.confidence < 1
        check(ok, "model.confidence", "at least 0 and below 1", self.confidence)
