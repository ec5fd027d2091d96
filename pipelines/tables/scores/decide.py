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
    log_p: np.ndarray,
    labels: np.ndarray,
    *,
    kind: str,
    coverage: float,
    costs: np.ndarray | None = None,
    weights: np.ndarray | None = None,
) -> dict[str, Any]:
    """What is learned on rows that the model has not learned from, in JSON's own types.

    Where copies of a model leave out a fold each, these are the rows of all folds, each answered by the copy that has
    not seen it. It is then applied to the mean of the copies' answers, which as a rule is better and less extreme than
    each of them: that difference these rows cannot show.

    Args:
        log_p: float (N, K) logits or log-probabilities.
        labels: int (N,).
        kind: `temperature`, `isotonic` or `none`.
        coverage: Wanted share of the conformal sets that hold the true class.
        costs: float (K, K): entry (i, j) is the cost of deciding for class j where i is true. By default all mistakes
            cost the same.
        weights: float (K,): how many times each class counted in training; once by default.

    Returns:
        `prior`, logarithms of the weights (or none), `temperature`, `isotonic` (or none), `threshold` of the positive
        class of two, `costs` of more classes (or none; Elkan, "The Foundations of Cost-Sensitive Learning", IJCAI
        2001), and `conformal`: the least probability of a class in the set of possible ones (Sadinle et al., "Least
        Ambiguous Set-Valued Classifiers", JASA 2019).
    """
    two = log_p.shape[1] == 2
    learned: dict[str, Any] = {"prior": None if weights is None else np.log(weights).tolist()}
    log_p = _without_prior(learned, log_p)
    learned["temperature"] = temperature(log_p, labels) if kind == "temperature" else 1.0
    learned["isotonic"] = isotonic(softmax(log_p, axis=1)[:, 1], labels) if kind == "isotonic" and two else None
    learned["threshold"] = _threshold(1 - np.eye(2) if costs is None else costs) if two else None
    learned["costs"] = None if two or costs is None else costs.tolist()
    p = _calibrated(learned, log_p)
    scores = np.sort(p[np.arange(len(labels)), labels])
    # The share of rows below the bound is at most 1 - coverage, with the correction for a finite sample.
    rank = math.floor((len(labels) + 1) * (1 - coverage))
    learned["conformal"] = float(scores[rank - 1]) if rank >= 1 else 0.0
    learned["coverage"] = coverage
    return learned


def apply(learned: Mapping[str, Any], log_p: np.ndarray) -> np.ndarray:
    """Calibrated probabilities float64 (N, K) of logits or log-probabilities (N, K), at the classes' true shares."""
    return _calibrated(learned, _without_prior(learned, log_p))


def _without_prior(learned: Mapping[str, Any], log_p: np.ndarray) -> np.ndarray:
    """The log-probabilities float64 (N, K), up to a number a row, that unweighted training would have aimed at.

    A class that counts w times in training gets w times the odds; a temperature, which only scales, cannot mend that.

    Reference:
        Saerens et al., "Adjusting the Outputs of a Classifier to New a Priori Probabilities", Neural Computation 2002.
    """
    log_p = np.asarray(log_p, np.float64)
    return log_p if learned.get("prior") is None else log_p - np.array(learned["prior"])


def _calibrated(learned: Mapping[str, Any], log_p: np.ndarray) -> np.ndarray:
    p = softmax(log_p / learned["temperature"], axis=1)
    if learned["isotonic"] is not None:
        positive = np.interp(p[:, 1], learned["isotonic"]["x"], learned["isotonic"]["y"])
        p = np.stack([1 - positive, positive], axis=1)
    return p


def _threshold(costs: np.ndarray) -> float:
    """Probability of the second of two classes from which on to decide for it costs no more than for the first."""
    alarm, miss = costs[0, 1] - costs[0, 0], costs[1, 0] - costs[1, 1]
    return float(alarm / (alarm + miss))


def possible(learned: Mapping[str, Any], p: np.ndarray) -> np.ndarray:
    """Boolean (N, K): the classes that the conformal set holds; the most probable one always is among them.

    Where the model is right more often than the coverage asks, the bound lies above the best class of some rows. Their
    sets would be empty, which says that the model is in doubt, not that the row is like no class.
    """
    held = p >= max(learned["conformal"], LEAST_SHARE)
    held[np.arange(len(p)), p.argmax(1)] = True
    return held


def unsure(held: np.ndarray, decided: np.ndarray) -> np.ndarray:
    """Boolean (N,): rows whose set is another than just the class decided for.

    A set of one class says that each of the others is too improbable, at the coverage that holds over all rows
    together; where the costs speak for another class than that one, the row is no sure one.

    Args:
        held: bool (N, K), of `possible`.
        decided: int (N,), of `chosen`.
    """
    return (held.sum(1) != 1) | ~held[np.arange(len(held)), decided]


def chosen(learned: Mapping[str, Any], p: np.ndarray) -> np.ndarray:
    """int (N,): the class decided for: by the threshold of two, the least expected cost, or the highest probability."""
    if learned["threshold"] is not None:
        return (p[:, 1] >= learned["threshold"]).astype(np.int64)
    costs = learned.get("costs")  # runs of before have none
    return p.argmax(1) if costs is None else (p @ np.array(costs)).argmin(1)
