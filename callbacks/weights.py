"""The weights of a model as arrays: all of them, in the state in which they are evaluated and saved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from weakref import WeakSet

import keras
import numpy as np

# Models that hold their evaluation weights between two epochs, see `EvaluationWeights`.
in_evaluation: WeakSet[keras.Model] = WeakSet()


def inner_optimizer(optimizer: keras.optimizers.Optimizer | None) -> keras.optimizers.Optimizer | None:
    """The optimizer that keeps the slots: under `mixed_float16` Keras wraps it for loss scaling."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def all_variables(model: keras.Model) -> list[keras.Variable]:
    """Each variable of the model once: weights, statistics and the states of its random generators."""
    unique: dict[int, keras.Variable] = {}
    for variable in model.variables:
        unique.setdefault(id(variable), variable)
    return list(unique.values())


def evaluation_weights(model: keras.Model) -> list[np.ndarray]:
    """Copies of `all_variables(model)` as they should be judged and kept.

    While an optimizer keeps an exponential moving average of the weights (`use_ema=True`), or other weights for
    evaluation (schedule-free, Lookahead), these stand in the place of the trainable weights; training goes on with the
    latter. All else, such as the statistics of batch norm, is as the model holds it.
    """
    values = {id(v): value for v, value in judged(model)}
    return [_copy(values[id(v)]) if id(v) in values else to_array(v) for v in all_variables(model)]


def judged(model: keras.Model) -> list[tuple[keras.Variable, Any]]:
    """The variables that are not judged as they are, with what stands for them."""
    optimizer = inner_optimizer(getattr(model, "optimizer", None))
    if optimizer is None or not optimizer.built:
        return []
    if getattr(optimizer, "use_ema", False):
        if not int(keras.ops.convert_to_numpy(optimizer._iterations)):
            return []  # the averages begin with the first step
        values = optimizer._model_variables_moving_average
    elif hasattr(optimizer, "evaluation_values"):
        values = optimizer.evaluation_values()
    else:
        return []
    return [(v, value) for v, value in zip(model.trainable_variables, values, strict=True) if value is not None]


def set_weights(model: keras.Model, arrays: Sequence[np.ndarray]) -> None:
    """Assigns arrays in the order of `all_variables(model)`.

    Raises:
        ValueError: A different number of arrays, or another shape.
    """
    variables = all_variables(model)
    if len(variables) != len(arrays):
        raise ValueError(f"the model has {len(variables)} variables, but {len(arrays)} arrays were given")
    for variable, array in zip(variables, arrays, strict=True):
        if tuple(variable.shape) != tuple(array.shape):
            raise ValueError(f"{variable.path} has shape {tuple(variable.shape)}, the array {tuple(array.shape)}")
        variable.assign(array)


def to_array(variable: keras.Variable) -> np.ndarray:
    """A copy on the host, in the variable's own type (bfloat16 included)."""
    return _copy(variable.value)


def _copy(value: Any) -> np.ndarray:
    return np.array(keras.ops.convert_to_numpy(value))
