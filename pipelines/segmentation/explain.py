"""What a predicted region depends on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from pipelines.core.errors import UserError
from pipelines.engine import figures, report
from pipelines.engine.explain import path_gradients
from pipelines.segmentation.colours import colours, overlay
from pipelines.segmentation.load import Samples
from pipelines.segmentation.predict import probabilities_of, viewable
from pipelines.segmentation.read import SegmentSpec

STEPS = 16


def blocks(model: keras.Model, spec: dict[str, Any], given: Sequence[str] | Samples, number: int) -> list[report.Block]:
    """A figure: predicted classes, confidence, and integrated gradients of the largest object's class.

    Args:
        model: From images to logits (B, H, W, K).
        spec: Of the run.
        given: Files, or samples of which the first `number` are shown.
        number: How many samples.

    Raises:
        UserError: A file cannot be read.
    """
    if isinstance(given, Samples):
        chosen = np.arange(min(number, len(given)))
        images, names = given.read(chosen)[0], [given.names[i] for i in chosen]
    else:
        image, read = SegmentSpec(**spec["image"]), []
        for file in given:
            try:
                read.append(image.read(file))
            except ValueError as error:
                raise UserError(f"{file}: {error}") from None
        images, names = np.stack(read), [Path(file).name for file in given]
    chances = probabilities_of(model, images)
    predicted = chances.argmax(-1)
    pixels = np.stack([np.bincount(mask.ravel(), minlength=chances.shape[-1]) for mask in predicted])
    largest = np.where(pixels[:, 1:].any(1), pixels[:, 1:].argmax(1) + 1, 0)
    captions = [f"{name}\n{spec['classes'][k]}" for name, k in zip(names, largest, strict=True)]
    palette = colours(len(spec["classes"]))
    shown = np.stack([overlay(viewable(x), mask, palette) for x, mask in zip(images, predicted, strict=True)])
    maps = {"1 - confidence": 1 - chances.max(-1), "integrated gradients": region_gradients(model, images, largest)}
    caption = (
        "The predicted classes in colour; where the model is not confident; and by integrated gradients, on which "
        "pixels the largest predicted region depends: blue raises the logit of its class inside it, red lowers it."
    )
    drawn = figures.explanations(shown, maps, captions)
    return [report.Figure("explanations", drawn, caption, "Images with what their largest region depends on")]


def region_gradients(model: keras.Model, images: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Integrated gradients (Sundararajan et al., 2017) of the mean logit of a class over its predicted region.

    Args:
        model: From images to logits (B, H, W, K).
        images: uint8 (N, H, W, C).
        classes: (N,) the class of each.

    Returns:
        float64 (N, H, W), signed, summed over the channels.
    """
    pixels = images.astype(np.float32)
    logits = ops.convert_to_numpy(model(pixels, training=False))
    one_hot = np.eye(logits.shape[-1], dtype=np.float32)[classes][:, None, None]
    region = (logits.argmax(-1) == classes[:, None, None])[..., None]
    weights = ops.convert_to_tensor(
        (one_hot * region / np.maximum(region.sum((1, 2), keepdims=True), 1)).astype("float32")
    )

    def value(x: Any) -> Any:
        return ops.sum(model(x, training=False) * weights)

    return path_gradients(value, pixels, np.float32(0), STEPS).sum(-1)
