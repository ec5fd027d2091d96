"""The network: a transformer encoder-decoder with shared vectors, for training and for decoding step by step."""

from __future__ import annotations

from typing import Any, Literal

import keras
from keras import ops

from pipelines.pairs.layers import Block, SharedEmbedding, sinusoids
from pipelines.pairs.pieces import BEGIN, PAD


@keras.saving.register_keras_serializable(package="pipelines")
class Translator(keras.Model):
    """Pieces of a source (B, S) and of a target behind `begin` (B, T) to logits of the next piece (B, T, V).

    Args:
        size: Number of pieces V; source and target share them and their vectors.
        width: D, of the states.
        heads: Of each attention.
        inner: Width within the feed-forward parts.
        encoder_depth: Blocks of the encoder. It runs once for a text, the decoder once for a piece: a deep encoder with
            a shallow decoder is as good and quicker (Kasai et al., 2021).
        decoder_depth: Blocks of the decoder.
        dropout: Rate.
        length: Most positions; learned ones need their number.
        positions: `rotary`, `learned`, or `sinusoidal`.
        norm: `pre` or `post`.
        activation: Of the feed-forward parts.
        scale: Multiply the vectors by the square root of D on the way in.
        begin: Piece that a target begins with.
        pad: Piece that fills up.
    """

    def __init__(
        self,
        size: int,
        width: int = 256,
        heads: int = 4,
        inner: int = 1024,
        encoder_depth: int = 6,
        decoder_depth: int = 2,
        dropout: float = 0.1,
        length: int = 512,
        positions: Literal["rotary", "learned", "sinusoidal"] = "rotary",
        norm: Literal["pre", "post"] = "pre",
        activation: str = "relu",
        scale: bool = True,
        begin: int = BEGIN,
        pad: int = PAD,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._config = {
            "size": size, "width": width, "heads": heads, "inner": inner, "encoder_depth": encoder_depth,
            "decoder_depth": decoder_depth, "dropout": dropout, "length": length, "positions": positions,
            "norm": norm, "activation": activation, "scale": scale, "begin": begin, "pad": pad,
        }  # fmt: skip
        self.width, self.pad, self.begin = width, pad, begin
        self.embedding = SharedEmbedding(size, width, scale, name="embedding", dtype=self.dtype_policy)
        self.drop = keras.layers.Dropout(dropout, dtype=self.dtype_policy)
        options = {"width": width, "heads": heads, "inner": inner, "dropout": dropout, "norm": norm,
                   "activation": activation, "rotary": positions == "rotary", "dtype": self.dtype_policy}  # fmt: skip
        self.encoder = [Block(name=f"encoder_{i}", **options) for i in range(encoder_depth)]
        self.decoder = [Block(name=f"decoder_{i}", cross=True, **options) for i in range(decoder_depth)]
        self.norms = [
            keras.layers.LayerNormalization(epsilon=1e-5, name=name, dtype=self.dtype_policy)
            for name in ("encoder_norm", "decoder_norm")
        ] if norm == "pre" else []  # fmt: skip
        self.places = None
        if positions == "learned":
            self.places = keras.layers.Embedding(length, width, name="positions", dtype=self.dtype_policy)

    def build(self, input_shape: Any = None) -> None:
        self.embedding.build()
        for block in (*self.encoder, *self.decoder):
            block.build()
        for norm in self.norms:
            norm.build((None, None, self.width))
        if self.places is not None:
            self.places.build((None,))
        self.built = True

    @property
    def heads(self) -> int:
        """Of each attention."""
        return int(self._config["heads"])

    def _embed(self, ids: Any, positions: Any, training: bool) -> Any:
        states = self.embedding(ids)
        if self.places is not None:
            states = states + self.places(positions)
        elif self._config["positions"] == "sinusoidal":
            states = states + ops.cast(sinusoids(positions, self.width), states.dtype)
        return self.drop(states, training=training)

    def encode(self, source: Any, training: bool = False) -> tuple[Any, Any]:
        """Sources (B, S) to states (B, S, D) and a mask (B, 1, 1, S) of what is no padding."""
        mask = ops.not_equal(source, self.pad)[:, None, None, :]
        positions = ops.arange(ops.shape(source)[1])
        states = self._embed(source, positions, training)
        for block in self.encoder:
            states, _ = block(states, mask, positions, training=training)
        return self.norms[0](states) if self.norms else states, mask

    def memories(self, states: Any) -> list[tuple[Any, Any]]:
        """Keys and values of the source (B, H, S, d) for each block of the decoder."""
        return [block.memory(states) for block in self.decoder]

    def decode(self, target: Any, memories: Any, memory_mask: Any, training: bool = False) -> tuple[Any, Any]:
        """Targets (B, T) to logits (B, T, V), and the weights of the last block on the source (B, H, T, S)."""
        positions = ops.arange(ops.shape(target)[1])
        causal = (positions[:, None] >= positions[None, :])[None, None]
        states, weights = self._embed(target, positions, training), None
        for block, memory in zip(self.decoder, memories, strict=True):
            states, weights = block(states, causal, positions, memory, memory_mask, training=training)
        return self.embedding.logits(self.norms[1](states) if self.norms else states), weights

    def call(self, inputs: Any, training: bool = False) -> Any:
        source, target = inputs
        states, mask = self.encode(source, training)
        return self.decode(target, self.memories(states), mask, training)[0]

    def step(
        self, tokens: Any, position: Any, keep: Any, memories: Any, memory_mask: Any
    ) -> tuple[Any, list[tuple[Any, Any]]]:
        """Logits (B·K, V) after the pieces (B·K,) at one position, and the kept keys and values of each block.

        `keep(number, keys, values)` adds this position's keys and values to those that block `number` has kept, see
        `Block.step`.
        """
        states, kept = self._embed(tokens[:, None], ops.reshape(position, (1,)), False), []
        for number, (block, memory) in enumerate(zip(self.decoder, memories, strict=True)):
            states, both, _ = block.step(states, position, lambda k, v, n=number: keep(n, k, v), memory, memory_mask)
            kept.append(both)
        return self.embedding.logits((self.norms[1](states) if self.norms else states)[:, 0]), kept

    def compute_output_spec(self, inputs: Any, training: bool = False) -> Any:
        _, target = inputs
        return keras.KerasTensor((*target.shape, self._config["size"]), dtype="float32")

    def get_config(self) -> dict[str, Any]:
        return {**self._config, "name": self.name, "trainable": self.trainable, "dtype": self.dtype_policy}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Translator:
        policy = config.get("dtype")
        if isinstance(policy, dict):
            config = {**config, "dtype": keras.saving.deserialize_keras_object(policy)}
        return cls(**config)
