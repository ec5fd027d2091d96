"""Semantic segmentation: the class of each pixel of an image.

    python -m pipelines.image_segment                               # composed scenes of digits, no network
    python -m pipelines.image_segment --data roads/                 # roads/images/*.jpg, roads/masks/*.png
    python -m pipelines.image_segment --data instances.json --data.images photos/     # COCO polygons or RLE
    python -m pipelines.image_segment predict runs/image_segment/NAME photo.jpg --files masks/

docs/image_segment.md tells how to use your own data, and what has been measured.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipelines.engine.config import FitConfig, OptimizerConfig, ScheduleConfig, TrainConfig
from pipelines.engine.task import Task
from pipelines.segmentation.config import (
    SegmentAugmentConfig,
    SegmentDataConfig,
    SegmentLossConfig,
    SegmentModelConfig,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from pipelines.segmentation.load import SegmentSplits

MODULES = {"unet": "pipelines.layers", "applications": "pipelines.layers", "kerashub": "keras_hub"}
SPACE: dict[str, dict[str, Any]] = {
    "augment.scale": {"low": 0.6, "high": 1.0},
    "augment.rotate": {"low": 0.0, "high": 20.0},
    "augment.colour": {"low": 0.0, "high": 0.5},
    "model.dropout": {"low": 0.0, "high": 0.3},
}
EXPLAINED = 4
CALIBRATION_PIXELS = 400  # of each validation image


@dataclass
class Config(TrainConfig):
    """Options of image_segment; the defaults suit the embedded scenes."""

    data: SegmentDataConfig = field(default_factory=SegmentDataConfig)
    augment: SegmentAugmentConfig = field(default_factory=SegmentAugmentConfig)
    model: SegmentModelConfig = field(default_factory=SegmentModelConfig)
    loss: SegmentLossConfig = field(default_factory=SegmentLossConfig)
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig("conv-muon", 0.012, weight_decay=0.01))
    schedule: ScheduleConfig = field(default_factory=lambda: ScheduleConfig(warmup=0.15))
    fit: FitConfig = field(default_factory=lambda: FitConfig(epochs=8, batch_size=8, ema=0.98))


def load_data(config: Config) -> SegmentSplits:
    from pipelines.core.console import counting
    from pipelines.segmentation.load import load_segments

    with counting("checking images and masks") as progress:
        return load_segments(config.data, seed=config.run.seed, progress=progress)


def load_test(config: Config, spec: dict[str, Any]) -> SegmentSplits:
    from pipelines.segmentation.load import load_test_segments

    return load_test_segments(config.data, spec)


def build_model(config: Config, data: SegmentSplits) -> Any:
    from pipelines.segmentation import models, pretrained

    options, shape, classes = config.model, data.spec.shape, len(data.classes)
    if options.builder == "unet":
        return models.unet(shape, classes, width=options.width, depth=options.depth, stride=options.stride,
            dropout=options.dropout)  # fmt: skip
    if options.builder.startswith(("applications:", "kerashub:")):
        return pretrained.build(options.builder, shape, classes, weights=options.weights, width=options.width,
            dropout=options.dropout)  # fmt: skip
    return models.own(options.builder, shape, classes)


def objective(config: Config, data: SegmentSplits) -> Any:
    from pipelines.core.errors import UserError
    from pipelines.engine.fit import Objective
    from pipelines.segmentation.losses import MeanIoU, SegmentationLoss, pixel_weights

    imbalance = config.fit.imbalance
    if imbalance in ("focal", "oversample"):
        raise UserError(f"fit.imbalance {imbalance} is not for pixels: use weights, or --loss focal-tversky")
    weights = pixel_weights(data.pixels, imbalance)
    loss = SegmentationLoss(config.loss.name, weights, config.loss.alpha, config.loss.gamma)
    return Objective(loss, [MeanIoU(len(data.classes))], "val_mean_iou", "max")


def phases(config: Config) -> list[Any]:
    from pipelines.engine.fit import Phase

    if not config.model.pretrained or not config.model.head_epochs:
        return [Phase("main", config.fit.epochs, backbone=True if config.model.pretrained else None)]
    return [
        Phase("head", config.model.head_epochs, backbone=False),
        Phase("all", config.fit.epochs, config.model.finetune_rate, backbone=True),
    ]


def batches(config: Config, data: SegmentSplits) -> tuple[Any, Any]:
    import numpy as np

    from pipelines.data.stream import Stream, ordered
    from pipelines.segmentation.augment import augment_batch
    from pipelines.segmentation.predict import BATCH

    shape = data.spec.shape
    signature = [(shape, data.spec.dtype), (shape[:2], np.uint8)]
    stream = Stream(
        data.train.read, signature, len(data.train), batch_size=config.fit.batch_size, seed=config.run.seed,
        transform=lambda x, y, seed: augment_batch(x, y, seed, config.augment),
    )  # fmt: skip
    return stream, ordered(data.val.read, signature, len(data.val), batch_size=BATCH)


def finish(config: Config, data: SegmentSplits, model: Any) -> tuple[Any, dict[str, Any]]:
    """Calibrates the model on pixels of the validation set."""
    import numpy as np

    from pipelines.engine.calibration import calibrate_on_validation
    from pipelines.segmentation.masks import IGNORED
    from pipelines.segmentation.predict import each

    if config.model.calibrate:
        draw, logits, labels = np.random.default_rng(config.run.seed), [], []
        for _, mask, chances in each(model, data.val):
            valid = np.flatnonzero(mask.ravel() != IGNORED)
            chosen = draw.choice(valid, min(CALIBRATION_PIXELS, len(valid)), replace=False)
            logits.append(np.log(np.maximum(chances.reshape(-1, chances.shape[-1])[chosen], 1e-30)))
            labels.append(mask.ravel()[chosen])
        targets = np.eye(len(data.classes))[np.concatenate(labels)]
        calibrate_on_validation(model, np.concatenate(logits), targets)
    return model, {}


def spec(config: Config, data: SegmentSplits) -> dict[str, Any]:
    own = config.model.builder.partition(":")[0]
    encoding = data.encoding
    return {
        "classes": list(data.classes),
        "image": data.spec.to_json(),
        "masks": {
            "values": {str(value): number for value, number in encoding.values.items()}, "colours": encoding.colours,
            "nearest": encoding.nearest, "ignore": encoding.ignore,
        },
        "windows": data.windows,
        "overlap": config.model.overlap,
        "modules": [MODULES.get(own, own)],
    }  # fmt: skip


def assess(config: Config, data: SegmentSplits, model: Any) -> Any:
    from pipelines.segmentation import report

    return report.assess(data, model, seed=config.run.seed, resamples=config.run.resamples)


def inputs(spec: dict[str, Any], arguments: Sequence[str]) -> list[str]:
    from pipelines.core.inputs import expand
    from pipelines.images.sources import EXTENSIONS

    return list(expand(arguments, EXTENSIONS | {".npy"}, "images"))


def example(spec: dict[str, Any], generator: Any) -> Any:
    from pipelines.segmentation.read import SegmentSpec

    return generator.integers(0, 256, (1, *SegmentSpec(**spec["image"]).shape)).astype("float32")


def predict(model: Any, spec: dict[str, Any], inputs: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """A row for each image: height, width, the mean confidence of its pixels, and the fraction of each class."""
    import numpy as np

    from pipelines.segmentation.predict import rows

    for source, found in rows(model, spec, inputs):
        if isinstance(found, str):
            yield {"input": str(source), "height": None, "width": None, "error": found}
            continue
        mask, confidence = found
        shares = np.bincount(mask.ravel(), minlength=len(spec["classes"])) / mask.size
        fractions = {f"fraction_{name}": round(float(x), 6) for name, x in zip(spec["classes"], shares, strict=True)}
        size = {"height": mask.shape[0], "width": mask.shape[1]}
        yield {"input": str(source), **size, "confidence": round(confidence, 6), **fractions, MASK: mask}


MASK = "_mask"  # the predicted class numbers, which `predict` writes as PNG; not a column


def columns(spec: dict[str, Any]) -> list[str]:
    return ["input", "height", "width", "confidence", *(f"fraction_{name}" for name in spec["classes"]), "error"]


def files(spec: dict[str, Any], row: dict[str, Any], folder: Path) -> None:
    """Writes the predicted mask as index PNG with a palette, and over the image, both named after it."""
    from pipelines.segmentation.predict import write_mask

    write_mask(row[MASK], row["input"], spec, folder)


def explain(config: Config, model: Any, spec: dict[str, Any], arguments: Sequence[str]) -> list[Any]:
    """For each image the predicted classes, their confidence, and what the most frequent object class depends on."""
    from pipelines.segmentation.explain import blocks

    return blocks(model, spec, inputs(spec, arguments) if arguments else load_data(config).test, EXPLAINED)


TASK = Task(
    "image_segment", Config, __doc__ or "", load_data=load_data, build_model=build_model, objective=objective,
    batches=batches, spec=spec, assess=assess, predict=predict, columns=columns, inputs=inputs,
    inputs_help="image files, folders, globs, or - for paths on standard input", example=example,
    load_test=load_test, explain=explain, finish=finish, files=files, phases=phases, space=SPACE,
    predict_options={"files": {"help": "folder for the predicted masks: an index PNG and an overlay for each image"}},
)  # fmt: skip
train = TASK.train

if __name__ == "__main__":
    TASK.main()
