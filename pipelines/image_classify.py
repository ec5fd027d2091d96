"""Which class does a picture show?

    python -m pipelines.image_classify                              # 8x8 scans of digits, no network
    python -m pipelines.image_classify --config configs/fashion_mnist.yaml
    python -m pipelines.image_classify --data photos/               # photos/CLASS/picture.jpg
    python -m pipelines.image_classify predict runs/image_classify/NAME picture.jpg

The README's results table has the times and scores to expect.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipelines.data.augment import AugmentConfig
from pipelines.data.image_config import ImageDataConfig
from pipelines.engine.config import FitConfig, OptimizerConfig, ScheduleConfig, TrainConfig, check
from pipelines.engine.task import Task

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipelines.data.images import ImageParts

# jsonargparse imports what stands under TYPE_CHECKING beside a configuration: keras must not, or --help is slow.
EVALUATION_BATCH = 256


@dataclass
class ModelConfig:
    """The network.

    Args:
        builder: `convnet` (ours, small and quick), `applications:NAME` (any of keras.applications),
            `kerashub:PRESET_OR_FOLDER`, or my_module:function taking (input_shape, classes) and returning a Keras model
            from raw pictures 0..255 to logits.
        width: Channels of the first stage of `convnet`.
        depth: Blocks of a stage of `convnet`.
        dropout: Rate before the last layer.
        stochastic_depth: Rate at which the last residual block of `convnet` is dropped.
        weights: Pretrained weights of `applications:` and `kerashub:` models, or none.
        head_epochs: Epochs in which a pretrained model trains its last layer alone; then all layers are trained.
        finetune_rate: Learning rate of the second phase, as a part of that of the first.
        tta: Average the predictions over mirrored (with augment.flip) and shifted (with augment.crop) copies.
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
        check(self.weights in ("imagenet", "none"), "model.weights", "imagenet or none", self.weights)
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
        """Whether the model has a part that can be frozen."""
        return self.weights != "none" and self.builder.startswith(("applications:", "kerashub:"))


@dataclass
class Config(TrainConfig):
    """Options of image_classify; the defaults suit the embedded digits."""

    data: ImageDataConfig = field(default_factory=ImageDataConfig)
    augment: AugmentConfig = field(default_factory=lambda: AugmentConfig(crop=1))
    model: ModelConfig = field(default_factory=ModelConfig)
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig("nesterov", weight_decay=5e-4))
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    fit: FitConfig = field(default_factory=lambda: FitConfig(epochs=30, batch_size=32, label_smoothing=0.1))


def load_data(config: Config) -> ImageParts:
    from pipelines.data.images import load_images
    from pipelines.engine.console import counting

    with counting("checking pictures") as progress:
        return load_images(config.data, seed=config.run.seed, progress=progress)


def load_test(config: Config, spec: dict[str, Any]) -> ImageParts:
    from pipelines.data.images import load_test_images

    return load_test_images(config.data, spec)


def build_model(config: Config, data: ImageParts) -> Any:
    from pipelines.models import convnets, custom, pretrained

    options, shape, classes = config.model, data.spec.shape, len(data.classes)
    if options.builder == "convnet":
        return convnets.convnet(
            shape, classes, width=options.width, depth=options.depth, dropout=options.dropout,
            stochastic_depth=options.stochastic_depth,
        )  # fmt: skip
    if options.builder.startswith(("applications:", "kerashub:")):
        return pretrained.build(options.builder, shape, classes, weights=options.weights, dropout=options.dropout)
    return custom.build(options.builder, shape, classes)


def objective(config: Config, data: ImageParts) -> Any:
    import keras

    from pipelines.engine.fit import Objective
    from pipelines.losses import classification_loss

    loss = classification_loss(config.fit.imbalance, config.fit.label_smoothing)
    return Objective(loss, [keras.metrics.CategoricalAccuracy(name="accuracy")], "val_accuracy", "max")


def phases(config: Config) -> list[Any]:
    from pipelines.engine.fit import Phase

    if not config.model.pretrained or not config.model.head_epochs:
        return [Phase("main", config.fit.epochs, backbone=True if config.model.pretrained else None)]
    return [
        Phase("head", config.model.head_epochs, backbone=False),
        Phase("all", config.fit.epochs, config.model.finetune_rate, backbone=True),
    ]


def batches(config: Config, data: ImageParts) -> tuple[Any, Any]:
    import numpy as np

    from pipelines.data.augment import augment_batch
    from pipelines.data.stream import Stream, ordered
    from pipelines.engine.imbalance import class_weights, draw_probabilities

    classes = len(data.classes)
    eye = np.eye(classes, dtype=np.float32)
    weights = class_weights(data.train.labels, classes, config.fit.imbalance).astype(np.float32)

    def reader(part: Any, weighted: bool) -> Any:
        def read(indices: Any) -> tuple[Any, ...]:
            labels = part.labels[indices]
            return (
                part.pictures.read(indices),
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
        batch_size=config.fit.batch_size,
        seed=config.run.seed,
        probabilities=draw_probabilities(data.train.labels, classes) if oversample else None,
        transform=lambda x, y, w, seed: augment_batch(x, y, w, seed, config.augment),
    )
    validation = ordered(reader(data.val, False), signature, len(data.val.labels), batch_size=EVALUATION_BATCH)
    return stream, validation


def spec(config: Config, data: ImageParts) -> dict[str, Any]:
    own = config.model.builder.partition(":")[0]
    modules = {"convnet": "regularizers", "applications": "pipelines.layers", "kerashub": "keras_hub"}
    return {
        "classes": list(data.classes),
        "image": data.spec.to_json(),
        "tta": {"flip": config.augment.flip, "shift": bool(config.augment.crop)} if config.model.tta else None,
        "modules": [modules.get(own, own)],
    }


def assess(config: Config, data: ImageParts, model: Any) -> Any:
    from pipelines.engine import classification
    from pipelines.models.views import predict_pictures

    probabilities = predict_pictures(model, data.test.pictures, spec(config, data)["tta"], EVALUATION_BATCH)
    return classification.assess(data, probabilities, seed=config.run.seed, resamples=config.run.resamples)


def predict(model: Any, spec: dict[str, Any], inputs: list[Any]) -> Iterator[dict[str, Any]]:
    """A row for each picture: the most probable class, its probability, and that of each class."""
    from pipelines.models.views import predict_raw

    for source, probabilities in predict_raw(model, spec, inputs, EVALUATION_BATCH):
        if isinstance(probabilities, str):
            yield {"input": str(source), "label": None, "error": probabilities}
            continue
        best = int(probabilities.argmax())
        confidence = round(float(probabilities[best]), 6)
        shares = {f"p_{name}": round(float(p), 6) for name, p in zip(spec["classes"], probabilities, strict=True)}
        yield {"input": str(source), "label": spec["classes"][best], "confidence": confidence, **shares}


def columns(spec: dict[str, Any]) -> list[str]:
    return ["input", "label", "confidence", *(f"p_{name}" for name in spec["classes"]), "error"]


def explain(model: Any, spec: dict[str, Any], images: Any, names: list[str]) -> Any:
    """Grad-CAM and integrated gradients for the predicted class of pictures uint8 (N, H, W, C), as a figure."""
    from pipelines.engine import figures
    from pipelines.inspect.explain import grad_cam, integrated_gradients
    from pipelines.models.views import probabilities_of

    probabilities = probabilities_of(model, images)
    predicted = probabilities.argmax(1)
    captions = [
        f"{name}\n{spec['classes'][k]} {p[k]:.0%}" for name, k, p in zip(names, predicted, probabilities, strict=True)
    ]
    maps = {
        "Grad-CAM": grad_cam(model, images, predicted),
        "integrated gradients": integrated_gradients(model, images, predicted),
    }
    return figures.explanations(images, maps, captions)


TASK = Task(
    "image_classify", Config, __doc__ or "", load_data, build_model, objective, batches, spec, assess, predict,
    explain, phases, load_test, columns,
)  # fmt: skip
train = TASK.train

if __name__ == "__main__":
    TASK.main()
