"""TensorBoard logs on every backend, written by tensorboard itself."""

from __future__ import annotations

import math
import os
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import keras

from callbacks import events
from callbacks.events import Events
from callbacks.weights import to_array

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Figures = Callable[[keras.Model, int], Mapping[str, "Figure"]]


class TensorBoard(keras.callbacks.Callback):
    """Writes what TensorBoard shows, without TensorFlow and without slowing the steps.

    Keras's own needs TensorFlow and starts its step anew at each `fit`. Here every value stands at the number of
    training steps done; the count goes on after a resume, and what an interrupted run had written beyond its checkpoint
    is marked as void.

    An optimizer, or one that it is wrapped around, with a method `norms()` (such as `optimizers.monitored.Monitored`)
    has the norms of each layer's gradient, update and weights drawn: it measures them inside the step.

    Args:
        log_dir: Folder of the logs; the training values go to `train/`, the validation ones to `validation/`, so that
            TensorBoard draws them in one chart.
        update_freq: `epoch`, or a number of steps after which the training loss, the learning rate and the norms are
            written as well.
        text: Texts by tag (Markdown), written once.
        figures: Called with the model and the epoch; its figures by tag are written as images. See
            `classification_figures`.
        figures_every: Epochs after which they are; 0 only at the end of training.
        histograms_every: Epochs after which the distributions of the weights are written; 0 never.
        graph: Write the model's graph.
        profile: First and last step of which the backend records what it does; not on PyTorch. TensorBoard shows it
            with `tensorboard-plugin-profile`.

    Raises:
        ValueError: An argument is out of its range.
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str],
        *,
        update_freq: Literal["epoch"] | int = "epoch",
        text: Mapping[str, str] | None = None,
        figures: Figures | None = None,
        figures_every: int = 0,
        histograms_every: int = 0,
        graph: bool = True,
        profile: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        if update_freq != "epoch" and (not isinstance(update_freq, int) or update_freq < 1):
            raise ValueError(f"update_freq must be 'epoch' or a positive number of steps, got {update_freq!r}")
        if figures_every < 0 or histograms_every < 0:
            raise ValueError(
                f"figures_every and histograms_every must not be negative, got {figures_every} and {histograms_every}"
            )
        if profile is not None:
            if not 1 <= profile[0] <= profile[1]:
                raise ValueError(f"profile must be a first step from 1 and a last one not before it, got {profile}")
            if keras.backend.backend() == "torch":
                raise ValueError("profile works on TensorFlow and JAX; on PyTorch wrap fit in torch.profiler.profile")
        self.log_dir = Path(log_dir)
        self.update_freq = update_freq
        self.text = dict(text or {})
        self.figures = figures
        self.figures_every = figures_every
        self.histograms_every = histograms_every
        self.graph = graph
        self.profile = profile
        self.step = 0
        self._resumed_at: int | None = None
        self._void_after: int | None = None
        self._last_epoch = 0
        self._profiling = False
        self._events: dict[str, Events] = {}

    def get_state(self) -> dict[str, Any]:
        """The steps and epochs written so far."""
        return {"step": self.step, "last_epoch": self._last_epoch}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `get_state` gave."""
        self.step, self._last_epoch = int(state["step"]), int(state["last_epoch"])
        self._resumed_at = self.step

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        self._close()  # what a `fit` that was broken off has left open
        self._void_after, self._resumed_at = self._resumed_at, None
        if self.step:
            return
        for tag, text in self.text.items():
            self._write("train", tag, events.text(text), 0)
        if self.graph:
            try:
                self._file("train").add_graph(events.graph(self.model))
            except ValueError as error:
                warnings.warn(str(error), stacklevel=2)

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        self._epoch_start = time.perf_counter()
        self._steps_before = self.step

    def on_train_batch_begin(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        if self.profile is None or self._profiling:
            return
        if self.profile[0] <= self._steps_before + batch + 1 <= self.profile[1]:
            _start_profile(self.log_dir)
            self._profiling = True

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        before, self.step = self.step, self._steps_before + batch + 1
        if self._profiling and self.profile is not None and self.step >= self.profile[1]:
            self._stop_profile()
        # With several steps in one call into the backend, only the last of them is seen.
        if self.update_freq != "epoch" and self.step // self.update_freq > before // self.update_freq:
            for name, value in (logs or {}).items():
                self._scalar("train", f"batch_{name}", value, self.step)
            self._write_optimizer()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        for name, value in (logs or {}).items():
            if name == "learning_rate":
                continue
            if name.startswith("val_"):
                self._scalar("validation", f"epoch_{name[4:]}", value, self.step)
            else:
                self._scalar("train", f"epoch_{name}", value, self.step)
        self._scalar("train", "epoch_seconds", time.perf_counter() - self._epoch_start, self.step)
        if self.update_freq == "epoch" or self.step % self.update_freq:
            self._write_optimizer()
        if self.histograms_every and (epoch + 1) % self.histograms_every == 0:
            for variable in self.model.weights:
                self._write("train", variable.path, events.histogram(to_array(variable)), self.step)
        self._last_epoch = epoch
        if self.figures_every and (epoch + 1) % self.figures_every == 0:
            self._write_figures()
        for writer in self._events.values():
            writer.flush()

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        if self._profiling:
            self._stop_profile()
        self._write_figures()
        self._close()

    def _close(self) -> None:
        for writer in self._events.values():
            writer.close()
        self._events.clear()

    def _write_optimizer(self) -> None:
        """The learning rate and, where they are measured, the norms."""
        optimizer = self.model.optimizer
        self._scalar("train", "learning_rate", keras.ops.convert_to_numpy(optimizer.learning_rate), self.step)
        for kind, norms in _norms(optimizer).items():
            squares: dict[str, float] = defaultdict(float)
            for path, value in norms.items():
                squares[path.rpartition("/")[0] or path] += value**2
            for layer, square in squares.items():
                self._scalar("train", f"{kind}_norm/{layer}", math.sqrt(square), self.step)
            self._scalar("train", f"{kind}_norm/all", math.sqrt(sum(squares.values())), self.step)

    def _write_figures(self) -> None:
        if self.figures is not None:
            for tag, figure in self.figures(self.model, self._last_epoch).items():
                self._write("validation", tag, events.figure(figure), self.step)

    def _stop_profile(self) -> None:
        _stop_profile()
        self._profiling = False

    def _scalar(self, part: str, tag: str, value: Any, step: int) -> None:
        self._write(part, tag, events.scalar(value), step)

    def _write(self, part: str, tag: str, value: events.Value, step: int) -> None:
        self._file(part).add(tag, value, step)

    def _file(self, part: str) -> Events:
        if part not in self._events:
            self._events[part] = Events(self.log_dir / part, self._void_after)
        return self._events[part]


def _norms(optimizer: Any) -> dict[str, dict[str, float]]:
    """What the first optimizer with `norms()` has measured, looked for from the outside in."""
    while optimizer is not None:
        if hasattr(optimizer, "norms"):
            return optimizer.norms()
        optimizer = getattr(optimizer, "inner_optimizer", getattr(optimizer, "inner", None))
    return {}


def _start_profile(folder: Path) -> None:
    if keras.backend.backend() == "jax":
        import jax

        jax.profiler.start_trace(str(folder))
    else:
        import tensorflow as tf

        tf.profiler.experimental.start(str(folder))


def _stop_profile() -> None:
    if keras.backend.backend() == "jax":
        import jax

        jax.profiler.stop_trace()
    else:
        import tensorflow as tf

        tf.profiler.experimental.stop()
