"""Layers of a transformer encoder-decoder; all run on every backend, in training and one step at a time."""

from __future__ import annotations

import math
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

LOW = -1e9  # exp() of it is zero; scores are float32


@keras.saving.register_keras_serializable(package="pipelines")
class SharedEmbedding(keras.layers.Layer):
    """Vectors of pieces, which are also the weights of the output: ids (B, L) to states (B, L, D).

    Args:
        size: Number of pieces V.
        width: D.
        scale: Multiply the vectors by the square root of D on the way in.

    Reference:
        Press & Wolf, "Using the Output Embedding to Improve Language Models", EACL 2017.
    """

    def __init__(self, size: int, width: int, scale: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = size
        self.width = width
        self.scale = scale

    def build(self, input_shape: Any = None) -> None:
        initializer = keras.initializers.RandomNormal(stddev=self.width**-0.5)
        self.embeddings = self.add_weight(shape=(self.size, self.width), initializer=initializer, name="embeddings")
        self.bias = self.add_weight(shape=(self.size,), initializer="zeros", name="bias")

    def call(self, ids: Any) -> Any:
        states = ops.take(self.embeddings, ids, axis=0)
        return states * math.sqrt(self.width) if self.scale else states

    def logits(self, states: Any) -> Any:
        """(..., D) to float32 (..., V)."""
        products = ops.matmul(states, ops.transpose(ops.cast(self.embeddings, states.dtype)))
        return ops.cast(products, "float32") + ops.cast(self.bias, "float32")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "size": self.size, "width": self.width, "scale": self.scale}


def rotate(x: Any, positions: Any) -> Any:
    """Turns the pairs of features of queries or keys (B, H, L, d) by angles that grow with their positions (L,).

    Reference:
        Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding", 2021.
    """
    half = x.shape[-1] // 2
    rates = (10000.0 ** (-np.arange(half) / half)).astype("float32")
    angles = ops.cast(positions, "float32")[:, None] * ops.convert_to_tensor(rates)
    sine, cosine = ops.cast(ops.sin(angles), x.dtype), ops.cast(ops.cos(angles), x.dtype)
    first, second = x[..., :half], x[..., half:]
    return ops.concatenate([first * cosine - second * sine, second * cosine + first * sine], axis=-1)


def sinusoids(positions: Any, width: int) -> Any:
    """Vectors of positions, (L,) to float32 (L, width): sines, then cosines (Vaswani et al., 2017)."""
    half = width // 2
    rates = (10000.0 ** (-2 * np.arange(half) / width)).astype("float32")
    angles = ops.cast(positions, "float32")[:, None] * ops.convert_to_tensor(rates)
    return ops.concatenate([ops.sin(angles), ops.cos(angles)], axis=-1)


@keras.saving.register_keras_serializable(package="pipelines")
class Attention(keras.layers.Layer):
    """Multi-head attention whose keys and values can be kept.

    Args:
        width: D, of the states.
        heads: H; each has D / H features.
        rotary: Whether queries and keys are turned by their positions.
    """

    def __init__(self, width: int, heads: int, rotary: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.width = width
        self.heads = heads
        self.rotary = rotary
        self.query, self.key, self.value, self.output_layer = (
            keras.layers.Dense(width, name=name, dtype=self.dtype_policy) for name in ("query", "key", "value", "out")
        )

    def build(self, input_shape: Any = None) -> None:
        for layer in (self.query, self.key, self.value, self.output_layer):
            layer.build((None, None, self.width))
        self.built = True

    def _split(self, x: Any) -> Any:
        batch, length = ops.shape(x)[0], ops.shape(x)[1]
        return ops.transpose(ops.reshape(x, (batch, length, self.heads, self.width // self.heads)), (0, 2, 1, 3))

    def memory(self, states: Any, positions: Any = None) -> tuple[Any, Any]:
        """Keys and values (B, H, L, d) of states (B, L, D) at positions (L,)."""
        keys = self._split(self.key(states))
        return rotate(keys, positions) if self.rotary else keys, self._split(self.value(states))

    def call(self, states: Any, keys: Any, values: Any, mask: Any, positions: Any = None) -> tuple[Any, Any]:
        """What states (B, L, D) gather from keys and values (B, H, S, d), and the weights float32 (B, H, L, S).

        `mask` broadcasts to the weights and is true where a state may look.
        """
        queries = self._split(self.query(states))
        if self.rotary:
            queries = rotate(queries, positions)
        queries = queries * (self.width // self.heads) ** -0.5
        scores = ops.cast(ops.matmul(queries, ops.transpose(keys, (0, 1, 3, 2))), "float32")
        weights = ops.softmax(ops.where(mask, scores, LOW), axis=-1)
        found = ops.matmul(ops.cast(weights, values.dtype), values)
        batch, length = ops.shape(states)[0], ops.shape(states)[1]
        found = ops.reshape(ops.transpose(found, (0, 2, 1, 3)), (batch, length, self.width))
        return self.output_layer(found), weights

    def get_config(self) -> dict[str, Any]:
        own = {"width": self.width, "heads": self.heads, "rotary": self.rotary}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="pipelines")
class Block(keras.layers.Layer):
    """One layer of the encoder, or with `cross` one of the decoder.

    Args:
        width: D, of the states.
        heads: Of each attention.
        inner: Width within the feed-forward part.
        dropout: Rate, on what each part adds.
        cross: Whether it also looks at the source.
        rotary: Whether positions turn the queries and keys.
        norm: `pre` normalizes what goes into each part, `post` what comes out (Xiong et al., 2020).
        activation: Of the feed-forward part.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        inner: int,
        dropout: float = 0.0,
        cross: bool = False,
        rotary: bool = True,
        norm: Literal["pre", "post"] = "pre",
        activation: str = "relu",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._config = {
            "width": width, "heads": heads, "inner": inner, "dropout": dropout, "cross": cross, "rotary": rotary,
            "norm": norm, "activation": activation,
        }  # fmt: skip
        policy, self.cross, self.pre = self.dtype_policy, cross, norm == "pre"
        self.attention = Attention(width, heads, rotary, name="attention", dtype=policy)
        self.cross_attention = Attention(width, heads, name="cross_attention", dtype=policy) if cross else None
        self.inner = keras.layers.Dense(inner, activation=activation, name="inner", dtype=policy)
        self.outer = keras.layers.Dense(width, name="outer", dtype=policy)
        names = ("attention_norm", "cross_norm", "inner_norm") if cross else ("attention_norm", "inner_norm")
        self.norms = [keras.layers.LayerNormalization(epsilon=1e-5, name=name, dtype=policy) for name in names]
        self.drop = keras.layers.Dropout(dropout, dtype=policy)

    def build(self, input_shape: Any = None) -> None:
        width = self._config["width"]
        for attention in (self.attention, self.cross_attention):
            if attention is not None:
                attention.build()
        for layer in (*self.norms, self.inner):
            layer.build((None, None, width))
        self.outer.build((None, None, self._config["inner"]))
        self.built = True

    def _add(self, number: int, states: Any, part: Any, training: bool) -> tuple[Any, Any]:
        """The states with what a part makes of them, and what else the part returns."""
        norm = self.norms[number]
        found, more = part(norm(states) if self.pre else states)
        states = states + self.drop(found, training=training)
        return states if self.pre else norm(states), more

    def _feed_forward(self, states: Any, training: bool) -> Any:
        def part(x: Any) -> tuple[Any, None]:
            return self.outer(self.inner(x)), None

        return self._add(len(self.norms) - 1, states, part, training)[0]

    def call(
        self, states: Any, mask: Any, positions: Any, memory: Any = None, memory_mask: Any = None,
        training: bool = False,
    ) -> Any:  # fmt: skip
        """States (B, L, D) to states; `memory` are the keys and values of the source, of a decoder's block.

        Returns:
            The states, and the weights of the attention to the source where there is one.
        """

        def attend(x: Any) -> tuple[Any, Any]:
            return self.attention(x, *self.attention.memory(x, positions), mask, positions=positions, training=training)

        states, weights = self._add(0, states, attend, training)
        if self.cross_attention is not None:
            states, weights = self._look(states, memory, memory_mask, training)
        return self._feed_forward(states, training), weights

    def memory(self, states: Any) -> tuple[Any, Any]:
        """Keys and values of the source, for a decoder's block."""
        assert self.cross_attention is not None
        return self.cross_attention.memory(states)

    def _look(self, states: Any, memory: Any, memory_mask: Any, training: bool) -> tuple[Any, Any]:
        assert self.cross_attention is not None
        look = self.cross_attention
        return self._add(1, states, lambda x: look(x, *memory, memory_mask), training)

    def step(
        self, states: Any, position: Any, keep: Any, memory: Any, memory_mask: Any
    ) -> tuple[Any, tuple[Any, Any], Any]:
        """One position of a decoder's block.

        Args:
            states: (B·K, 1, D), of K hypotheses for each of B sources.
            position: Scalar, the number of this position.
            keep: Takes this position's keys and values (B·K, H, 1, d) and returns all of them, (B·K, H, T, d) each,
                with a mask of those that may be looked at.
            memory: Keys and values of the source (B, H, S, d).
            memory_mask: (B, 1, 1, S).

        Returns:
            The states, the keys and values that `keep` returned, and the weights on the source (B, H, K, S).
        """
        positions = ops.reshape(position, (1,))

        def attend(x: Any) -> tuple[Any, Any]:
            keys, values, mask = keep(*self.attention.memory(x, positions))
            return self.attention(x, keys, values, mask, positions=positions)[0], (keys, values)

        states, kept = self._add(0, states, attend, False)
        # The hypotheses of one source stand where positions do: its keys are not copied for each of them.
        batch, width = ops.shape(memory[0])[0], self._config["width"]
        grouped, weights = self._look(ops.reshape(states, (batch, -1, width)), memory, memory_mask, False)
        return self._feed_forward(ops.reshape(grouped, (-1, 1, width)), False), kept, weights

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self._config}
