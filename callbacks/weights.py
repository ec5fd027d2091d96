"""The weights of a model as arrays: all of them, in the state in which they are evaluated and saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np


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
    evaluation (schedule-free, Lookahead), these stand in the place of the trainable
    weights; training goes on with the latter.
    """
    judged = {id(v): value for v, value in _judged(model)}
    return [_copy(judged[id(v)]) if id(v) in judged else to_array(v) for v in all_variables(model)]


def _judged(model: keras.Model) -> list[tuple[keras.Variable, Any]]:
    """The variables that are not judged as they are, with what stands for them."""
    optimizer = inner_optimizer(getattr(model, "optimizer", None))
    if optimizer is None or not optimizer.built:
        return []
    if getattr(optimizer, "use_ema", False):
        values = optimizer._model_variables_moving_average
    elif hasattr(optimizer, "evaluation_values"):
        values = optimizer.evaluation_values()
    else:
        return []
    return [(v, value) for v, value in zip(model.trainable_variables, values, strict=True) if value is not None]


class EvaluationWeights(keras.callbacks.Callback):
    """Validates with the weights that will be kept, where the optimizer trains with others.

    It does for every optimizer with `use_ema` or `evaluation_values` what Keras's `SwapEMAWeights` does for moving
    averages, and leaves the training weights as they were to the last bit.
    """

    def __init__(self) -> None:
        super().__init__()
        self._kept: list[tuple[keras.Variable, np.ndarray]] = []

    def on_test_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        judged = [(v, _copy(value)) for v, value in _judged(self.model)]
        self._kept = [(v, to_array(v)) for v, _ in judged]
        for variable, value in judged:
            variable.assign(value)

    def on_test_end(self, logs: Mapping[str, Any] | None = None) -> None:
        for variable, value in self._kept:
            variable.assign(value)
        self._kept = []


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
