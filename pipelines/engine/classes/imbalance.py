"""Rare classes: weights for the loss, chances for the drawing."""

from __future__ import annotations

import numpy as np


def class_weights(labels: np.ndarray, classes: int, kind: str, beta: float = 0.999) -> np.ndarray:
    """The weight of each class, (K,), such that the mean weight of a sample is 1; classes without samples weigh 0.

    Args:
        labels: (N,) integers.
        classes: K.
        kind: `weights` (inverse frequency), `effective-number` (Cui et al., 2019), or another for equal weights.
        beta: Overlap of the samples for `effective-number`.
    """
    counts = np.bincount(labels, minlength=classes).astype(np.float64)
    present = counts > 0
    weights = np.zeros(classes)
    if kind == "weights":
        weights[present] = 1 / counts[present]
    elif kind == "effective-number":
        weights[present] = (1 - beta) / (1 - beta ** counts[present])
    else:
        weights[present] = 1
    return weights * counts.sum() / (weights * counts).sum()


def draw_probabilities(labels: np.ndarray, classes: int) -> np.ndarray:
    """Chances of the samples, (N,), with which every class is drawn equally often."""
    weights = class_weights(labels, classes, "weights")[labels]
    return weights / weights.sum()
