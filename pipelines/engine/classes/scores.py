"""Scores of a classifier on samples that it has not seen, with their confidence intervals."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from sklearn import metrics as sk

from pipelines.core.errors import UserError
from pipelines.engine import intervals
from pipelines.engine.calibration import Reliability, bin_indices, reliability
from pipelines.metrics import Estimate, interval, resample_indices

BINS = 15
TOP = 5
# Softmax in bfloat16 leaves sums this far from 1; anything farther is not a probability.
_SUM_TOLERANCE = 0.02
# Ranking metrics walk through all samples for every class and resample: past this many steps they get fewer
# resamples, never under 100.
_RANKING_WORK = 1_000_000_000
# Repeated samples make these look larger than they are, so their draws are shifted back to the value.
_BIASED = ("expected_calibration_error", "average_precision")


@dataclass(frozen=True)
class ClassScores:
    """One row of the per-class table; what is undefined (a class never seen or never predicted) is NaN."""

    name: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, eq=False)
class Classification:
    """What there is to know about a classifier on one set of samples.

    Args:
        classes: K names.
        metrics: name to value and 95 % interval; NaN where the data leave a metric undefined.
        per_class: K rows.
        confusion: (K, K) int, rows are the true classes, columns the predicted ones.
        reliability: the bins of the reliability diagram.
        labels: (N,) int64.
        probabilities: (N, K) float64, rows sum to 1.
        resamples: bootstrap resamples behind the intervals.
        predicted: (N,) int64: the class decided for.
    """

    classes: tuple[str, ...]
    metrics: dict[str, Estimate]
    per_class: tuple[ClassScores, ...]
    confusion: np.ndarray
    reliability: Reliability
    labels: np.ndarray
    probabilities: np.ndarray
    resamples: int
    predicted: np.ndarray

    @property
    def confidence(self) -> np.ndarray:
        """(N,) float64: the probability of the predicted class."""
        return self.probabilities[np.arange(len(self.labels)), self.predicted]

    def to_json(self) -> dict[str, Any]:
        """All but the samples themselves, in JSON's own types; undefined numbers are None."""
        return {
            "samples": len(self.labels),
            "resamples": self.resamples,
            "classes": list(self.classes),
            "metrics": {name: estimate.to_json() for name, estimate in self.metrics.items()},
            "per_class": [
                {
                    name: None if isinstance(value, float) and math.isnan(value) else value
                    for name, value in vars(row).items()
                }
                for row in self.per_class
            ],
            "confusion": self.confusion.tolist(),
            "reliability": self.reliability.to_json(),
        }


def classification(
    labels: np.ndarray,
    probabilities: np.ndarray,
    classes: Sequence[str],
    *,
    seed: int,
    resamples: int = 1000,
    decided: np.ndarray | None = None,
    groups: np.ndarray | None = None,
) -> Classification:
    """Scores predictions, each with a 95 % interval.

    Accuracy, balanced accuracy, macro F1 and, of two classes, ROC AUC have analytic intervals that also hold where no
    sample is wrong (`pipelines.engine.intervals`); the other scores, and all of them with `groups`, have percentile
    bootstrap intervals, and one of Wilson where the bootstrap has no width.

    The values are scikit-learn's. Classes without a sample count in no average. `brier` is the sum of squared
    distances over the classes (Brier 1950, 0 to 2), halved for two classes as scikit-learn does;
    `expected_calibration_error` is that of Guo et al. (2017) with 15 bins; `roc_auc` is one class against the
    rest and, like `average_precision`, the mean over the classes, both with fewer resamples (at least 100)
    where N times K is over a million. The intervals of `expected_calibration_error` and `average_precision`
    are shifted by the bias that the bootstrap shows: without that they can lie wholly above the value.

    Args:
        labels: (N,) int in 0..K-1, the true classes.
        probabilities: (N, K), each row sums to 1 up to the rounding of low precision.
        classes: K names, at least 2.
        seed: of the resamples.
        resamples: how often the samples are drawn anew.
        decided: (N,) int, the predicted class of each sample; the most probable one by default.
        groups: (N,) int, what the bootstrap draws together (`pipelines.metrics.resample_indices`).

    Raises:
        ValueError: shapes that do not fit, labels out of range, or rows that are no probabilities.
        UserError: probabilities that are not finite: the training diverged.
    """
    labels, probabilities = _checked(labels, probabilities, len(classes))
    number = len(classes)
    names = tuple(str(name) for name in classes)
    predicted = probabilities.argmax(axis=1) if decided is None else decided

    values = _values(labels, predicted, probabilities)
    affordable = max(100, _RANKING_WORK // probabilities.size)
    draws = _draws(labels, predicted, probabilities, seed, resamples, groups)
    draws |= _ranking_draws(labels, probabilities, seed, min(resamples, affordable), groups)
    for name in _BIASED:
        draws[name] -= np.nanmean(draws[name]) - values[name]
    estimates = {name: Estimate(value, *interval(draws[name])) for name, value in values.items()}
    for name in _BIASED:
        low, high = np.clip([estimates[name].low, estimates[name].high], 0, 1).tolist()
        estimates[name] = Estimate(values[name], low, high)
    estimates |= _at_bounds(estimates, labels, predicted, groups)

    precision, recall, f1, support = sk.precision_recall_fscore_support(
        labels, predicted, labels=range(number), zero_division=np.nan
    )
    rows = zip(names, precision.tolist(), recall.tolist(), f1.tolist(), support.tolist(), strict=True)
    return Classification(
        classes=names,
        metrics=estimates,
        per_class=tuple(ClassScores(*row) for row in rows),
        confusion=sk.confusion_matrix(labels, predicted, labels=range(number)),
        reliability=reliability(labels, probabilities, BINS),
        labels=labels,
        probabilities=probabilities,
        resamples=resamples,
        predicted=predicted,
    )


def _at_bounds(
    estimates: dict[str, Estimate], labels: np.ndarray, predicted: np.ndarray, groups: np.ndarray | None
) -> dict[str, Estimate]:
    """Intervals that hold where no sample, or every one, is wrong."""
    supports = np.bincount(labels)
    supports = supports[supports > 0]
    drawn = len(labels) if groups is None else len(np.unique(groups))
    rarest = float(supports.min() * drawn / len(labels))
    found = {name: intervals.widened(estimates[name], drawn) for name in ("accuracy", "macro_f1", "balanced_accuracy")}
    found |= {name: intervals.widened(estimates[name], rarest) for name in ("roc_auc", "average_precision")}
    top = f"top_{TOP}_accuracy"
    if top in estimates:
        found[top] = intervals.widened(estimates[top], drawn)
    if groups is not None:
        return found
    recalls, f1_scores = intervals.per_class(labels, predicted, int(max(labels.max(), predicted.max())) + 1)
    found["accuracy"] = intervals.wilson(int((labels == predicted).sum()), len(labels))
    found["balanced_accuracy"] = intervals.mean(recalls)
    found["macro_f1"] = intervals.mean(f1_scores, overlap=2.0)
    if top in estimates:
        found[top] = intervals.wilson(estimates[top].value * len(labels), len(labels))
    if len(supports) == 2:
        found["roc_auc"] = intervals.area(estimates["roc_auc"].value, *supports.tolist())
    return found


def _checked(labels: np.ndarray, probabilities: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels as int64 and probabilities as float64 with rows that sum to 1, or an error."""
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, dtype=np.float64)
    if number < 2:
        raise ValueError(f"classification needs at least 2 classes, got {number}")
    if labels.ndim != 1 or probabilities.shape != (len(labels), number) or not len(labels):
        raise ValueError(
            f"classification needs labels (N,) and probabilities (N, {number}) with N of at least 1, "
            f"got shapes {labels.shape} and {probabilities.shape}"
        )
    if not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0 or labels.max() >= number:
        raise ValueError(
            f"labels must be integers from 0 to {number - 1}, got {labels.dtype} from {labels.min()} to {labels.max()}"
        )
    broken = int((~np.isfinite(probabilities)).any(axis=1).sum())
    if broken:
        raise UserError(
            f"the model's predictions for {broken} of {len(labels)} samples are not finite numbers, expected "
            "probabilities: training diverged, try a lower learning rate"
        )
    sums = probabilities.sum(axis=1, keepdims=True)
    if probabilities.min() < 0 or np.abs(sums - 1).max() > _SUM_TOLERANCE:
        raise ValueError(
            "each row of probabilities must be at least 0 and sum to 1, got numbers from "
            f"{probabilities.min():.3g} and sums from {sums.min():.4g} to {sums.max():.4g} (logits?)"
        )
    return labels.astype(np.int64), probabilities / sums


def _values(labels: np.ndarray, predicted: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """The scores on the samples as they are, from scikit-learn where it has them."""
    number = probabilities.shape[1]
    every = np.arange(number)
    with warnings.catch_warnings():
        # Classes that the samples lack are told by the per-class table, not by a warning for each metric.
        warnings.filterwarnings("ignore", module="sklearn")
        values = {
            "accuracy": sk.accuracy_score(labels, predicted),
            "balanced_accuracy": sk.balanced_accuracy_score(labels, predicted),
            "macro_f1": sk.f1_score(labels, predicted, average="macro", zero_division=0),
            "log_loss": sk.log_loss(labels, probabilities, labels=every),
            "brier": _brier(labels, probabilities).mean(),
            "expected_calibration_error": reliability(labels, probabilities, BINS).error,
        }
        present = np.bincount(labels, minlength=number)
        is_class = [labels == k for k in every]
        mixed = [k for k in every if 0 < present[k] < len(labels)]
        areas = [sk.roc_auc_score(is_class[k], probabilities[:, k]) for k in mixed]
        values["roc_auc"] = np.mean(areas) if areas else math.nan
        values["average_precision"] = np.mean(
            [sk.average_precision_score(is_class[k], probabilities[:, k]) for k in every if present[k]]
        )
        if number > 10:
            top = sk.top_k_accuracy_score(labels, probabilities, k=TOP, labels=every)
            values[f"top_{TOP}_accuracy"] = top
    return {name: float(value) for name, value in values.items()}


def _brier(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Brier score of each sample, (N,); scikit-learn has it for several classes only since 1.7."""
    squares = (probabilities**2).sum(axis=1) - 2 * probabilities[np.arange(len(labels)), labels] + 1
    return squares / 2 if probabilities.shape[1] == 2 else squares


def _counts(rows: np.ndarray, n: int) -> np.ndarray:
    """Resamples (block, M) of N samples as counts (N, block): how often each resample holds each sample."""
    block = len(rows)
    flat = rows * block + np.arange(block)[:, None]
    return np.bincount(flat.ravel(), minlength=n * block).reshape(n, block)


def _draws(
    labels: np.ndarray,
    predicted: np.ndarray,
    probabilities: np.ndarray,
    seed: int,
    resamples: int,
    groups: np.ndarray | None,
) -> dict[str, np.ndarray]:
    """Every score that is a function of sums over samples, on each resample: name to (resamples,).

    Sums over a resample are sums weighted by counts, so that all of them, for all resamples, are one product
    of a sparse (sums, N) matrix with the (N, resamples) counts.
    """
    n, number = probabilities.shape
    right = (predicted == labels).astype(np.float64)
    likely = (probabilities.argmax(axis=1) == labels).astype(np.float64)
    likelihood = np.clip(probabilities[np.arange(n), labels], np.finfo(np.float64).eps, 1)
    confidence = probabilities.max(axis=1)
    by_sample = {"accuracy": right, "log_loss": -np.log(likelihood), "brier": _brier(labels, probabilities)}
    if number > 10:
        order = np.argsort(probabilities, axis=1, kind="stable")[:, : -TOP - 1 : -1]
        by_sample[f"top_{TOP}_accuracy"] = (order == labels[:, None]).any(axis=1).astype(np.float64)

    def grouped(groups: np.ndarray, size: int, weights: np.ndarray) -> sparse.csr_array:
        return sparse.csr_array((weights, (groups, np.arange(n))), shape=(size, n))

    ones = np.ones(n)
    sums = sparse.vstack(
        [
            sparse.csr_array(np.stack(list(by_sample.values()))),
            grouped(bin_indices(confidence, BINS), BINS, confidence - likely),
            grouped(labels, number, right),
            grouped(labels, number, ones),
            grouped(predicted, number, ones),
        ],
        format="csr",
    )
    ends = np.cumsum([len(by_sample), BINS, number, number])
    draws: dict[str, list[np.ndarray]] = {}
    for rows in resample_indices(n, resamples, seed, groups):
        means, gaps, hits, support, guesses = np.split(sums @ _counts(rows, n).astype(np.float64), ends)
        size = rows.shape[1]
        block = dict(zip(by_sample, means / size, strict=True))
        block["expected_calibration_error"] = np.abs(gaps).sum(axis=0) / size
        block["balanced_accuracy"] = _mean_ratio(hits, support)
        block["macro_f1"] = _mean_ratio(2 * hits, support + guesses)
        for name, values in block.items():
            draws.setdefault(name, []).append(values)
    return {name: np.concatenate(blocks) for name, blocks in draws.items()}


def _mean_ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Mean over classes (axis 0) of above / below, leaving out the classes with nothing below."""
    filled = below > 0
    return _mean_defined(np.divide(above, below, out=np.full(below.shape, np.nan), where=filled))


def _mean_defined(scores: np.ndarray) -> np.ndarray:
    """Mean over axis 0 of what is not NaN; NaN where all is."""
    number = (~np.isnan(scores)).sum(axis=0)
    return np.divide(np.nansum(scores, axis=0), number, out=np.full(number.shape, np.nan), where=number > 0)


def _ranking_draws(
    labels: np.ndarray, probabilities: np.ndarray, seed: int, resamples: int, groups: np.ndarray | None
) -> dict[str, np.ndarray]:
    """ROC AUC and average precision, each the mean over classes, on each resample: name to (resamples,)."""
    rankings = [_ranking(labels == k, probabilities[:, k]) for k in np.unique(labels)]
    blocks = []
    for rows in resample_indices(len(labels), resamples, seed, groups):
        counts = _counts(rows, len(labels)).astype(np.float32)
        scores = np.stack([_ranking_scores(counts, ranking) for ranking in rankings])
        blocks.append(_mean_defined(scores))
    area, precision = np.concatenate(blocks, axis=1)
    return {"roc_auc": area, "average_precision": precision}


@dataclass(frozen=True, eq=False)
class _Ranking:
    """What is the same in all resamples when one class is ranked against the rest.

    Args:
        order: (N,) all samples by falling score.
        positives: (P,) the samples of the class, in that order.
        cuts: (G, 2) start and end in `order` of each group of tied scores that holds a positive.
        starts: (G,) start of each of these groups in `positives`.
    """

    order: np.ndarray
    positives: np.ndarray
    cuts: np.ndarray
    starts: np.ndarray


def _ranking(positive: np.ndarray, scores: np.ndarray) -> _Ranking:
    order = np.argsort(-scores, kind="stable")
    edges = np.concatenate([[0], np.flatnonzero(np.diff(scores[order])) + 1, [len(order)]])
    groups = np.repeat(np.arange(len(edges) - 1), np.diff(edges))
    held, starts = np.unique(groups[positive[order]], return_index=True)
    return _Ranking(order, order[positive[order]], np.stack([edges[held], edges[held + 1]], axis=1), starts)


def _ranking_scores(counts: np.ndarray, ranking: _Ranking) -> np.ndarray:
    """ROC AUC and average precision of one class on resamples given as counts (N, block): (2, block).

    Only tied groups that hold a positive move either score, so all samples between two such groups are summed
    at once. Ties count half, as in scikit-learn.
    """
    n, block = counts.shape
    cuts = np.unique(np.concatenate([[0], ranking.cuts.ravel(), [n]]))
    between = np.add.reduceat(counts[ranking.order], cuts[:-1], axis=0)
    above = np.concatenate([np.zeros((1, block)), np.cumsum(between, axis=0, dtype=np.float64)])
    size = above[-1]
    before, upto = above[np.searchsorted(cuts, ranking.cuts)].transpose(1, 0, 2)

    hits = np.add.reduceat(counts[ranking.positives], ranking.starts, axis=0, dtype=np.float64)
    found = np.cumsum(hits, axis=0)
    total = found[-1]
    wrong_before, ties = before - (found - hits), upto - before - hits
    precisions = np.divide(found, upto, out=np.zeros_like(found), where=upto > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        area = 1 - (hits * (wrong_before + ties / 2)).sum(axis=0) / (total * (size - total))
        area[(total == 0) | (total == size)] = np.nan
        return np.stack([area, (hits * precisions).sum(axis=0) / total])
