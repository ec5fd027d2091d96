"""Saliency maps of images: Grad-CAM and integrated gradients."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from pipelines.engine.explain import input_gradients, path_gradients


def last_feature_map(model: keras.Model) -> tuple[keras.Model, keras.Model]:
    """Splits a functional model after its last (B, h, w, C) activation.

    Returns:
        The model up to it, and the model from it to the outputs.

    Raises:
        ValueError: There is no such activation, or the model cannot be split there.
    """
    for layer in reversed(getattr(model, "layers", [])):
        try:
            output = layer.output
        except (AttributeError, ValueError):
            continue
        if isinstance(output, keras.KerasTensor) and len(output.shape) == 4 and output.shape[1] and output.shape[1] > 1:
            node = layer._inbound_nodes[-1]
            tensor = node.outputs[0]
            # One input and one output, and no lists of one, of which Keras warns when it gets an array.
            return keras.Model(model.inputs[0], tensor), keras.Model(tensor, model.outputs[0])
    raise ValueError("the model has no activation with height and width, which Grad-CAM needs")


def grad_cam(model: keras.Model, images: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Grad-CAM: which regions of the last feature map raise the score of a class.

    Args:
        model: From images to logits.
        images: (N, H, W, C), 0..255.
        classes: (N,) the class to explain for each.

    Returns:
        (N, H, W) float32 in 0..1.

    Reference:
        Selvaraju et al., "Grad-CAM", ICCV 2017.
    """
    features, head = last_feature_map(model)
    maps = ops.convert_to_numpy(features(images.astype(np.float32), training=False)).astype(np.float32)
    chosen = ops.convert_to_tensor(np.eye(head.output_shape[-1], dtype=np.float32)[classes])
    gradients = input_gradients(lambda x: ops.sum(head(x, training=False) * chosen), maps)
    heat = np.maximum((maps * gradients.mean((1, 2), keepdims=True)).sum(-1), 0)
    heat = heat / np.maximum(heat.max((1, 2), keepdims=True), 1e-12)
    large = ops.image.resize(heat[..., None], images.shape[1:3], interpolation="bilinear", data_format="channels_last")
    return ops.convert_to_numpy(large)[..., 0]


def integrated_gradients(
    model: keras.Model, images: np.ndarray, classes: np.ndarray, *, steps: int = 32, baseline: float = 0.0
) -> np.ndarray:
    """How much each pixel adds to the logit of a class, relative to a baseline image of one grey value.

    The sum over a map is the difference of the logits between the image and the baseline, up to the error of the
    midpoint rule.

    Args:
        model: From images to logits.
        images: (N, H, W, C), 0..255.
        classes: (N,) the class to explain for each.
        steps: Points on the path from the baseline.
        baseline: Grey value of the baseline, 0..255.

    Returns:
        (N, H, W) float64, signed, summed over the channels.

    Reference:
        Sundararajan et al., "Axiomatic Attribution for Deep Networks", ICML 2017.
    """
    images = images.astype(np.float32)
    chosen = ops.convert_to_tensor(np.eye(model.output_shape[-1], dtype=np.float32)[classes])

    def logits(x: Any) -> Any:
        return ops.sum(model(x, training=False) * chosen)

    return path_gradients(logits, images, np.float32(baseline), steps).sum(-1)
