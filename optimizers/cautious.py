"""Cautious updates."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from optimizers.base import dense
from optimizers.wrapper import Wrapper


@keras.saving.register_keras_serializable(package="optimizers")
class Cautious(Wrapper):
    """Drops the elements of another optimizer's update that oppose the current gradient, and scales up the others.

    How much they grow counts among the weights whose gradient is not 0, unlike the paper: of an embedding, a batch
    touches a few rows only, whose step would else grow a hundredfold.

    Args:
        inner: The optimizer.
        **kwargs: The arguments of `Wrapper`.

    Reference:
        Liang et al., "Cautious Optimizers: Improving Training with One Line of Code", 2024.
    """

    def wrapped_step(self, gradients: list[Any], variables: list[Any]) -> None:
        before = [ops.copy(ops.convert_to_tensor(v)) for v in variables]
        self.inner_step(gradients, variables)
        for old, gradient, variable in zip(before, gradients, variables, strict=True):
            update = old - variable
            gradient = dense(gradient, variable.dtype)
            agrees = ops.cast(update * gradient > 0, "float32")
            touched = ops.sum(ops.cast(gradient != 0, "float32"))
            factor = ops.cast(agrees * (touched / (ops.sum(agrees) + 1)), variable.dtype)
            self.assign(variable, old - update * factor)
