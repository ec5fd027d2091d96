"""Penalties on how the outputs, or the loss, change with the input."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
from keras import ops, tree

from regularizers.step import Batch, StepPenalty, advance, one_output


def input_gradients(function: Callable[[list[Any]], tuple[Any, Any]], inputs: list[Any]) -> tuple[list[Any], Any]:
    """Gradients of a scalar function, through which the loss can be differentiated again.

    Args:
        function: Takes the inputs and returns a scalar and something to be passed on.
        inputs: Tensors of floating point.

    Returns:
        The gradients, none where an input does not count, and what was passed on.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(inputs)
            value, rest = function(inputs)
        return tape.gradient(value, inputs), rest
    if backend == "jax":
        import jax

        return jax.grad(function, has_aux=True)(inputs)
    import torch

    inputs = [x.detach().requires_grad_(True) for x in inputs]
    value, rest = function(inputs)
    return list(torch.autograd.grad(value, inputs, create_graph=True, allow_unused=True)), rest


class _OnInputs(StepPenalty):
    """A penalty on gradients with respect to the model's inputs of floating point.

    Args:
        strength: Factor of the penalty in the loss.
        standardize: Measure each input in units of its standard deviation in the batch.
    """

    name = ""

    def __init__(self, strength: float, standardize: bool = True) -> None:
        super().__init__(strength)
        self.standardize = standardize

    def squared_gradients(self, batch: Batch, function: Callable[[Any], Any]) -> Any:
        """(B,) squared lengths of the gradients of the scalar `function(y_pred)` at each sample."""
        one_output(batch.y_pred, self.name)
        flat = tree.flatten(batch.x)
        # Whole numbers that the model casts, such as the bytes of images, are continuous for it; indices are not.
        declared = [t.dtype for t in tree.flatten(getattr(batch.model, "inputs", None) or [])]
        kinds = declared if len(declared) == len(flat) else [keras.backend.standardize_dtype(t.dtype) for t in flat]
        chosen = [i for i, kind in enumerate(kinds) if "float" in kind]

        def of_inputs(values: list[Any]) -> tuple[Any, Any]:
            parts = list(flat)
            for i, value in zip(chosen, values, strict=True):
                parts[i] = value
            outputs, states = batch.forward(tree.pack_sequence_as(batch.x, parts))
            return function(ops.cast(outputs, "float32")), states

        inputs = [ops.cast(flat[i], kinds[i]) for i in chosen]
        gradients, states = input_gradients(of_inputs, inputs) if inputs else ([], [])
        if not inputs or all(g is None for g in gradients):
            raise ValueError(f"{self.name} needs a model with an input of floating point: indices have no gradient")
        advance(states)
        total: Any = 0.0
        for x, gradient in zip(inputs, gradients, strict=True):
            if gradient is not None:
                squares = ops.square(ops.cast(gradient, "float32"))
                scale = ops.var(ops.cast(x, "float32")) if self.standardize else 1.0
                total = total + scale * ops.sum(ops.reshape(squares, (ops.shape(squares)[0], -1)), axis=1)
        return total

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "standardize": self.standardize}


@keras.saving.register_keras_serializable(package="regularizers")
class Jacobian(_OnInputs):
    """strength / 2 * squared Frobenius norm of the Jacobian of the outputs, averaged over the batch.

    The norm is estimated without bias from random projections of the outputs; each costs one more pass forwards and
    two backwards. Outputs are taken as they are: logits where the model gives logits. With batch norm the samples of
    a batch depend on each other a little, and so do their gradients.

    Args:
        strength: Factor of the penalty in the loss.
        projections: Random projections a step; one is enough in the paper.
        standardize: Measure the inputs in units of their standard deviation in the batch, so that the strength means
            the same for pixels 0..255 and 0..1; the paper has inputs of that scale.
        seed: Seed of the projections.

    Reference:
        Hoffman, Roberts & Yaida, "Robust Learning with Jacobian Regularization", 2019.
    """

    name = "jacobian"

    def __init__(
        self, strength: float, projections: int = 1, standardize: bool = True, seed: int | None = None
    ) -> None:
        super().__init__(strength, standardize)
        if projections < 1:
            raise ValueError(f"projections must be at least 1, got {projections}")
        self.projections = projections
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def penalty(self, batch: Batch) -> Any:
        shape = ops.shape(one_output(batch.y_pred, self.name))
        total: Any = 0.0
        for _ in range(self.projections):
            direction = keras.random.normal(shape, dtype="float32", seed=self.seed_generator)
            lengths = ops.sqrt(ops.sum(ops.square(direction), axis=tuple(range(1, len(shape))), keepdims=True))
            direction = direction / ops.maximum(lengths, 1e-12)
            total = total + self.squared_gradients(batch, partial(_projection, direction))
        outputs = 1
        for size in shape[1:]:
            outputs = outputs * size
        outputs = ops.cast(outputs, "float32")
        return self.strength / 2 * outputs / self.projections * batch.mean(total)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "projections": self.projections, "seed": self.seed}


def _projection(direction: Any, outputs: Any) -> Any:
    return ops.sum(outputs * direction)


@keras.saving.register_keras_serializable(package="regularizers")
class InputGradient(_OnInputs):
    """strength / 2 * squared length of the gradient of each sample's loss with respect to its input, averaged.

    Also known as double backpropagation. It needs a loss that is a mean over the samples.

    Args:
        strength: Factor of the penalty in the loss.
        standardize: Measure the inputs in units of their standard deviation in the batch.

    Reference:
        Drucker & LeCun, "Improving Generalization Performance Using Double Backpropagation", 1992; against attacks Ross
        & Doshi-Velez, "Improving the Adversarial Robustness and Interpretability of Deep Neural Networks", 2018.
    """

    name = "input-gradient"

    def penalty(self, batch: Batch) -> Any:
        # The sum over the samples, of which each one's own input moves its own term.
        samples = ops.cast(ops.shape(tree.flatten(batch.x)[0])[0], "float32")
        squares = self.squared_gradients(
            batch, lambda outputs: samples * ops.cast(batch.compute_loss(batch.x, batch.y, outputs, None), "float32")
        )
        return self.strength / 2 * batch.mean(squares)
