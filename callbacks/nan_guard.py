"""Divergence: return to the last good state with a lower learning rate."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from callbacks.state import check_training, set_training_state, training_begins, training_state, training_variables
from callbacks.weights import inner_optimizer, to_array

EXPLODED = 10.0


class DivergenceError(ValueError):
    """Training that diverged again after each attempt to go on."""


class NanGuard(keras.callbacks.Callback):
    """Takes training back to its last good state when the loss or a weight is not finite, cuts the rate and goes on.

    Good states are kept on the host: the first one, and that at the end of each epoch, if all weights are finite and
    the loss is not over ten times the lowest one, on its way to infinity. The loss is looked at after each step, in the
    value that Keras gives to all callbacks anyway, so that a step costs nothing; the weights are looked at where they
    are copied. Weights, statistics and the optimizer go back; its step count, and with it the schedule, does not, and
    the data go on with the next batch.

    Put it first in the list of callbacks: none of the others then sees a state that is not finite. With `mixed_float16`
    an overflow is the business of the loss scaling, which is left to it: only weights count then.

    Args:
        retries: How often training may go back before it ends with an error.
        factor: Factor of the learning rate each time, above 0 and at most 1; on top of a schedule.
        say: Called with a line about what happened; a warning by default.

    Raises:
        ValueError: An argument is out of its range.
        DivergenceError: In training, when all retries are used up.
    """

    def __init__(self, retries: int = 3, factor: float = 0.5, say: Callable[[str], None] | None = None) -> None:
        super().__init__()
        if retries < 0 or not 0 < factor <= 1:
            raise ValueError(f"retries must not be negative, factor above 0 and at most 1, got {retries} and {factor}")
        self.retries = retries
        self.factor = factor
        self.used = 0
        self._say = say or (lambda line: warnings.warn(line, stacklevel=2))
        self._good: list[np.ndarray] | None = None
        self._lowest = math.inf
        self._moved = False
        self._resumed = False

    def get_state(self) -> dict[str, Any]:
        """The retries used, and the last good state unless it is the present one."""
        return {"used": self.used, "lowest": self._lowest, "good": self._good if self._moved else None}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `get_state` gave."""
        self.used = int(state["used"])
        self._lowest = float(state["lowest"])
        self._good = state["good"]
        self._resumed = True

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        model = self.model
        training_begins(model)
        self._scaled = model.optimizer is not inner_optimizer(model.optimizer)
        if not self._resumed:
            self.used, self._lowest, self._good = 0, math.inf, None
        elif self.used:
            self._cut(self.factor**self.used, resumed=True)
        self._resumed = False
        self._moved = self._good is not None
        if self._good is None:
            self._good = training_state(model)

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        self._moved = True
        loss = float((logs or {})["loss"])
        if math.isinf(self._lowest) and math.isfinite(loss):
            self._lowest = loss
        if not math.isfinite(loss) and not self._scaled:
            self._back(f"the loss is {loss}")

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        check_training(self.model)
        state = training_state(self.model)
        broken = [
            variable.path
            for variable, array in zip(training_variables(self.model), state, strict=True)
            if array.dtype.kind not in "iub" and not np.isfinite(array.astype(np.float32)).all()
        ]
        if broken:
            self._back(f"{broken[0]} is not finite")
            return
        if not self._moved:
            return
        loss = float((logs or {})["loss"])
        # A negative loss has no such measure; one that is not finite is the loss scaling's.
        if not math.isfinite(loss) or loss <= EXPLODED * self._lowest or self._lowest <= 0:
            self._good, self._moved = state, False
            self._lowest = min(self._lowest, loss) if math.isfinite(loss) else self._lowest

    def _back(self, what: str) -> None:
        if self.used >= self.retries:
            rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
            raise DivergenceError(
                f"training diverged: {what} at a learning rate of {rate:.2g}"
                + (f", after going back {self.used} times" if self.used else "")
                + ": lower the learning rate, clip the gradients, or look for inputs that are not finite"
            )
        self.used += 1
        model = self.model
        times = [(variable, to_array(variable)) for variable in _times(model.optimizer)]
        set_training_state(model, self._good or [])
        for variable, now in times:
            variable.assign(now)
        # The means of the epoch so far hold what was not finite.
        model.reset_metrics()
        self._moved = False
        self._cut(self.factor)
        rate = float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))
        self._say(
            f"{what}: back to the last good state, with a learning rate of {rate:.2g} ({self.used} of {self.retries})"
        )

    def _cut(self, factor: float, *, resumed: bool = False) -> None:
        optimizer: Any = inner_optimizer(self.model.optimizer)
        rate = optimizer._learning_rate
        if isinstance(rate, keras.Variable):
            if not resumed:  # else the checkpoint holds it as it was cut
                rate.assign(rate * factor)
            return
        if isinstance(rate, CutSchedule):
            rate, factor = rate.schedule, rate.factor * factor
        if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
            optimizer._learning_rate = CutSchedule(rate, factor)
        else:
            optimizer._learning_rate = lambda: rate() * factor
        # The compiled step holds the schedule with which it was made.
        self.model.make_train_function(force=True)


@keras.saving.register_keras_serializable(package="callbacks")
class CutSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """Another schedule, multiplied by a factor.

    Args:
        schedule: The schedule.
        factor: What it is multiplied with.
    """

    def __init__(self, schedule: keras.optimizers.schedules.LearningRateSchedule, factor: float) -> None:
        self.schedule = schedule
        self.factor = factor

    def __call__(self, step: Any) -> Any:
        return self.schedule(step) * self.factor

    def get_config(self) -> dict[str, Any]:
        return {"schedule": keras.saving.serialize_keras_object(self.schedule), "factor": self.factor}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> CutSchedule:
        schedule = keras.saving.deserialize_keras_object(config["schedule"], custom_objects=custom_objects)
        return cls(schedule, config["factor"])


def _times(optimizer: Any) -> list[keras.Variable]:
    """What goes on when the state goes back: the steps counted by each optimizer, and a rate that is a variable."""
    found = []
    while optimizer is not None:
        found += [optimizer._iterations]
        if isinstance(optimizer._learning_rate, keras.Variable):
            found += [optimizer._learning_rate]
        optimizer = getattr(optimizer, "inner_optimizer", getattr(optimizer, "inner", None))
    return found
