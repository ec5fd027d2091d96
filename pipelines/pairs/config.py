"""Options of translation; nothing slow is imported here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from pipelines.core.config import check, check_data


@dataclass
class PairsDataConfig:
    """The pairs of texts, and how they are read.

    Args:
        source: `sample` (dates, numbers, units, currencies, countries and languages from CLDR's templates, in the
            package babel), a TSV, CSV, JSONL or Parquet file, TMX, gettext .po, a text file with `data.target`, a
            folder of these (with train, val and test in their names, or all as one), `tfds:NAME`, or
            my_module:function.
        target: Text file of the translations, line by line, of the text file `data.source`.
        source_language: Code of the language that is translated, such as en; TMX, `tfds:` and `sample` need it, and
            parallel files in a folder end with it.
        target_language: Code of the language of the translations.
        source_column: Column of the texts; by default the usual names and the language's code are tried.
        target_column: Column of the translations.
        split_column: Column that says train, val or test.
        val_fraction: Part of the pairs kept for validation when the source has no split for it.
        test_fraction: Part of the pairs kept for the test when the source has no split for it.
        max_length: Pieces of a text at most; longer training pairs are dropped, longer texts are translated in parts.
        clean: Drop pairs for training that are no translations of each other, see `max_ratio`: also copies,
            duplicates, and texts in another script or language.
        max_ratio: How much longer or shorter than usual a translation may be, compared with its source.
        max_broken: Broken rows that are skipped and reported; one more is an error that lists them.
        limit: Use only so many training pairs.
    """

    source: str = "sample"
    target: str | None = None
    source_language: str = "en"
    target_language: str = "de"
    source_column: str | None = None
    target_column: str | None = None
    split_column: str | None = None
    val_fraction: float = 0.05
    test_fraction: float = 0.05
    max_length: int = 128
    clean: bool = True
    max_ratio: float = 3.0
    max_broken: int = 10
    limit: int | None = None

    def __post_init__(self) -> None:
        check_data(self)
        check(8 <= self.max_length <= 1024, "data.max_length", "between 8 and 1024", self.max_length)
        check(self.max_ratio > 1, "data.max_ratio", "above 1", self.max_ratio)
        for option in ("source_language", "target_language"):
            value = getattr(self, option)
            plain = 2 <= len(value) <= 12 and value.replace("-", "").replace("_", "").isalnum()
            check(plain, f"data.{option}", "a language's code, such as en", value)
        same = self.source_language == self.target_language
        check(not same, "data.target_language", "another language than data.source_language", self.target_language)


@dataclass
class TranslatorConfig:
    """The model.

    Args:
        builder: `transformer`, `marian:FOLDER` (a local OPUS-MT of Hugging Face, fine-tuned with its subwords),
            or my_module:function taking the number of pieces and returning a Keras model from
            (source, target) to logits.
        pieces: Subwords to learn, shared by both languages; 0 here and below takes what suits the sample, or some ten
            thousand pairs.
        width: Size of the states.
        heads: Heads of each attention.
        inner: Width within the feed-forward parts; 0 takes four times the width.
        encoder_depth: Blocks of the encoder.
        decoder_depth: Blocks of the decoder; a deep encoder and a shallow decoder are quick.
        dropout: Rate of dropout; none takes what suits.
        positions: `rotary` turns queries and keys, `learned` adds vectors.
        batch_tokens: Pieces of a training batch, padding counted: short texts come in larger batches.
        buckets: Shapes of batches at most.
    """

    builder: str = "transformer"
    pieces: int = 0
    width: int = 0
    heads: int = 4
    inner: int = 0
    encoder_depth: int = 0
    decoder_depth: int = 0
    dropout: float | None = None
    positions: Literal["rotary", "learned"] = "rotary"
    batch_tokens: int = 0
    buckets: int = 6

    def __post_init__(self) -> None:
        fits = self.pieces == 0 or 300 <= self.pieces <= 200_000
        check(fits, "model.pieces", "0 or between 300 and 200000", self.pieces)
        check(self.width == 0 or 8 <= self.width <= 8192, "model.width", "0 or between 8 and 8192", self.width)
        check(1 <= self.heads <= 128, "model.heads", "between 1 and 128", self.heads)
        even = self.width % (2 * self.heads) == 0
        check(even, "model.width", f"divisible by twice model.heads = {self.heads}", self.width)
        check(0 <= self.inner <= 65536, "model.inner", "between 0 and 65536", self.inner)
        for option in ("encoder_depth", "decoder_depth"):
            value = getattr(self, option)
            check(0 <= value <= 64, f"model.{option}", "between 0 and 64", value)
        rate, tokens = self.dropout, self.batch_tokens
        check(rate is None or 0 <= rate < 1, "model.dropout", "at least 0 and below 1", rate)
        check(tokens == 0 or tokens >= 64, "model.batch_tokens", "0 or at least 64", tokens)
        check(1 <= self.buckets <= 64, "model.buckets", "between 1 and 64", self.buckets)
        known = self.builder == "transformer" or (":" in self.builder and not self.builder.endswith(":"))
        check(known, "model.builder", "transformer, marian:FOLDER or my_module:function", self.builder)

    @property
    def pretrained(self) -> bool:
        """Whether the model brings its subwords and weights."""
        return self.builder.startswith("marian:")

    def chosen_for(self, source: str) -> TranslatorConfig:
        """The same options with a value for each that was left to be chosen."""
        chosen = _SAMPLE if source == "sample" else _PAIRS
        left = [name for name in chosen if getattr(self, name) == (None if name == "dropout" else 0)]
        return replace(self, **{name: chosen[name] for name in left})


# Measured on the embedded sample, and on 25,000 pairs of sentences.
_SAMPLE: dict[str, Any] = {
    "pieces": 1000, "width": 96, "encoder_depth": 2, "decoder_depth": 1, "dropout": 0.0, "batch_tokens": 768,
}  # fmt: skip
_PAIRS: dict[str, Any] = {
    "pieces": 4000, "width": 160, "encoder_depth": 4, "decoder_depth": 2, "dropout": 0.1, "batch_tokens": 1536,
}  # fmt: skip


@dataclass
class DecodeConfig:
    """How translations are found.

    Args:
        beam: Hypotheses that are followed at once; 1 is greedy and quickest.
        alpha: Length penalty; 0 prefers short translations, more prefers longer ones.
        best: Different translations that are shown for each text.
        max_ratio: A translation has at most so many pieces a piece of its source, and 12 more.
        repetition: A translation that repeats the same 1 to 4 pieces over so many places is not led on; 0 lets it.
    """

    beam: int = 4
    alpha: float = 1.0
    best: int = 1
    max_ratio: float = 1.5
    repetition: int = 16

    def __post_init__(self) -> None:
        check(1 <= self.beam <= 64, "decode.beam", "between 1 and 64", self.beam)
        check(self.alpha >= 0, "decode.alpha", "zero or a positive number", self.alpha)
        check(1 <= self.best <= self.beam, "decode.best", f"between 1 and decode.beam = {self.beam}", self.best)
        check(0.5 <= self.max_ratio <= 20, "decode.max_ratio", "between 0.5 and 20", self.max_ratio)
        fits = self.repetition == 0 or self.repetition >= 8
        check(fits, "decode.repetition", "0 or at least 8", self.repetition)
