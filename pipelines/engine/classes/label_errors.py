"""Labels that are probably wrong: confident learning."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Suspects:
    """Samples whose labels look wrong, the worst first.

    Args:
        indices: int64 (S,), their numbers.
        suggested: int64 (S,), the class that each seems to have.
        margins: float64 (S,), the probability of the given class minus that of the suggested one, at least -1.
        joint: int64 (K, K), how many samples with label i (row) are confidently predicted as class j (column).
    """

    indices: np.ndarray
    suggested: np.ndarray
    margins: np.ndarray
    joint: np.ndarray


def suspects(labels: np.ndarray, probabilities: np.ndarray) -> Suspects:
    """Finds samples that are confidently predicted as another class than their label.

    The threshold of a class is the mean probability of that class over its own samples; a sample counts as class j if
    its probability of j reaches the threshold of j (the highest such j counts). If j is not its label, it is suspect.

    Args:
        labels: (N,) integers.
        probabilities: (N, K) from a model that was not trained on these samples (use cross-validation).

    Raises:
        ValueError: The shapes do not fit.

    Reference:
        Northcutt, Jiang & Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR 2021.
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, np.float64)
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1]:
        raise ValueError(f"expected labels (N,) and probabilities (N, K), got {labels.shape} and {probabilities.shape}")
    number = probabilities.shape[1]
    present = np.bincount(labels, minlength=number) > 0
    thresholds = np.array([probabilities[labels == k, k].mean() if present[k] else np.inf for k in range(number)])
    confident = np.where(probabilities >= thresholds, probabilities, -1.0)
    seems = confident.argmax(axis=1)
    counted = confident.max(axis=1) >= 0
    joint = np.zeros((number, number), np.int64)
    np.add.at(joint, (labels[counted], seems[counted]), 1)
    found = np.flatnonzero(counted & (seems != labels))
    margins = probabilities[found, labels[found]] - probabilities[found, seems[found]]
    order = np.argsort(margins, kind="stable")
    return Suspects(found[order], seems[found][order], margins[order], joint)
