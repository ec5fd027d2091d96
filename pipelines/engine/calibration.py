"""Calibration: of predictions with a confidence of 90 %, nine in ten should be right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipelines.core.console import say

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, eq=False)
class Reliability:
    """Confidence against accuracy in bins of equal width: what a reliability diagram draws.

    Args:
        edges: (bins + 1,) from 0 to 1; a bin holds its upper edge, not its lower one.
        confidence: (bins,) mean confidence in the bin, NaN if it is empty.
        accuracy: (bins,) fraction of right predictions in the bin, NaN if it is empty.
        counts: (bins,) number of samples in the bin.
    """

    edges: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray
    counts: np.ndarray

    @property
    def error(self) -> float:
        """Expected calibration error: |accuracy - confidence| averaged over the samples."""
        filled = self.counts > 0
        gaps = np.abs(self.accuracy[filled] - self.confidence[filled])
        return float(gaps @ self.counts[filled] / self.counts.sum())

    def to_json(self) -> dict[str, list[float | None]]:
        """The four arrays as lists; the NaN of empty bins becomes None."""
        names = ("edges", "confidence", "accuracy", "counts")
        return {name: [None if np.isnan(x) else x for x in np.asarray(getattr(self, name)).tolist()] for name in names}


def bin_edges(bins: int) -> np.ndarray:
    """Edges of `bins` bins of equal width between 0 and 1, shape (bins + 1,)."""
    if bins < 1:
        raise ValueError(f"a reliability diagram needs at least 1 bin, got {bins}")
    return np.linspace(0.0, 1.0, bins + 1)


def bin_indices(confidence: np.ndarray, bins: int) -> np.ndarray:
    """The bin of each confidence (N,) in 0..1: int64 (N,) in 0..bins-1."""
    return np.clip(np.searchsorted(bin_edges(bins), confidence, side="left") - 1, 0, bins - 1)


def reliability(labels: np.ndarray, probabilities: np.ndarray, bins: int = 15) -> Reliability:
    """Bins the predictions by the confidence in the predicted class.

    Guo et al., "On Calibration of Modern Neural Networks" (2017), after Naeini et al. (2015).

    Args:
        labels: (N,) int, the true classes.
        probabilities: (N, K), rows sum to 1.
        bins: number of bins of equal width; 15 in the paper.

    Raises:
        ValueError: no samples, shapes that do not fit, or fewer than 1 bin.
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, dtype=np.float64)
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1] or not len(labels):
        raise ValueError(
            "reliability needs labels (N,) and probabilities (N, K) with N of at least 1, "
            f"got shapes {labels.shape} and {probabilities.shape}"
        )
    return _binned(probabilities.max(axis=1), probabilities.argmax(axis=1) == labels, bins)


def reliability_of_positive(labels: np.ndarray, p: np.ndarray, bins: int = 15) -> Reliability:
    """Bins the rows by the probability of the positive class; `accuracy` is then the fraction of positive rows.

    Args:
        labels: (N,) int, 1 for the positive class.
        p: float (N,), its probability.
        bins: number of bins of equal width.
    """
    return _binned(np.asarray(p, np.float64), np.asarray(labels) == 1, bins)


def _binned(confidence: np.ndarray, right: np.ndarray, bins: int) -> Reliability:
    where = bin_indices(confidence, bins)
    counts = np.bincount(where, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean_confidence = np.bincount(where, confidence, bins) / counts
        accuracy = np.bincount(where, right, bins) / counts
    return Reliability(bin_edges(bins), mean_confidence, accuracy, counts)


def expected_calibration_error(labels: np.ndarray, probabilities: np.ndarray, bins: int = 15) -> float:
    """Mean distance between confidence and accuracy, 0 (calibrated) to 1; arguments as in `reliability`."""
    return reliability(labels, probabilities, bins).error


def temperature(logits: np.ndarray, targets: np.ndarray, *, several: bool = False) -> float:
    """The number by which logits are divided to minimize the log loss, between 0.05 and 20.

    The targets are softened as Platt (1999) did, by what so few samples can say: n of them without an error speak for a
    confidence of (n + 1) / (n + 2), not of 1. Without that, a few easy samples would ask for the lowest temperature.

    Args:
        logits: (N, K).
        targets: (N, K) of 0 and 1.
        several: The labels are independent of each other (sigmoid instead of softmax).

    References:
        Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
        Platt, "Probabilistic Outputs for Support Vector Machines", Advances in Large Margin Classifiers, 1999.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_expit, log_softmax

    if several:
        positive = targets.sum(axis=0)
        high, low = (positive + 1) / (positive + 2), 1 / (len(targets) - positive + 2)
    else:
        high = (len(targets) + 1) / (len(targets) + 2)
        low = (1 - high) / max(targets.shape[1] - 1, 1)
    targets = low + (high - low) * targets

    def loss(log_temperature: float) -> float:
        z = logits / np.exp(log_temperature)
        if several:
            return float(-(targets * log_expit(z) + (1 - targets) * log_expit(-z)).mean())
        return float(-(targets * log_softmax(z, axis=1)).sum(axis=1).mean())

    found = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20.0)), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(found.x))


def temperatures(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """A temperature for each of K independent labels, (K,); one that no sample has, or every one, keeps 1.

    Args:
        logits: (N, K).
        targets: (N, K) of 0 and 1.
    """
    found = np.ones(logits.shape[1])
    for k in range(len(found)):
        if 0 < targets[:, k].sum() < len(targets):
            found[k] = temperature(logits[:, k : k + 1], targets[:, k : k + 1], several=True)
    return found


def calibrate(model: keras.Model, value: float | np.ndarray) -> bool:
    """Divides the logits by a temperature, inside the last layer, so that exports have it too.

    Args:
        model: Its last layer is a Dense layer (or another with a `kernel` or `scale`) named `logits`.
        value: One temperature, or one for each of the K outputs, (K,).

    Returns:
        Whether it was done: not if the last layer has another form.
    """
    names = {layer.name for layer in getattr(model, "layers", [])}
    layer = model.get_layer("logits") if "logits" in names else None
    factor = getattr(layer, "scale", getattr(layer, "kernel", None))
    if factor is None or layer is not model.layers[-1]:
        return False
    for weight in (factor, getattr(layer, "bias", None)):
        if weight is not None:
            weight.assign(weight / value)
    model.temperature = value * applied(model)
    return True


def applied(model: keras.Model) -> float | np.ndarray:
    """The temperature by which `calibrate` has divided the logits of a model in this process; 1 where it has not."""
    return getattr(model, "temperature", 1.0)


def uncalibrated(probabilities: np.ndarray, value: float | np.ndarray, *, several: bool = False) -> np.ndarray:
    """The probabilities (N, K) that a model gave before its logits were divided by a temperature.

    Exact for a softmax (or, with `several`, sigmoids) of one model; an approximation where predictions were averaged.
    """
    from scipy.special import expit, logit, softmax

    chances = np.clip(np.asarray(probabilities, np.float64), 1e-300 if not several else 1e-15, 1 - 1e-15 * several)
    return expit(value * logit(chances)) if several else softmax(value * np.log(chances), axis=1)


def calibrate_on_validation(
    model: keras.Model, logits: np.ndarray, targets: np.ndarray, *, several: bool = False
) -> None:
    """Fits the temperature on the validation set, divides the model's logits by it, and says so on the console.

    The predicted classes do not change, their confidences do. Several labels have a temperature each. Arguments as in
    `temperature` and `calibrate`.
    """
    value = temperatures(logits, targets) if several else temperature(logits, targets)
    if not calibrate(model, value):
        say("not calibrated: the last layer of the model is not a Dense layer named logits")
    elif isinstance(value, float):
        say(f"calibrated on the validation set: temperature {value:.3f}")
    else:
        say(f"calibrated on the validation set: temperatures {value.min():.3f} to {value.max():.3f}")
