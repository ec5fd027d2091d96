"""Hoyer's measure of sparsity: how many weights count, whatever their scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from regularizers.matrix import TINY, OnMatrix, at_least_float32, column_norms


@keras.saving.register_keras_serializable(package="regularizers")
class Hoyer(OnMatrix):
    """strength * (sum of |w|) / (Euclidean norm of w): from 1 for a single weight to sqrt(n) for n equal ones.

    Args:
        strength: Factor of the penalty in the loss.
        groups: Measure the norms of the columns (neurons, filters) in the place of single weights.
        axis: The axis, or axes, that number the groups; see `OnMatrix`.

    Reference:
        Hoyer, "Non-negative Matrix Factorization with Sparseness Constraints", 2004; as a penalty Yang et al.,
        "DeepHoyer: Learning Sparser Neural Network with Differentiable Scale-Invariant Sparsity Measures", 2020.
    """

    def __init__(self, strength: float, groups: bool = False, axis: int | Sequence[int] | None = None) -> None:
        super().__init__(strength, axis)
        self.groups = groups

    def __call__(self, x: Any) -> Any:
        return self.strength * self._ratio(x)

    def _ratio(self, x: Any) -> Any:
        sizes = column_norms(self.matrix(x)) if self.groups else ops.abs(at_least_float32(x))
        return ops.sum(sizes) / ops.sqrt(ops.maximum(ops.sum(ops.square(sizes)), TINY))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "groups": self.groups}


@keras.saving.register_keras_serializable(package="regularizers")
class HoyerSquare(Hoyer):
    """strength * (sum of |w|)^2 / (sum of w^2): about the number of weights that count, 1 to n.

    Its slope pushes weights below (sum of w^2) / (sum of |w|) to zero and the larger ones up.

    Args:
        strength: Factor of the penalty in the loss.
        groups: Measure the norms of the columns (neurons, filters) in the place of single weights.
        axis: The axis, or axes, that number the groups; see `OnMatrix`.

    Reference:
        Yang et al., "DeepHoyer: Learning Sparser Neural Network with Differentiable Scale-Invariant Sparsity
        Measures", 2020.
    """

    def __call__(self, x: Any) -> Any:
        return self.strength * ops.square(self._ratio(x))
