"""Options that follow the data: what `auto` means for a set of images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from pipelines.images.config import AugmentConfig
    from pipelines.images.load import ImageData

SAMPLED = 64  # training images that decide whether these are photographs
COLOURFUL = 8.0  # mean difference of the channels, 0..255, from which an image counts as a colour photograph
STEPS = 1200  # training steps to aim at
EPOCHS = (10, 60)  # fewest and most epochs
REFERENCE_BATCH = 32  # the batch size for which the default learning rates of momentum methods were chosen
MOMENTUM_METHODS = ("sgd", "momentum", "nesterov", "lars", "momentum-sam")
SMALL_VALIDATION = 200  # images; accuracy on fewer moves in large steps and ties too often to choose an epoch by it


@dataclass(frozen=True)
class Choices:
    """What the data suggest.

    Args:
        photographs: Whether the images are colour photographs, as against scans, drawings and grey images.
        batch_size: Images in a step.
        epochs: Passes over the training set.
        flip: Mirror half of the images.
        crop: Pixels of padding before a random cut.
        zoom: Smallest fraction of the area of a random cut.
        colour: Strength of random changes of brightness, contrast and saturation.
    """

    photographs: bool
    batch_size: int
    epochs: int
    flip: bool
    crop: int
    zoom: float
    colour: float


def are_photographs(images: np.ndarray) -> bool:
    """Whether images uint8 (N, H, W, C) are in colour, and not just grey images in three channels."""
    import numpy as np

    if images.shape[-1] != 3:
        return False
    spread = images.max(-1).astype(np.float32) - images.min(-1)
    return bool(spread.mean() >= COLOURFUL)


def choose(data: ImageData, batch_size: int | None = None) -> Choices:
    """What suits the data; `batch_size` is the one that the user chose, or None."""
    import numpy as np

    number = len(data.train.labels)
    sampled = np.arange(number)[:: max(1, number // SAMPLED)][:SAMPLED]
    photographs = are_photographs(data.train.images.read(sampled))
    side = min(data.spec.height, data.spec.width)
    if batch_size is None:
        # About 20 steps an epoch for small sets, so that the weights are updated often enough.
        largest = 32 if number < 10_000 else 64 if number < 30_000 else 128
        batch_size = int(np.clip(2 ** int(np.log2(max(number / 20, 1))), 8, largest))
    steps = -(-number // batch_size)
    epochs = int(np.clip(round(STEPS / steps), *EPOCHS))
    if not photographs:
        return Choices(False, batch_size, epochs, False, max(1, side // 14), 1.0, 0.0)
    zoomed = side > 40  # smaller images lose too much of what they show
    return Choices(True, batch_size, epochs, True, 0 if zoomed else max(1, side // 8), 0.5 if zoomed else 1.0, 0.2)


def resolve(config: Any, data: ImageData) -> tuple[Any, list[str]]:
    """The configuration without `auto`, and lines that say what was chosen."""
    from optimizers import registry

    fit, augment, optimizer = config.fit, config.augment, config.optimizer
    chosen = choose(data, None if fit.batch_size == "auto" else fit.batch_size)
    told = []
    if fit.batch_size == "auto":
        told.append(f"batch size {chosen.batch_size}")
    if fit.epochs == "auto":
        told.append(f"{chosen.epochs} epochs")
    fit = replace(fit, batch_size=chosen.batch_size, epochs=chosen.epochs if fit.epochs == "auto" else fit.epochs)
    if optimizer.learning_rate is None:
        rate = registry.record(optimizer.name).defaults["learning_rate"]
        if optimizer.name in MOMENTUM_METHODS and fit.batch_size < REFERENCE_BATCH:
            rate *= fit.batch_size / REFERENCE_BATCH
        optimizer = replace(optimizer, learning_rate=rate)
        told.append(f"peak learning rate {rate:g}")
    names = ("flip", "crop", "zoom", "colour")
    open_names = [name for name in names if getattr(augment, name) == "auto"]
    augment = replace(augment, **{name: getattr(chosen, name) for name in open_names})
    lines = []
    height, width, _ = data.spec.shape
    if config.data.size is None:
        told.insert(0, f"{height} x {width} pixels")
        if height == width:
            config = replace(config, data=replace(config.data, size=height))
    if open_names:
        kind = "colour photographs" if chosen.photographs else "scans or grey images"
        told.append(f"augmentation for {kind} ({describe(augment)})")
    if told:
        lines.append("chosen for these images: " + ", ".join(told))
    if chosen.photographs and config.model.builder == "convnet":
        lines.append(
            "a pretrained backbone usually classifies photographs better: "
            "--model.builder applications:EfficientNetV2B0 (downloads its weights once; offline, name them with "
            "--model.weights FILE.h5, or a KerasHub folder with --model.builder kerashub:FOLDER)"
        )
    return replace(config, fit=fit, augment=augment, optimizer=optimizer), lines


def describe(augment: AugmentConfig) -> str:
    """The augmentation in words."""
    done = [
        "mirrored" if augment.flip else "",
        f"shifted by up to {augment.crop} pixel{'s' if augment.crop != 1 else ''}" if augment.crop else "",
        f"cut to at least {augment.zoom:.0%} of the area" if augment.zoom != 1 else "",
        "colours varied" if augment.colour else "",
        f"{augment.randaugment} operations of RandAugment" if augment.randaugment else "",
        "MixUp" if augment.mixup else "",
        "CutMix" if augment.cutmix else "",
        "rectangles blanked" if augment.erase else "",
    ]
    return ", ".join(filter(None, done)) or "none"
