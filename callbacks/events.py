"""What TensorBoard reads, as its own protocol buffers; TensorFlow is not needed."""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.plugins.graph.keras_util import keras_model_to_graph_def
from tensorboard.plugins.histogram import metadata as histogram_metadata
from tensorboard.plugins.hparams import metadata as hparams_metadata
from tensorboard.plugins.hparams.api_pb2 import STATUS_FAILURE, STATUS_SUCCESS
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo
from tensorboard.plugins.pr_curve import metadata as pr_curve_metadata
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.util.tensor_util import make_tensor_proto

if TYPE_CHECKING:
    import keras
    from matplotlib.figure import Figure

Value: TypeAlias = Any  # a Summary.Value, whose class protobuf makes when it is imported


class Events:
    """One event file.

    Args:
        log_dir: Its folder: a run in TensorBoard's words.
        resumed_at: Step after which everything that earlier files of the folder say is void.
    """

    def __init__(self, log_dir: str | os.PathLike[str], resumed_at: int | None = None) -> None:
        self._writer = EventFileWriter(str(Path(log_dir)))
        if resumed_at is not None:
            self._event(resumed_at + 1, session_log=SessionLog(status=SessionLog.START))

    def add(self, tag: str, value: Value, step: int) -> None:
        """Writes a value at a step under a tag."""
        value.tag = tag
        self._event(step, summary=Summary(value=[value]))

    def add_graph(self, graph: bytes) -> None:
        """Writes what `graph` gave: one for a folder."""
        self._event(0, graph_def=graph)

    def flush(self) -> None:
        """Lets TensorBoard see what was written so far."""
        self._writer.flush()

    def close(self) -> None:
        """Writes the rest and ends the file."""
        self._writer.close()

    def __enter__(self) -> Events:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _event(self, step: int, **content: Any) -> None:
        self._writer.add_event(Event(wall_time=time.time(), step=step, **content))


def write(log_dir: str | os.PathLike[str], values: Iterable[tuple[str, Value]], step: int) -> None:
    """Writes values with their tags into a new file of a folder."""
    with Events(log_dir) as events:
        for tag, value in values:
            events.add(tag, value, step)


def scalar(number: float) -> Value:
    """A number."""
    return Summary.Value(simple_value=float(number))


def text(content: str) -> Value:
    """Markdown."""
    metadata = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text"))
    return Summary.Value(metadata=metadata, tensor=TensorProto(dtype=DT_STRING, string_val=[content.encode()]))


def figure(drawn: Figure) -> Value:
    """A matplotlib figure as an image."""
    content = io.BytesIO()
    drawn.savefig(content, format="png")
    width, height = (np.asarray(drawn.get_size_inches()) * drawn.dpi).astype(int).tolist()
    return Summary.Value(
        image=Summary.Image(encoded_image_string=content.getvalue(), width=width, height=height, colorspace=4)
    )


def histogram(numbers: np.ndarray, buckets: int = 30) -> Value:
    """The distribution of numbers of any shape; those that are not finite are dropped."""
    numbers = np.asarray(numbers, np.float64).ravel()
    counts, edges = np.histogram(numbers[np.isfinite(numbers)], bins=buckets)
    rows = np.stack([edges[:-1], edges[1:], counts], axis=1)
    return Summary.Value(
        metadata=histogram_metadata.create_summary_metadata(None, None), tensor=make_tensor_proto(rows)
    )


def pr_curve(right: np.ndarray, scores: np.ndarray, thresholds: int = 201) -> Value:
    """Precision and recall of one class at evenly spaced thresholds.

    Args:
        right: (N,) bool, whether each sample is of the class.
        scores: (N,) between 0 and 1; a sample counts as of the class from the threshold on.
        thresholds: Number of them, at least 2, from 0 to 1.
    """
    places = np.floor(np.clip(scores, 0, 1) * (thresholds - 1)).astype(np.int64)
    right = np.asarray(right, bool)

    def above(chosen: np.ndarray) -> np.ndarray:
        return np.bincount(places[chosen], minlength=thresholds)[::-1].cumsum()[::-1].astype(np.float64)

    hits, alarms = above(right), above(~right)
    precision = hits / np.maximum(hits + alarms, 1e-7)
    recall = hits / max(hits[0], 1e-7)
    rows = np.stack([hits, alarms, alarms[0] - alarms, hits[0] - hits, precision, recall]).astype(np.float32)
    metadata = pr_curve_metadata.create_summary_metadata("", "", thresholds)
    return Summary.Value(metadata=metadata, tensor=make_tensor_proto(rows))


def session_start(settings: Mapping[str, bool | float | str], group: str, started: float) -> tuple[str, Value]:
    """The hyper-parameters of a run, with their tag."""
    info = SessionStartInfo(group_name=group, start_time_secs=started)
    for name, setting in settings.items():
        if isinstance(setting, bool):
            info.hparams[name].bool_value = setting
        elif isinstance(setting, str):
            info.hparams[name].string_value = setting
        else:
            info.hparams[name].number_value = float(setting)
    return hparams_metadata.SESSION_START_INFO_TAG, _session(HParamsPluginData(session_start_info=info))


def session_end(status: Literal["success", "failure"], ended: float) -> tuple[str, Value]:
    """How and when a run ended, with its tag."""
    info = SessionEndInfo(
        status=STATUS_SUCCESS if status == "success" else STATUS_FAILURE,
        end_time_secs=ended,
    )
    return hparams_metadata.SESSION_END_INFO_TAG, _session(HParamsPluginData(session_end_info=info))


def _session(content: HParamsPluginData) -> Value:
    return Summary.Value(
        metadata=hparams_metadata.create_summary_metadata(content), tensor=hparams_metadata.NULL_TENSOR
    )


def graph(model: keras.Model) -> bytes:
    """The layers of a model and what flows between them, as a serialized `GraphDef`.

    Raises:
        ValueError: The model is not made of layers that Keras can write down (a subclassed one without `get_config`).
    """
    try:
        drawn = keras_model_to_graph_def(_with_plain_calls(json.loads(model.to_json())))
    except Exception as error:
        raise ValueError(f"the graph of the model {model.name} cannot be drawn: {error}") from None
    outermost = f"{model.name}/"
    for node in drawn.node:
        node.name = node.name.removeprefix(outermost)
        node.input[:] = [name.removeprefix(outermost) for name in node.input]
        # TensorBoard folds operations of one kind with numbered names into a series, which takes graphs to pieces.
        node.op = f"{node.attr['keras_class'].s.decode()} {node.name}"
    return drawn.SerializeToString()


def _with_plain_calls(layer: dict[str, Any]) -> dict[str, Any]:
    """The layer, and all in it, called with tensors one by one.

    TensorBoard fails on arguments that are none (slices, numbers), and sees no tensors in keyword arguments or deeper.
    """
    for node in layer.get("inbound_nodes") or []:
        node["args"], node["kwargs"] = list(_tensors([node["args"], node["kwargs"]])), {}
    for inner in layer["config"].get("layers") or []:
        _with_plain_calls(inner)
    return layer


def _tensors(value: Any) -> Iterator[dict[str, Any]]:
    """The tensors among arguments as `to_json` writes them."""
    if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
        yield value
    elif isinstance(value, (dict, list)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _tensors(inner)
