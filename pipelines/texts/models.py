"""Classifiers of texts: from rows of token numbers, int32 (B, L), to float32 logits (B, classes).

Each begins with a layer named `embedding`, or has a pretrained part named `backbone`; the last layer is `logits`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
from keras import layers

from pipelines.texts.layers import Affine, MaskedPooling, Positions, TfidfTerms, TokenDropout, TokenMask

if TYPE_CHECKING:
    import numpy as np

    from pipelines.texts.backbones import Backbone

EMBEDDING, NGRAMS = "embedding", "ngrams"
SIZES = (2, 3, 4, 5)


def ngrams(
    size: int,
    classes: int,
    rarity: np.ndarray,
    factors: np.ndarray,
    *,
    words: int,
    token_dropout: float = 0.0,
) -> keras.Model:
    """A linear model of TF-IDF weights, whose learned weights move the further, the more naive Bayes says of them.

    Args:
        size: Number of n-grams, without 0.
        classes: Outputs.
        rarity: float32 (size + 1,), inverse document frequencies.
        factors: float32 (size + 1, classes).
        words: The first so many n-grams are of words, the others of characters.
        token_dropout: Fraction of the n-grams that a training step drops.

    Reference:
        Wang & Manning, "Baselines and Bigrams: Simple, Good Sentiment and Topic Classification", ACL 2012.
    """
    ids = keras.Input((None,), dtype="int32", name="tokens")
    terms = TfidfTerms(size, classes, words, name=EMBEDDING)(ids)
    mask = TokenMask()(ids)
    if token_dropout:
        mask = TokenDropout(token_dropout)(mask)
    x = MaskedPooling("sum")([terms, mask])
    model = keras.Model(ids, Affine(single=False, dtype="float32", name="logits")(x), name=NGRAMS)
    model.get_layer(EMBEDDING).rarity.assign(rarity)
    model.get_layer(EMBEDDING).factors.assign(factors)
    return model


def cnn(
    vocabulary: int,
    classes: int,
    *,
    width: int = 128,
    filters: int = 128,
    dropout: float = 0.5,
    token_dropout: float = 0.0,
    pad: int = 0,
    vectors: np.ndarray | None = None,
) -> keras.Model:
    """Convolutions over 2 to 5 tokens, the largest answer of each (Kim, "Convolutional Neural Networks for Sentence
    Classification", EMNLP 2014).

    Args:
        vocabulary: Tokens.
        classes: Outputs.
        width: Size of a token's vector, unless `vectors` has it.
        filters: Outputs of each convolution.
        dropout: Rate before the last layer.
        token_dropout: Part of the tokens that a training step blanks.
        pad: Number of the padding.
        vectors: float32 (vocabulary, D) to start from.
    """
    ids = keras.Input((None,), dtype="int32", name="tokens")
    x, mask = _embedded(ids, vocabulary, width, pad, token_dropout, vectors)
    x = layers.Multiply()([x, layers.Reshape((-1, 1))(mask)])
    found = [
        MaskedPooling("max")([layers.Conv1D(filters, size, padding="same", activation="relu")(x), mask])
        for size in SIZES
    ]
    x = layers.Concatenate()(found)
    if dropout:
        x = layers.Dropout(dropout)(x)
    return keras.Model(ids, _logits(x, classes), name="cnn")


def transformer(
    vocabulary: int,
    classes: int,
    *,
    width: int = 128,
    depth: int = 2,
    heads: int = 4,
    length: int = 128,
    dropout: float = 0.1,
    token_dropout: float = 0.0,
    pad: int = 0,
    vectors: np.ndarray | None = None,
) -> keras.Model:
    """A small encoder with norms before its parts (Xiong et al., "On Layer Normalization in the Transformer", 2020).

    Args:
        vocabulary: Tokens.
        classes: Outputs.
        width: Size of the states.
        depth: Blocks.
        heads: Attention heads; they divide the width.
        length: Most tokens of a row.
        dropout: Rate after each part and before the last layer.
        token_dropout: Part of the tokens that a training step blanks.
        pad: Number of the padding.
        vectors: float32 (vocabulary, D) to start from; a dense layer brings them to `width`.
    """
    ids = keras.Input((None,), dtype="int32", name="tokens")
    x, mask = _embedded(ids, vocabulary, width, pad, token_dropout, vectors)
    if vectors is not None:
        x = layers.Dense(width)(x)
    x = layers.Dropout(dropout)(Positions(length)(x))
    attended = layers.Reshape((1, -1))(mask)
    for _ in range(depth):
        y = layers.LayerNormalization()(x)
        y = layers.MultiHeadAttention(heads, width // heads, dropout=dropout)(y, y, attention_mask=attended)
        x = layers.Add()([x, layers.Dropout(dropout)(y)])
        y = layers.Dense(4 * width, activation="gelu")(layers.LayerNormalization()(x))
        x = layers.Add()([x, layers.Dropout(dropout)(layers.Dense(width)(y))])
    x = MaskedPooling("mean")([layers.LayerNormalization()(x), mask])
    return keras.Model(ids, _logits(layers.Dropout(dropout)(x), classes), name="transformer")


def pretrained(backbone: Backbone, classes: int, *, dropout: float = 0.1) -> keras.Model:
    """A pretrained encoder, the mean of its states, and one new layer."""
    ids = keras.Input((None,), dtype="int32", name="tokens")
    states = backbone.model(ids)
    x = MaskedPooling("mean")([states, TokenMask(backbone.vocabulary.pad)(ids)])
    return keras.Model(ids, _logits(layers.Dropout(dropout)(x), classes), name="classifier")


def _embedded(
    ids: Any, vocabulary: int, width: int, pad: int, token_dropout: float, vectors: np.ndarray | None
) -> tuple[Any, Any]:
    initializer: Any = keras.initializers.RandomNormal(stddev=0.1)
    if vectors is not None:
        width, initializer = vectors.shape[1], keras.initializers.Constant(vectors)
    x = layers.Embedding(vocabulary, width, embeddings_initializer=initializer, name=EMBEDDING)(ids)
    mask = TokenMask(pad)(ids)
    return x, TokenDropout(token_dropout)(mask) if token_dropout else mask


def _logits(x: Any, classes: int) -> Any:
    return layers.Dense(classes, dtype="float32", name="logits")(x)
