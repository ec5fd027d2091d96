"""Options of image data; nothing slow is imported here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipelines.core.config import check, check_data
from pipelines.engine.config import FitConfig


@dataclass
class ImageDataConfig:
    """The images, and how they are read.

    Args:
        source: `sample` (8x8 scans of digits, embedded), `fashion_mnist`, `keras:NAME`, `tfds:NAME`, a folder with a
            folder of images for each class (or train/, val/, test/ with these), a CSV of paths and labels, an .npz of
            arrays, or my_module:function.
        val_fraction: Fraction of the training images kept for validation when the source has no such split.
        test_fraction: Fraction of all images kept for the test when the source has no such split.
        image_column: CSV column of the paths, relative to the CSV; by default the usual names are tried.
        label_column: CSV column of the labels.
        split_column: CSV column that says train, val or test.
        group_column: CSV column of a group that must stay in one split, such as the patient.
        size: Height and width in pixels. null follows the images: up to 64 pixels they keep their size if all have
            the same; larger ones are scaled to 96 pixels for `convnet`, which is quick on a CPU.
        channels: Grey or colour; auto chooses grey when all images are grey.
        resize: How to fit an image of another shape: crop the longer side, pad the shorter side, or stretch.
        max_broken: Broken images or rows that are skipped and reported; one more is an error that lists them.
        memory_gib: Decoded images up to this size are kept in memory; larger sets are read from disk each epoch.
        limit: Use only this many training images, stratified by class.
    """

    source: str = "sample"
    val_fraction: float = 0.15
    test_fraction: float = 0.15
    image_column: str | None = None
    label_column: str | None = None
    split_column: str | None = None
    group_column: str | None = None
    size: int | None = None
    channels: Literal["auto", "grey", "rgb"] = "auto"
    resize: Literal["crop", "pad", "stretch"] = "crop"
    max_broken: int = 10
    memory_gib: float = 2.0
    limit: int | None = None

    def __post_init__(self) -> None:
        check_data(self)
        check(self.size is None or 4 <= self.size <= 4096, "data.size", "between 4 and 4096", self.size)
        check(0 <= self.memory_gib < math.inf, "data.memory_gib", "0 or more", self.memory_gib)


@dataclass
class AugmentConfig:
    """Random changes of the training images; `auto` follows the images (colour photographs, or scans and grey images).

    Args:
        flip: Mirror half of the images left to right; auto does so with photographs.
        crop: Pad by this many pixels (the border is reflected), then cut out the original size at a random place.
        zoom: Cut out a random rectangle of at least this fraction of the area, and enlarge it; 1 turns it off.
        colour: Vary brightness, contrast and saturation at random by up to this fraction; 0 turns it off.
        randaugment: Number of random operations of RandAugment for each image; 0 turns it off.
        magnitude: Strength of RandAugment, 0 to 10.
        mixup: Alpha of MixUp, such as 0.2; 0 turns it off.
        cutmix: Alpha of CutMix, such as 1; 0 turns it off. With MixUp as well, each batch uses one of the two.
        erase: Probability that a random rectangle of an image is blanked.
    """

    flip: bool | Literal["auto"] = False
    crop: int | Literal["auto"] = 0
    zoom: float | Literal["auto"] = 1.0
    colour: float | Literal["auto"] = 0.0
    randaugment: int = 0
    magnitude: float = 5.0
    mixup: float = 0.0
    cutmix: float = 0.0
    erase: float = 0.0

    def __post_init__(self) -> None:
        check(self.crop == "auto" or self.crop >= 0, "augment.crop", "0 or more pixels, or auto", self.crop)
        check(self.zoom == "auto" or 0 < self.zoom <= 1, "augment.zoom", "above 0 and at most 1, or auto", self.zoom)
        colour = self.colour
        check(colour == "auto" or 0 <= colour < 1, "augment.colour", "at least 0 and below 1, or auto", colour)
        check(0 <= self.randaugment <= 10, "augment.randaugment", "between 0 and 10", self.randaugment)
        check(0 <= self.magnitude <= 10, "augment.magnitude", "between 0 and 10", self.magnitude)
        check(0 <= self.mixup < math.inf, "augment.mixup", "0 or more", self.mixup)
        check(0 <= self.cutmix < math.inf, "augment.cutmix", "0 or more", self.cutmix)
        check(0 <= self.erase <= 1, "augment.erase", "between 0 and 1", self.erase)


@dataclass
class ImageFitConfig(FitConfig):
    __doc__ = FitConfig.__doc__

    epochs: int | Literal["auto"] = "auto"  # type: ignore[assignment]  # a number once the data are known
    batch_size: int | Literal["auto"] = "auto"  # type: ignore[assignment]


@dataclass
class ImageModelConfig:
    """The network.

    Args:
        builder: `convnet` (small and quick), `applications:NAME` (any of keras.applications),
            `kerashub:PRESET_OR_FOLDER`, or my_module:function that takes (input_shape, classes) and returns a Keras
            model from raw images 0..255 to logits.
        width: Channels of the first stage of `convnet`.
        depth: Blocks of a stage of `convnet`.
        dropout: Rate before the last layer.
        stochastic_depth: Rate at which the last residual block of `convnet` is dropped.
        weights: Pretrained weights of `applications:` and `kerashub:` models: imagenet, none, or a file of weights for
            an `applications:` model without its last layer.
        head_epochs: Epochs in which a pretrained model trains its last layer alone; then all layers are trained.
        finetune_rate: Learning rate of the second phase, as a fraction of that of the first.
        tta: Average the predictions over mirrored (with augment.flip) and shifted (with augment.crop) copies.
        calibrate: Divide the logits by the temperature that suits the validation set best (Guo et al., 2017), so that
            confidences can be read as probabilities; accuracy does not change.
    """

    builder: str = "convnet"
    width: int = 32
    depth: int = 2
    dropout: float = 0.0
    stochastic_depth: float = 0.0
    weights: str = "imagenet"
    head_epochs: int = 3
    finetune_rate: float = 0.1
    tta: bool = False
    calibrate: bool = True

    def __post_init__(self) -> None:
        check(1 <= self.width <= 2048, "model.width", "between 1 and 2048", self.width)
        check(1 <= self.depth <= 64, "model.depth", "between 1 and 64", self.depth)
        check(0 <= self.dropout < 1, "model.dropout", "at least 0 and below 1", self.dropout)
        check(
            0 <= self.stochastic_depth < 1,
            "model.stochastic_depth",
            "at least 0 and below 1",
            self.stochastic_depth,
        )
        usable = self.weights in ("imagenet", "none") or Path(self.weights).is_file()
        check(usable, "model.weights", "imagenet, none or an existing file", self.weights)
        check(self.head_epochs >= 0, "model.head_epochs", "0 or more", self.head_epochs)
        check(0 < self.finetune_rate <= 1, "model.finetune_rate", "above 0 and at most 1", self.finetune_rate)
        known = self.builder == "convnet" or (":" in self.builder and not self.builder.endswith(":"))
        check(
            known,
            "model.builder",
            "convnet, applications:NAME, kerashub:PRESET or my_module:function",
            self.builder,
        )

    @property
    def pretrained(self) -> bool:
        """Whether the model has a pretrained backbone, which can be frozen."""
        return self.weights != "none" and self.builder.startswith(("applications:", "kerashub:"))
