"""Which names stand in a text, where, and of what type?

    python -m pipelines.ner                                   # tweets, from a package, no network
    python -m pipelines.ner --data train.conll                # or a folder with train, valid and test
    python -m pipelines.ner --data notes.jsonl                # {"text": ..., "entities": [[start, end, type], ...]}
    python -m pipelines.ner --data folder/ --model.vectors glove.6B.50d.txt
    python -m pipelines.ner predict runs/ner/NAME letter.txt --out letter.jsonl
    python -m pipelines.ner export runs/ner/NAME              # scores and transitions; the best path is found outside

An exported model ends with the scores of tags and of their transitions, as "output" of its spec.json says.

The README's results table has the times and scores to expect.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pipelines.core.config import check
from pipelines.engine.config import EarlyStoppingConfig, FitConfig, OptimizerConfig, ScheduleConfig, TrainConfig
from pipelines.engine.task import Task
from pipelines.tags.config import TaggerConfig, TagsDataConfig

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pipelines.tags.load import Encoder, TagParts, Tags

# jsonargparse imports what stands under TYPE_CHECKING beside a configuration: keras must not, or --help is slow.
EVALUATION_BATCH = 64
EXPLAINED = 24  # entities
# So many are read before they are tagged: memory stays flat however many texts there are, and however empty.
MOST_WORDS, MOST_TEXTS = 50_000, 5_000


@dataclass
class Config(TrainConfig):
    """Options of ner; the defaults suit some thousand sentences and no pretrained vectors."""

    data: TagsDataConfig = field(default_factory=TagsDataConfig)
    model: TaggerConfig = field(default_factory=TaggerConfig)
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig("adamw", learning_rate=2e-3, weight_decay=4e-3, clipnorm=1.0)
    )
    schedule: ScheduleConfig = field(default_factory=lambda: ScheduleConfig("cosine", warmup=0.1, final=0.01))
    # F1 on a small validation part is noise in early epochs: the last ones, at a low rate, are the better choice.
    early_stopping: EarlyStoppingConfig = field(default_factory=lambda: EarlyStoppingConfig(warmup=8))
    fit: FitConfig = field(default_factory=lambda: FitConfig(epochs=10, batch_size=32, ema=0.98))

    def __post_init__(self) -> None:
        check(self.fit.imbalance == "none", "fit.imbalance", "none for ner", self.fit.imbalance)
        check(self.fit.label_smoothing == 0, "fit.label_smoothing", "0 for ner", self.fit.label_smoothing)


def load_data(config: Config) -> TagParts:
    from pipelines.tags.load import load_tags

    data = load_tags(config.data, seed=config.run.seed)
    if not config.model.pretrained:
        return replace(data, encoded=_encoding(config, data, None))
    from pipelines.texts import backbones

    builder = config.model.builder
    backbone = backbones.load(builder.partition(":")[2])
    limit = _max_tokens(config, backbone)
    check(limit >= 8, "model.builder", "an encoder that reads 16 subwords or more at once", builder)
    if limit < config.data.max_tokens:
        data = load_tags(replace(config.data, max_tokens=limit), seed=config.run.seed)
        data.summary.notes.append(f"sentences are cut at {limit} words: {builder} reads no longer ones")
    return replace(data, encoded=_encoding(config, data, backbone))


def _max_tokens(config: Config, backbone: Any) -> int:
    """The most words of a sentence that the user wants and the model can read."""
    from pipelines.tags.load import most_words

    wanted = config.data.max_tokens
    return wanted if backbone is None else min(wanted, most_words(backbone.vocabulary, backbone.length))


def load_test(config: Config, spec: dict[str, Any]) -> TagParts:
    from pipelines.tags.load import encoder_from_json, load_test_tags

    data = load_test_tags(replace(config.data, max_tokens=spec["max_tokens"]), spec["types"])
    return replace(data, encoded=(encoder_from_json(spec["encoder"]), None))


def _encoding(config: Config, data: TagParts, backbone: Any) -> tuple[Encoder, Any]:
    """How words become numbers, and what is pretrained: vectors (words, D), a backbone, or none."""
    from pipelines.tags.load import SubwordEncoder
    from pipelines.tags.word_features import WordEncoder, learn_features, learn_words, with_vectors

    options = config.model
    sentences = [s.tokens for s in data.train]
    features = learn_features(sentences, options.features)
    if options.vectors is not None:
        words, vectors = with_vectors(options.vectors, sentences, options.words)
        return WordEncoder(words, features), vectors
    encoder = WordEncoder(learn_words(sentences, options.words), features)
    if backbone is None:
        return encoder, None
    return SubwordEncoder(encoder, backbone.vocabulary, backbone.length), backbone


def tags_of(config: Config, data: TagParts) -> Tags:
    from pipelines.tags.load import Tags

    return Tags(data.types, config.model.scheme)


def build_model(config: Config, data: TagParts) -> Any:
    from pipelines.tags import models

    tags = tags_of(config, data)
    encoder, pretrained = data.encoded
    arguments = (config.model, len(tags.names), tags.forbidden())
    learned = encoder.to_json()
    words, features = len(learned["words"]) + 2, len(learned["features"]) + 1
    if config.model.pretrained:
        return models.pretrained_tagger(*arguments, features=features, backbone=pretrained)
    if ":" in config.model.builder:
        return models.custom_tagger(*arguments, width=encoder.width, words=words)
    return models.tagger(*arguments, words=words, features=features, vectors=pretrained)


def objective(config: Config, data: TagParts) -> Any:
    from pipelines.engine.fit import Objective
    from pipelines.losses import CRFLoss
    from pipelines.tags.predict import EntityF1

    return Objective(CRFLoss(config.model.recall), [EntityF1(tags_of(config, data).names)], "val_entity_f1", "max")


def phases(config: Config) -> list[Any]:
    from pipelines.engine.fit import Phase

    if not config.model.pretrained or not config.model.head_epochs:
        return [Phase("main", config.fit.epochs, backbone=True if config.model.pretrained else None)]
    return [
        Phase("head", config.model.head_epochs, backbone=False),
        Phase("all", config.fit.epochs, config.model.finetune_rate, True),
    ]


def batches(config: Config, data: TagParts) -> tuple[Any, Any]:
    import numpy as np

    from pipelines.data.stream import Stream, ordered
    from pipelines.tags.load import padded

    tags = tags_of(config, data)
    encoder, _ = data.encoded

    def reader(sentences: Sequence[Any]) -> Any:
        rows = [encoder(s.tokens) for s in sentences]
        labels = [np.array(tags.encode(s.spans, len(s.offsets)), np.int32) for s in sentences]

        def read(indices: Any) -> tuple[Any, ...]:
            x = padded([rows[i] for i in indices], encoder.padding)
            y = np.full(x.shape[:2], -1, np.int32)
            for target, i in zip(y, indices, strict=True):
                target[: len(labels[i])] = labels[i]
            return x, y

        return read

    signature: Any = [((None, encoder.width), np.int32), ((None,), np.int32)]
    stream = Stream(
        reader(data.train), signature, len(data.train), batch_size=config.fit.batch_size, seed=config.run.seed
    )
    return stream, ordered(reader(data.val), signature, len(data.val), batch_size=EVALUATION_BATCH)


def spec(config: Config, data: TagParts) -> dict[str, Any]:
    modules = ["pipelines.tags.models"]
    if config.model.pretrained:
        modules += ["keras_hub", "pipelines.texts.backbones"]
    elif ":" in config.model.builder:
        modules.append(config.model.builder.partition(":")[0])
    return {
        "types": list(data.types),
        "scheme": config.model.scheme,
        "tags": tags_of(config, data).names,
        # For those who run an exported file: the best path is found outside of it.
        "output": "scores (batch, K + 2 + words, K) of the K tags: transitions from each tag (rows) to each, "
        "scores of the first tag, of the last, then of each word; the answer is the path of highest sum (Viterbi)",
        "max_tokens": _max_tokens(config, data.encoded[1] if config.model.pretrained else None),
        "token_column": config.data.token_column,
        "encoder": data.encoded[0].to_json(),
        "modules": modules,
    }


def assess(config: Config, data: TagParts, model: Any) -> Any:
    from pipelines.tags import report
    from pipelines.tags.baselines import Dictionary
    from pipelines.tags.predict import tag

    sentences = [s.tokens for s in data.test]
    found = tag(model, data.encoded[0], tags_of(config, data), sentences, EVALUATION_BATCH)
    # Other data than that of the run has no training part.
    compare = config.model.baselines and data.train is not data.test
    dictionary = Dictionary.learn(data.train)(sentences) if compare else None
    return report.assess(
        data.test, found, data.summary, dictionary, seed=config.run.seed, resamples=config.run.resamples
    )


def inputs(spec: dict[str, Any], arguments: Sequence[str]) -> list[Any]:
    from pipelines.tags.inputs import named

    return named(arguments)


def predict(model: Any, spec: dict[str, Any], inputs: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """A row for each text: its entities with their places in it.

    A `Path` is read, a `str` is the text itself: texts that come from elsewhere must not name files.
    """
    from pipelines.tags.inputs import Entities, Prepared, texts
    from pipelines.tags.load import Tags, encoder_from_json
    from pipelines.tags.predict import tag

    encoder, tags = encoder_from_json(spec["encoder"]), Tags(spec["types"], spec["scheme"])

    def rows(waiting: Sequence[Prepared]) -> Iterator[dict[str, Any]]:
        found = tag(model, encoder, tags, [s for text in waiting for s in text.sentences], EVALUATION_BATCH)
        places = iter(found)
        for text in waiting:
            if text.error:
                yield {"input": text.name, "error": text.error}
                continue
            entities = Entities(
                (text.entity(r, *p) for r in text.ranges for p in next(places)), text.offsets if text.given else None
            )
            yield {"input": text.name, "text": text.text, "entities": entities}

    waiting: list[Prepared] = []
    number = 0
    for text in texts(inputs, spec["max_tokens"], spec.get("token_column", 0)):
        waiting.append(text)
        number += len(text.offsets)
        if number >= MOST_WORDS or len(waiting) >= MOST_TEXTS:
            yield from rows(waiting)
            waiting, number = [], 0
    yield from rows(waiting)


def columns(spec: dict[str, Any]) -> list[str]:
    return ["input", "text", "entities", "error"]


def conll(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """A word a line with its tag (BIO), an empty line between sentences."""
    from pipelines.tags.inputs import to_columns

    for row in rows:
        yield from to_columns(row)


def explain(config: Config, model: Any, spec: dict[str, Any], arguments: Sequence[str]) -> list[Any]:
    """Integrated gradients for each entity that is found, drawn on the words of its sentence."""
    from pipelines.tags.explain import explained
    from pipelines.tags.inputs import readable
    from pipelines.tags.load import Tags, encoder_from_json, load_tags

    encoder, tags = encoder_from_json(spec["encoder"]), Tags(spec["types"], spec["scheme"])
    if arguments:
        sentences = readable(inputs(spec, arguments), spec["max_tokens"], spec.get("token_column", 0))
    else:
        options = replace(config.data, max_tokens=spec["max_tokens"])
        sentences = iter(load_tags(options, seed=config.run.seed).test)
    return [explained(model, encoder, tags, sentences, EXPLAINED)]


def example(spec: dict[str, Any], generator: Any) -> Any:
    from pipelines.tags.load import encoder_from_json

    return encoder_from_json(spec["encoder"])(["Ada", "Lovelace", "wrote", "to", "London", "in", "1843", "."])[None]


TASK = Task(
    "ner", Config, __doc__ or "", load_data=load_data, build_model=build_model, objective=objective, batches=batches,
    spec=spec, assess=assess, predict=predict, columns=columns, inputs=inputs,
    inputs_help="texts, text files, .jsonl files (a text a line), .csv and .parquet files with a column of texts, "
    "files in columns (.conll, .tsv ...), folders of texts, globs, or - for one text on standard input",
    example=example, phases=phases, load_test=load_test, explain=explain, formats={"conll": conll},
)  # fmt: skip
train = TASK.train

if __name__ == "__main__":
    TASK.main()
