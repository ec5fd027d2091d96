"""Which words spoke for a class? Integrated gradients over the embeddings, on every backend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from pipelines.engine.explain import path_gradients
from pipelines.texts import backbones
from pipelines.texts.inputs import TextInput
from pipelines.texts.models import EMBEDDING, NGRAMS

Parts = tuple[Callable[[Any], Any], Callable[[Any, Any], Any]]
BATCH = 32


def token_attributions(
    model: keras.Model,
    ids: np.ndarray,
    classes: np.ndarray,
    *,
    pad: int = 0,
    steps: int = 32,
    parts: Parts | None = None,
) -> np.ndarray:
    """How much each token adds to the logit of a class, compared with the embedding of padding in its place.

    The sum over a row is the difference of the logits between the text and one with these embeddings, up to the error
    of the midpoint rule; with the n-gram model, which is linear, there is no error. (A baseline of zeros would be a bad
    one for transformers: their norms change at once near zero.)

    Args:
        model: From tokens to logits, with a layer named `embedding` or a pretrained part named `backbone`.
        ids: int32 (B, L).
        classes: (B,) the class to explain for each.
        pad: Number of the padding.
        steps: Points on the way from the padding.
        parts: What `split` gave, where it is called many times.

    Returns:
        float64 (B, L).

    Raises:
        ValueError: The model has no such layer.

    Reference:
        Sundararajan et al., "Axiomatic Attribution for Deep Networks", ICML 2017.
    """
    if model.name == NGRAMS:
        steps = 1  # a linear model needs one point
    embed, answer = parts or split(model)
    tokens = ops.convert_to_tensor(ids, dtype="int32")
    vectors = ops.convert_to_numpy(embed(tokens)).astype(np.float32)
    baseline = ops.convert_to_numpy(embed(ops.full_like(tokens, pad))).astype(np.float32)
    chosen = ops.convert_to_tensor(np.eye(model.output_shape[-1], dtype=np.float32)[classes])

    def score(x: Any) -> Any:
        return ops.sum(answer(x, tokens) * chosen)

    return path_gradients(score, vectors, baseline, steps).sum(-1)


def split(model: keras.Model) -> Parts:
    """The model in two: from tokens to embeddings, and from embeddings and tokens to logits.

    Raises:
        ValueError: It has neither a layer named `embedding` nor a part named `backbone`.
    """
    names = {layer.name for layer in getattr(model, "layers", [])}
    if EMBEDDING in names:
        tensor = model.get_layer(EMBEDDING).output
        first = keras.Model(model.inputs[0], tensor)
        rest = keras.Model([tensor, model.inputs[0]], model.outputs[0])
        return lambda ids: first(ids, training=False), lambda vectors, ids: rest([vectors, ids], training=False)
    if backbones.NAME not in names:
        raise ValueError(f"the model has no layer named {EMBEDDING}, which explanations need")
    embed, states_of, states = split_backbone(model)
    head = keras.Model([states, model.inputs[0]], model.outputs[0])
    return embed, lambda vectors, ids: head([states_of(vectors, ids), ids], training=False)


def split_backbone(model: keras.Model) -> tuple[Callable[[Any], Any], Callable[[Any, Any], Any], keras.KerasTensor]:
    """The pretrained part of a model in two: from tokens to embeddings, and from both to its states.

    Returns:
        The two, and the states in the model.
    """
    backbone = model.get_layer(backbones.NAME)
    inner = next(layer for layer in backbone.layers if isinstance(layer, keras.Model))
    inputs = {tensor.name.partition(":")[0]: tensor for tensor in inner.inputs}
    tensor = next(
        layer.output for layer in inner.layers if isinstance(layer.output, keras.KerasTensor) and layer.output.ndim == 3
    )
    first = keras.Model(inputs["token_ids"], tensor)
    # The tokens too: an encoder may find its padding by itself.
    middle = keras.Model([tensor, *inputs.values()], inner.outputs[0])
    # What the encoder is given beside the tokens is made inside `backbone`.
    given = keras.Model(backbone.inputs, inner._inbound_nodes[-1].input_tensors)

    def states_of(vectors: Any, ids: Any) -> Any:
        return middle([vectors, *given([ids])], training=False)

    return lambda ids: first(ids, training=False), states_of, backbone._inbound_nodes[-1].outputs[0]


def character_scores(
    model: keras.Model, reader: TextInput, texts: Sequence[str], labels: Sequence[int], *, steps: int = 32
) -> list[np.ndarray]:
    """What each character of some texts adds to the logit of a class each, float64 (len(text),).

    A token's part is shared evenly by the characters that it covers, over all places where it stands; that of special
    tokens is left out. The windows of a long text are averaged as in prediction.

    Raises:
        ValueError: The model has no embeddings.
    """
    parts = split(model)
    windows = reader.windows(texts, places=True)
    scores = [np.zeros(len(text)) for text in texts]
    sizes = np.array([max(len(ids), 1) for ids in windows.ids], float)
    weights = sizes / np.bincount(windows.owner, sizes)[windows.owner]
    for first in range(0, len(sizes), BATCH):
        numbers = range(first, min(first + BATCH, len(sizes)))
        classes = np.asarray(labels)[windows.owner[first : first + BATCH]]
        values = token_attributions(model, windows.read(numbers), classes, pad=reader.pad, steps=steps, parts=parts)
        for number, of_token in zip(numbers, values, strict=True):
            entries, starts, ends = windows.places[number].reshape(-1, 3).T
            often = np.bincount(entries, minlength=len(of_token))
            shares = weights[number] * of_token[entries] / often[entries] / np.maximum(ends - starts, 1)
            of_text = scores[windows.owner[number]]
            for share, start, end in zip(shares, starts, ends, strict=True):
                of_text[start:end] += share
    return scores
