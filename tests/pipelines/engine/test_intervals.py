"""Intervals: against SciPy, at their bounds, and by how often they hold the truth."""

import math

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import f1_score

from pipelines.engine import intervals
from pipelines.engine.classes.scores import classification
from pipelines.metrics import Estimate

LEAST, USUAL = 0.86, 0.925  # of nominally 0.95; discrete scores of 30 samples cannot have it exactly
DRAWS = 300


@pytest.mark.parametrize(("hits", "number"), [(0, 12), (36, 36), (5, 9), (970, 1000)])
def test_wilson_is_that_of_scipy(hits, number):
    expected = binomtest(hits, number).proportion_ci(method="wilson")
    got = intervals.wilson(hits, number)
    assert (got.value, got.low, got.high) == pytest.approx((hits / number, expected.low, expected.high))


def test_f1_is_that_of_scikit_learn():
    draw = np.random.default_rng(0)
    labels, predicted = draw.integers(0, 3, 60), draw.integers(0, 3, 60)
    recalls, scores = intervals.per_class(labels, predicted, 3)
    assert [e.value for e in scores] == pytest.approx(f1_score(labels, predicted, average=None))
    assert intervals.mean(recalls).value == pytest.approx(
        np.mean([(predicted[labels == k] == k).mean() for k in range(3)])
    )


def test_no_errors_is_not_certainty():
    labels = np.arange(36) % 2
    probabilities = np.where(labels[:, None] == np.arange(2), 0.99, 0.01)
    result = classification(labels, probabilities, ("a", "b"), seed=0, resamples=50)
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "roc_auc", "average_precision"):
        estimate = result.metrics[name]
        assert (estimate.value, estimate.high) == pytest.approx((1, 1)), name
        assert 0.7 < estimate.low < 0.97, name
    assert result.metrics["accuracy"].low == pytest.approx(binomtest(36, 36).proportion_ci(method="wilson").low)
    grouped = classification(labels, probabilities, ("a", "b"), seed=0, resamples=50, groups=np.arange(36) // 6)
    assert grouped.metrics["accuracy"].low < result.metrics["accuracy"].low  # six groups say less than 36 samples


def test_undefined_stays_undefined():
    assert math.isnan(intervals.wilson(0, 0).value)
    assert math.isnan(intervals.area(0.5, 0, 10).value)
    assert intervals.widened(Estimate(0.5, 0.5, 0.5), 10) == Estimate(0.5, 0.5, 0.5)


def test_counts_in_words():
    assert intervals.counted(36, 36) == "no errors in 36"
    assert intervals.counted(0, 36) == "none right of 36"
    assert intervals.counted(1200, 1300) == "1,200 of 1,300"


@pytest.mark.parametrize("size", [30, 100, 1000])
@pytest.mark.parametrize("accuracy", [0.7, 0.98])
def test_coverage_of_classification_scores(size, accuracy):
    """Three classes of unequal size; nine in ten and more intervals hold the score of the whole population."""
    chance = np.diag([accuracy] * 3) + (1 - np.eye(3)) * (1 - accuracy) / 2
    joint = np.array([0.5, 0.3, 0.2])[:, None] * chance
    truth = [
        np.trace(joint), np.diag(chance).mean(), (2 * np.diag(joint) / (joint.sum(0) + joint.sum(1))).mean(),
    ]  # fmt: skip
    draw, held = np.random.default_rng(size), np.zeros(3)
    for _ in range(DRAWS):
        labels, predicted = np.divmod(draw.choice(9, size, p=joint.ravel()), 3)
        recalls, scores = intervals.per_class(labels, predicted, 3)
        right = intervals.wilson(int((labels == predicted).sum()), size)
        found = [right, intervals.mean(recalls), intervals.mean(scores, overlap=2.0)]
        held += [e.low <= value <= e.high for e, value in zip(found, truth, strict=True)]
    assert (held / DRAWS >= (LEAST if size == 30 else USUAL - 0.02)).all(), held / DRAWS


@pytest.mark.parametrize("size", [30, 100, 1000])
@pytest.mark.parametrize("distance", [1.0, 3.0])
def test_coverage_of_the_area_under_the_curve(size, distance):
    """Two normal distributions; at a distance of 3 the area is 0.983, and often 1 in a small sample."""
    from scipy.stats import norm

    draw, held, positives = np.random.default_rng(size), 0, size // 3
    truth = norm.cdf(distance / math.sqrt(2))
    for _ in range(DRAWS):
        high, low = draw.normal(distance, 1, positives), np.sort(draw.normal(0, 1, size - positives))
        estimate = intervals.area(np.searchsorted(low, high).mean() / len(low), positives, len(low))
        held += estimate.low <= truth <= estimate.high
    assert held / DRAWS >= USUAL
