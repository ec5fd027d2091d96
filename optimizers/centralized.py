"""Gradient centralization."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from optimizers.base import dense, is_table
from optimizers.wrapper import Wrapper


@keras.saving.register_keras_serializable(package="optimizers")
class Centralized(Wrapper):
    """Takes the mean out of the gradient of each output unit or filter, before another optimizer sees it.

    It keeps the mean of the incoming weights of each unit where it began, which regularizes. The mean is taken over all
    axes but the last, as is right for dense layers and convolutions. It covers more than one unit in kernels that have
    units on other axes as well: of depthwise and transposed convolutions, and of queries, keys and values in attention.
    Vectors and embeddings are left alone: a table has no incoming weights, and rows that do not occur in a batch would
    move with the others.

    Args:
        inner: The optimizer.
        **kwargs: The arguments of `Wrapper`.

    Reference:
        Yong et al., "Gradient Centralization: A New Optimization Technique for Deep Neural Networks", ECCV 2020.
    """

    def build(self, variables: Any) -> None:
        if self.built:
            return
        super().build(variables)
        self._tables = [is_table(variable) for variable in variables]

    def wrapped_step(self, gradients: list[Any], variables: list[Any]) -> None:
        pairs = zip(gradients, variables, self.slots_of(self._tables, variables), strict=True)
        self.inner_step([g if table else centralize(dense(g, v.dtype)) for g, v, table in pairs], variables)


def centralize(gradient: Any) -> Any:
    """The gradient (..., out) without its mean over all axes but the last."""
    axes = tuple(range(len(gradient.shape) - 1))
    return gradient - ops.mean(gradient, axes, keepdims=True) if axes else gradient
