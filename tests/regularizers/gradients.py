"""Gradients of the backend, and central differences to hold them to."""

import keras
import numpy as np


def backend_gradient(function, array):
    """Gradient of the scalar `function` of a float32 tensor, as the backend's own differentiation gives it."""
    name = keras.backend.backend()
    x = keras.ops.convert_to_tensor(array.astype("float32"))
    if name == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(x)
            value = function(x)
        return tape.gradient(value, x).numpy()
    if name == "jax":
        import jax

        return np.array(jax.grad(function)(x))
    x.requires_grad_(True)
    function(x).backward()
    return x.grad.cpu().numpy()


def central_differences(function, array, step=1e-6):
    """Gradient of a NumPy function at a float64 array."""
    array = array.astype("float64")
    gradient = np.zeros_like(array)
    for index in np.ndindex(*array.shape):
        ahead, behind = array.copy(), array.copy()
        ahead[index] += step
        behind[index] -= step
        gradient[index] = (function(ahead) - function(behind)) / (2 * step)
    return gradient
