"""Which class, or which labels, does a text have?

    python -m pipelines.text_classify                               # food reviews, no network
    python -m pipelines.text_classify --data reviews.csv            # columns text, label (and split, or group)
    python -m pipelines.text_classify --data reviews.csv --model kerashub:PRESET_OR_FOLDER --epochs 3
    python -m pipelines.text_classify predict runs/text_classify/NAME "A text." texts.csv notes.txt

The README's results table has the times and scores to expect.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pipelines.core.errors import UserError
from pipelines.engine.config import FitConfig, OptimizerConfig, ScheduleConfig, TrainConfig
from pipelines.engine.task import Task
from pipelines.texts.config import TextDataConfig, TextModelConfig

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pipelines.texts.load import TextParts

EXPLAINED = 8  # texts of the test part, where none are given
MOST_EXPLAINED = 100
# Learning rates that suit each kind of model; another kind has its optimizer's default.
RATES = {"ngrams": 1e-2, "cnn": 1e-3, "transformer": 5e-4, "kerashub": 5e-5}


@dataclass
class Config(TrainConfig):
    """Options of text_classify; the defaults suit the embedded reviews."""

    data: TextDataConfig = field(default_factory=TextDataConfig)
    model: TextModelConfig = field(default_factory=TextModelConfig)
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig("adam"))
    schedule: ScheduleConfig = field(default_factory=lambda: ScheduleConfig("cosine", warmup=0.1))
    fit: FitConfig = field(default_factory=lambda: FitConfig(epochs=6, batch_size=64))

    def __post_init__(self) -> None:
        kind = self.model.builder.partition(":")[0]
        if self.optimizer.learning_rate is None and kind in RATES:
            self.optimizer = replace(self.optimizer, learning_rate=RATES[kind])


def load_data(config: Config) -> TextParts:
    from pipelines.texts.builders import reader_for
    from pipelines.texts.load import load_texts

    data = load_texts(config.data, seed=config.run.seed)
    if data.several and config.fit.imbalance not in ("none", "focal"):
        raise UserError(f"fit.imbalance must be none or focal for several labels a text, got {config.fit.imbalance!r}")
    return replace(data, reader=reader_for(config.model, data.train.texts, len(data.classes)))


def load_test(config: Config, spec: dict[str, Any]) -> TextParts:
    from pipelines.texts import inputs as text_inputs
    from pipelines.texts.load import load_test_texts

    return replace(load_test_texts(config.data, spec), reader=text_inputs.from_json(spec["reader"]))


def build_model(config: Config, data: TextParts) -> Any:
    from pipelines.texts.builders import build

    steps = config.fit.epochs * max(len(data.train.texts) // config.fit.batch_size, 1)
    return build(config.model, data, steps)


def objective(config: Config, data: TextParts) -> Any:
    import keras

    from pipelines.engine.fit import Objective
    from pipelines.losses import classification_loss, multilabel_loss

    if data.several:
        loss = multilabel_loss(config.fit.imbalance, config.fit.label_smoothing)
        metrics = [keras.metrics.BinaryAccuracy(name="label_accuracy", threshold=0.0)]
        return Objective(loss, metrics, "val_loss", "min")
    loss = classification_loss(config.fit.imbalance, config.fit.label_smoothing)
    accuracy = keras.metrics.CategoricalAccuracy(name="accuracy")
    if config.model.builder == "ngrams":
        # It is nearly convex and hardly over-fits: the accuracy of its epochs on a small part differs by chance.
        return Objective(loss, [accuracy], "val_loss", "min")
    return Objective(loss, [accuracy], "val_accuracy", "max")


def phases(config: Config) -> list[Any]:
    from pipelines.engine.fit import Phase

    options, epochs = config.model, config.fit.epochs
    if not options.pretrained:
        return [Phase("main", epochs)]
    if options.freeze or not options.head_epochs:
        return [Phase("main", epochs, backbone=not options.freeze)]
    return [
        Phase("head", options.head_epochs, backbone=False),
        Phase("all", epochs, options.finetune_rate, backbone=True),
    ]


def batches(config: Config, data: TextParts) -> tuple[Any, Any]:
    """Windows of texts; those of a long text weigh as much together as a short one."""
    import numpy as np

    from pipelines.data.stream import Stream, ordered
    from pipelines.engine.classes.imbalance import class_weights, draw_probabilities
    from pipelines.texts.builders import targets
    from pipelines.texts.predict import BATCH

    classes, kind = len(data.classes), config.fit.imbalance

    def reader(part: Any, weighted: bool) -> tuple[Any, Any, np.ndarray]:
        windows = data.reader.windows(part.texts)
        weights, goal = windows.share * len(windows.ids) / len(part.texts), targets(part.labels, classes)
        if weighted and not data.several:
            weights = weights * class_weights(part.labels, classes, kind)[part.labels][windows.owner]
        if weighted and kind == "oversample":  # what counts more is drawn more often
            weights = np.ones(len(windows.ids))

        def read(indices: Any) -> tuple[Any, ...]:
            return windows.read(indices), goal[windows.owner[indices]], weights[indices].astype(np.float32)

        return read, windows, np.array([len(ids) for ids in windows.ids])

    signature: list[Any] = [((None,), np.int32), ((classes,), np.float32), ((), np.float32)]
    read, windows, lengths = reader(data.train, True)
    chances = None
    if kind == "oversample":
        chances = draw_probabilities(data.train.labels, classes)[windows.owner] * windows.share
        chances = chances / chances.sum()
    stream = Stream(
        read, signature, len(lengths), batch_size=config.fit.batch_size, seed=config.run.seed, probabilities=chances,
        lengths=lengths,
    )  # fmt: skip
    read, _, lengths = reader(data.val, False)
    return stream, ordered(read, signature, len(lengths), batch_size=BATCH)


def finish(config: Config, data: TextParts, model: Any) -> tuple[Any, dict[str, Any]]:
    """Calibrates the model on the validation set."""
    from pipelines.engine.calibration import calibrate_on_validation
    from pipelines.texts.builders import targets
    from pipelines.texts.predict import logits_of

    if config.model.calibrate:
        logits = logits_of(model, data.reader, data.val.texts)
        calibrate_on_validation(model, logits, targets(data.val.labels, len(data.classes)), several=data.several)
    return model, {}


def spec(config: Config, data: TextParts) -> dict[str, Any]:
    own = config.model.builder.partition(":")[0]
    modules = {"kerashub": ["keras_hub", "pipelines.texts.backbones"], "ngrams": [], "cnn": [], "transformer": []}
    return {
        "classes": list(data.classes),
        "several": data.several,
        "reader": data.reader.to_json(),
        "modules": ["pipelines.texts.layers", *modules.get(own, [own])],
    }


def assess(config: Config, data: TextParts, model: Any) -> Any:
    from pipelines.core.console import say
    from pipelines.engine import report
    from pipelines.engine.calibration import applied
    from pipelines.engine.classes import classification, multilabel
    from pipelines.texts import report as text_report
    from pipelines.texts.predict import logits_of, probabilities

    say("report: predicting the test set")
    part, options = data.test, {"seed": config.run.seed, "resamples": config.run.resamples}
    scored: dict[str, Any] = {**options, "temperature": applied(model)}
    chances = probabilities(logits_of(model, data.reader, part.texts), data.several)

    def show(name: str, caption: str, chosen: Any, texts: list[str], right: list[bool]) -> report.Block:
        labels, which = chances[chosen].argmax(1), "the first class named"
        if data.several:
            labels = multilabel.first_named(part.labels[chosen], chances[chosen])
            which = "the first label named (where none is predicted, the first true or the likeliest one)"
        caption += f" Blue words speak for {which}, orange ones against it."
        return text_report.explained(model, data.reader, [part.texts[i] for i in chosen], labels, texts, caption)

    score = multilabel.assess if data.several else classification.assess
    result = score(part.labels, chances, data.classes, part.names, data.summary, show, **scored)
    blocks, result.tables[text_report.SIMILAR_FILE] = text_report.near_duplicates(data)
    result.sections[-1].blocks.extend(blocks)
    if config.model.baselines and data.train is not data.test:
        say("report: training simple models to compare with")
        section, features = text_report.baselines(data, chances, config.model.builder, **options)
        result.sections.insert(1, section)
        say("report: checking the labels")
        section, result.tables[text_report.ISSUES_FILE] = text_report.suspicious(data, chances, features)
        result.sections.append(section)
    return result


def inputs(spec: dict[str, Any], arguments: Sequence[str]) -> list[Any]:
    from pipelines.texts.files import given

    return list(given(arguments))


def example(spec: dict[str, Any], generator: Any) -> Any:
    from pipelines.texts import inputs as text_inputs

    return text_inputs.from_json(spec["reader"]).windows(["a text of words"]).read([0])


def predict(model: Any, spec: dict[str, Any], inputs: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """A row for each text: its class with its chance, or its labels, and the chance of each class."""
    from pipelines.data.labels import THRESHOLD, joined
    from pipelines.texts import inputs as text_inputs
    from pipelines.texts.files import printable
    from pipelines.texts.predict import predict_raw

    reader, classes = text_inputs.from_json(spec["reader"]), spec["classes"]
    for item, chances in predict_raw(model, reader, spec["several"], inputs):
        row = {"input": item.name, "text": printable(item.text) if isinstance(item.text, str) else None}
        if isinstance(chances, str):
            yield {**row, "label": None, "error": chances}
            continue
        shares = {f"p_{name}": round(float(p), 6) for name, p in zip(classes, chances, strict=True)}
        if spec["several"]:
            yield {**row, "label": joined(classes, chances > THRESHOLD), **shares}
            continue
        best = int(chances.argmax())
        yield {**row, "label": classes[best], "confidence": round(float(chances[best]), 6), **shares}


def columns(spec: dict[str, Any]) -> list[str]:
    confidence = [] if spec["several"] else ["confidence"]
    return ["input", "text", "label", *confidence, *(f"p_{name}" for name in spec["classes"]), "error"]


def explain(config: Config, model: Any, spec: dict[str, Any], arguments: Sequence[str]) -> list[Any]:
    """Integrated gradients for the predicted class of each text, drawn on its words."""
    from pipelines.texts import inputs as text_inputs
    from pipelines.texts.files import given, readable
    from pipelines.texts.predict import logits_of, probabilities
    from pipelines.texts.report import explained

    reader, classes = text_inputs.from_json(spec["reader"]), spec["classes"]
    texts = readable(given(arguments), MOST_EXPLAINED) if arguments else load_data(config).test.texts[:EXPLAINED]
    chances = probabilities(logits_of(model, reader, texts), spec["several"])
    best = chances.argmax(1)
    leads = [f"{classes[k]} {row[k]:.0%}:" for k, row in zip(best, chances, strict=True)]
    caption = "Blue words speak for the class, orange ones against it (integrated gradients)."
    return [explained(model, reader, texts, best.tolist(), leads, caption, limit=20_000)]


TASK = Task(
    "text_classify", Config, __doc__ or "", load_data=load_data, build_model=build_model, objective=objective,
    batches=batches, spec=spec, assess=assess, predict=predict, columns=columns, inputs=inputs,
    inputs_help="texts, text files, tables with a column of texts, folders or globs of these, or - for texts on "
    "standard input, one a line",
    example=example, phases=phases, load_test=load_test, explain=explain, finish=finish,
)  # fmt: skip
train = TASK.train

if __name__ == "__main__":
    TASK.main()
