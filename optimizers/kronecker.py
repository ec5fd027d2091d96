"""Weights as matrices, cut into blocks: what the second-order methods share."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any, ClassVar

import keras
from keras import ops

from optimizers.base import Optimizer


class KroneckerOptimizer(Optimizer):
    """Keeps two square matrices for each block of a weight that has two axes or more.

    A kernel (h, w, in, out) is treated as the matrix (h * w * in, out). Matrices with an axis longer than `block_size`
    are cut into blocks, each with matrices of its own, so that their cost grows with the number of weights and no
    faster. A subclass names the matrices in `matrices`: each name stands for a left (r, r) and a right (c, c) one.
    """

    matrices: ClassVar[tuple[str, ...]] = ()
    block_size: int

    def build(self, variables: Any) -> None:
        if self.built:
            return
        super().build(variables)
        self._blocks: list[list[dict[str, tuple[keras.Variable, keras.Variable]]]] = []
        for variable in variables:
            kept = []
            for rows, columns in _slices(variable.shape, self.block_size):
                sides = (rows.stop - rows.start, columns.stop - columns.start)
                kept.append({name: tuple(self._square(n, name) for n in sides) for name in self.matrices})
            self._blocks.append(kept)

    def _square(self, size: int, name: str) -> keras.Variable:
        return self.add_variable((size, size), "zeros", "float32", name=name)

    def blocks(self, variable: Any) -> Iterator[tuple[tuple[slice, slice], dict[str, Any]]]:
        """Where each block of a variable's matrix lies, and its matrices; nothing for vectors and scalars."""
        kept = self._blocks[self._get_variable_index(variable)]
        yield from zip(_slices(variable.shape, self.block_size), kept, strict=True)


def as_matrix(tensor: Any) -> Any:
    """(..., n) as (prod, n), in float32."""
    return ops.cast(ops.reshape(tensor, (-1, tensor.shape[-1])), "float32")


def assemble(parts: list[Any], shape: tuple[int, ...], block_size: int) -> Any:
    """The tensor of a shape from the blocks of its matrix, in the order of `blocks`."""
    across = -(-shape[-1] // block_size)
    lines = [ops.concatenate(parts[i : i + across], 1) for i in range(0, len(parts), across)]
    return ops.reshape(ops.concatenate(lines, 0), shape)


def _slices(shape: Any, block_size: int) -> list[tuple[slice, slice]]:
    if len(shape) < 2:
        return []
    rows, columns = math.prod(shape[:-1]), shape[-1]
    return [(r, c) for r in _cuts(rows, block_size) for c in _cuts(columns, block_size)]


def _cuts(length: int, block_size: int) -> list[slice]:
    """Parts of at most the block size, as even as can be."""
    number = -(-length // block_size)
    ends = [round(i * length / number) for i in range(number + 1)]
    return [slice(a, b) for a, b in itertools.pairwise(ends)]
