"""Image classification: which class does an image show?

    python -m pipelines.image_classify                              # 8x8 scans of digits, no network
    python -m pipelines.image_classify --config configs/fashion_mnist.yaml
    python -m pipelines.image_classify --data photos/               # photos/CLASS/image.jpg
    python -m pipelines.image_classify predict runs/image_classify/NAME image.jpg

The README's results table has the times and scores to expect.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipelines.engine.config import OptimizerConfig, ScheduleConfig, TrainConfig
from pipelines.engine.task import Task
from pipelines.images.config import AugmentConfig, ImageDataConfig, ImageFitConfig, ImageModelConfig

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pipelines.images.load import ImageData

# jsonargparse imports what stands under TYPE_CHECKING beside a configuration: keras must not, or --help is slow.
EVALUATION_BATCH = 256
EXPLAINED = 6
AUGMENTED = 16


@dataclass
class Config(TrainConfig):
    """Options of image_classify; `auto` and null follow the data."""

    data: ImageDataConfig = field(default_factory=ImageDataConfig)
    augment: AugmentConfig = field(default_factory=lambda: AugmentConfig("auto", "auto", "auto", "auto"))
    model: ImageModelConfig = field(default_factory=ImageModelConfig)
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig("nesterov", weight_decay=5e-4))
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    fit: ImageFitConfig = field(default_factory=lambda: ImageFitConfig(label_smoothing=0.1))


def load_data(config: Config) -> ImageData:
    from pipelines.core.console import counting
    from pipelines.images.load import DEFAULT_SIZE, PRETRAINED_SIZE, load_images

    with counting("checking images") as progress:
        size = PRETRAINED_SIZE if config.model.pretrained else DEFAULT_SIZE
        return load_images(config.data, seed=config.run.seed, progress=progress, default_size=size)


def load_test(config: Config, spec: dict[str, Any]) -> ImageData:
    from pipelines.images.load import load_test_images

    return load_test_images(config.data, spec)


def resolve(config: Config, data: ImageData) -> tuple[Config, list[str]]:
    from pipelines.images import defaults

    return defaults.resolve(config, data)


def build_model(config: Config, data: ImageData) -> Any:
    from pipelines.engine import builder
    from pipelines.images import convnets, pretrained

    options, shape, classes = config.model, data.spec.shape, len(data.classes)
    if options.builder == "convnet":
        return convnets.convnet(
            shape, classes, width=options.width, depth=options.depth, dropout=options.dropout,
            stochastic_depth=options.stochastic_depth,
        )  # fmt: skip
    if options.builder.startswith(("applications:", "kerashub:")):
        return pretrained.build(options.builder, shape, classes, weights=options.weights, dropout=options.dropout)
    return builder.build(options.builder, shape, classes)


def objective(config: Config, data: ImageData) -> Any:
    import keras

    from pipelines.engine.fit import Objective
    from pipelines.images.defaults import SMALL_VALIDATION
    from pipelines.losses import classification_loss

    loss = classification_loss(config.fit.imbalance, config.fit.label_smoothing)
    metrics = [keras.metrics.CategoricalAccuracy(name="accuracy")]
    if len(data.val.labels) < SMALL_VALIDATION:
        return Objective(loss, metrics, "val_loss", "min")
    return Objective(loss, metrics, "val_accuracy", "max")


def phases(config: Config) -> list[Any]:
    from pipelines.engine.fit import Phase

    if not config.model.pretrained or not config.model.head_epochs:
        return [Phase("main", int(config.fit.epochs), backbone=True if config.model.pretrained else None)]
    return [
        Phase("head", config.model.head_epochs, backbone=False),
        Phase("all", int(config.fit.epochs), config.model.finetune_rate, backbone=True),
    ]


def batches(config: Config, data: ImageData) -> tuple[Any, Any]:
    import numpy as np

    from pipelines.data.stream import Stream, ordered
    from pipelines.engine.classes.imbalance import class_weights, draw_probabilities
    from pipelines.images.augment import augment_batch

    classes = len(data.classes)
    eye = np.eye(classes, dtype=np.float32)
    weights = class_weights(data.train.labels, classes, config.fit.imbalance).astype(np.float32)

    def reader(split: Any, weighted: bool) -> Any:
        def read(indices: Any) -> tuple[Any, ...]:
            labels = split.labels[indices]
            return (
                split.images.read(indices),
                eye[labels],
                weights[labels] if weighted else np.ones_like(labels, "f4"),
            )

        return read

    signature = [(data.spec.shape, np.uint8), ((classes,), np.float32), ((), np.float32)]
    oversample = config.fit.imbalance == "oversample"
    stream = Stream(
        reader(data.train, True),
        signature,
        len(data.train.labels),
        batch_size=int(config.fit.batch_size),
        seed=config.run.seed,
        probabilities=draw_probabilities(data.train.labels, classes) if oversample else None,
        transform=lambda x, y, w, seed: augment_batch(x, y, w, seed, config.augment),
        complete=True,
    )
    validation = ordered(reader(data.val, False), signature, len(data.val.labels), batch_size=EVALUATION_BATCH)
    return stream, validation


def finish(config: Config, data: ImageData, model: Any) -> tuple[Any, dict[str, Any]]:
    """Calibrates the model on the validation set."""
    import numpy as np

    from pipelines.engine.calibration import calibrate_on_validation
    from pipelines.images.predict import logits_of

    if config.model.calibrate:
        logits = logits_of(model, data.val.images, EVALUATION_BATCH)
        calibrate_on_validation(model, logits, np.eye(len(data.classes))[data.val.labels])
    return model, {}


def spec(config: Config, data: ImageData) -> dict[str, Any]:
    own = config.model.builder.partition(":")[0]
    modules = {"convnet": "regularizers", "applications": "pipelines.layers", "kerashub": "keras_hub"}
    return {
        "classes": list(data.classes),
        "image": data.spec.to_json(),
        "tta": {"flip": config.augment.flip, "shift": bool(config.augment.crop)} if config.model.tta else None,
        "modules": [modules.get(own, own)],
    }


def assess(config: Config, data: ImageData, model: Any) -> Any:
    from pipelines.engine import figures, report
    from pipelines.engine.calibration import applied
    from pipelines.engine.classes import classification
    from pipelines.images.predict import predict_images

    split = data.test
    probabilities = predict_images(model, split.images, spec(config, data)["tta"], EVALUATION_BATCH)

    def show(name: str, caption: str, chosen: Any, texts: list[str], right: list[bool]) -> report.Block:
        figure = figures.gallery(split.images.read(chosen), texts, right)
        return report.Figure(name, figure, caption, f"Gallery: {caption}")

    assessment = classification.assess(
        split.labels, probabilities, data.classes, split.images.names, data.summary, show,
        seed=config.run.seed, resamples=config.run.resamples, temperature=applied(model),
    )  # fmt: skip
    if data.train is not data.test:  # another source has a test set only
        assessment.sections.append(augmented(resolve(config, data)[0], data))
    return assessment


def augmented(config: Config, data: ImageData) -> Any:
    """A section of the report with training images as the network sees them."""
    import numpy as np

    from pipelines.engine import figures, report
    from pipelines.images.augment import augmented_examples
    from pipelines.images.defaults import describe

    chosen = np.random.default_rng(config.run.seed).permutation(len(data.train.labels))[:AUGMENTED]
    labels = [data.classes[k] for k in data.train.labels[chosen]]
    images = augmented_examples(data.train.images.read(chosen), config.augment, config.run.seed)
    caption = f"Training images as the network sees them. Augmentation: {describe(config.augment)}."
    figure = figures.gallery(images, labels)
    return report.Section("Augmented training images", [
        report.Figure("augmented_images", figure, caption, "Gallery of augmented training images with their labels")
    ])  # fmt: skip


def inputs(spec: dict[str, Any], arguments: Sequence[str]) -> list[str]:
    from pipelines.core.inputs import expand
    from pipelines.images.sources import EXTENSIONS

    return list(expand(arguments, EXTENSIONS, "images"))


def example(spec: dict[str, Any], generator: Any) -> Any:
    from pipelines.images.load import ImageSpec

    return generator.integers(0, 256, (1, *ImageSpec(**spec["image"]).shape)).astype("float32")


def predict(model: Any, spec: dict[str, Any], inputs: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """A row for each image: the predicted class, its confidence, and the probability of each class."""
    from pipelines.images.predict import predict_raw

    for source, probabilities in predict_raw(model, spec, inputs, EVALUATION_BATCH):
        if isinstance(probabilities, str):
            yield {"input": str(source), "label": None, "error": probabilities}
            continue
        best = int(probabilities.argmax())
        confidence = round(float(probabilities[best]), 6)
        by_class = {f"p_{name}": round(float(p), 6) for name, p in zip(spec["classes"], probabilities, strict=True)}
        yield {"input": str(source), "label": spec["classes"][best], "confidence": confidence, **by_class}


def columns(spec: dict[str, Any]) -> list[str]:
    return ["input", "label", "confidence", *(f"p_{name}" for name in spec["classes"]), "error"]


def explain(config: Config, model: Any, spec: dict[str, Any], arguments: Sequence[str]) -> list[Any]:
    """Grad-CAM and integrated gradients for the predicted class of each image."""
    from pipelines.engine import figures, report
    from pipelines.images.explain import grad_cam, integrated_gradients
    from pipelines.images.predict import probabilities_of

    images, names = explained(config, spec, arguments)
    probabilities = probabilities_of(model, images)
    predicted = probabilities.argmax(1)
    captions = [
        f"{name}\n{spec['classes'][k]} {p[k]:.0%}" for name, k, p in zip(names, predicted, probabilities, strict=True)
    ]
    maps = {
        "Grad-CAM": grad_cam(model, images, predicted),
        "integrated gradients": integrated_gradients(model, images, predicted),
    }
    caption = (
        "What the predicted class depends on: bright regions of Grad-CAM raise its score most; in integrated "
        "gradients, blue pixels raise it and red pixels lower it. A flat Grad-CAM singles out no region: the score "
        "then depends on the whole image, or no region raises it."
    )
    drawn = figures.explanations(images, maps, captions)
    return [report.Figure("explanations", drawn, caption, "Images with saliency maps of their predicted class")]


def explained(config: Config, spec: dict[str, Any], arguments: Sequence[str]) -> tuple[Any, list[str]]:
    """The images to explain, uint8 (N, H, W, C), and a name for each: by default a test image of each class."""
    import numpy as np

    from pipelines.core.errors import UserError
    from pipelines.images.load import ImageSpec

    if not arguments:
        split = load_data(config).test
        present, first = np.unique(split.labels, return_index=True)
        return split.images.read(first[:EXPLAINED]), [f"true: {spec['classes'][k]}" for k in present[:EXPLAINED]]
    image = ImageSpec(**spec["image"])
    images, names = [], []
    for file in inputs(spec, arguments):
        try:
            images.append(image.read(file))
        except ValueError as error:
            raise UserError(f"{file}: {error}") from None
        names.append(file.replace("\\", "/").rpartition("/")[2])
    return np.stack(images), names


TASK = Task(
    "image_classify", Config, __doc__ or "", load_data=load_data, build_model=build_model, objective=objective,
    batches=batches, spec=spec, assess=assess, predict=predict, columns=columns, inputs=inputs,
    inputs_help="image files, folders, globs, or - for paths on standard input", example=example, phases=phases,
    load_test=load_test, explain=explain, finish=finish, resolve=resolve,
)  # fmt: skip
train = TASK.train

if __name__ == "__main__":
    TASK.main()
