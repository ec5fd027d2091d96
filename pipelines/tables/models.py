"""Networks for tables, in operations of Keras alone.

All take encoded rows (B, D), first the numbers and then the zeros and ones of the categories. What is trained gives
for each of E copies log-probabilities (B, E, ..., K), or numbers and how far its members lie apart (B, E, 2T), so that
each copy can leave out other rows; `averaged` makes of it what is used.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from pipelines.tables.layers import (
    BatchEnsembleDense,
    CopyMean,
    FrontScale,
    MemberDense,
    MemberMean,
    MemberSpread,
    NTKDense,
    Periodic,
    PiecewiseLinear,
    Tokens,
)

COPIES = "copies"
NARROW = 0.02


@dataclass(frozen=True)
class Layout:
    """What the numbers of an encoded row are.

    Args:
        numeric: How many numbers on a scale come first.
        sizes: Sizes of the blocks of zeros and ones after them.
    """

    numeric: int
    sizes: Sequence[int]

    @property
    def width(self) -> int:
        return self.numeric + sum(self.sizes)


def bins_of(numbers: np.ndarray, limit: int) -> list[list[float]]:
    """Edges of the bins of each number by its quantiles: at most `limit` bins, at least one.

    Edges that nearly touch are joined: between them the model could jump, which no gradient shows.

    Args:
        numbers: float (N, F) of the training part, of variance about 1.
        limit: Bins.
    """
    edges = []
    for column in np.asarray(numbers, np.float64).T:
        kept: list[float] = []
        for edge in np.unique(np.quantile(column, np.linspace(0, 1, limit + 1)).astype(np.float32)).tolist():
            if not kept or edge - kept[-1] >= NARROW:
                kept.append(edge)
        edges.append(kept if len(kept) > 1 else [kept[0], kept[0] + 1])
    return edges


def _embedded(x: Any, layout: Layout, embedding: keras.layers.Layer | None, number: int) -> Any:
    """(B, D) with each number in the place of its embedding, flat."""
    if embedding is None or not layout.numeric:
        return x
    flat = keras.layers.Flatten(name=f"flat_{number}")(embedding(x[:, : layout.numeric]))
    return keras.layers.Concatenate(name=f"joined_{number}")([flat, x[:, layout.numeric :]]) if layout.sizes else flat


def _embedding(kind: str, bins: Sequence[Sequence[float]], units: int, scale: float) -> keras.layers.Layer | None:
    if kind == "none" or not bins:
        return None
    return PiecewiseLinear(bins, units) if kind == "piecewise" else Periodic(max(2 * units, 2), units, scale)


def _copy(x: Any, outputs: tuple[int, ...], classes: bool, number: int) -> Any:
    """Answers of the members of one copy (B, K, prod(outputs)) to that of the copy, (B, 1, *outputs).

    Numbers (T,) are followed by the spread of the members, (B, 1, 2T), which only the loss looks at.
    """
    if len(outputs) > 1:
        x = keras.layers.Reshape((x.shape[1], *outputs), name=f"shaped_{number}")(x)
    mean = MemberMean(classes, dtype="float32", name=f"mean_{number}")(x)
    if not classes:
        spread = MemberSpread(dtype="float32", name=f"spread_{number}")(x)
        mean = keras.layers.Concatenate(dtype="float32", name=f"both_{number}")([mean, spread])
    return keras.layers.Reshape((1, *mean.shape[1:]), dtype="float32", name=f"copy_{number}")(mean)


def _copies(inputs: Any, answers: Sequence[Any], name: str) -> keras.Model:
    """The model that is trained: the copies' answers one beside the other, on axis 1."""
    joined = keras.layers.Concatenate(axis=1, dtype="float32", name=COPIES)(answers) if len(answers) > 1 else answers[0]
    return keras.Model(inputs, joined, name=name)


def averaged(trained: keras.Model, classes: bool) -> keras.Model:
    """The model that is used: one answer (B, *outputs) out of those of the copies."""
    answers = trained.output if classes else trained.output[..., : trained.output.shape[-1] // 2]
    return keras.Model(trained.input, CopyMean(classes, dtype="float32", name="answer")(answers), name=trained.name)


def copies(model: keras.Model) -> keras.Model:
    """The answers of the copies (B, copies, *outputs) within the model that is used."""
    return keras.Model(model.input, model.get_layer("answer").input)


def tabm(
    layout: Layout,
    outputs: tuple[int, ...],
    classes: bool,
    bins: Sequence[Sequence[float]],
    *,
    members: int = 32,
    ensemble: int = 1,
    width: int = 128,
    depth: int = 2,
    dropout: float = 0.1,
    embedding: str = "piecewise",
    embedding_width: int = 16,
    scale: float = 0.1,
    shortcut: bool = False,
) -> keras.Model:
    """TabM: an ensemble of multilayer perceptrons that share most weights, trained at once.

    Args:
        layout: What the numbers of a row are.
        outputs: Shape of the answer for one row.
        classes: Whether the last axis of the answer holds classes.
        bins: Edges of the bins of each number.
        members: Perceptrons.
        ensemble: Independent copies of all that, each with an answer of its own.
        width: Units of a layer.
        depth: Layers.
        dropout: Rate after each layer.
        embedding: `piecewise`, `periodic` or `none`.
        embedding_width: Size of the embedding of a number.
        scale: Spread of the first frequencies of the periodic embedding.
        shortcut: Add a linear model of the encoded row, which all members share, to what they say.

    Reference:
        Gorishniy et al., "TabM: Advancing Tabular Deep Learning with Parameter-Efficient Ensembling", ICLR 2025.
    """
    inputs = keras.Input((layout.width,), name="row")
    chunk = embedding_width if embedding != "none" else 1
    answers = []
    for number in range(ensemble):
        x = _embedded(inputs, layout, _embedding(embedding, bins, embedding_width, scale), number)
        for layer in range(depth):
            first = ("normal" if embedding != "none" else "signs", [chunk] * layout.numeric + list(layout.sizes))
            x = BatchEnsembleDense(width, members, *(first if layer == 0 else ()))(x)
            x = keras.layers.Dropout(dropout)(keras.layers.Activation("relu")(x))
        x = MemberDense(math.prod(outputs))(x)
        if shortcut:
            line = keras.layers.Dense(math.prod(outputs), kernel_initializer="zeros", name=f"shortcut_{number}")(inputs)
            x = keras.layers.Add()([x, keras.layers.Reshape((1, math.prod(outputs)))(line)])
        answers.append(_copy(x, outputs, classes, number))
    return _copies(inputs, answers, "tabm")


def mlp(
    layout: Layout,
    outputs: tuple[int, ...],
    classes: bool,
    bins: Sequence[Sequence[float]],
    *,
    ensemble: int = 1,
    width: int = 256,
    depth: int = 3,
    dropout: float = 0.15,
    embedding: str = "periodic",
    scale: float = 0.1,
) -> keras.Model:
    """A perceptron after RealMLP: periodic embeddings, a factor for each input, layers of size one.

    Arguments as in `tabm`; it leaves out the parametric activations and the schedule of the dropout.

    Reference:
        Holzmüller et al., "Better by Default: Strong Pre-Tuned MLPs and Boosted Trees on Tabular Data", NeurIPS 2024.
    """
    inputs = keras.Input((layout.width,), name="row")
    answers = []
    for number in range(ensemble):
        layer = None
        if embedding == "periodic":
            layer = Periodic(16, 4, scale, dense=True)
        elif embedding == "piecewise" and bins:
            layer = PiecewiseLinear(bins, 4)
        x = FrontScale()(_embedded(inputs, layout, layer, number))
        for _ in range(depth):
            x = keras.layers.Dropout(dropout)(
                keras.layers.Activation("selu" if classes else "mish")(NTKDense(width)(x))
            )
        x = NTKDense(math.prod(outputs), zeros=True)(x)
        x = keras.layers.Reshape((1, math.prod(outputs)))(x)
        answers.append(_copy(x, outputs, classes, number))
    return _copies(inputs, answers, "mlp")


def ft_transformer(
    layout: Layout,
    outputs: tuple[int, ...],
    classes: bool,
    *,
    ensemble: int = 1,
    width: int = 128,
    depth: int = 3,
    dropout: float = 0.1,
    heads: int = 8,
) -> keras.Model:
    """FT-Transformer: a token for each column, and attention between them.

    Arguments as in `tabm`; `heads` must divide `width`.

    Reference:
        Gorishniy et al., "Revisiting Deep Learning Models for Tabular Data", NeurIPS 2021.
    """
    while width % heads:
        heads -= 1
    inputs = keras.Input((layout.width,), name="row")
    hidden = 2 * math.ceil(width * 2 / 3)
    answers = []
    for number in range(ensemble):
        x = Tokens(layout.numeric, layout.sizes, width)(inputs)
        for block in range(depth):
            # The first block has no norm before its attention.
            y = x if block == 0 else keras.layers.LayerNormalization(epsilon=1e-5)(x)
            last = block == depth - 1
            query = y[:, :1] if last else y
            y = keras.layers.MultiHeadAttention(heads, width // heads, dropout=dropout)(query, y)
            x = (x[:, :1] if last else x) + y
            y = keras.layers.LayerNormalization(epsilon=1e-5)(x)
            y = keras.layers.Dense(hidden)(y) * keras.layers.Dense(hidden, activation="relu")(y)
            x = x + keras.layers.Dense(width)(keras.layers.Dropout(dropout)(y))
        y = keras.layers.Activation("relu")(keras.layers.LayerNormalization(epsilon=1e-5)(x))
        answers.append(_copy(keras.layers.Dense(math.prod(outputs))(y), outputs, classes, number))
    return _copies(inputs, answers, "ft_transformer")
