"""Validation, predictions and saved files of the weights that will be kept, while training goes on with others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np

from callbacks.state import global_random_state, optimizer_variables, set_global_random_state
from callbacks.weights import in_evaluation, judged, to_array


class EvaluationWeights(keras.callbacks.Callback):
    """Validates with the weights that will be kept, where the optimizer trains with others.

    It does for every optimizer with `use_ema` or `evaluation_values` what Keras's `SwapEMAWeights` does for moving
    averages, and leaves the training weights as they were to the last bit. Given to `model.evaluate` or
    `model.predict`, it does so there.

    With `swap_on_epoch` the model holds them from the end of an epoch to the beginning of the next one, for the
    callbacks that come after this one in the list. So the order is: what keeps the training (`NanGuard`,
    `Checkpoint`), this, what saves or predicts. `EarlyStopping` keeps the right weights in either place.

    ```python
    callbacks = [checkpoint, EvaluationWeights(swap_on_epoch=True), keras.callbacks.ModelCheckpoint("{epoch}.keras")]
    ```

    The moving statistics of batch norm are those of the training weights. They fit an average of the weights about as
    well as long as this is near; else, and as the authors of schedule-free learning recommend, give it `statistics`.

    Args:
        swap_on_epoch: Whether callbacks after this one find the weights in the model at the end of an epoch.
        statistics: Batches, as `fit` takes them, from which the mean and the variance of each batch norm are estimated
            anew for the evaluation weights: before each validation, at the end of each epoch and at that of training.
            They are gone through each time, so a few tens of them, always the same, are best.

    Raises:
        ValueError: There are `statistics` without `swap_on_epoch`: they would be lost to what keeps the weights.
    """

    def __init__(self, swap_on_epoch: bool = False, statistics: Iterable[Any] | None = None) -> None:
        super().__init__()
        if statistics is not None and not swap_on_epoch:
            raise ValueError("statistics need swap_on_epoch=True, without which callbacks do not see them")
        self.swap_on_epoch = swap_on_epoch
        self.statistics = statistics
        self._depth = 0
        self._kept: list[tuple[keras.Variable, np.ndarray]] = []

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        self._forget()

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        self._leave()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        if self.swap_on_epoch:
            self._enter()
            in_evaluation.add(self.model)

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        # By now Keras has put the evaluation weights into the model, over themselves if they were there already.
        if not self._depth and self.statistics is not None and judged(self.model):
            estimate_statistics(self.model, self.statistics)
        self._forget()

    def on_test_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        self._enter()

    def on_test_end(self, logs: Mapping[str, Any] | None = None) -> None:
        self._leave()

    def on_predict_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        self._enter()

    def on_predict_end(self, logs: Mapping[str, Any] | None = None) -> None:
        self._leave()

    def _enter(self) -> None:
        self._depth += 1
        model = self.model
        values = judged(model) if self._depth == 1 else []
        if not values:
            return
        values = [(v, np.array(keras.ops.convert_to_numpy(value))) for v, value in values]
        statistics = _statistics(model) if self.statistics is not None else []
        # Beside the weights, an optimizer that finalizes them notes that it has, in a scalar.
        notes = [v for v in optimizer_variables(model) if len(v.shape) == 0]
        self._kept = [(v, to_array(v)) for v in [*(v for v, _ in values), *statistics, *notes]]
        model.optimizer.finalize_variable_values(model.trainable_variables)
        # Once more, as copies: on JAX a variable and its average would be one array, which a step gives away.
        for variable, value in values:
            variable.assign(value)
        if self.statistics is not None:
            estimate_statistics(model, self.statistics)

    def _leave(self) -> None:
        self._depth = max(self._depth - 1, 0)
        if self._depth == 0:
            for variable, value in self._kept:
                variable.assign(value)
            self._forget()

    def _forget(self) -> None:
        self._depth, self._kept = 0, []
        in_evaluation.discard(self.model)


def estimate_statistics(model: keras.Model, batches: Iterable[Any]) -> None:
    """Sets the moving mean and variance of each batch norm to their means over batches passed in training mode.

    Nothing else is changed: not the states of random generators, not frozen layers.

    Args:
        model: A built model.
        batches: Each as `fit` takes them: inputs, or a tuple of inputs, targets and weights.

    Raises:
        ValueError: There are no batches.
    """
    layers = _batch_norms(model)
    if not layers:
        return
    own = {id(v) for v in _statistics(model)}
    others = [(v, to_array(v)) for v in model.non_trainable_variables if id(v) not in own]
    momenta, random, number = [layer.momentum for layer in layers], global_random_state(), 0
    try:
        for number, batch in enumerate(batches, start=1):
            for layer in layers:
                layer.momentum = 1 - 1 / number
            model(keras.utils.unpack_x_y_sample_weight(batch)[0], training=True)
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        for variable, value in others:
            variable.assign(value)
        set_global_random_state(random)
    if not number:
        raise ValueError("there are no batches to estimate the statistics of batch norm from")


def _batch_norms(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    return [
        layer
        for layer in model._flatten_layers(include_self=False)
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    ]


def _statistics(model: keras.Model) -> list[keras.Variable]:
    return [v for layer in _batch_norms(model) for v in layer.non_trainable_variables]
