"""Shampoo: a full-matrix preconditioner for each side of a weight."""

from __future__ import annotations

from typing import Any, ClassVar

import keras
from keras import ops

from optimizers.base import blend, check_rates, debias, norm
from optimizers.kronecker import KroneckerOptimizer, as_matrix

GRAFTS = ("adam", "rmsprop", "sgd", "none")


@keras.saving.register_keras_serializable(package="optimizers")
class Shampoo(KroneckerOptimizer):
    """Divides the averaged gradient by the fourth roots of its left and right covariances.

    Its direction is Shampoo's, its length (grafting) that of a simpler method, whose learning rates therefore serve.
    The roots are computed anew every `refresh` steps; until the first time the simpler method runs alone. Biases,
    norms and other vectors, and embeddings, take the simpler method as well.

    Args:
        learning_rate: A number or a schedule.
        beta_1: Decay rate of the average of the gradients.
        beta_2: Decay rate of the covariances and of the grafted method's second moment.
        refresh: Steps between two computations of the roots.
        graft: `adam`, `rmsprop` (Adam without an average of the gradients), `sgd`, or `none` for Shampoo's own length.
        block_size: Longest side of a block; longer matrices are cut.
        matrix_epsilon: Added to the eigenvalues, in relation to the largest one.
        epsilon: Added to the root of the grafted method's second moment.
        **kwargs: The arguments of `keras.optimizers.Optimizer`.

    Reference:
        Gupta et al., "Shampoo: Preconditioned Stochastic Tensor Optimization", ICML 2018; blocks, grafting and refresh
        interval as in Anil et al., "Scalable Second Order Optimization for Deep Learning", 2020, and Shi et al., "A
        Distributed Data-Parallel PyTorch Implementation of the Distributed Shampoo Optimizer", 2023.
    """

    settings: ClassVar = ("beta_1", "beta_2", "refresh", "graft", "block_size", "matrix_epsilon", "epsilon")
    slots: ClassVar = ("momentum", "velocity")
    matrices: ClassVar = ("covariance", "root")

    def __init__(
        self,
        learning_rate: Any = 1e-3,
        beta_1: float = 0.9,
        beta_2: float = 0.99,
        refresh: int = 10,
        graft: str = "adam",
        block_size: int = 512,
        matrix_epsilon: float = 1e-6,
        epsilon: float = 1e-8,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, **kwargs)
        check_rates(self, beta_1=beta_1, beta_2=beta_2)
        if refresh < 1 or block_size < 1:
            raise ValueError(f"refresh and block_size must be at least 1, got {refresh} and {block_size}")
        if graft not in GRAFTS:
            raise ValueError(f"graft must be one of {', '.join(GRAFTS)}, got {graft!r}")
        self.refresh = refresh
        self.graft = graft
        self.block_size = block_size
        self.matrix_epsilon = matrix_epsilon
        self.epsilon = epsilon

    def step(self, gradient: Any, variable: Any, rate: Any, *slots: Any) -> None:
        momentum, velocity = slots
        count = self.count(gradient.dtype)
        m = blend(momentum, gradient, self.beta_1)
        v = blend(velocity, ops.square(gradient), self.beta_2)
        self.assign(momentum, m)
        self.assign(velocity, v)
        average = m / debias(self.beta_1, count)
        root = ops.sqrt(v / debias(self.beta_2, count)) + self.epsilon
        simple = {"adam": average / root, "rmsprop": gradient / root}.get(self.graft, average)
        shape = self.shape_of(variable)
        if shape is None:
            change = simple
        else:
            change = self._shaped(variable, *(as_matrix(tensor, shape) for tensor in (gradient, average, simple)))
        self.assign_sub(variable, rate * ops.cast(change, gradient.dtype))

    def _shaped(self, variable: Any, matrix: Any, direction: Any, grafted: Any) -> Any:
        count = self.count("float32")
        due = ops.equal((self.iterations + 1) % self.refresh, 0)
        parts = []
        for (rows, columns), kept in self.blocks(variable):
            g = matrix[rows, columns]
            products = (g @ ops.transpose(g), ops.transpose(g) @ g)
            for covariance, root, product in zip(kept["covariance"], kept["root"], products, strict=True):
                new = blend(ops.convert_to_tensor(covariance), product, self.beta_2)
                self.assign(covariance, new)
                unbiased = new / debias(self.beta_2, count)
                self.assign(root, ops.cond(due, lambda c=unbiased: self._root(c), lambda r=root: ops.copy(r)))
            left, right = (ops.convert_to_tensor(r) for r in kept["root"])
            change = left @ direction[rows, columns] @ right
            if self.graft != "none":
                length = norm(change)
                change = change * norm(grafted[rows, columns]) / ops.where(length > 0, length, ops.ones_like(length))
            parts.append(ops.where(count < self.refresh, grafted[rows, columns], change))
        return self.assemble(parts, variable)

    def _root(self, covariance: Any) -> Any:
        """The inverse fourth root of a symmetric matrix."""
        values, vectors = ops.eigh(covariance)
        values = ops.maximum(values, 0) + self.matrix_epsilon * ops.maximum(values[-1], 1e-30)
        return (vectors * ops.power(values, -0.25)) @ ops.transpose(vectors)
