"""95 % confidence intervals that also hold at the bounds of a score, where the bootstrap has no width."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pipelines.metrics import Estimate

Z = 1.959963984540054  # the 97.5 % quantile of the normal distribution


def wilson(hits: float, number: float) -> Estimate:
    """A proportion with the score interval of Wilson (1927); undefined without samples.

    Args:
        hits: Samples with the property; may be a fraction, such as a mean times a number.
        number: Samples.
    """
    if number <= 0:
        return Estimate(math.nan)
    p, spread = hits / number, Z * Z / number
    centre = (p + spread / 2) / (1 + spread)
    half = math.sqrt(p * (1 - p) * spread + spread * spread / 4) / (1 + spread)
    return Estimate(p, max(0.0, centre - half), min(1.0, centre + half))


def f1(hits: int, false_positives: int, false_negatives: int) -> Estimate:
    """F1 with its interval: it is 2J / (1 + J), where J, the Jaccard index, is a proportion (Wilson)."""
    jaccard = wilson(hits, hits + false_positives + false_negatives)
    low, value, high = (2 * j / (1 + j) for j in (jaccard.low, jaccard.value, jaccard.high))
    return Estimate(value, low, high)


def mean(estimates: Sequence[Estimate], overlap: float = 1.0) -> Estimate:
    """The mean of scores, such as the recalls of the classes; undefined ones are omitted.

    Args:
        estimates: The scores with their intervals.
        overlap: In how many of the scores a sample counts: 1 for recalls; 2 for F1, since what one class misses is
            found for another by mistake.

    The distances of the ends from the values are added in squares (MOVER; Zou & Donner, "Construction of confidence
    limits about effect measures", Statistics in Medicine 2008).
    """
    defined = [e for e in estimates if not math.isnan(e.value)]
    if not defined:
        return Estimate(math.nan)
    value = sum(e.value for e in defined) / len(defined)
    below = math.sqrt(overlap * sum((e.value - e.low) ** 2 for e in defined)) / len(defined)
    above = math.sqrt(overlap * sum((e.high - e.value) ** 2 for e in defined)) / len(defined)
    return Estimate(value, max(0.0, value - below), min(1.0, value + above))


def area(value: float, positives: int, negatives: int) -> Estimate:
    """An area under the ROC curve with the score interval of Newcombe (2006, method 5); undefined without both classes.

    It inverts the variance of Hanley & McNeil (1982), with both numbers of samples replaced by their mean inside it,
    and so holds at an area of 1. Newcombe, "Confidence intervals for an effect size measure based on the Mann-Whitney
    statistic. Part 2", Statistics in Medicine 2006.
    """
    from scipy.optimize import brentq

    if not positives or not negatives or math.isnan(value):
        return Estimate(math.nan)
    more = (positives + negatives) / 2 - 1

    def beyond(area: float) -> float:
        spread = 1 + more * (1 - area) / (2 - area) + more * area / (1 + area)
        return (area - value) ** 2 - Z * Z * area * (1 - area) * spread / (positives * negatives)

    edge = 1e-9  # at the value itself the function is 0 where the value is a bound
    low = 0.0 if value < 2 * edge else brentq(beyond, edge / 10, value - edge)
    high = 1.0 if value > 1 - 2 * edge else brentq(beyond, value + edge, 1 - edge / 10)
    return Estimate(value, low, high)


def widened(estimate: Estimate, samples: float) -> Estimate:
    """The estimate; where it is 0 or 1 with an interval without width, with the interval of Wilson for so many samples.

    Args:
        estimate: A score between 0 and 1 with its bootstrap interval.
        samples: What it is a mean of: samples, groups of them, or those of the rarest class.
    """
    if estimate.low == estimate.high and estimate.value in (0.0, 1.0) and samples > 0:
        return wilson(estimate.value * samples, samples)
    return estimate


def counted(right: int, number: int) -> str:
    """A proportion in words where it is at its bound: `no errors in 36`."""
    if right == number:
        return f"no errors in {number:,}"
    return f"none right of {number:,}" if right == 0 else f"{right:,} of {number:,}"


def per_class(labels: np.ndarray, predicted: np.ndarray, number: int) -> tuple[list[Estimate], list[Estimate]]:
    """Recall and F1 of each class with their intervals; a class that occurs in neither array is undefined.

    Args:
        labels: (N,) int in 0..K-1.
        predicted: (N,) int in 0..K-1.
        number: K.
    """
    recalls, scores = [], []
    for k in range(number):
        true, found = labels == k, predicted == k
        hits = int((true & found).sum())
        recalls.append(wilson(hits, int(true.sum())))
        missed, wrong = int(true.sum()) - hits, int(found.sum()) - hits
        scores.append(f1(hits, wrong, missed) if hits + wrong + missed else Estimate(math.nan))
    return recalls, scores
