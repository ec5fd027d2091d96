"""Batches whose order is a pure function of (seed, epoch, step), so that training can resume anywhere."""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

AHEAD = 4  # batches

Read = Callable[[np.ndarray], tuple[np.ndarray, ...]]
Transform = Callable[..., tuple[Any, ...]]


class _Calls:
    """Calls of TensorFlow's threads into Python, all over before the interpreter ends.

    A call under way at that moment would never return, and the process never end: TensorFlow waits for the call when it
    frees the iterator. So at exit no more are begun, and those that were are waited for.
    """

    QUIET = 0.1  # seconds without a call, after which there are no more to come: an iterator that nobody reads is full

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way, self._last, self._closed = 0, 0.0, False

    def run(self, function: Callable[..., tuple[Any, ...]], *arguments: Any) -> tuple[Any, ...]:
        with self._lock:
            self._last = time.monotonic()
            if self._closed:
                raise StopIteration  # the end of the data, to TensorFlow
            self._under_way += 1
        try:
            return tuple(function(*arguments))
        finally:
            with self._lock:
                self._under_way -= 1

    def close(self) -> None:
        with self._lock:
            if not self._last:
                return
            self._closed = True
            self._last = time.monotonic()
        while self._under_way or time.monotonic() - self._last < self.QUIET:
            time.sleep(self.QUIET / 10)


_calls = _Calls()
atexit.register(_calls.close)


def epoch_order(
    size: int, *, seed: int, epoch: int, draw: int | None = None, probabilities: np.ndarray | None = None
) -> np.ndarray:
    """Indices of the samples of one epoch, int64 (draw,).

    A permutation of `range(size)`, or `draw` samples drawn with replacement when `probabilities` (size,) are given.
    """
    generator = np.random.default_rng([seed, epoch, 0])
    if probabilities is None:
        return generator.permutation(size)[:draw]
    return generator.choice(size, size=draw or size, p=probabilities)


def step_seeds(steps: int, *, seed: int, epoch: int) -> np.ndarray:
    """Two random int32 for each step of one epoch, (steps, 2): what stateless operations take as their seed."""
    return np.random.default_rng([seed, epoch, 1]).integers(0, 2**31 - 1, size=(steps, 2), dtype=np.int32)


def batches_by_length(
    order: np.ndarray, lengths: np.ndarray, batch_size: int, *, seed: int, epoch: int, pool: int = 50
) -> np.ndarray:
    """An epoch's order as batches (steps, batch_size) of samples of similar length, for rows that are padded.

    The order is cut into pools of `pool` batches; each is sorted by length, and all batches come in random order.
    """
    size = pool * batch_size
    pools = [order[start : start + size] for start in range(0, len(order), size)]
    sorted_order = np.concatenate([part[np.argsort(lengths[part], kind="stable")] for part in pools])
    batches = sorted_order.reshape(-1, batch_size)
    return batches[np.random.default_rng([seed, epoch, 2]).permutation(len(batches))]


class Stream:
    """The training set as batches for `model.fit`, on every backend.

    Each pass over `dataset` is one epoch: the one that `seek` has chosen last. The incomplete batch at the end of an
    epoch is dropped, other samples each epoch, or filled up (`complete`). Reading and transforming run in parallel with
    training.

    Args:
        read: Takes indices (B,) and returns the arrays of these samples, the first axis being B.
        signature: Shape of one sample (without B) and type of each array that `read` returns.
        size: Number of samples.
        batch_size: Samples a step; cut to `size`.
        complete: Every sample is in each epoch: the last batch is filled up with samples from the epoch's beginning.
        seed: Seed of the order and of the transformations.
        probabilities: Probability that each sample is drawn, (size,), summing to 1; without it each sample comes once
            per epoch.
        transform: TensorFlow function of the batched arrays and `seed` (int32 (2,)) that returns what `fit` takes.
        lengths: Length of each sample, (size,): a batch then has samples of similar length.
    """

    def __init__(
        self,
        read: Read,
        signature: Sequence[tuple[tuple[int, ...], Any]],
        size: int,
        *,
        batch_size: int,
        seed: int,
        complete: bool = False,
        probabilities: np.ndarray | None = None,
        transform: Transform | None = None,
        lengths: np.ndarray | None = None,
    ) -> None:
        if size < 1:
            raise ValueError("the training set is empty")
        self.batch_size = min(batch_size, size)
        self.steps_per_epoch = -(-size // self.batch_size) if complete else size // self.batch_size
        self._size = size
        self._seed = seed
        self._probabilities = probabilities
        self._lengths = lengths
        self._epoch = self._start = 0
        self.dataset = self._build(read, signature, transform)

    def seek(self, epoch: int, step: int = 0) -> None:
        """The next pass is epoch `epoch`, from its batch `step` on."""
        if not 0 <= step <= self.steps_per_epoch:
            raise ValueError(f"step must be between 0 and {self.steps_per_epoch}, got {step}")
        self._epoch, self._start = epoch, step

    def _plan(self) -> tuple[np.ndarray, np.ndarray]:
        steps, epoch, seed = self.steps_per_epoch, self._epoch, self._seed
        draw = steps * self.batch_size
        order = epoch_order(self._size, seed=seed, epoch=epoch, draw=draw, probabilities=self._probabilities)
        order = np.resize(order, draw)  # repeats the beginning where the last batch is incomplete
        if self._lengths is not None:
            order = batches_by_length(order, self._lengths, self.batch_size, seed=seed, epoch=epoch)
        batches = order.reshape(steps, self.batch_size).astype(np.int64)
        return batches[self._start :], step_seeds(steps, seed=seed, epoch=epoch)[self._start :]

    def _width(self) -> int:
        """Columns of the plan: the most samples of a batch."""
        return self.batch_size

    def _present(self, indices: Any) -> Any:
        """Of a row of the plan those that are samples; where batches differ in size, the rest is -1."""
        return indices

    def _build(
        self, read: Read, signature: Sequence[tuple[tuple[int, ...], Any]], transform: Transform | None
    ) -> tf.data.Dataset:
        import tensorflow as tf

        def plan(_: tf.Tensor) -> tf.data.Dataset:
            batches, seeds = tf.numpy_function(lambda: _calls.run(self._plan), [], (tf.int64, tf.int32))
            batches.set_shape((None, self._width()))
            seeds.set_shape((None, 2))
            return tf.data.Dataset.from_tensor_slices((batches, seeds))

        reader = _reader(read, signature)
        plans = tf.data.Dataset.range(1).flat_map(plan)
        if transform is None:
            batches = plans.map(lambda indices, _: reader(self._present(indices)), num_parallel_calls=_cores())
        else:
            batches = plans.map(
                lambda indices, seed: transform(*reader(self._present(indices)), seed=seed),
                num_parallel_calls=_cores(),
            )
        dataset = _ahead(batches)
        # Keras asks once how many batches an epoch has. A pass that starts in the middle has fewer: without this,
        # every later epoch would be cut to the length of the first.
        dataset.cardinality = lambda: tf.constant(self.steps_per_epoch, tf.int64)
        return dataset


def ordered(
    read: Read, signature: Sequence[tuple[tuple[int, ...], Any]], size: int, *, batch_size: int
) -> tf.data.Dataset:
    """All samples once, in their order, as batches for `evaluate` and `predict`; the last one may be smaller."""
    import tensorflow as tf

    reader = _reader(read, signature)
    indices = tf.data.Dataset.range(size).batch(batch_size)
    return _ahead(indices.map(reader, num_parallel_calls=_cores()))


def _cores() -> int:
    """Processor cores that this process may use, at most 16: more only cost memory, a batch each."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(available or 1, 16)


def _ahead(batches: tf.data.Dataset) -> tf.data.Dataset:
    """The same batches, some of them made before they are asked for.

    Without TensorFlow's automatic tuning: the end of an epoch may have to wait for its thread, which sleeps for longer
    and longer: an epoch of 50 seconds often took 82 (TensorFlow 2.21).
    """
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    return batches.prefetch(AHEAD).with_options(options)


def _reader(read: Read, signature: Sequence[tuple[tuple[int, ...], Any]]) -> Callable[[Any], tuple[Any, ...]]:
    """`read` as a TensorFlow function with known shapes.

    It is declared free of state: TensorFlow may then run it in parallel also where operations must be deterministic.
    """
    import tensorflow as tf

    types = [tf.as_dtype(dtype) for _, dtype in signature]

    def call(indices: tf.Tensor) -> tuple[tf.Tensor, ...]:
        arrays = tf.numpy_function(lambda i: _calls.run(read, i), [indices], types, stateful=False)
        for array, (shape, _) in zip(arrays, signature, strict=True):
            array.set_shape((indices.shape[0], *shape))
        return tuple(arrays)

    return call
