"""What naive Bayes knows about n-grams before any training."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from pipelines.texts.inputs import COUNT, Windows


def evidence(
    windows: Windows, targets: np.ndarray, size: int, *, smoothing: float = 0.5
) -> tuple[np.ndarray, np.ndarray]:
    """Rarity and evidence of each n-gram, from the training part.

    The rarity is the logarithm of one over the share of the texts that have it (inverse document frequency, smoothed as
    in scikit-learn). The evidence for a class is the logarithm of the n-gram's share of all n-grams of the texts with
    the class, over its share of those without it.

    Args:
        windows: W windows of n-grams, each n-gram once in a window.
        targets: (W, K) of 0 and 1.
        size: Number of n-grams, without 0.
        smoothing: Times that each n-gram counts as seen in both.

    Returns:
        float32 (size + 1,) and (size + 1, K).
    """
    ends = np.cumsum([0, *map(len, windows.ids)])
    ids = np.concatenate([np.zeros(0, np.int32), *windows.ids]) % COUNT
    present = sparse.csr_array((np.ones(len(ids)), ids, ends), shape=(len(windows.ids), size + 1))
    with_class = np.asarray(present.T @ targets.astype(np.float64)) + smoothing
    total = np.asarray(present.sum(axis=0))[:, None]
    without = total - (with_class - smoothing) + smoothing
    with_class[0] = without[0] = 0
    shares = with_class[1:] / with_class.sum(0), without[1:] / without.sum(0)
    ratios = np.concatenate([np.zeros((1, targets.shape[1])), np.log(shares[0]) - np.log(shares[1])])
    rarity = np.log((1 + len(windows.ids)) / (1 + total[:, 0])) + 1
    return rarity.astype(np.float32), ratios.astype(np.float32)
