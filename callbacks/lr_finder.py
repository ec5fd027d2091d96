"""Which learning rate? A short run with a rising one tells."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from callbacks.state import global_random_state, set_global_random_state, set_training_state, training_state
from callbacks.weights import inner_optimizer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ENDLESS = 10**9  # epochs: the finder itself ends the training


class LearningRateFinder(keras.callbacks.Callback):
    """Raises the learning rate from step to step until the loss explodes, then puts everything back as it was.

    Weights, statistics, random generators, the optimizer with its step, and its schedule are afterwards exactly what
    they were before. `find_learning_rate` is the short way to use it.

    Args:
        lowest: First rate.
        highest: Last rate.
        steps: Steps from the one to the other, equal factors apart.
        smoothing: Momentum of the moving average of the loss, 0 to below 1.
        diverged: The search ends when the smoothed loss is so many times its lowest value; or when it is not finite.

    Raises:
        ValueError: An argument is out of its range; or, from the suggestions, the search ended too early.

    Reference:
        Smith, "Cyclical Learning Rates for Training Neural Networks", WACV 2017. The suggestions are fastai's `steep`
        and `valley` (Howard & Gugger, 2020), the former over more than one step.
    """

    def __init__(
        self,
        lowest: float = 1e-6,
        highest: float = 10.0,
        steps: int = 100,
        *,
        smoothing: float = 0.9,
        diverged: float = 4.0,
    ) -> None:
        super().__init__()
        if not 0 < lowest < highest or steps < 10:
            raise ValueError(
                "the search needs 0 < lowest < highest and at least 10 steps, got "
                f"lowest={lowest}, highest={highest}, steps={steps}"
            )
        if not 0 <= smoothing < 1 or diverged <= 1:
            raise ValueError(
                f"smoothing must be at least 0 and below 1, diverged above 1, got {smoothing} and {diverged}"
            )
        self.lowest = lowest
        self.highest = highest
        self.steps = steps
        self.smoothing = smoothing
        self.diverged = diverged
        self.rates: list[float] = []
        self.losses: list[float] = []
        self.smoothed: list[float] = []
        self._kept: list[np.ndarray] | None = None
        self._optimizer: Any = None

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        model = self.model
        self._kept = training_state(model)
        # On JAX a variable and its average may be one array when an earlier `fit` has ended, which no step can take.
        set_training_state(model, self._kept)
        self._random = global_random_state()
        self._optimizer = inner_optimizer(model.optimizer)
        self._schedule = self._optimizer._learning_rate
        first = int(keras.ops.convert_to_numpy(self._optimizer._iterations))
        # Set past the optimizer's own setter: a rate that is a variable must stay among its variables.
        object.__setattr__(self._optimizer, "_learning_rate", _Rising(self.lowest, self.highest, self.steps, first))
        self._retrace()
        self.rates, self.losses, self.smoothed = [], [], []

    def on_train_batch_begin(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        # Keras shows the mean of the losses since this was last done.
        self.model.reset_metrics()
        self._rate = float(keras.ops.convert_to_numpy(self._optimizer.learning_rate))

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        loss = float((logs or {})["loss"])
        if not math.isfinite(loss):
            self.model.stop_training = True
            return
        self.rates.append(self._rate)
        self.losses.append(loss)
        powers = self.smoothing ** np.arange(len(self.losses))[::-1]
        self.smoothed.append(float(powers @ self.losses / powers.sum()))
        judged = self.smoothed[self.steps // 10 :]  # the first losses are noise
        if (judged and judged[-1] > self.diverged * min(judged)) or len(self.rates) >= self.steps:
            self.model.stop_training = True

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        self.restore()

    def restore(self) -> None:
        """Puts the model back as it was; for when the search was interrupted, else it has happened."""
        if self._kept is None:
            return
        object.__setattr__(self._optimizer, "_learning_rate", self._schedule)
        set_training_state(self.model, self._kept)
        set_global_random_state(self._random)
        self.model.reset_metrics()
        self._retrace()
        self._kept = None

    def _retrace(self) -> None:
        """The compiled step holds the schedule with which it was made."""
        self.model.make_train_function(force=True)

    @property
    def suggestion(self) -> float:
        """The rate at which the smoothed loss falls fastest."""
        rates, losses = self._judged()
        return rates[steepest(rates, losses)]

    @property
    def careful(self) -> float:
        """The rate in the middle of the longest way down of the smoothed loss, or the suggestion if that is lower."""
        rates, losses = self._judged()
        return rates[min(valley(losses), steepest(rates, losses))]

    def _judged(self) -> tuple[list[float], list[float]]:
        """Without the first tenth, which is noise, and the last five, which explode."""
        first = len(self.rates) // 10
        rates, losses = self.rates[first:-5], self.smoothed[first:-5]
        if len(rates) < 5:
            raise ValueError(
                f"the search ended after {len(self.rates)} steps, at a learning rate of "
                f"{self.rates[-1] if self.rates else self.lowest:.1e}: begin lower than {self.lowest:.1e}"
            )
        return rates, losses

    def figure(self) -> Figure:
        """The loss against the rate, with the suggestions; needs matplotlib."""
        from callbacks.figures import BLUE, GREEN, GREY, RED, new

        figure = new(6.4, 4)
        axes = figure.add_subplot()
        axes.plot(self.rates, self.losses, color=GREY, linewidth=0.6, alpha=0.6, label="loss of a step")
        axes.plot(self.rates, self.smoothed, color=BLUE, label="smoothed")
        marks = (("suggestion", self.suggestion, RED, "o"), ("careful", self.careful, GREEN, "s"))
        for name, rate, colour, marker in marks:
            loss = self.smoothed[self.rates.index(rate)]
            axes.plot(rate, loss, marker, color=colour, label=f"{name} {rate:.2g}", zorder=3)
        top = max(self.smoothed[0], *self.smoothed[: -len(self.smoothed) // 10 or None])
        low = min(self.smoothed)
        axes.set_ylim(low - 0.1 * (top - low), top + 0.4 * (top - low))
        axes.set(xscale="log", xlabel="learning rate", ylabel="training loss")
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
        return figure


def find_learning_rate(
    model: keras.Model,
    *args: Any,
    lowest: float = 1e-6,
    highest: float = 10.0,
    steps: int = 100,
    smoothing: float = 0.9,
    diverged: float = 4.0,
    **kwargs: Any,
) -> LearningRateFinder:
    """Searches a learning rate for a compiled model, which is left as it was.

    ```python
    found = find_learning_rate(model, x, y, batch_size=32)
    found.suggestion
    found.figure().savefig("rates.png")
    ```

    Args:
        model: A compiled model.
        *args: What `fit` takes: the data.
        lowest: As in `LearningRateFinder`; so are the others.
        highest: Last rate.
        steps: Number of steps.
        smoothing: Momentum of the average.
        diverged: When to end.
        **kwargs: What `fit` takes, but epochs and verbose.
    """
    finder = LearningRateFinder(lowest, highest, steps, smoothing=smoothing, diverged=diverged)
    callbacks = [*kwargs.pop("callbacks", ()), finder]
    try:
        model.fit(*args, epochs=ENDLESS, verbose=0, callbacks=callbacks, **kwargs)
    finally:
        finder.restore()
    return finder


def valley(losses: Sequence[float]) -> int:
    """The place in the middle of the longest falling subsequence, as fastai has it.

    Args:
        losses: Smoothed losses.
    """
    lengths = [1] * len(losses)
    for i in range(1, len(losses)):
        lengths[i] = 1 + max((lengths[j] for j in range(i) if losses[j] > losses[i]), default=0)
    end = int(np.argmax(lengths))
    start = end - lengths[end]
    third = (end - start) / 3
    return max(start + int(third) + int(third / 2), 0)


def steepest(rates: Sequence[float], losses: Sequence[float]) -> int:
    """The place before the lowest loss where it falls most for a factor of the rate, over a tenth of the steps.

    Args:
        rates: Rising learning rates.
        losses: Smoothed losses, one a rate.
    """
    reach = max(len(losses) // 20, 1)
    lowest = max(int(np.argmin(losses)), 2 * reach)
    wide = slice(2 * reach, lowest + 1), slice(0, lowest + 1 - 2 * reach)
    slopes = np.subtract(*(np.asarray(losses)[part] for part in wide)) / np.subtract(
        *(np.log(rates)[part] for part in wide)
    )
    return reach + int(np.argmin(slopes))


class _Rising(keras.optimizers.schedules.LearningRateSchedule):
    """From the lowest rate to the highest in equal factors."""

    def __init__(self, lowest: float, highest: float, steps: int, first: int) -> None:
        self.lowest, self.highest, self.steps, self.first = lowest, highest, steps, first

    def __call__(self, step: Any) -> Any:
        part = (keras.ops.cast(step, "float32") - self.first) / (self.steps - 1)
        return self.lowest * keras.ops.exp(part * math.log(self.highest / self.lowest))

    def get_config(self) -> dict[str, Any]:
        return {"lowest": self.lowest, "highest": self.highest, "steps": self.steps, "first": self.first}
