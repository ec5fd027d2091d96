"""Put a regularizer on a model that already exists."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras

from regularizers.decorrelation import OnActivity
from regularizers.matrix import OnMatrix
from regularizers.registry import applicable, get
from regularizers.step import StepPenalty, attach

Where = Callable[[keras.layers.Layer], bool] | str | re.Pattern[str] | None

# Keras's layers name the regularizer of each kernel after it, with these exceptions.
KERNELS = (
    ("kernel", "kernel_regularizer"),
    ("kernel", "depthwise_regularizer"),
    ("recurrent_kernel", "recurrent_regularizer"),
    ("depthwise_kernel", "depthwise_regularizer"),
    ("pointwise_kernel", "pointwise_regularizer"),
)
TRANSPOSED = (keras.layers.Conv1DTranspose, keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose)


def apply(
    model: keras.Model,
    regularizer: str | keras.Regularizer | StepPenalty,
    strength: float | None = None,
    where: Where = None,
    **settings: Any,
) -> list[str]:
    """Puts a regularizer on a built model, nested models included. Compile (again) afterwards.

    A penalty on weights goes on the kernels, in the place of one that is there; biases, norms and embeddings have no
    kernel and are left out. A penalty on activations goes on the features, the last activations before the layer that
    gives the outputs, or on the layers that `where` chooses. Both change the configuration of the layers and survive
    saving and loading. Layers that build others from their own configuration keep it only where that has a place for
    it: `MultiHeadAttention` has one for all its kernels, blocks of KerasHub have none. Where it would be lost, a
    warning says so: apply again after loading. What acts in the training step (`confidence`, `jacobian`,
    `input-gradient`, `r-drop`) belongs to this object and is never saved.

    Args:
        model: A built model.
        regularizer: A name, a Keras regularizer for weights, or one of this package's objects.
        strength: Factor of the penalty in the loss, for a name; none takes the record's own.
        where: Keeps only the layers for which a function is true, or those whose kernel's path (for activations: the
            layer's path) a regular expression is found in.
        **settings: Further arguments of the named regularizer's class.

    Returns:
        The paths of the kernels, layers or model that are now regularized.

    Raises:
        ValueError: The name or a setting is unknown, the strength out of range, the model not built or not fit for it,
            or nothing is found to put it on.
    """
    touched, _, places = _put(model, regularizer, strength, where, settings)
    lost = _lost(model, places)
    if lost:
        warnings.warn(
            f"the penalty on {len(lost)} of {len(touched)} places, such as {lost[0]}, is not saved with the model, "
            "since the layer there is built from the configuration of another: apply it again after loading",
            stacklevel=2,
        )
    return touched


@contextmanager
def applied(
    model: keras.Model,
    regularizer: str | keras.Regularizer | StepPenalty,
    strength: float | None = None,
    where: Where = None,
    **settings: Any,
) -> Iterator[list[str]]:
    """`apply` for the time of a `with` block, in which to compile and fit; then the model is as it was before."""
    touched, undo, _ = _put(model, regularizer, strength, where, settings)
    try:
        yield touched
    finally:
        for step in reversed(undo):
            step()


def _put(
    model: keras.Model,
    regularizer: str | keras.Regularizer | StepPenalty,
    strength: float | None,
    where: Where,
    settings: dict[str, Any],
) -> tuple[list[str], list[Callable[[], None]], dict[str, tuple[Any, str]]]:
    """The paths, how to take it off again, and for each path the object and attribute that save it."""
    if isinstance(regularizer, str):
        applicable(regularizer)
        regularizer = get(regularizer, strength, **settings)
    elif strength is not None or settings:
        raise ValueError("strength and settings belong to a name; a regularizer that is already made has its own")
    if not model.built:
        raise ValueError("build the model before putting a regularizer on it")
    if isinstance(regularizer, StepPenalty):
        if where is not None:
            raise ValueError(f"{type(regularizer).__name__} acts on the whole model: it takes no where")
        return [model.name], [attach(model, regularizer)], {}
    chosen = _chooser(where)
    touched: list[str] = []
    undo: list[Callable[[], None]] = []
    places: dict[str, tuple[Any, str]] = {}
    if isinstance(regularizer, OnActivity):
        for layer in [_features(model)] if where is None else model._flatten_layers(include_self=False):
            path = layer.path or layer.name
            if chosen(layer, path):
                undo.append(_set(layer, "activity_regularizer", regularizer))
                touched.append(path)
                places[path] = layer, "activity_regularizer"
    else:
        for layer, attribute, variable in _kernels(model):
            if chosen(layer, variable.path):
                fitting = _fitted(regularizer, layer, attribute)
                undo += [_set(layer, attribute, fitting), _set(variable, "regularizer", fitting)]
                touched.append(variable.path)
                places[variable.path] = layer, attribute
        for owner, attribute in _owners(model):
            inside = [variable for _, _, variable in _kernels(owner)]
            if inside and all(v.path in places for v in inside):
                # It hands one regularizer to all its layers, so that axes which differ between them cannot be kept.
                shared = all(v.regularizer is regularizer for v in inside)
                undo.append(_set(owner, attribute, regularizer if shared else None))
                places |= {v.path: (owner, attribute) for v in inside if shared}
    if not touched:
        raise ValueError("no layer was found to put the regularizer on" + (" with this where" if where else ""))
    return touched, undo, places


def _owners(model: keras.Model) -> Iterator[tuple[keras.layers.Layer, str]]:
    """The attention layers, with the attribute from which they give their layers a regularizer."""
    for layer in model._flatten_layers(include_self=False):
        if isinstance(layer, keras.layers.MultiHeadAttention):
            yield layer, "_kernel_regularizer"
        elif isinstance(layer, keras.layers.GroupQueryAttention):
            yield layer, "kernel_regularizer"


class _Probe(keras.Regularizer):
    """Notes whether it was asked for its configuration."""

    asked = False

    def get_config(self) -> dict[str, Any]:
        self.asked = True
        return {}


def _lost(model: keras.Model, places: dict[str, tuple[Any, str]]) -> list[str]:
    """The paths of what the configuration of the whole model leaves out."""
    probes = {(id(target), attribute): _Probe() for target, attribute in places.values()}
    undo = [_set(target, attribute, probes[id(target), attribute]) for target, attribute in places.values()]
    try:
        model.get_config()
    except Exception:  # of a class without a configuration, which cannot be saved whole anyway
        return []
    finally:
        for step in reversed(undo):
            step()
    return [path for path, (target, attribute) in places.items() if not probes[id(target), attribute].asked]


def _set(target: Any, attribute: str, value: Any) -> Callable[[], None]:
    before = getattr(target, attribute)
    setattr(target, attribute, value)
    return lambda: setattr(target, attribute, before)


def _chooser(where: Where) -> Callable[[keras.layers.Layer, str], bool]:
    if where is None:
        return lambda layer, path: True
    if callable(where):
        return lambda layer, path: bool(where(layer))
    try:
        pattern = re.compile(where)
    except re.error as error:
        raise ValueError(f"where is not a regular expression: {where!r} ({error})") from None
    return lambda layer, path: pattern.search(path) is not None


def _kernels(model: keras.Model) -> Iterator[tuple[keras.layers.Layer, str, keras.Variable]]:
    for layer in model._flatten_layers(include_self=False):
        for kernel, attribute in KERNELS:
            # Where a layer computes its kernel (LoRA, quantization), the variable hides behind an underscore.
            variable = getattr(layer, f"_{kernel}", None)
            variable = getattr(layer, kernel, None) if variable is None else variable
            if hasattr(layer, attribute) and isinstance(variable, keras.Variable):
                yield layer, attribute, variable


def _fitted(regularizer: keras.Regularizer, layer: keras.layers.Layer, attribute: str) -> keras.Regularizer:
    """With the axes that number the outputs of this layer's kernel, where they are not the last alone."""
    if not isinstance(regularizer, OnMatrix) or regularizer.axis is not None:
        return regularizer
    axis: Any = None
    if attribute == "depthwise_regularizer":
        axis = (-2, -1)
    elif isinstance(layer, TRANSPOSED):
        axis = -2
    elif isinstance(layer, keras.layers.EinsumDense):
        spec, _, outputs = layer.equation.replace(" ", "").partition(",")[2].partition("->")
        axis = tuple(i - len(spec) for i, letter in enumerate(spec) if letter in outputs)
    return type(regularizer)(**{**regularizer.get_config(), "axis": axis})


def _features(model: keras.Model) -> keras.layers.Layer:
    """The layer whose outputs the last layer with weights takes."""
    outputs = getattr(model, "outputs", None)
    if not outputs:
        raise ValueError("the features of a subclassed model cannot be found: say where to put the regularizer")
    tensor = outputs[0]
    weights_seen = False
    while True:
        layer, node = tensor._keras_history.operation, tensor._keras_history.node_index
        if isinstance(layer, keras.Model):
            tensor = layer.outputs[0]
            continue
        inputs = layer._inbound_nodes[node].input_tensors
        if not inputs:
            raise ValueError("no layer is found before the last one: say where to put the regularizer")
        # Operations have no place for a regularizer, and what dropout has thinned out covaries otherwise.
        if weights_seen and isinstance(layer, keras.layers.Layer) and not isinstance(layer, keras.layers.Dropout):
            return layer
        weights_seen = weights_seen or bool(getattr(layer, "weights", []))
        tensor = inputs[0]
