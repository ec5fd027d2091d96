"""Layers of text models; all run on every backend."""

from __future__ import annotations

from typing import Any, Literal

import keras
from keras import ops

from pipelines.texts.inputs import COUNT


@keras.saving.register_keras_serializable(package="pipelines")
class TokenMask(keras.layers.Layer):
    """1 where there is a token and 0 where there is padding: int32 (B, L) to float32 (B, L).

    Args:
        pad: Number of the padding.
    """

    def __init__(self, pad: int = 0, **kwargs: Any) -> None:
        super().__init__(dtype="float32", **kwargs)
        self.pad = pad

    def call(self, ids: Any) -> Any:
        return ops.cast(ops.not_equal(ids, self.pad), "float32")

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "trainable": self.trainable, "pad": self.pad}


@keras.saving.register_keras_serializable(package="pipelines")
class MaskedPooling(keras.layers.Layer):
    """States (B, L, D) and a mask (B, L) to one state (B, D); a row without tokens gives zeros.

    Args:
        mode: `mean`, `max` or `sum`.
    """

    def __init__(self, mode: Literal["mean", "max", "sum"] = "mean", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if mode not in ("mean", "max", "sum"):
            raise ValueError(f"mode must be mean, max or sum, got {mode!r}")
        self.mode = mode

    def call(self, inputs: Any) -> Any:
        states, mask = inputs
        mask = ops.cast(mask, states.dtype)[..., None]
        some = ops.max(mask, axis=1)
        if self.mode == "max":
            lowest = ops.cast(-1e4, states.dtype)  # within float16
            return ops.max(states * mask + lowest * (1 - mask), axis=1) * some
        total = ops.sum(states * mask, axis=1)
        return total if self.mode == "sum" else total / ops.maximum(ops.sum(mask, axis=1), 1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        states, _ = input_shape
        return (states[0], states[2])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "mode": self.mode}


@keras.saving.register_keras_serializable(package="pipelines")
class NgramTerms(keras.layers.Layer):
    """The n-grams of version 0.1.0, whose runs are still read: int32 (B, L), 0 being the padding, to float32 (B, L, K).

    A term is the n-gram's share of the text, its rarity over the Euclidean norm of all of them, times what it says: a
    learned weight, and a learned multiple of its evidence, the log ratio of its chances inside and outside of the class
    (naive Bayes). Both kinds of weights begin at zero.

    Args:
        size: Number of n-grams, without 0.
        classes: K.

    Reference:
        Wang & Manning, "Baselines and Bigrams: Simple, Good Sentiment and Topic Classification", ACL 2012.
    """

    def __init__(self, size: int, classes: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = size
        self.classes = classes

    def build(self, input_shape: Any) -> None:
        shape = (self.size + 1, self.classes)
        self.rarity = self.add_weight(shape=shape[:1], initializer="ones", trainable=False, name="rarity")
        self.evidence = self.add_weight(shape=shape, initializer="zeros", trainable=False, name="evidence")
        self.embeddings = self.add_weight(shape=(shape[0], 2 * shape[1]), initializer="zeros", name="embeddings")

    def call(self, ids: Any) -> Any:
        ids = ops.cast(ids, "int32")
        rarity = ops.take(self.rarity, ids, axis=0) * ops.cast(ops.not_equal(ids, 0), self.compute_dtype)
        share = rarity / ops.sqrt(ops.maximum(ops.sum(ops.square(rarity), axis=1, keepdims=True), 1e-6))
        plain, scaled = ops.split(ops.take(self.embeddings, ids, axis=0), 2, axis=-1)
        return share[..., None] * (plain + scaled * ops.take(self.evidence, ids, axis=0))

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (*input_shape, self.classes)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "size": self.size, "classes": self.classes}


@keras.saving.register_keras_serializable(package="pipelines")
class TfidfTerms(keras.layers.Layer):
    """What each n-gram of a text adds to each logit: int32 (B, L), 0 being the padding, to float32 (B, L, K).

    A term is the TF-IDF weight of the n-gram in the text, times a learned weight, times a fixed factor that says how
    far the weight of this n-gram for this class may move. The TF-IDF weight is (1 + log of its occurrences) times its
    rarity; the weights of the words of a text have a Euclidean norm of 1, those of the n-grams of characters of
    `characters`. The learned weights begin at zero.

    Args:
        size: Number of n-grams, without 0.
        classes: K.
        words: The first so many numbers are n-grams of words, the others of characters.
        characters: Norm of the n-grams of characters of a text.

    References:
        Salton & Buckley, "Term-Weighting Approaches in Automatic Text Retrieval", 1988.
        Wang & Manning, "Baselines and Bigrams: Simple, Good Sentiment and Topic Classification", ACL 2012, for factors
        from naive Bayes.
    """

    def __init__(self, size: int, classes: int, words: int, characters: float = 0.7, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = size
        self.classes = classes
        self.words = words
        self.characters = characters

    def build(self, input_shape: Any) -> None:
        shape = (self.size + 1, self.classes)
        self.rarity = self.add_weight(shape=shape[:1], initializer="ones", trainable=False, name="rarity")
        self.factors = self.add_weight(shape=shape, initializer="ones", trainable=False, name="factors")
        self.embeddings = self.add_weight(shape=shape, initializer="zeros", name="embeddings")

    def call(self, ids: Any) -> Any:
        ids = ops.cast(ids, "int32")
        numbers = ops.mod(ids, COUNT)
        occurrences = ops.cast(ops.floor_divide(ids, COUNT) + 1, self.compute_dtype)
        weights = ops.take(self.rarity, numbers, axis=0) * (1 + ops.log(occurrences))
        words = weights * ops.cast((numbers != 0) & (numbers <= self.words), weights.dtype)
        characters = weights * ops.cast(numbers > self.words, weights.dtype)
        weights = _unit(words) + self.characters * _unit(characters)
        return weights[..., None] * ops.take(self.factors, numbers, axis=0) * ops.take(self.embeddings, numbers, axis=0)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (*input_shape, self.classes)

    def get_config(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in ("size", "classes", "words", "characters")}
        return {**super().get_config(), **own}


def _unit(weights: Any) -> Any:
    return weights / ops.sqrt(ops.maximum(ops.sum(ops.square(weights), axis=1, keepdims=True), 1e-6))


@keras.saving.register_keras_serializable(package="pipelines")
class TokenDropout(keras.layers.Layer):
    """In training, drops whole tokens from the mask (B, L) that pooling and attention go by; every text keeps one.

    Args:
        rate: Part of the tokens that are dropped.
        seed: Seed of the drawing.

    Reference:
        Iyyer et al., "Deep Unordered Composition Rivals Syntactic Methods for Text Classification", ACL 2015.
    """

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 <= rate < 1:
            raise ValueError(f"rate must be at least 0 and below 1, got {rate}")
        self.rate = rate
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, present: Any, training: bool = False) -> Any:
        if not training or not self.rate:
            return present
        draws = keras.random.uniform(ops.shape(present), seed=self.seed_generator, dtype="float32")
        kept = present * ops.cast(draws >= self.rate, present.dtype)
        # The token with the highest draw stays in any case.
        best = ops.max(draws * present, axis=1, keepdims=True)
        return ops.maximum(kept, present * ops.cast(draws >= best, present.dtype))

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}


@keras.saving.register_keras_serializable(package="pipelines")
class Positions(keras.layers.Layer):
    """Adds a learned vector for each position to states (B, L, D), L being at most `length`."""

    def __init__(self, length: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.length = length

    def build(self, input_shape: Any) -> None:
        initializer = keras.initializers.RandomNormal(stddev=0.02)
        self.vectors = self.add_weight(shape=(self.length, input_shape[-1]), initializer=initializer, name="vectors")

    def call(self, states: Any) -> Any:
        return states + ops.cast(self.vectors, states.dtype)[: ops.shape(states)[1]]

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "length": self.length}


@keras.saving.register_keras_serializable(package="pipelines")
class Affine(keras.layers.Layer):
    """A factor and a bias for each output; the factors, which calibration sets, are not trained.

    Args:
        single: One factor for all outputs, as in runs of version 0.1.0.
    """

    def __init__(self, single: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.single = single

    def build(self, input_shape: Any) -> None:
        shape = () if self.single else (input_shape[-1],)
        self.scale = self.add_weight(shape=shape, initializer="ones", trainable=False, name="scale")
        self.bias = self.add_weight(shape=(input_shape[-1],), initializer="zeros", name="bias")

    def call(self, inputs: Any) -> Any:
        return inputs * self.scale + self.bias

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "single": self.single}
