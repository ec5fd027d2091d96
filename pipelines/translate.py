"""What does a text say in another language?

    python -m pipelines.translate                             # CLDR's dates, amounts, names ... in German, no network
    python -m pipelines.translate --data pairs.tsv            # also CSV, JSONL, TMX, .po, or a folder of these
    python -m pipelines.translate --data train.en --data.target train.de
    python -m pipelines.translate predict runs/translate/NAME "A text." letter.txt --out letter.de.txt
    python -m pipelines.translate predict runs/translate/NAME django.po --out django.de.po
    python -m pipelines.translate export runs/translate/NAME  # encoder and decoder step as ONNX, and a script

docs/translate.md has the formats, the options, and the times and scores to expect.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pipelines.core.config import check
from pipelines.core.errors import UserError
from pipelines.engine.config import FitConfig, OptimizerConfig, ScheduleConfig, TrainConfig
from pipelines.engine.task import Task
from pipelines.pairs.config import DecodeConfig, PairsDataConfig, TranslatorConfig

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pipelines.pairs.load import PairData

EXPLAINED = 6  # test pairs, where no texts are given
SPACE: dict[str, dict[str, Any]] = {
    "model.dropout": {"low": 0.0, "high": 0.4},
    "fit.label_smoothing": {"low": 0.0, "high": 0.2},
}
USUAL = 0.98  # quantile of the training sources' lengths; longer texts are cut into sentences


@dataclass
class Config(TrainConfig):
    """Options of translate; the defaults suit the embedded sample."""

    data: PairsDataConfig = field(default_factory=PairsDataConfig)
    model: TranslatorConfig = field(default_factory=TranslatorConfig)
    decode: DecodeConfig = field(default_factory=DecodeConfig)
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig("adamw", learning_rate=5e-3, weight_decay=0.01, clipnorm=1.0)
    )
    schedule: ScheduleConfig = field(default_factory=lambda: ScheduleConfig("cosine", warmup=0.1, final=0.02))
    fit: FitConfig = field(default_factory=lambda: FitConfig(epochs=8, label_smoothing=0.1, ema=0.98))

    def __post_init__(self) -> None:
        check(self.fit.imbalance == "none", "fit.imbalance", "none for translate", self.fit.imbalance)
        self.model = self.model.chosen_for(self.data.source)


def load_data(config: Config) -> PairData:
    import numpy as np

    from pipelines.pairs.load import load_pairs, with_subwords
    from pipelines.pairs.subwords import Subwords

    data = load_pairs(config.data, seed=config.run.seed)
    if config.model.pretrained:
        from pipelines.pairs.marian import subwords_of

        subwords: Any = subwords_of(config.model.builder.partition(":")[2])
    else:
        subwords = Subwords.learn(lambda: data.texts("train"), config.model.pieces)
    data = with_subwords(data, subwords, config.data.max_length)
    return replace(data, usual=int(np.quantile(data.encoded["train"].lengths[:, 0], USUAL)))


def load_test(config: Config, spec: dict[str, Any]) -> PairData:
    from pipelines.pairs.load import load_test_pairs
    from pipelines.pairs.subwords import from_json

    return replace(load_test_pairs(config.data), subwords=from_json(spec["subwords"]), usual=spec["usual_length"])


def build_model(config: Config, data: PairData) -> Any:
    from pipelines.pairs.builders import build

    return build(config.model, len(data.subwords), config.data.max_length, config.run.seed)


def objective(config: Config, data: PairData) -> Any:
    import keras

    from pipelines.engine.fit import Objective
    from pipelines.losses import TokenCrossEntropy

    accuracy = keras.metrics.SparseCategoricalAccuracy(name="token_accuracy")
    return Objective(TokenCrossEntropy(config.fit.label_smoothing), [accuracy], "val_token_accuracy", "max")


def batches(config: Config, data: PairData) -> tuple[Any, Any]:
    from pipelines.pairs.stream import PairStream, boundaries, validation

    train, tokens = data.encoded["train"], config.model.batch_tokens
    lengths = boundaries(train.lengths.max(1) + 1, config.model.buckets)
    return (
        PairStream(train, lengths, tokens=tokens, seed=config.run.seed),
        validation(data.encoded["val"], lengths, tokens=tokens),
    )


def spec(config: Config, data: PairData) -> dict[str, Any]:
    own = config.model.builder.partition(":")[0]
    return {
        "languages": list(data.languages),
        "subwords": data.subwords.to_json(),
        "max_length": config.data.max_length,
        "usual_length": data.usual,
        "decode": asdict(config.decode),
        "modules": ["pipelines.pairs.models", *([own] if own not in ("transformer", "marian") else [])],
    }


def assess(config: Config, data: PairData, model: Any) -> Any:
    from pipelines.pairs import report
    from pipelines.pairs.decoding.decoder import Decoder

    decoder = Decoder(model, data.subwords, config.decode, usual=data.usual, most=config.data.max_length)
    return report.assess(data, decoder, seed=config.run.seed, resamples=config.run.resamples)


def _decoding(spec: dict[str, Any]) -> DecodeConfig:
    """The options of the run with those of the command."""
    given = spec.get("options", {})
    values = {**spec["decode"], **given}
    values["beam"] = max(values["beam"], values["best"]) if "beam" not in given else values["beam"]
    values["best"] = min(values["beam"], values["best"]) if "best" not in given else values["best"]
    try:
        return DecodeConfig(**values)
    except ValueError as error:
        raise UserError(str(error).replace("decode.", "--")) from None


def inputs(spec: dict[str, Any], arguments: Sequence[str]) -> list[Any]:
    from pipelines.pairs.inputs import given

    return list(given(arguments, spec))


def predict(model: Any, spec: dict[str, Any], inputs: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """A row for each text: its translation, how sure it is, what is suspicious, and further translations."""
    from pipelines.pairs.decoding.decoder import Decoder
    from pipelines.pairs.inputs import rows
    from pipelines.pairs.subwords import from_json

    options = _decoding(spec)
    decoder = Decoder(model, from_json(spec["subwords"]), options, usual=spec["usual_length"], most=spec["max_length"])
    return rows(decoder, inputs)


def columns(spec: dict[str, Any]) -> list[str]:
    best = _decoding(spec).best
    more = [name for n in range(2, best + 1) for name in (f"translation_{n}", f"score_{n}")]
    return ["input", "text", "translation", "score", "warnings", *more, "error"]


def explain(config: Config, model: Any, spec: dict[str, Any], arguments: Sequence[str]) -> list[Any]:
    """Which pieces of the source the decoder looks at for each piece that it writes."""
    from itertools import islice

    from pipelines.pairs import explain as explanations
    from pipelines.pairs.decoding.decoder import Decoder
    from pipelines.pairs.inputs import given
    from pipelines.pairs.subwords import from_json
    from pipelines.texts.files import readable

    if arguments:
        texts = readable(given(arguments, spec), EXPLAINED)
    else:
        texts = [source for _, source, _ in islice(load_data(config).read("test"), EXPLAINED)]
    decoder = Decoder(
        model, from_json(spec["subwords"]), config.decode, usual=spec["usual_length"], most=spec["max_length"]
    )
    return explanations.attention_maps(decoder, texts)


def exporter(*arguments: Any) -> Any:
    from pipelines.pairs.export import export

    return export(*arguments)


def as_text(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """The translations alone, each on lines of its own."""
    from pipelines.pairs import inputs

    return inputs.as_text(rows)


def as_document(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """The .po or TMX file that was read, with its translations."""
    from pipelines.pairs import inputs

    return inputs.as_document(rows)


TASK = Task(
    "translate", Config, __doc__ or "", load_data=load_data, build_model=build_model, objective=objective,
    batches=batches, spec=spec, assess=assess, predict=predict, columns=columns, inputs=inputs,
    inputs_help="texts, text files, tables with a column of texts, .po and .tmx files (what is not yet translated), "
    "folders or globs of these, or - for texts on standard input, one a line",
    formats={"txt": as_text, "po": as_document, "tmx": as_document}, exporter=exporter,
    predict_options={
        "best": {"type": int, "help": "different translations of each text (default: those of the training's options)"},
        "beam": {"type": int, "help": "hypotheses that are followed at once; 1 is greedy and quickest"},
        "alpha": {"type": float, "help": "length penalty; more prefers longer translations"},
    },
    load_test=load_test, explain=explain, space=SPACE, shape_data=("data.", "model.pieces"),
)  # fmt: skip
train = TASK.train

if __name__ == "__main__":
    TASK.main()
