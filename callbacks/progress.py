"""Progress: a bar on a terminal, one line an epoch in a log file."""

from __future__ import annotations

import sys
import time
import weakref
from collections.abc import Mapping
from typing import Any

import keras
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

REDRAW_SECONDS = 0.2


class Progress(keras.callbacks.Callback):
    """Shows how training goes on standard error.

    On a terminal a bar moves within the epoch, redrawn a few times a second so that the backend is not held up; each
    epoch leaves one line behind. Where there is no terminal, only these lines are written. When training ends with an
    error, `close` takes the bar away and shows the cursor again; the end of the process does, too.

    Args:
        samples: Samples in a batch; with it, samples a second are shown.
        console: Where to write; standard error by default.
    """

    def __init__(self, samples: int | None = None, console: Console | None = None) -> None:
        super().__init__()
        self.samples = samples
        self.console = console or Console(file=sys.stderr, soft_wrap=True, highlight=False)
        self._bar: Bar | None = None
        self._task: TaskID | None = None
        self._stop: Any = None

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        self.close()
        self._start = self._drawn = time.perf_counter()
        self._steps = 0
        self._train_seconds: float | None = None
        if self.console.is_terminal:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
            )
            self._bar = Bar(*columns, console=self.console, transient=True)
            self._task = self._bar.add_task(self._label(epoch), total=self.params.get("steps"))
            self._bar.start()
            self._stop = weakref.finalize(self, self._bar.stop)

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        self._steps = batch + 1
        now = time.perf_counter()
        if self._bar is not None and self._task is not None and now - self._drawn > REDRAW_SECONDS:
            self._drawn = now
            self._bar.update(self._task, completed=self._steps)

    def on_test_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        if self._train_seconds is None:
            self._train_seconds = time.perf_counter() - self._start

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        self.close()
        seconds = time.perf_counter() - self._start
        parts = [self._label(epoch), *(f"{name} {_number(value)}" for name, value in (logs or {}).items())]
        parts.append(f"{seconds:.1f} s")
        if self.samples and self._steps:
            parts.append(f"{self.samples * self._steps / (self._train_seconds or seconds):,.0f} samples/s")
        self.console.print("  ".join(parts), markup=False)

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        self.close()

    def close(self) -> None:
        """Takes the bar from the terminal, if there is one."""
        if self._bar is not None:
            self._stop()
            self._bar = None

    def _label(self, epoch: int) -> str:
        return f"epoch {epoch + 1}/{self.params.get('epochs', '?')}"


def _number(value: Any) -> str:
    number = float(value)
    return f"{number:.4f}" if abs(number) >= 1e-3 or number == 0 else f"{number:.1e}"
