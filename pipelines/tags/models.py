"""Models that give each word a tag: encoders under one head of hand features and a CRF."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import layers, ops

from pipelines.core.errors import UserError
from pipelines.core.functions import call, import_function
from pipelines.layers import CRF
from pipelines.tags.word_features import BYTES, FEATURES, PAD, UNKNOWN

if TYPE_CHECKING:
    from pipelines.tags.config import TaggerConfig
    from pipelines.texts.backbones import Backbone

REACH = 2  # hand features of so many neighbours on either side count
BYTE_WIDTH, BYTE_FILTERS = 24, 48


@keras.saving.register_keras_serializable(package="pipelines")
class WordDropout(layers.Layer):
    """Puts another number in the place of some whole numbers while training, such as that of the unknown word."""

    def __init__(self, rate: float, value: int, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rate, self.value, self.seed = rate, value, seed
        self.generator = keras.random.SeedGenerator(seed)

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not training or not self.rate:
            return inputs
        drawn = keras.random.uniform(ops.shape(inputs), dtype="float32", seed=self.generator)
        # Padding, which is 0, stays.
        return ops.where((drawn < self.rate) & (inputs != 0), self.value, inputs)

    def compute_output_spec(self, inputs: Any, training: bool = False) -> Any:
        return keras.KerasTensor(inputs.shape, dtype=inputs.dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self.rate, "value": self.value, "seed": self.seed}


@keras.saving.register_keras_serializable(package="pipelines")
class Bag(layers.Layer):
    """Sums of the embeddings of numbers: (B, T, F) whole numbers, of which 0 counts nothing, to (B, T, `width`)."""

    def __init__(self, size: int, width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size, self.width = size, width

    def build(self, input_shape: Any) -> None:
        self.table = self.add_weight(
            shape=(self.size, self.width), initializer=keras.initializers.RandomNormal(stddev=0.01), name="table"
        )

    def call(self, inputs: Any) -> Any:
        found = ops.take(ops.convert_to_tensor(self.table), inputs, axis=0)
        real = ops.expand_dims(ops.cast(inputs != 0, found.dtype), -1)  # a new axis by slice is not in LiteRT
        return ops.sum(found * real, axis=-2)

    def compute_output_spec(self, inputs: Any) -> Any:
        return keras.KerasTensor((*inputs.shape[:-1], self.width), dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "size": self.size, "width": self.width}


@keras.saving.register_keras_serializable(package="pipelines")
class Neighbours(layers.Layer):
    """(B, T, (2 R + 1) K) to (B, T, K): the sum over the offsets -R..R of what the neighbours say of a word."""

    def __init__(self, reach: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.reach = reach

    def call(self, inputs: Any) -> Any:
        reach = self.reach
        length = ops.shape(inputs)[1]
        padded = ops.pad(inputs, [[0, 0], [reach, reach], [0, 0]])
        parts = ops.split(padded, 2 * reach + 1, axis=-1)
        return sum(part[:, i : i + length] for i, part in enumerate(parts))

    def compute_output_spec(self, inputs: Any) -> Any:
        size = inputs.shape[-1] // (2 * self.reach + 1)
        return keras.KerasTensor((*inputs.shape[:-1], size), dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "reach": self.reach}


def tagger(
    options: TaggerConfig,
    tags: int,
    forbidden: Sequence[tuple[int, int]],
    *,
    words: int,
    features: int,
    vectors: np.ndarray | None = None,
) -> keras.Model:
    """A model from `WordEncoder` rows (B, T, F) to the scores of a `CRF`.

    The words' vectors, what a convolution reads in their bytes, and their hand features go through the encoder; hand
    features of a word and its neighbours also vote directly, as in a linear CRF.

    Args:
        options: The network.
        tags: Number of tags K.
        forbidden: Pairs of tags for the `CRF`.
        words: Size of the vocabulary with padding and the unknown.
        features: Number of hand features with padding.
        vectors: Pretrained ones, (words, D), or none.
    """
    rows = keras.Input((None, 1 + BYTES + FEATURES), dtype="int32", name="words")
    numbers, signs, looks = rows[..., 0], rows[..., 1 : 1 + BYTES], rows[..., 1 + BYTES :]
    mask = ops.not_equal(numbers, PAD)
    parts = [_bytes(signs), _features(looks, features, options)]
    dropped = WordDropout(options.word_dropout, UNKNOWN)(numbers)
    if vectors is None:
        parts.append(layers.Embedding(words, options.embedding)(dropped))
    else:
        table = layers.Embedding(*vectors.shape, trainable=False, name="vectors")
        parts.append(table(dropped))
        table.set_weights([vectors])
    x = layers.Dropout(options.dropout)(layers.Concatenate()(parts))
    x = (_transformer if options.builder == "transformer" else _recurrent)(x, mask, options)
    return head(rows, layers.Dropout(options.dropout)(x), looks, features, options, tags, forbidden)


def pretrained_tagger(
    options: TaggerConfig, tags: int, forbidden: Sequence[tuple[int, int]], *, features: int, backbone: Backbone
) -> keras.Model:
    """The same on a pretrained encoder: from `SubwordEncoder` rows, a word has the state of its first subword."""
    width = 1 + BYTES + FEATURES
    rows = keras.Input((None, width + 2), dtype="int32", name="words")
    signs, looks = rows[..., 1 : 1 + BYTES], rows[..., 1 + BYTES : width]
    states = backbone.model(rows[..., -2])
    words = ops.take_along_axis(states, ops.expand_dims(rows[..., -1], -1), axis=1)
    x = layers.Concatenate()([words, _bytes(signs), _features(looks, features, options)])
    return head(rows, layers.Dropout(options.dropout)(x), looks, features, options, tags, forbidden)


def custom_tagger(
    options: TaggerConfig, tags: int, forbidden: Sequence[tuple[int, int]], *, width: int, words: int
) -> keras.Model:
    """The user's own model under a CRF.

    Raises:
        UserError: The function fails, or returns something else than scores of tags.
    """
    what = f"model.builder {options.builder}"
    function = import_function(options.builder, "model.builder")
    inner = call(function, width, words, tags, what=what)
    if not isinstance(inner, keras.Model):
        raise UserError(f"{what} must return a Keras model, got {type(inner).__name__}")
    rows = keras.Input((None, width), dtype="int32", name="words")
    scores = call(inner, rows, what=what)
    if len(scores.shape) != 3 or scores.shape[-1] != tags:
        raise UserError(f"{what} must give scores (batch, words, {tags}), but gives {tuple(scores.shape)}")
    return keras.Model(rows, CRF(tags, forbidden, dtype="float32", name="crf")(scores), name="tagger")


def head(
    rows: Any, x: Any, looks: Any, size: int, options: TaggerConfig, tags: int, forbidden: Sequence[tuple[int, int]]
) -> keras.Model:
    """The last layers: states (B, T, D) and hand features (`size` of them) to the scores of a CRF."""
    scores = layers.Dense(tags, name="logits")(x)
    if options.hand_features:
        kept = WordDropout(options.feature_dropout, 0)(looks)
        votes = Bag(size, (2 * REACH + 1) * tags, name="votes")(kept)
        scores = layers.Add()([scores, Neighbours(REACH)(votes)])
    return keras.Model(rows, CRF(tags, forbidden, dtype="float32", name="crf")(scores), name="tagger")


def _bytes(signs: Any) -> Any:
    """A convolution over the bytes of each word, and the most of each filter: (B, T, BYTES) to (B, T, filters)."""
    x = layers.Embedding(257, BYTE_WIDTH)(signs)
    x = layers.Conv2D(BYTE_FILTERS, (1, 3), padding="same", activation="relu")(x)
    return ops.max(x, axis=2)


def _features(looks: Any, size: int, options: TaggerConfig) -> Any:
    return Bag(size, options.embedding, name="looks")(WordDropout(options.feature_dropout, 0)(looks))


def _recurrent(x: Any, mask: Any, options: TaggerConfig) -> Any:
    for _ in range(options.depth):
        x = layers.Bidirectional(layers.LSTM(options.width, return_sequences=True))(x, mask=mask)
    return x


def _transformer(x: Any, mask: Any, options: TaggerConfig) -> Any:
    """Blocks of attention with the norm first; a convolution tells the order (Wang et al., 2019)."""
    width = 2 * options.width
    x = layers.Dense(width)(x)
    attends, real = ops.expand_dims(mask, 1), ops.expand_dims(ops.cast(mask, x.dtype), -1)
    for _ in range(options.depth):
        near = layers.DepthwiseConv1D(3, padding="same")(layers.LayerNormalization()(x) * real)
        x = x + layers.Dropout(options.dropout)(near)
        y = layers.LayerNormalization()(x)
        y = layers.MultiHeadAttention(4, width // 4, dropout=options.dropout)(y, y, attention_mask=attends)
        x = x + layers.Dropout(options.dropout)(y)
        y = layers.Dense(2 * width, activation="gelu")(layers.LayerNormalization()(x))
        x = x + layers.Dropout(options.dropout)(layers.Dense(width)(y))
    return layers.LayerNormalization()(x)
