"""Gradients of a model's output with respect to its inputs, on every backend: what feature attribution is made of."""

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
