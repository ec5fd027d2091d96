"""From options to how texts are read, and to the model that reads them so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.core.errors import UserError
from pipelines.texts import vocabulary, word_vectors
from pipelines.texts.config import TextModelConfig
from pipelines.texts.inputs import NgramInput, TextInput, TokenInput

if TYPE_CHECKING:
    import keras

    from pipelines.texts.load import TextParts

# Subwords and words to learn, where the user does not say.
SUBWORDS, WORDS = 8000, 50_000
# The factor of an n-gram that says nothing about a class, to which the size of its log ratio is added; and the steps of
# training below which the factors grow.
PLAIN, STEPS = 1.0, 400


def most_ngrams(classes: int) -> int:
    """How many n-grams are known, where the user does not say: fewer with many classes, since each has its weights."""
    return min(max(2**21 // classes, 2**16), 2**18)


def reader_for(options: TextModelConfig, texts: Sequence[str], classes: int) -> TextInput:
    """Learns from the training texts, or takes from the pretrained model, how a text becomes numbers.

    Raises:
        UserError: The pretrained model cannot be loaded, or windows are longer than it can read.
    """
    if options.builder == "ngrams":
        size = options.vocabulary or most_ngrams(classes)
        return NgramInput.learn(texts, size=size, length=options.length, overlap=options.overlap)
    if options.pretrained:
        from pipelines.texts import backbones

        backbone = backbones.load(options.builder.partition(":")[2], weights=False)
        if options.length > backbone.length:
            raise UserError(f"model.length must be at most {backbone.length} for {options.builder}")
        return TokenInput(backbone.vocabulary, options.length, options.overlap)
    if options.vectors is not None:
        counts = vocabulary.count_words(texts, lowercase=options.lowercase)
        words = [word for word, _ in counts.most_common(options.vocabulary or WORDS)]
        learned = vocabulary.word_vocabulary(words, lowercase=options.lowercase)
    else:
        learned = vocabulary.learn_subwords(texts, options.vocabulary or SUBWORDS, lowercase=options.lowercase)
    return TokenInput(learned, options.length, options.overlap)


def build(options: TextModelConfig, data: TextParts, steps: int) -> keras.Model:
    """The model, for the classes and the reader of the data.

    Raises:
        UserError: The pretrained weights, the word vectors or the user's function cannot be used.
    """
    from pipelines.engine import builder as custom
    from pipelines.texts import backbones
    from pipelines.texts import models as text_models

    classes, reader = len(data.classes), data.reader
    if options.builder == "ngrams":
        goal = targets(data.train.labels, classes)
        return ngram_model(reader, data.train.texts, goal, steps=steps, token_dropout=options.token_dropout)
    if options.pretrained:
        backbone = backbones.load(options.builder.partition(":")[2])
        rate = 0.1 if options.dropout is None else options.dropout
        return text_models.pretrained(backbone, classes, dropout=rate)
    size = len(reader.vocabulary)
    if options.builder not in ("cnn", "transformer"):
        return custom.build(options.builder, size, classes, (options.length,))
    rates = {"token_dropout": options.token_dropout, "pad": reader.pad, "vectors": _vectors(options, reader)}
    if options.builder == "cnn":
        rate = 0.5 if options.dropout is None else options.dropout
        return text_models.cnn(size, classes, width=options.width, dropout=rate, **rates)
    rate = 0.1 if options.dropout is None else options.dropout
    return text_models.transformer(
        size, classes, width=options.width, depth=options.depth, length=options.length, dropout=rate, **rates
    )


def ngram_model(
    reader: Any, texts: Sequence[str], of_texts: np.ndarray, *, steps: int, token_dropout: float = 0.0
) -> keras.Model:
    """The n-gram model for texts (N) with targets (N, K), that is trained on them for so many steps."""
    from pipelines.texts import models
    from pipelines.texts.ngram_evidence import evidence

    size, windows = len(reader.known), reader.windows(texts)
    rarity, ratios = evidence(windows, of_texts[windows.owner], size)
    # Adam moves a weight by about the learning rate a step: a short training has to move further in each.
    pace = max(1.0, STEPS / steps)
    factors = pace * (PLAIN + np.abs(ratios))
    return models.ngrams(
        size, of_texts.shape[1], rarity, factors, words=reader.known_words, token_dropout=token_dropout
    )


def targets(labels: np.ndarray, classes: int) -> np.ndarray:
    """float32 (N, K) of 0 and 1."""
    return labels if labels.ndim == 2 else np.eye(classes, dtype=np.float32)[labels]


def _vectors(options: TextModelConfig, reader: Any) -> np.ndarray | None:
    from pipelines.core.console import say

    if options.vectors is None:
        return None
    words = reader.vocabulary.tokens()
    matrix, found = word_vectors.load(options.vectors, words)
    if not found.any():
        raise UserError(f"model.vectors {options.vectors} has none of the {len(words):,} words of the training texts")
    say(f"word vectors: {found.sum():,} of {len(words):,} words found, {matrix.shape[1]} dimensions")
    generator = np.random.default_rng(0)
    spread = matrix[found].std()
    matrix[~found] = generator.normal(0, spread, (int((~found).sum()), matrix.shape[1]))
    matrix[reader.pad] = 0
    return matrix
