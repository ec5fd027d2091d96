"""Batches of pairs of similar length with about the same number of pieces, in a few shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.data.stream import Stream, epoch_order, step_seeds
from pipelines.pairs.pieces import BEGIN, END, PAD

if TYPE_CHECKING:
    from pipelines.pairs.load import Encoded

STEP = 4  # lengths of batches are multiples of it
ROWS = 8  # numbers of pairs in a batch are multiples of it, where there are so many


def boundaries(lengths: np.ndarray, most: int) -> list[int]:
    """At most `most` lengths of batches, multiples of 4, with the least padding for these lengths."""
    slots = -(-lengths // STEP)
    counts = np.bincount(slots)
    used = np.flatnonzero(counts)
    below = np.concatenate([[0], np.cumsum(counts[used])])
    # cost[k][j]: the fewest places for the first j lengths in k buckets, each as long as its last one.
    cost = np.full((most + 1, len(used) + 1), np.inf)
    origin = np.zeros((most + 1, len(used) + 1), np.int64)
    cost[0, 0] = 0
    for k in range(1, most + 1):
        for j in range(1, len(used) + 1):
            options = cost[k - 1, :j] + used[j - 1] * (below[j] - below[:j])
            origin[k, j] = int(options.argmin())
            cost[k, j] = options[origin[k, j]]
    found, j = [], len(used)
    k = int(cost[:, j].argmin())
    while j:
        found.append(int(used[j - 1]) * STEP)
        j, k = int(origin[k, j]), k - 1
    return found[::-1]


def rows_of(length: int, tokens: int) -> int:
    """Pairs in a batch of this length, where a batch has so many pieces."""
    rows = max(tokens // length, 1)
    return rows - rows % ROWS if rows >= ROWS else rows


class PairStream(Stream):
    """Training pairs as batches ((source, target behind its begin), target with its end, weights of its pieces).

    Pairs are dealt to buckets by their longer side. What does not fill a batch of its bucket goes to the next longer
    one, so that an epoch always has the same number of batches of each shape and leaves out less than one batch, other
    pairs each epoch. Which pairs come together is a function of seed and epoch.

    Args:
        pairs: Their pieces.
        lengths: Ends of the buckets, see `boundaries`.
        tokens: Pieces of a batch, padding counted.
        seed: Seed of the order.
    """

    def __init__(self, pairs: Encoded, lengths: Sequence[int], *, tokens: int, seed: int) -> None:
        self._pairs = pairs
        self._ends = np.asarray(lengths)
        self._bucket = np.searchsorted(self._ends, pairs.lengths.max(1) + 1)
        self._rows = [min(rows_of(int(length), tokens), len(pairs)) for length in lengths]
        self._seed = seed
        self._epoch = self._start = 0
        counts = np.bincount(self._bucket, minlength=len(lengths))
        self._batches, rest = [], 0
        for rows, count in zip(self._rows, counts, strict=True):
            self._batches.append((count + rest) // rows)
            rest = (count + rest) % rows
        self.steps_per_epoch = int(sum(self._batches))
        if not self.steps_per_epoch:  # fewer pairs than a batch of the longest bucket has
            self._rows[-1], self._batches[-1], self.steps_per_epoch = len(pairs), 1, 1
        self._most = max(self._rows)
        self.batch_size = max(len(pairs) // self.steps_per_epoch, 1)
        self.dataset = self._build(self._read, _SIGNATURE, _arranged)

    def _plan(self) -> tuple[np.ndarray, np.ndarray]:
        steps, epoch, seed = self.steps_per_epoch, self._epoch, self._seed
        order = epoch_order(len(self._pairs), seed=seed, epoch=epoch)
        plan = np.full((steps, self._most), -1, np.int64)
        rest, step = np.zeros(0, np.int64), 0
        for bucket, (rows, batches) in enumerate(zip(self._rows, self._batches, strict=True)):
            waiting = np.concatenate([rest, order[self._bucket[order] == bucket]])
            plan[step : step + batches, :rows] = waiting[: batches * rows].reshape(batches, rows)
            rest, step = waiting[batches * rows :], step + batches
        plan = plan[np.random.default_rng([seed, epoch, 2]).permutation(steps)]
        return plan[self._start :], step_seeds(steps, seed=seed, epoch=epoch)[self._start :]

    def _width(self) -> int:
        return self._most

    def _present(self, indices: Any) -> Any:
        return indices[indices >= 0]

    def _read(self, indices: np.ndarray) -> tuple[np.ndarray, ...]:
        length = int(self._ends[np.searchsorted(self._ends, self._pairs.lengths[indices].max() + 1)])
        return padded(self._pairs, indices, length)


def padded(pairs: Encoded, indices: np.ndarray, length: int) -> tuple[np.ndarray, ...]:
    """Sources, targets behind their begin, targets with their end (int32) and weights (float32), all (B, length)."""
    source, before, after = (np.full((len(indices), length), PAD, np.int32) for _ in range(3))
    weights = np.zeros((len(indices), length), np.float32)
    for row, number in enumerate(indices):
        text, translation = pairs.pair(int(number))
        size = len(translation)
        source[row, : len(text)] = text
        source[row, len(text)] = END
        before[row, 0], before[row, 1 : size + 1] = BEGIN, translation
        after[row, :size], after[row, size] = translation, END
        weights[row, : size + 1] = 1
    return source, before, after, weights


_SIGNATURE: list[Any] = [((None,), np.int32)] * 3 + [((None,), np.float32)]


def _arranged(source: Any, before: Any, after: Any, weights: Any, seed: Any = None) -> Any:
    return (source, before), after, weights


def validation(pairs: Encoded, lengths: Sequence[int], *, tokens: int) -> Any:
    """All pairs once, by their lengths, in the shapes of the training: a dataset for `evaluate`."""
    import tensorflow as tf

    ends = np.asarray(lengths)
    longest = pairs.lengths.max(1) + 1
    if longest.max() > ends[-1]:
        ends = np.append(ends, -(-int(longest.max()) // STEP) * STEP)
    bucket = np.searchsorted(ends, longest)
    batches: list[tuple[np.ndarray, int]] = []
    for number, length in enumerate(ends):
        members, rows = np.flatnonzero(bucket == number), rows_of(int(length), tokens)
        batches += [(members[start : start + rows], int(length)) for start in range(0, len(members), rows)]

    def generate() -> Any:
        for members, length in batches:
            yield _arranged(*padded(pairs, members, length))

    ids, weights = tf.TensorSpec((None, None), tf.int32), tf.TensorSpec((None, None), tf.float32)
    dataset = tf.data.Dataset.from_generator(generate, output_signature=((ids, ids), ids, weights))
    return dataset.apply(tf.data.experimental.assert_cardinality(len(batches)))
