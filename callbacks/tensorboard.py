"""TensorBoard logs on every backend, written by tensorboard itself."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import keras
import numpy as np
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.summary.writer.event_file_writer import EventFileWriter

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Figures = Callable[[keras.Model, int], Mapping[str, "Figure"]]


class TensorBoard(keras.callbacks.Callback):
    """Writes what TensorBoard shows, without TensorFlow and without slowing the steps.

    Keras's own needs TensorFlow and starts its step anew at each `fit`. Here every value stands at the number of
    training steps done; the count goes on after a resume, and what an interrupted run had written beyond its checkpoint
    is marked as void.

    Args:
        log_dir: Folder of the logs; the training values go to `train/`, the validation ones to `validation/`, so that
            TensorBoard draws them in one chart.
        update_freq: `epoch`, or a number of steps after which the training loss is written as well.
        text: Texts by tag (Markdown), written once.
        figures: Called with the model and the epoch at the end of training; its figures by tag are written as
            pictures.
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str],
        *,
        update_freq: Literal["epoch"] | int = "epoch",
        text: Mapping[str, str] | None = None,
        figures: Figures | None = None,
    ) -> None:
        super().__init__()
        if update_freq != "epoch" and (not isinstance(update_freq, int) or update_freq < 1):
            raise ValueError(f"update_freq must be 'epoch' or a positive number of steps, got {update_freq!r}")
        self.log_dir = Path(log_dir)
        self.update_freq = update_freq
        self.text = dict(text or {})
        self.figures = figures
        self.step = 0
        self._resumed_at: int | None = None
        self._last_epoch = 0
        self._writers: dict[str, EventFileWriter] = {}

    def get_state(self) -> dict[str, Any]:
        """The steps and epochs written so far."""
        return {"step": self.step, "last_epoch": self._last_epoch}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `get_state` gave."""
        self.step, self._last_epoch = int(state["step"]), int(state["last_epoch"])
        self._resumed_at = self.step

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        if self._resumed_at is None:
            for tag, text in self.text.items():
                self._write("train", tag, _text(text), 0)

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        self._epoch_start = time.perf_counter()
        self._steps_before = self.step

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        self.step = self._steps_before + batch + 1
        if self.update_freq != "epoch" and self.step % self.update_freq == 0:
            for name, value in (logs or {}).items():
                self._scalar("train", f"batch_{name}", value, self.step)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        for name, value in (logs or {}).items():
            if name == "learning_rate":
                self._scalar("train", name, value, self.step)
            elif name.startswith("val_"):
                self._scalar("validation", f"epoch_{name[4:]}", value, self.step)
            else:
                self._scalar("train", f"epoch_{name}", value, self.step)
        self._scalar("train", "epoch_seconds", time.perf_counter() - self._epoch_start, self.step)
        self._last_epoch = epoch
        for writer in self._writers.values():
            writer.flush()

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        if self.figures is not None:
            for tag, figure in self.figures(self.model, self._last_epoch).items():
                self._write("validation", tag, _picture(figure), self.step)
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()

    def _scalar(self, part: str, tag: str, value: Any, step: int) -> None:
        number = float(value)
        self._write(part, tag, Summary.Value(simple_value=number), step)

    def _write(self, part: str, tag: str, value: Summary.Value, step: int) -> None:
        if part not in self._writers:
            self._writers[part] = EventFileWriter(str(self.log_dir / part))
            if self._resumed_at is not None:
                # TensorBoard then drops what an earlier file says about this step and later ones.
                log = SessionLog(status=SessionLog.START)
                self._writers[part].add_event(Event(wall_time=time.time(), step=self._resumed_at + 1, session_log=log))
        value.tag = tag
        self._writers[part].add_event(Event(wall_time=time.time(), step=step, summary=Summary(value=[value])))


def write_figures(log_dir: str | os.PathLike[str], figures: Mapping[str, Figure], step: int) -> None:
    """Writes figures by tag as pictures, outside of training.

    Args:
        log_dir: Folder of the logs.
        figures: Matplotlib figures.
        step: Number of training steps at which they stand.
    """
    writer = EventFileWriter(str(log_dir))
    for tag, figure in figures.items():
        value = _picture(figure)
        value.tag = tag
        writer.add_event(Event(wall_time=time.time(), step=step, summary=Summary(value=[value])))
    writer.close()


def _text(text: str) -> Summary.Value:
    metadata = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text"))
    return Summary.Value(metadata=metadata, tensor=TensorProto(dtype=DT_STRING, string_val=[text.encode()]))


def _picture(figure: Figure) -> Summary.Value:
    content = io.BytesIO()
    figure.savefig(content, format="png")
    width, height = (np.asarray(figure.get_size_inches()) * figure.dpi).astype(int).tolist()
    image = Summary.Image(encoded_image_string=content.getvalue(), width=width, height=height, colorspace=4)
    return Summary.Value(image=image)
