"""Random tensors whose seeds depend on their place alone."""

from __future__ import annotations

from typing import Any


class Draws:
    """Random tensors, each from a seed of its own."""

    def __init__(self, seed: Any, batch: Any) -> None:
        self.seed = seed
        self.batch = batch
        self._count = 0

    def fresh(self) -> Any:
        """The next seed, int32 (2,)."""
        import tensorflow as tf

        self._count += 1
        return tf.random.experimental.stateless_fold_in(self.seed, self._count)

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Any:
        """(B, *shape) float32, uniform in [low, high)."""
        import tensorflow as tf

        return tf.random.stateless_uniform((self.batch, *shape), self.fresh(), low, high)

    def integers(self, *shape: int, high: int) -> Any:
        """(B, *shape) int32 in 0 .. high - 1."""
        import tensorflow as tf

        return tf.random.stateless_uniform((self.batch, *shape), self.fresh(), 0, high, tf.int32)

    def beta(self, alpha: float) -> Any:
        """One number from Beta(alpha, alpha)."""
        import tensorflow as tf

        a = tf.random.stateless_gamma((2,), self.fresh(), alpha)
        return a[0] / tf.maximum(a[0] + a[1], 1e-20)
