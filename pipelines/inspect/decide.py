"""From log-probabilities to calibrated probabilities, a threshold and sets of possible classes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import softmax

LEAST_SHARE = 1e-6


def temperature(log_p: np.ndarray, labels: np.ndarray) -> float:
    """The one number by which dividing all logits makes the labels most likely.

    Args:
        log_p: float (N, K) logits or log-probabilities.
        labels: int (N,).

    Reference:
        Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
    """
    rows = np.arange(len(labels))

    def loss(log_t: float) -> float:
        p = softmax(log_p / math.exp(log_t), axis=1)
        return -float(np.log(np.maximum(p[rows, labels], 1e-12)).mean())

    found = minimize_scalar(loss, bounds=(math.log(0.05), math.log(20)), method="bounded")
    return float(math.exp(found.x)) if loss(found.x) < loss(0.0) else 1.0


def isotonic(p: np.ndarray, labels: np.ndarray) -> dict[str, list[float]]:
    """The rising steps of the positive class's share, as knots between which lines are drawn.

    Args:
        p: float (N,) probabilities of the positive class.
        labels: int (N,), 1 for it.

    Reference:
        Zadrozny & Elkan, "Transforming Classifier Scores into Accurate Multiclass Probability Estimates", KDD 2002.
    """
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(p, labels)
    # No finite sample shows that something never happens.
    edge = 1 / (len(labels) + 2)
    return {"x": fitted.X_thresholds_.tolist(), "y": np.clip(fitted.y_thresholds_, edge, 1 - edge).tolist()}


def fit(
    log_p: np.ndarray, labels: np.ndarray, *, kind: str, miss: float, alarm: float, coverage: float
) -> dict[str, Any]:
    """What is learned on the validation part, in JSON's own types.

    Args:
        log_p: float (N, K) logits or log-probabilities.
        labels: int (N,).
        kind: `temperature`, `isotonic` or `none`.
        miss: Cost of a missed positive.
        alarm: Cost of a false alarm.
        coverage: Wanted share of the conformal sets that hold the true class.

    Returns:
        `temperature`, `isotonic` (or none), `threshold` of the positive class (Elkan, "The Foundations of
        Cost-Sensitive Learning", IJCAI 2001), and `conformal`: the least probability of a class in the set of possible
        ones (Sadinle et al., "Least Ambiguous Set-Valued Classifiers", JASA 2019).
    """
    two = log_p.shape[1] == 2
    learned: dict[str, Any] = {"temperature": temperature(log_p, labels) if kind == "temperature" else 1.0}
    learned["isotonic"] = isotonic(softmax(log_p, axis=1)[:, 1], labels) if kind == "isotonic" and two else None
    learned["threshold"] = alarm / (alarm + miss) if two else None
    p = apply(learned, log_p)
    scores = np.sort(p[np.arange(len(labels)), labels])
    # The share of rows below the bound is at most 1 - coverage, with the correction for a finite sample.
    rank = math.floor((len(labels) + 1) * (1 - coverage))
    learned["conformal"] = float(scores[rank - 1]) if rank >= 1 else 0.0
    learned["coverage"] = coverage
    return learned


def apply(learned: Mapping[str, Any], log_p: np.ndarray) -> np.ndarray:
    """Calibrated probabilities float64 (N, K) of logits or log-probabilities (N, K)."""
    p = softmax(np.asarray(log_p, np.float64) / learned["temperature"], axis=1)
    if learned["isotonic"] is not None:
        positive = np.interp(p[:, 1], learned["isotonic"]["x"], learned["isotonic"]["y"])
        p = np.stack([1 - positive, positive], axis=1)
    return p


def possible(learned: Mapping[str, Any], p: np.ndarray) -> np.ndarray:
    """Boolean (N, K): the classes that the conformal set holds."""
    return p >= max(learned["conformal"], LEAST_SHARE)


def chosen(learned: Mapping[str, Any], p: np.ndarray) -> np.ndarray:
    """int (N,): the class decided for, by the threshold where there are two."""
    if learned["threshold"] is None:
        return p.argmax(1)
    return (p[:, 1] >= learned["threshold"]).astype(np.int64)
