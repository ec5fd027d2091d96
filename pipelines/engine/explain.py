"""What did the model look at? Gradients of a class's logit, on every backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops


def input_gradients(function: Callable[[Any], Any], inputs: np.ndarray) -> np.ndarray:
    """Gradient of the scalar `function(inputs)`, of the shape of `inputs`."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        x = tf.convert_to_tensor(inputs)
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = function(x)
        return tape.gradient(value, x).numpy()
    if backend == "jax":
        import jax

        return np.array(jax.grad(lambda x: function(x))(jax.numpy.asarray(inputs)))
    import torch

    x = keras.ops.convert_to_tensor(inputs).detach().clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(function(x), x)
    return gradient.detach().cpu().numpy()


def path_gradients(
    function: Callable[[Any], Any], inputs: np.ndarray, baseline: np.ndarray | np.float32, steps: int
) -> np.ndarray:
    """How much each number of `inputs` adds to the scalar `function(inputs)`, compared with the baseline's.

    They sum to the difference of the two values, up to the error of the midpoint rule over `steps` points.

    Args:
        function: From arrays of the shape of `inputs` to a scalar.
        inputs: float32.
        baseline: float32, where the way begins; of the shape of `inputs` or one that broadcasts to it.
        steps: Points on the way.

    Returns:
        float64, of the shape of `inputs`.

    Reference:
        Sundararajan et al., "Axiomatic Attribution for Deep Networks", ICML 2017.
    """
    path = inputs - baseline
    total = np.zeros(inputs.shape)
    for step in range(steps):
        total += input_gradients(function, baseline + path * np.float32((step + 0.5) / steps))
    return path * total / steps


def last_feature_map(model: keras.Model) -> tuple[keras.Model, keras.Model]:
    """Splits a functional model after its last (B, h, w, C) activation.

    Returns:
        The part up to it and the part from it to the outputs.

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
    """Where the evidence for a class lies, by the last feature map.

    Args:
        model: From pictures to logits.
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
    """How much each pixel adds to the logit of a class, compared with a picture of one grey value.

    The sum over a map is the difference of the logits between the picture and the baseline, up to the error of the
    midpoint rule.

    Args:
        model: From pictures to logits.
        images: (N, H, W, C), 0..255.
        classes: (N,) the class to explain for each.
        steps: Points on the way from the baseline.
        baseline: Its grey value, 0..255.

    Returns:
        (N, H, W) float64, signed, summed over the channels.

    Reference:
        Sundararajan et al., "Axiomatic Attribution for Deep Networks", ICML 2017.
    """
    pictures = images.astype(np.float32)
    chosen = ops.convert_to_tensor(np.eye(model.output_shape[-1], dtype=np.float32)[classes])

    def logits(x: Any) -> Any:
        return ops.sum(model(x, training=False) * chosen)

    return path_gradients(logits, pictures, np.float32(baseline), steps).sum(-1)


def integrated_gradients_of_rows(
    model: keras.Model, x: np.ndarray, classes: np.ndarray, *, steps: int = 32, baseline: np.ndarray | None = None
) -> np.ndarray:
    """How much each number of an encoded row adds to the log-odds of a class, compared with a baseline.

    Args:
        model: From rows (B, D) to logits or log-probabilities (B, K), or to numbers (B, T).
        x: float32 (N, D).
        classes: (N,) the output to explain for each.
        steps: Points on the way from the baseline.
        baseline: (D,) where the way begins; zeros by default: the middle of all numbers, and no category.

    Returns:
        (N, D) float64; a row's sum is the difference of its output from that at the baseline, up to the error of the
        midpoint rule.

    Reference:
        Sundararajan et al., "Axiomatic Attribution for Deep Networks", ICML 2017.
    """
    start = np.zeros(x.shape[1], np.float32) if baseline is None else baseline.astype(np.float32)
    chosen = ops.convert_to_tensor(np.eye(model.output_shape[-1], dtype=np.float32)[classes])
    several = model.output_shape[-1] > 1

    def output(points: Any) -> Any:
        got = model(points, training=False)
        of_class = ops.sum(got * chosen, axis=-1)
        if not several:
            return ops.sum(of_class)
        # Log-odds: how sure of the class against the rest together.
        rest = ops.logsumexp(got - 1e9 * chosen, axis=-1)
        return ops.sum(of_class - rest)

    return path_gradients(output, x, start, steps)
