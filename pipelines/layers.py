"""Layers that the pipelines' models share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable(package="pipelines")
class CaffePreprocessing(keras.layers.Layer):
    """RGB 0..255 to BGR minus the mean of ImageNet: what VGG and the first ResNets were trained on."""

    def call(self, inputs: Any) -> Any:
        mean = ops.convert_to_tensor([103.939, 116.779, 123.68], dtype=inputs.dtype)
        return ops.flip(inputs, axis=-1) - mean

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape


# Low enough that exp() of it is zero, small enough that sums of it stay exact in float32.
FORBIDDEN = -1e4


@keras.saving.register_keras_serializable(package="pipelines")
class CRF(keras.layers.Layer):
    """Linear-chain conditional random field: scores of tags (B, T, K) to scores of tag sequences (B, K + 2 + T, K).

    The output holds all that a sequence's score is made of, so that loss, decoding and an exported model need nothing
    else: rows of the transitions from each tag, of the start and of the end, then the scores of each position. Give it
    to `log_likelihood`, `viterbi` and `marginals` below.

    Args:
        size: Number of tags K.
        forbidden: Pairs (i, j): tag j never follows tag i. Here `size` as i is the start, `size + 1` as j the end.

    Reference:
        Lafferty et al., "Conditional Random Fields", 2001; Lample et al., "Neural Architectures for Named Entity
        Recognition", 2016.
    """

    def __init__(self, size: int, forbidden: Sequence[Sequence[int]] = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.size = size
        self.forbidden = [(int(i), int(j)) for i, j in forbidden]
        self._barrier = np.zeros((size + 2, size), "float32")
        for i, j in self.forbidden:
            ends = j == size + 1
            if not (0 <= i < size + (not ends)) or not (0 <= j < size or ends):
                raise ValueError(f"forbidden holds {(i, j)}, but there are only {size} tags")
            self._barrier[(size + 1, i) if ends else (i, j)] = FORBIDDEN

    def build(self, input_shape: Any) -> None:
        if input_shape[-1] != self.size:
            raise ValueError(f"CRF of {self.size} tags got scores of {input_shape[-1]}")
        self.transitions = self.add_weight(shape=(self.size + 2, self.size), initializer="zeros", name="transitions")

    def call(self, inputs: Any) -> Any:
        inputs = ops.cast(inputs, self.variable_dtype)
        rows = self.transitions + ops.convert_to_tensor(self._barrier)
        rows = ops.broadcast_to(rows, (ops.shape(inputs)[0], *rows.shape))
        return ops.concatenate([rows, inputs], axis=1)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        """A mask ends here: its places are not those of the output."""

    def compute_output_shape(self, input_shape: Any) -> Any:
        batch, length, size = input_shape
        return batch, None if length is None else length + size + 2, size

    def compute_output_spec(self, inputs: Any) -> Any:
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), dtype=self.variable_dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "size": self.size, "forbidden": self.forbidden}


def log_likelihood(scores: Any, tags: Any, mask: Any) -> Any:
    """Log-probability of tag sequences.

    Args:
        scores: (B, K + 2 + T, K), the output of `CRF`.
        tags: (B, T) whole numbers.
        mask: (B, T) boolean, true for a prefix of each row.

    Returns:
        (B,); zero where a row has no position at all.
    """
    emissions, transitions, start, end = _unpack(scores)
    chosen = ops.one_hot(ops.maximum(ops.cast(tags, "int32"), 0), start.shape[-1], dtype=scores.dtype)
    kept = ops.cast(mask, scores.dtype)
    chosen = chosen * kept[..., None]
    last = kept - ops.pad(kept[:, 1:], [[0, 0], [0, 1]])
    score = ops.sum(chosen * emissions, axis=(1, 2))
    score = score + ops.sum(ops.matmul(chosen[:, :-1], transitions) * chosen[:, 1:], axis=(1, 2))
    score = score + ops.sum(chosen[:, 0] * start, axis=-1) + ops.sum(chosen * last[..., None] * end, axis=(1, 2))
    final, _ = _forward(emissions, transitions, start, mask)
    return (score - ops.logsumexp(final + end, axis=-1)) * kept[:, 0]


def viterbi(scores: Any, mask: Any) -> Any:
    """The most probable tag sequences.

    Args:
        scores: (B, K + 2 + T, K), the output of `CRF`.
        mask: (B, T) boolean, true for a prefix of each row.

    Returns:
        int32 (B, T); zero where masked.
    """
    emissions, transitions, start, end = _unpack(scores)
    stay = ops.arange(start.shape[-1], dtype=scores.dtype)

    # TensorFlow's scan wants all it collects to be of the carry's shape and type.
    def step(best: Any, at: Any) -> tuple[Any, Any]:
        emission, real = at[:, :-1], at[:, -1:] > 0
        paths = best[:, :, None] + transitions
        origin = ops.where(real, ops.cast(ops.argmax(paths, axis=1), scores.dtype), stay)
        return ops.where(real, ops.max(paths, axis=1) + emission, best), origin

    best, origins = ops.scan(step, start + emissions[:, 0], _steps(emissions, mask))
    final = ops.cast(ops.argmax(best + end, axis=-1), "int32")

    def back(tag: Any, origin: Any) -> tuple[Any, Any]:
        before = ops.cast(ops.take_along_axis(origin, tag[:, None], axis=1)[:, 0], "int32")
        return before, before

    _, path = ops.scan(back, final, origins, reverse=True)
    tags = ops.concatenate([ops.transpose(path), final[:, None]], axis=1)
    return ops.where(mask, tags, 0)


def marginals(scores: Any, mask: Any) -> Any:
    """Probability of each tag at each position, given the whole sequence.

    Args:
        scores: (B, K + 2 + T, K), the output of `CRF`.
        mask: (B, T) boolean, true for a prefix of each row.

    Returns:
        (B, T, K); zero where masked.
    """
    emissions, transitions, start, end = _unpack(scores)
    first = start + emissions[:, 0]
    final, alphas = _forward(emissions, transitions, start, mask)
    weights, shift = _exponents(ops.transpose(transitions))

    def step(beta: Any, at: Any) -> tuple[Any, Any]:
        emission, real = at[:, :-1], at[:, -1:] > 0
        before = ops.where(real, _log_matmul(beta + emission, weights) + shift, beta)
        return before, before

    ends = ops.broadcast_to(end, ops.shape(final))
    _, betas = ops.scan(step, ends, _steps(emissions, mask), reverse=True)
    alphas = ops.concatenate([first[None], alphas], axis=0)
    betas = ops.concatenate([betas, ends[None]], axis=0)
    total = ops.logsumexp(final + end, axis=-1)[:, None]
    return ops.transpose(ops.exp(alphas + betas - total), (1, 0, 2)) * ops.cast(mask, scores.dtype)[..., None]


def _unpack(scores: Any) -> tuple[Any, Any, Any, Any]:
    size = scores.shape[-1]
    # The transitions are the same in each row.
    return scores[:, size + 2 :], scores[0, :size], scores[0, size], scores[0, size + 1]


def _steps(emissions: Any, mask: Any) -> Any:
    """What a scan over the positions after the first takes: scores with the mask behind them, (T - 1, B, K + 1).

    One tensor, because TensorFlow's scan takes several only where their length is known beforehand.
    """
    joined = ops.concatenate([emissions, ops.cast(mask, emissions.dtype)[..., None]], axis=-1)
    return ops.transpose(joined, (1, 0, 2))[1:]


def _exponents(transitions: Any) -> tuple[Any, Any]:
    top = ops.stop_gradient(ops.max(transitions))
    return ops.exp(transitions - top), top


def _log_matmul(logs: Any, weights: Any) -> Any:
    """log(exp(logs) @ weights), (B, K): a product instead of K x K exponentials a row."""
    top = ops.stop_gradient(ops.max(logs, axis=-1, keepdims=True))
    return ops.log(ops.maximum(ops.matmul(ops.exp(logs - top), weights), 1e-30)) + top


def _forward(emissions: Any, transitions: Any, start: Any, mask: Any) -> tuple[Any, Any]:
    """Log-sums over all beginnings: at the end (B, K), and after each position but the first (T - 1, B, K)."""
    weights, shift = _exponents(transitions)

    def step(alpha: Any, at: Any) -> tuple[Any, Any]:
        emission, real = at[:, :-1], at[:, -1:] > 0
        alpha = ops.where(real, _log_matmul(alpha, weights) + shift + emission, alpha)
        return alpha, alpha

    return ops.scan(step, start + emissions[:, 0], _steps(emissions, mask))


@keras.saving.register_keras_serializable(package="pipelines")
class SpaceToDepth(keras.layers.Layer):
    """(B, H, W, C) to (B, H / n, W / n, n * n * C): each square of n x n pixels becomes one.

    Args:
        block: n; height and width must be multiples of it.
    """

    def __init__(self, block: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.block = block

    def call(self, x: Any) -> Any:
        _, height, width, channels = x.shape
        n = self.block
        x = ops.reshape(x, (-1, height // n, n, width // n, n, channels))
        return ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, height // n, width // n, n * n * channels))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "block": self.block}


@keras.saving.register_keras_serializable(package="pipelines")
class DepthToSpace(keras.layers.Layer):
    """(B, H, W, n * n * C) to (B, H * n, W * n, C): the inverse of `SpaceToDepth`.

    Args:
        block: n.
    """

    def __init__(self, block: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.block = block

    def call(self, x: Any) -> Any:
        _, height, width, channels = x.shape
        n, left = self.block, channels // self.block**2
        x = ops.reshape(x, (-1, height, width, n, n, left))
        return ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, height * n, width * n, left))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "block": self.block}
