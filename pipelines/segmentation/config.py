"""Options of semantic segmentation; nothing slow is imported here."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from pipelines.core.config import check, check_data


@dataclass
class SegmentDataConfig:
    """The images with their masks, and how they are read.

    Args:
        source: `sample` (composed scenes, embedded), a folder with images/ and masks/ (or train/, val/, test/ with
            these), a CSV or JSONL of image and mask paths, a COCO JSON file with polygons or RLE beside its images,
            `tfds:NAME`, or my_module:function.
        image_column: Column of the image paths in a CSV or JSONL; null tries the usual names.
        mask_column: Column of the mask paths.
        split_column: Column that contains train, val or test.
        group_column: Column of groups that must stay in one split, such as the patient or the place.
        val_fraction: Fraction of the training images used for validation if the source has no validation set.
        test_fraction: Fraction of all images used for the test if the source has no test set.
        images: Folder of the images of a COCO JSON file; null tries the usual places beside it.
        classes: Names of the classes in the order of their mask values, the background first; null names them
            by their values, or by the source.
        palette: Colours of the classes in colour masks, such as `{road: "#804080"}`; null reads index masks, and
            colours by their order of frequency.
        ignore: Mask value whose pixels count in no loss and no score.
        nearest_colour: Give pixels of a colour or value that is no class (anti-aliased or JPEG-damaged borders) the
            nearest class; otherwise such colours are ignored, and such values are an error.
        channels: `grey`, `rgb`, or `all` channels of the files (.npy or .tif with more than three); auto decides by
            the files.
        white: Value that counts as white in images of more than 8 bits; null uses the largest of their type.
        size: Height and width that images are resized to; null keeps the stored size if all agree and it is at most
            512, and uses 256 otherwise.
        max_broken: Broken images or masks that are skipped and reported; one more is an error that lists them.
        memory_gib: Decoded images and masks up to this size are kept in memory; larger sets are read from disk.
        limit: Use only this many training images.
        scenes: Number of training scenes that `sample` composes.
    """

    source: str = "sample"
    image_column: str | None = None
    mask_column: str | None = None
    split_column: str | None = None
    group_column: str | None = None
    val_fraction: float = 0.15
    test_fraction: float = 0.15
    images: str | None = None
    classes: list[str] | None = None
    palette: dict[str, str] = field(default_factory=dict)
    ignore: int = 255
    nearest_colour: bool = False
    channels: Literal["auto", "grey", "rgb", "all"] = "auto"
    white: float | None = None
    size: int | None = None
    max_broken: int = 10
    memory_gib: float = 2.0
    limit: int | None = None
    scenes: int = 1800

    def __post_init__(self) -> None:
        check_data(self)
        check(self.size is None or 16 <= self.size <= 4096, "data.size", "between 16 and 4096", self.size)
        check(0 <= self.ignore <= 65535, "data.ignore", "between 0 and 65535", self.ignore)
        white = self.white
        check(white is None or 0 < white < math.inf, "data.white", "a positive number", white)
        check(1 <= self.scenes <= 100_000, "data.scenes", "between 1 and 100000", self.scenes)
        check(0 <= self.memory_gib < math.inf, "data.memory_gib", "0 or more", self.memory_gib)
        check(self.classes is None or len(self.classes) >= 2, "data.classes", "at least two names", self.classes)


@dataclass
class SegmentAugmentConfig:
    """Random changes of the training images, made to image and mask alike.

    Args:
        flip: Mirror half of the images left to right.
        turn: Turn by a random number of quarter turns, for aerial and microscope images (square sizes only).
        rotate: Turn by a random angle of at most this many degrees.
        shear: Slant by at most this fraction of the height, and change the aspect ratio by as much.
        scale: Scale by a random factor between this and its inverse; 1 is off. What is new at the borders is ignored.
        colour: Strength of random changes of brightness, contrast and colour, 0 to 1.
    """

    flip: bool = False
    turn: bool = False
    rotate: float = 0.0
    shear: float = 0.0
    scale: float = 0.85
    colour: float = 0.2

    def __post_init__(self) -> None:
        check(0 <= self.rotate <= 180, "augment.rotate", "between 0 and 180 degrees", self.rotate)
        check(0 <= self.shear <= 0.5, "augment.shear", "between 0 and 0.5", self.shear)
        check(0.1 <= self.scale <= 1, "augment.scale", "between 0.1 and 1", self.scale)
        check(0 <= self.colour <= 1, "augment.colour", "between 0 and 1", self.colour)


@dataclass
class SegmentModelConfig:
    """The network.

    Args:
        builder: `unet` (ours: residual blocks, small and quick), `kerashub:PRESET_OR_FOLDER` (DeepLabV3+ or SegFormer;
            other encoders get the decoder of a U-Net), `applications:NAME` (such an encoder of keras.applications), or
            my_module:function taking (input_shape, classes) and returning a Keras model from images 0..255 to
            logits (B, H, W, classes).
        width: Channels of the first stage of `unet` and of such decoders, doubled at each one below up to eight times.
        depth: Number of times that the stages of `unet` halve the image.
        stride: Pixels in a row that `unet` reads as one at its entry, 1, 2 or 4; larger is faster.
        dropout: Dropout rate before the last layer.
        weights: Pretrained weights of `applications:` and `kerashub:` models, or none.
        head_epochs: Epochs in which only the new layers of a pretrained model are trained; after that all are.
        finetune_rate: Learning rate of the second phase, as a fraction of that of the first.
        calibrate: Divide the logits by a temperature that is fitted on the pixels of the validation set, so that
            confidences can be read as probabilities; the predicted classes do not change.
        overlap: Overlap of neighbouring windows in images that are larger than the model's input, as a fraction.
    """

    builder: str = "unet"
    width: int = 16
    depth: int = 3
    stride: int = 2
    dropout: float = 0.0
    weights: str = "pretrained"
    head_epochs: int = 2
    finetune_rate: float = 0.1
    calibrate: bool = True
    overlap: float = 0.25

    def __post_init__(self) -> None:
        check(4 <= self.width <= 512, "model.width", "between 4 and 512", self.width)
        check(1 <= self.depth <= 7, "model.depth", "between 1 and 7", self.depth)
        check(self.stride in (1, 2, 4), "model.stride", "1, 2 or 4", self.stride)
        check(0 <= self.dropout < 1, "model.dropout", "at least 0 and below 1", self.dropout)
        check(self.weights in ("pretrained", "none"), "model.weights", "pretrained or none", self.weights)
        check(0 <= self.overlap <= 0.75, "model.overlap", "between 0 and 0.75", self.overlap)
        check(self.head_epochs >= 0, "model.head_epochs", "0 or more", self.head_epochs)
        check(0 < self.finetune_rate <= 1, "model.finetune_rate", "above 0 and at most 1", self.finetune_rate)
        known = self.builder == "unet" or (":" in self.builder and not self.builder.endswith(":"))
        check(known, "model.builder", "unet, applications:NAME, kerashub:PRESET or my_module:function",
              self.builder)  # fmt: skip

    @property
    def pretrained(self) -> bool:
        """Whether the model has a backbone that can be frozen."""
        return self.weights != "none" and self.builder.startswith(("applications:", "kerashub:"))


@dataclass
class SegmentLossConfig:
    """The loss.

    Args:
        name: `cross-entropy`, `dice`, `cross-entropy+dice`, `focal-tversky` (for small or rare classes), or `lovasz`
            (a surrogate of the mean IoU, for fine-tuning).
        alpha: Weight of missed pixels in `focal-tversky`; false positives weigh 1 - alpha.
        gamma: Focus of `focal-tversky` on classes that are segmented badly; 1 is off.
    """

    name: Literal["cross-entropy", "dice", "cross-entropy+dice", "focal-tversky", "lovasz"] = "cross-entropy+dice"
    alpha: float = 0.7
    gamma: float = 0.75

    def __post_init__(self) -> None:
        check(0 < self.alpha < 1, "loss.alpha", "between 0 and 1", self.alpha)
        check(0 < self.gamma <= 5, "loss.gamma", "above 0 and at most 5", self.gamma)
