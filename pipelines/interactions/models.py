"""Networks from the last items of a user to a logit for each item."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import layers, ops

if TYPE_CHECKING:
    from pipelines.interactions.linear import Factors

FORBIDDEN = -1e9  # logit of items in the history


@keras.saving.register_keras_serializable(package="pipelines")
class RecencySum(layers.Layer):
    """Embeddings (B, L, D) and ids (B, L) to (B, D): a sum in which older items weigh less, and padding nothing.

    Args:
        half_life: Interactions after which the weight has halved; 0 weighs all alike.
    """

    def __init__(self, half_life: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.half_life = float(half_life)

    def call(self, embedded: Any, ids: Any) -> Any:
        from pipelines.interactions.linear import recency

        weights = ops.cast(ids != 0, embedded.dtype) * ops.cast(recency(ids.shape[1], self.half_life), embedded.dtype)
        return ops.sum(embedded * weights[..., None], 1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "half_life": self.half_life}


@keras.saving.register_keras_serializable(package="pipelines")
class HideKnown(layers.Layer):
    """Logits (B, I) and ids (B, L) to logits where the items of the history cannot be recommended."""

    def call(self, logits: Any, ids: Any) -> Any:
        known = ops.max(ops.one_hot(ids, logits.shape[-1] + 1, dtype=logits.dtype), 1)[:, 1:]  # 0 is padding
        return ops.where(known > 0, ops.cast(FORBIDDEN, logits.dtype), logits)


@keras.saving.register_keras_serializable(package="pipelines")
class Transformer(layers.Layer):
    """Pre-norm transformer over a history, read at its last item (SASRec; Kang & McAuley, 2018).

    Takes embeddings (B, L, D) and ids (B, L), padded with 0 on the left; gives (B, D).

    Args:
        width: D.
        blocks: Number of blocks.
        heads: Attention heads.
        dropout: Rate after attention and feed-forward layers.
        length: L.
    """

    def __init__(self, width: int, blocks: int, heads: int, dropout: float, length: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.options = {"width": width, "blocks": blocks, "heads": heads, "dropout": dropout, "length": length}
        self.places = layers.Embedding(length, width, name="places")
        self.drop = layers.Dropout(dropout)
        self.parts = [
            (
                layers.LayerNormalization(name=f"norm_{i}a"),
                layers.MultiHeadAttention(heads, max(width // heads, 1), dropout=dropout, name=f"attention_{i}"),
                layers.LayerNormalization(name=f"norm_{i}b"),
                layers.Dense(2 * width, activation="gelu", name=f"inner_{i}"),
                layers.Dense(width, name=f"outer_{i}"),
            )
            for i in range(blocks)
        ]
        self.last = layers.LayerNormalization(name="norm")

    def build(self, input_shape: Any, *_: Any) -> None:
        shape = tuple(input_shape)
        self.places.build((shape[1],))
        for first, attention, second, inner, outer in self.parts:
            first.build(shape)
            attention.build(shape, shape)
            second.build(shape)
            inner.build(shape)
            outer.build((*shape[:-1], 2 * self.options["width"]))
        self.last.build(shape)

    def call(self, embedded: Any, ids: Any, training: bool | None = None) -> Any:
        length = ids.shape[1]
        there = ids != 0
        x = self.drop(embedded + self.places(ops.arange(length)), training=training)
        causal = ops.tril(ops.ones((length, length), "bool"))
        own = ops.eye(length, dtype="bool")  # padding looks at itself, so that no row is empty
        mask = ops.logical_or(ops.logical_and(causal[None], there[:, None, :]), own[None])
        for first, attention, second, inner, outer in self.parts:
            y = first(x)
            y = attention(y, y, attention_mask=mask, training=training)
            x = x + self.drop(y, training=training)
            x = x + self.drop(outer(inner(second(x))), training=training)
        return self.last(x[:, -1])

    def compute_output_shape(self, input_shape: Any, *_: Any) -> Any:
        return input_shape[0], input_shape[-1]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.options}


@keras.saving.register_keras_serializable(package="pipelines")
class SequencePart(layers.Layer):
    """Ids (B, L) to logits (B, I): item embeddings, a transformer, and the same embeddings again, with a scale.

    Args:
        items: I.
        scale: First value of the scale.
        width: Width of the embeddings.
        blocks: Blocks of the transformer.
        heads: Its heads.
        dropout: Its dropout rate.
        length: L.
    """

    def __init__(
        self, items: int, scale: float, width: int, blocks: int, heads: int, dropout: float, length: int, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.options = {
            "items": items, "scale": scale, "width": width, "blocks": blocks, "heads": heads, "dropout": dropout,
            "length": length,
        }  # fmt: skip
        start = keras.initializers.RandomNormal(stddev=0.02)
        self.embedding = layers.Embedding(items + 1, width, embeddings_initializer=start, name="embedding")
        self.transformer = Transformer(width, blocks, heads, dropout, length, name="transformer")

    def build(self, input_shape: Any) -> None:
        options = self.options
        self.embedding.build(input_shape)
        self.transformer.build((None, options["length"], options["width"]))
        first = keras.initializers.Constant(options["scale"])
        self.scale = self.add_weight(shape=(), initializer=first, name="scale")
        self.bias = self.add_weight(shape=(options["items"],), initializer="zeros", name="bias")

    def call(self, ids: Any, training: bool | None = None) -> Any:
        state = self.transformer(self.embedding(ids), ids, training=training)
        table = ops.convert_to_tensor(self.embedding.embeddings)[1:]
        return ops.matmul(state, ops.transpose(table)) * self.scale + self.bias

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape[0], self.options["items"]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.options}


def network(
    items: int, length: int, factors: Factors | None, scale: float, *, width: int, blocks: int, heads: int,
    dropout: float, residual: bool,
) -> keras.Model:  # fmt: skip
    """Builds the network.

    Args:
        items: I.
        length: L, the items of a history.
        factors: The linear part, which is not trained; None has none.
        scale: By what its scores are multiplied.
        width: Of the transformer.
        blocks: Of the transformer.
        heads: Of the transformer.
        dropout: Of the transformer.
        residual: Whether there is a transformer.

    Returns:
        A functional model from int32 (B, L), 1 + the number of an item and 0 on the left for padding, to logits (B, I).
    """
    ids = keras.Input((length,), dtype="int32", name="history")
    parts = []
    if factors is not None:
        rank = factors.left.shape[1]
        read = layers.Embedding(items + 1, rank, trainable=False, name="linear_left")
        write = layers.Dense(items, use_bias=False, trainable=False, name="linear_right")
        parts.append(write(RecencySum(factors.half_life, name="recency")(read(ids), ids)))
        set_factors(read, write, factors, scale)
    if residual:
        scale_of_part = 1.0 if factors is None else 0.3
        parts.append(SequencePart(items, scale_of_part, width, blocks, heads, dropout, length, name="sequence")(ids))
    logits = layers.Add()(parts) if len(parts) > 1 else parts[0]
    return keras.Model(ids, HideKnown(name="logits")(logits, ids), name="recommender")


def set_factors(read: Any, write: Any, factors: Factors, scale: float) -> None:
    """Writes the linear part into its two layers."""
    read.set_weights([np.vstack([np.zeros((1, factors.left.shape[1]), np.float32), factors.left * scale])])
    write.set_weights([factors.right])


def histories(known: Any, length: int) -> np.ndarray:
    """int32 (Q, L): the last items of Q histories as the network reads them."""
    found = np.zeros((len(known), length), np.int32)
    for row, items in zip(found, known, strict=True):
        last = np.asarray(items[-length:]) + 1
        row[length - len(last) :] = last
    return found
