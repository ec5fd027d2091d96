"""What is written for TensorBoard outside of training: a function for each of its tabs."""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import keras
import numpy as np

from callbacks import events

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LogDir = str | os.PathLike[str]
COMPONENTS = 3  # TensorBoard draws nothing of points with fewer numbers
SPRITE_PIXELS = 8192  # TensorBoard draws no larger image


def write_scalars(log_dir: LogDir, values: Mapping[str, float], step: int) -> None:
    """Writes numbers by tag.

    Args:
        log_dir: Folder of the logs; so for all functions here.
        values: The numbers.
        step: Number of training steps at which they stand.
    """
    events.write(log_dir, [(tag, events.scalar(number)) for tag, number in values.items()], step)


def write_texts(log_dir: LogDir, texts: Mapping[str, str], step: int) -> None:
    """Writes texts by tag, such as translations or generated sentences; Markdown."""
    events.write(log_dir, [(tag, events.text(text)) for tag, text in texts.items()], step)


def write_figures(log_dir: LogDir, figures: Mapping[str, Figure], step: int) -> None:
    """Writes matplotlib figures by tag as images."""
    events.write(log_dir, [(tag, events.figure(drawn)) for tag, drawn in figures.items()], step)


def write_histograms(log_dir: LogDir, arrays: Mapping[str, np.ndarray], step: int) -> None:
    """Writes the distributions of arrays by tag, for the tabs histograms and distributions."""
    events.write(log_dir, [(tag, events.histogram(array)) for tag, array in arrays.items()], step)


def write_graph(log_dir: LogDir, model: keras.Model) -> None:
    """Writes the layers of a model and what flows between them.

    Raises:
        ValueError: Keras cannot write the model down.
    """
    graph = events.graph(model)
    with events.Events(log_dir) as file:
        file.add_graph(graph)


def write_pr_curves(
    log_dir: LogDir,
    labels: np.ndarray,
    probabilities: np.ndarray,
    classes: Sequence[str],
    step: int,
    *,
    thresholds: int = 201,
) -> None:
    """Writes precision and recall of each class against the rest.

    Args:
        log_dir: Folder of the logs.
        labels: (N,) int, the true classes.
        probabilities: (N, K) between 0 and 1.
        classes: K names.
        step: Number of training steps.
        thresholds: At how many scores from 0 to 1 they are computed.

    Raises:
        ValueError: Shapes that do not fit.
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities)
    if labels.ndim != 1 or probabilities.shape != (len(labels), len(classes)):
        raise ValueError(
            f"labels must be (N,) and probabilities (N, {len(classes)}), got {labels.shape} and {probabilities.shape}"
        )
    curves = [
        (f"{_tag(name)}/pr_curves", events.pr_curve(labels == k, probabilities[:, k], thresholds))
        for k, name in enumerate(classes)
    ]
    events.write(log_dir, curves, step)


def write_hparams(
    log_dir: LogDir,
    settings: Mapping[str, Any],
    scores: Mapping[str, float],
    step: int,
    *,
    started: float | None = None,
    status: Literal["success", "failure"] = "success",
) -> None:
    """Writes the settings of a run with its final scores, to be compared over runs in the tab HParams.

    Runs with the same settings are a group there. Give it a folder of its own within that of the run: every scalar in
    the folder becomes a column.

    Args:
        log_dir: Folder of the logs.
        settings: Nested dictionaries of numbers, booleans and texts; other values are written as JSON, None is left
            out.
        scores: The final scores; NaN values are dropped.
        step: Number of training steps.
        started: When the run began, in seconds since 1970; now by default.
        status: How it ended.
    """
    flat = flatten(settings)
    group = hashlib.sha256(json.dumps(flat, sort_keys=True).encode()).hexdigest()
    now = time.time()
    values = [
        events.session_start(flat, group, now if started is None else started),
        *((tag, events.scalar(score)) for tag, score in scores.items() if not math.isnan(score)),
        events.session_end(status, now),
    ]
    events.write(log_dir, values, step)


def flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, bool | float | str]:
    """Nested settings with dotted names, as the HParams tab takes them."""
    flat: dict[str, bool | float | str] = {}
    for key, value in settings.items():
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        elif isinstance(value, (bool, int, float, str)):
            flat[f"{prefix}{key}"] = value
        elif value is not None:
            flat[f"{prefix}{key}"] = json.dumps(value, default=str)
    return flat


def write_embeddings(
    log_dir: LogDir,
    vectors: Mapping[str, np.ndarray],
    metadata: Mapping[str, Sequence[Any]] | None = None,
    images: np.ndarray | None = None,
) -> None:
    """Writes points for the projector; the folder must hold event files too, or be the one that TensorBoard is given.

    Args:
        log_dir: Folder of the logs.
        vectors: By name (N, D): such as what goes into the last layer, see `features`.
        metadata: Columns of N values that the points can be coloured and searched by.
        images: Images of the points uint8 (N, H, W, 1 or 3), which are drawn in their places.

    Raises:
        ValueError: Shapes that do not fit.
    """
    from google.protobuf import text_format
    from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

    sizes = {len(v) for v in vectors.values()} | {len(c) for c in (metadata or {}).values()}
    sizes |= set() if images is None else {len(images)}
    if len(sizes) != 1 or any(np.ndim(v) != 2 for v in vectors.values()):
        raise ValueError(f"vectors (N, D), metadata and images must have one length N, got {sorted(sizes)}")
    folder = Path(log_dir)
    folder.mkdir(parents=True, exist_ok=True)
    config = ProjectorConfig()
    if metadata:
        (folder / "metadata.tsv").write_text(_table(metadata), encoding="utf-8")
    if images is not None:
        sprite, side = _sprite(images)
        sprite.save(folder / "sprite.png")
    for name, points in vectors.items():
        file = f"{_tag(name)}.tsv"
        points = np.pad(points, ((0, 0), (0, max(COMPONENTS - np.shape(points)[1], 0))))
        np.savetxt(folder / file, points, fmt="%.6g", delimiter="\t")
        embedding = config.embeddings.add(tensor_name=name, tensor_path=file)
        embedding.tensor_shape.extend(points.shape)
        if metadata:
            embedding.metadata_path = "metadata.tsv"
        if images is not None:
            embedding.sprite.image_path = "sprite.png"
            embedding.sprite.single_image_dim.extend(side)
    (folder / "projector_config.pbtxt").write_text(text_format.MessageToString(config), encoding="utf-8")


def features(model: keras.Model) -> keras.Model:
    """The model up to what goes into its last layer with weights: the place of each sample as the model sees it.

    Raises:
        ValueError: The model is not a functional or sequential one, or its last layer has more than one input.
    """
    weighted = [layer for layer in model.layers if layer.weights]
    try:
        return keras.Model(model.inputs, keras.layers.Flatten()(weighted[-1].input))
    except (AttributeError, IndexError, ValueError, TypeError) as error:
        raise ValueError(f"the features of the model {model.name} cannot be taken: {error}") from None


def _table(columns: Mapping[str, Sequence[Any]]) -> str:
    """Tab-separated; a single column has no header, as the projector wants it."""
    rows = [[" ".join(str(cell).split()) for cell in row] for row in zip(*columns.values(), strict=True)]
    header = [list(columns)] if len(columns) > 1 else []
    return "".join("\t".join(row) + "\n" for row in [*header, *rows])


def _sprite(images: np.ndarray) -> tuple[Any, tuple[int, int]]:
    """All images in a square, row by row, with the width and height of one."""
    from PIL import Image

    number = math.ceil(math.sqrt(len(images)))
    side = min(max(images.shape[1:3]), SPRITE_PIXELS // number)
    scale = side / max(images.shape[1:3])
    width, height = (max(1, round(n * scale)) for n in (images.shape[2], images.shape[1]))
    sprite = Image.new("RGB", (number * width, number * height))
    for i, image in enumerate(images):
        image = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).convert("RGB")
        sprite.paste(image.resize((width, height)), (i % number * width, i // number * height))
    return sprite, (width, height)


def _tag(name: str) -> str:
    """A name that can be a tag and a file."""
    return "".join(c if c.isalnum() or c in "-_. " else "_" for c in name).strip() or "_"
