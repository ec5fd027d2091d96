"""Weights as matrices, cut into blocks: what the second-order methods share."""

from __future__ import annotations

import itertools
from typing import Any, ClassVar

import keras
from keras import ops

from optimizers.base import Optimizer, is_table, matrix_shape


class KroneckerOptimizer(Optimizer):
    """Keeps two square matrices for each block of a weight that has two axes or more.

    A kernel is treated as its `matrix_shape`; embeddings, of which a batch sees a few rows, count as vectors. Matrices
    with an axis longer than `block_size` are cut into blocks, each with matrices of its own, so that their cost grows
    with the number of weights and no faster. A subclass names the matrices in `matrices`: each name stands for a left
    (r, r) and a right (c, c) one.
    """

    matrices: ClassVar[tuple[str, ...]] = ()
    block_size: int

    def build(self, variables: Any) -> None:
        if self.built:
            return
        super().build(variables)
        self._shapes = [matrix_shape(v) if len(v.shape) > 1 and not is_table(v) else None for v in variables]
        self._blocks = [[(place, self._matrices(place)) for place in self._places(shape)] for shape in self._shapes]

    def _places(self, shape: tuple[int, int] | None) -> list[tuple[slice, slice]]:
        if shape is None:
            return []
        return [(r, c) for r in _cuts(shape[0], self.block_size) for c in _cuts(shape[1], self.block_size)]

    def _matrices(self, place: tuple[slice, slice]) -> dict[str, tuple[keras.Variable, ...]]:
        sides = [side.stop - side.start for side in place]
        return {name: tuple(self._square(n, name) for n in sides) for name in self.matrices}

    def _square(self, size: int, name: str) -> keras.Variable:
        return self.add_variable((size, size), "zeros", "float32", name=name)

    def shape_of(self, variable: Any) -> tuple[int, int] | None:
        """Rows and columns of the variable's matrix; none of what counts as a vector."""
        return self._shapes[self._get_variable_index(variable)]

    def blocks(self, variable: Any) -> list[tuple[tuple[slice, slice], dict[str, Any]]]:
        """Where each block of a variable's matrix lies, and its matrices; none of what counts as a vector."""
        return self._blocks[self._get_variable_index(variable)]

    def assemble(self, parts: list[Any], variable: Any) -> Any:
        """The tensor of a variable's shape from the blocks of its matrix, in the order of `blocks`."""
        shape = self.shape_of(variable)
        assert shape is not None
        across = len(_cuts(shape[1], self.block_size))
        lines = [ops.concatenate(parts[i : i + across], 1) for i in range(0, len(parts), across)]
        return ops.reshape(ops.concatenate(lines, 0), tuple(variable.shape))


def as_matrix(tensor: Any, shape: tuple[int, int]) -> Any:
    """A kernel as a matrix, in float32."""
    return ops.cast(ops.reshape(tensor, shape), "float32")


def _cuts(length: int, block_size: int) -> list[slice]:
    """Parts of at most the block size, as even as can be."""
    number = -(-length // block_size)
    ends = [round(i * length / number) for i in range(number + 1)]
    return [slice(a, b) for a, b in itertools.pairwise(ends)]
