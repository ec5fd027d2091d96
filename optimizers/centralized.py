"""Gradient centralization."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from optimizers.base import dense
from optimizers.wrapper import Wrapper


@keras.saving.register_keras_serializable(package="optimizers")
class Centralized(Wrapper):
    """Takes the mean out of the gradient of each output unit or filter, before another optimizer sees it.

    It keeps the mean of the incoming weights of each unit where it began, which regularizes. Vectors are left alone.

    Args:
        inner: The optimizer.
        **kwargs: The arguments of `Wrapper`.

    Reference:
        Yong et al., "Gradient Centralization: A New Optimization Technique for Deep Neural Networks", ECCV 2020.
    """

    def wrapped_step(self, gradients: list[Any], variables: list[Any]) -> None:
        self.inner_step([centralize(dense(g, v.dtype)) for g, v in zip(gradients, variables, strict=True)], variables)


def centralize(gradient: Any) -> Any:
    """The gradient (..., out) without its mean over all axes but the last."""
    axes = tuple(range(len(gradient.shape) - 1))
    return gradient - ops.mean(gradient, axes, keepdims=True) if axes else gradient
