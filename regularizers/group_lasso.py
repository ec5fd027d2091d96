"""Group lasso: sparse in whole neurons and filters."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from regularizers.matrix import OnMatrix, column_norms


@keras.saving.register_keras_serializable(package="regularizers")
class GroupLasso(OnMatrix):
    """strength * sum over groups of sqrt(size of the group) * its Euclidean norm.

    A group is what feeds one neuron, or one filter: what falls to zero can be cut out of the network. Gradient steps
    bring a group near zero and make it hover there, at about learning rate * strength * sqrt(size); cut below a
    threshold after training.

    Args:
        strength: Factor of the penalty in the loss.
        axis: The axis, or axes, that number the groups; see `OnMatrix`. With -2 a group is what leaves an input.

    Reference:
        Yuan & Lin, "Model Selection and Estimation in Regression with Grouped Variables", 2006; for networks Wen et
        al., "Learning Structured Sparsity in Deep Neural Networks", 2016.
    """

    def __call__(self, x: Any) -> Any:
        matrix = self.matrix(x)
        return self.strength * math.sqrt(matrix.shape[0]) * ops.sum(column_norms(matrix))
