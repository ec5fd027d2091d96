"""SOAP: Adam in the eigenbasis of Shampoo."""

from __future__ import annotations

from typing import Any, ClassVar

import keras
from keras import ops

from optimizers.base import blend, check_rates, debias
from optimizers.kronecker import KroneckerOptimizer, as_matrix


@keras.saving.register_keras_serializable(package="optimizers")
class SOAP(KroneckerOptimizer):
    """Runs Adam on gradients that are turned into the axes in which they vary independently.

    The axes are the eigenvectors of the averaged G G^T and G^T G of each matrix G of gradients. They are found at the
    first step, which changes no weight, and then followed by one orthogonal iteration every `refresh` steps. Biases,
    norms and other vectors, and embeddings, take plain Adam.

    Args:
        learning_rate: A number or a schedule.
        beta_1: Decay rate of the average of the gradients.
        beta_2: Decay rate of the average of the squared turned gradients.
        matrix_beta: Decay rate of the averaged G G^T and G^T G; none takes `beta_2`.
        refresh: Steps between two refreshes of the axes.
        block_size: Longest side of a block; longer matrices are cut.
        epsilon: Added to the root of the second moment.
        **kwargs: The arguments of `keras.optimizers.Optimizer`.

    Reference:
        Vyas et al., "SOAP: Improving and Stabilizing Shampoo using Adam", ICLR 2025.
    """

    settings: ClassVar = ("beta_1", "beta_2", "matrix_beta", "refresh", "block_size", "epsilon")
    slots: ClassVar = ("momentum", "velocity")
    matrices: ClassVar = ("covariance", "basis")

    def __init__(
        self,
        learning_rate: Any = 3e-3,
        beta_1: float = 0.95,
        beta_2: float = 0.95,
        matrix_beta: float | None = None,
        refresh: int = 10,
        block_size: int = 1024,
        epsilon: float = 1e-8,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, **kwargs)
        check_rates(self, beta_1=beta_1, beta_2=beta_2)
        if matrix_beta is not None:
            check_rates(self, matrix_beta=matrix_beta)
        if refresh < 1 or block_size < 1:
            raise ValueError(f"refresh and block_size must be at least 1, got {refresh} and {block_size}")
        self.matrix_beta = matrix_beta
        self.refresh = refresh
        self.block_size = block_size
        self.epsilon = epsilon

    def step(self, gradient: Any, variable: Any, rate: Any, *slots: Any) -> None:
        momentum, velocity = slots
        done = ops.cast(self.iterations, gradient.dtype)  # the first step counts for nothing
        count = ops.maximum(done, 1)
        scale = rate * ops.sqrt(debias(self.beta_2, count)) / debias(self.beta_1, count)
        shape = self.shape_of(variable)
        if shape is None:
            gradient = ops.where(done > 0, gradient, ops.zeros_like(gradient))
            m = blend(momentum, gradient, self.beta_1)
            v = blend(velocity, ops.square(gradient), self.beta_2)
            change = m / (ops.sqrt(v) + self.epsilon)
        else:
            matrices = (as_matrix(tensor, shape) for tensor in (gradient, momentum, velocity))
            m, v, change = (ops.cast(part, gradient.dtype) for part in self._turned(variable, *matrices))
        self.assign(momentum, m)
        self.assign(velocity, v)
        self.assign_sub(variable, scale * change)

    def _turned(self, variable: Any, whole: Any, old_m: Any, old_v: Any) -> list[Any]:
        results: tuple[list[Any], list[Any], list[Any]] = ([], [], [])
        for (rows, columns), kept in self.blocks(variable):
            g = whole[rows, columns]
            left, right = (ops.convert_to_tensor(b) for b in kept["basis"])
            # Before the first bases are known they are zero, and so are the turned gradient and the change.
            turned = ops.transpose(left) @ g @ right
            m = blend(old_m[rows, columns], turned, self.beta_1)
            v = blend(old_v[rows, columns], ops.square(turned), self.beta_2)
            change = left @ (m / (ops.sqrt(v) + self.epsilon)) @ ops.transpose(right)
            beta = self.beta_2 if self.matrix_beta is None else self.matrix_beta
            covariances = [
                blend(ops.convert_to_tensor(c), p, beta)
                for c, p in zip(kept["covariance"], (g @ ops.transpose(g), ops.transpose(g) @ g), strict=True)
            ]
            m, v, left, right = self._follow(covariances, m, v, left, right)
            for variables, values in ((kept["covariance"], covariances), (kept["basis"], (left, right))):
                for matrix, value in zip(variables, values, strict=True):
                    self.assign(matrix, value)
            for result, value in zip(results, (m, v, change), strict=True):
                result.append(value)
        return [self.assemble(result, variable) for result in results]

    def _follow(self, covariances: list[Any], m: Any, v: Any, left: Any, right: Any) -> list[Any]:
        """The new bases, and the moments in them."""

        def first() -> list[Any]:
            return [m, v, *(ops.flip(ops.eigh(c)[1], 1) for c in covariances)]

        def refresh() -> list[Any]:
            new_left, rows = _iterate(covariances[0], left)
            new_right, columns = _iterate(covariances[1], right)
            moment = ops.transpose(new_left) @ (left @ m @ ops.transpose(right)) @ new_right
            return [moment, ops.take(ops.take(v, rows, 0), columns, 1), new_left, new_right]

        def later() -> list[Any]:
            due = ops.equal(self.iterations % self.refresh, 0)
            return ops.cond(due, refresh, lambda: [m, v, left, right])

        return ops.cond(ops.equal(self.iterations, 0), first, later)


def _iterate(covariance: Any, basis: Any) -> tuple[Any, Any]:
    """One orthogonal iteration, largest eigenvalues first, and the order of the old axes."""
    product = covariance @ basis
    order = ops.argsort(-ops.sum(basis * product, 0))
    return ops.qr(ops.take(product, order, 1))[0], order
