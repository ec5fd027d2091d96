"""Object detection: boxes and classes of the objects in an image.

    python -m pipelines.object_detect                               # composed scenes of digits, no network
    python -m pipelines.object_detect --data instances.json --data.images photos/     # COCO
    python -m pipelines.object_detect --data tiles/                 # Pascal VOC XML, YOLO labels, or a CSV of boxes
    python -m pipelines.object_detect predict runs/object_detect/NAME photo.jpg --files drawn/
    python -m pipelines.object_detect convert tiles/ converted/ --format coco

docs/object_detect.md tells how to use your own data, with measured times and scores.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipelines.detection.config import DetectionAugmentConfig, DetectionDataConfig, DetectionModelConfig
from pipelines.engine.config import FitConfig, OptimizerConfig, ScheduleConfig, TrainConfig
from pipelines.engine.task import Task

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from pipelines.detection.load import DetectionSplits

EXPLAINED = 4


@dataclass
class Config(TrainConfig):
    """Options of object_detect; the defaults suit the embedded scenes."""

    data: DetectionDataConfig = field(default_factory=DetectionDataConfig)
    augment: DetectionAugmentConfig = field(
        default_factory=lambda: DetectionAugmentConfig(scale=0.1, shift=0.05, colour=0.1, mosaic=0.0)
    )
    model: DetectionModelConfig = field(default_factory=DetectionModelConfig)
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig("conv-muon", 0.008, weight_decay=0.01))
    schedule: ScheduleConfig = field(default_factory=lambda: ScheduleConfig(warmup=0.15))
    fit: FitConfig = field(default_factory=lambda: FitConfig(epochs=12, batch_size=8, ema=0.98))


def load_data(config: Config) -> DetectionSplits:
    from pipelines.core.console import counting
    from pipelines.detection.load import load_detection

    with counting("checking images and boxes") as progress:
        return load_detection(config.data, seed=config.run.seed, progress=progress)


def load_test(config: Config, spec: dict[str, Any]) -> DetectionSplits:
    from pipelines.detection.load import load_test_detection

    return load_test_detection(config.data, spec)


def build_model(config: Config, data: DetectionSplits) -> Any:
    from pipelines.detection.builders import build

    return build(config.model, data)


def objective(config: Config, data: DetectionSplits) -> Any:
    from pipelines.core.errors import UserError
    from pipelines.detection.builders import strides_of
    from pipelines.detection.losses import DetectionLoss
    from pipelines.detection.metrics import RunningAP50
    from pipelines.engine.fit import Objective

    if config.fit.imbalance != "none":
        raise UserError(f"fit.imbalance {config.fit.imbalance} is not for detection: its loss is a focal one already")
    loss = DetectionLoss(data.size, data.size, strides_of(config.model, data))
    return Objective(loss, [RunningAP50(limit=config.model.nms_iou)], "val_ap50", "max")


def batches(config: Config, data: DetectionSplits) -> tuple[Any, Any]:
    from pipelines.detection.stream import streams

    return streams(
        data.train, data.val, data.most_boxes, config.augment, batch_size=config.fit.batch_size,
        epochs=config.fit.epochs, seed=config.run.seed,
    )  # fmt: skip


def finish(config: Config, data: DetectionSplits, model: Any) -> tuple[Any, dict[str, Any]]:
    """Calibrates the confidences on the validation set, and chooses there from which one on `predict` gives boxes."""
    from pipelines.detection import scores
    from pipelines.detection.calibrate import calibrate

    found = detections(config, model, data.val)
    if config.model.calibrate and calibrate(model, found, scores.matches(data.val, found)):
        found = detections(config, model, data.val)
    return model, {"confidence": chosen_confidence(config, data, found)}


def detections(config: Config, model: Any, samples: Any) -> Any:
    from pipelines.detection.predict import of_samples

    return of_samples(model, samples, iou=config.model.nms_iou, most=config.model.max_detections)


def chosen_confidence(config: Config, data: DetectionSplits, found: Any) -> float:
    from pipelines.detection import scores

    if config.model.confidence is not None:
        return config.model.confidence
    return round(scores.best_confidence(found, scores.matches(data.val, found)), 4)


def spec(config: Config, data: DetectionSplits) -> dict[str, Any]:
    from pipelines.detection.builders import strides_of

    own = config.model.builder.partition(":")[0]
    return {
        "classes": list(data.classes),
        "ids": data.ids,
        "size": data.size,
        "strides": list(strides_of(config.model, data)),
        "tiles": data.full_scale,
        "overlap": config.model.overlap,
        "nms_iou": config.model.nms_iou,
        "max_detections": config.model.max_detections,
        "confidence": 0.5,
        "modules": ["pipelines.layers", {"detector": "pipelines.detection.layers"}.get(own, own)],
    }


def assess(config: Config, data: DetectionSplits, model: Any) -> Any:
    from pipelines.detection import report

    confidence = chosen_confidence(config, data, detections(config, model, data.val))
    return report.assess(
        data, detections(config, model, data.test), spec(config, data)["strides"], confidence, seed=config.run.seed,
        resamples=config.run.resamples,
    )  # fmt: skip


def inputs(spec: dict[str, Any], arguments: Sequence[str]) -> list[str]:
    from pipelines.core.inputs import expand
    from pipelines.images.sources import EXTENSIONS

    return list(expand(arguments, EXTENSIONS, "images"))


def example(spec: dict[str, Any], generator: Any) -> Any:
    return generator.integers(0, 256, (1, spec["size"], spec["size"], 3)).astype("float32")


def predict(model: Any, spec: dict[str, Any], inputs: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """A row for each detection; an image without any has one row without label."""
    from pipelines.detection.predict import rows

    yield from rows(model, spec, inputs)


def columns(spec: dict[str, Any]) -> list[str]:
    corners = ("left", "top", "right", "bottom")
    return ["input", "label", "class_id", "confidence", *corners, "width", "height", "error"]


def files(spec: dict[str, Any], row: dict[str, Any], folder: Path) -> None:
    """Writes the image with its detections as FOLDER/NAME.png."""
    from pathlib import Path

    from pipelines.detection.predict import DRAWN, draw

    if DRAWN in row:
        pixels, found = row[DRAWN]
        draw(pixels, found, spec["classes"], folder / f"{Path(row['input']).stem}.png")


def coco_lines(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    from pipelines.detection.predict import coco_lines

    yield from coco_lines(rows)


def explain(config: Config, model: Any, spec: dict[str, Any], arguments: Sequence[str]) -> list[Any]:
    """The most confident detections of each image, and the pixels that they depend on."""
    from pipelines.core.errors import UserError
    from pipelines.detection.explain import blocks
    from pipelines.detection.load import fit
    from pipelines.images.decode import open_image

    if not arguments:
        test = load_data(config).test
        return blocks(model, spec, [(test.names[i], test.read([i])[0]) for i in range(min(EXPLAINED, len(test)))])
    images = []
    for file in inputs(spec, arguments):
        try:
            images.append((file.replace("\\", "/").rpartition("/")[2], fit(open_image(file), spec["size"])[0]))
        except ValueError as error:
            raise UserError(f"{file}: {error}") from None
    return blocks(model, spec, images)


def convert(task: Any, argv: Sequence[str]) -> None:
    from pipelines.detection.convert import command

    command(task, argv)


TASK = Task(
    "object_detect", Config, __doc__ or "", load_data=load_data, build_model=build_model, objective=objective,
    batches=batches, spec=spec, assess=assess, predict=predict, columns=columns, inputs=inputs,
    inputs_help="image files, folders, globs, or - for paths on standard input", example=example,
    load_test=load_test, explain=explain, finish=finish, files=files, formats={"coco": coco_lines},
    commands={"convert": convert},
    predict_options={
        "files": {"help": "folder for the images with their boxes, a PNG each"},
        "confidence": {"type": float, "help": "lowest confidence; without it the one chosen in validation"},
        "classes": {"help": "only these classes, separated by commas"},
        "tiles": {"choices": ("auto", "yes", "no"), "help": "cut images that are larger than the model's input into "
                  "tiles; auto does where training images were not scaled down"},
    },
)  # fmt: skip
train = TASK.train

if __name__ == "__main__":
    TASK.main()
