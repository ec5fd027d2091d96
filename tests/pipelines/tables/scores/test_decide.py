"""Calibration, thresholds and conformal sets against scikit-learn and what their papers promise."""

import json

import numpy as np
import pytest
from scipy.special import expit, log_softmax, softmax

from pipelines.tables.scores import decide

generator = np.random.default_rng(0)
LOGITS = generator.normal(size=4000)
FIVE = np.array([[0, 1], [5, 0]])  # to miss a positive costs five
LABELS = (generator.uniform(size=4000) < expit(LOGITS)).astype(int)


def two(logits):
    return log_softmax(np.stack([np.zeros(len(logits)), logits], 1), axis=1)


def fit(log_p, labels, **options):
    return decide.fit(log_p, labels, **{"kind": "temperature", "coverage": 0.9, **options})


def test_temperature_is_found():
    assert decide.temperature(two(3 * LOGITS), LABELS) == pytest.approx(3, rel=0.1)
    learned = fit(two(3 * LOGITS), LABELS)
    np.testing.assert_allclose(decide.apply(learned, two(3 * LOGITS))[:, 1], expit(LOGITS), atol=0.03)


def test_temperature_never_makes_it_worse():
    log_p = two(np.array([2.0, -2.0, 1.0]))
    assert decide.temperature(log_p, np.array([1, 0, 1])) <= 1.0


def test_isotonic_is_scikit_learns():
    from sklearn.isotonic import IsotonicRegression

    bent = two(LOGITS**3)
    p = softmax(bent, axis=1)[:, 1]
    learned = fit(bent, LABELS, kind="isotonic")
    expected = IsotonicRegression(out_of_bounds="clip").fit(p, LABELS).predict(p)
    np.testing.assert_allclose(decide.apply(learned, bent)[:, 1], np.clip(expected, 1 / 4002, 1 - 1 / 4002), atol=1e-9)
    assert json.loads(json.dumps(learned)) == learned


def test_threshold_is_that_of_least_cost():
    learned = fit(two(LOGITS), LABELS, costs=FIVE)
    assert learned["threshold"] == pytest.approx(1 / 6)
    p = np.stack([1 - expit(LOGITS), expit(LOGITS)], 1)
    costs = []
    for t in (1 / 6, 0.1, 0.5):
        said = p[:, 1] >= t
        costs.append(5 * (~said & (LABELS == 1)).mean() + (said & (LABELS == 0)).mean())
    assert costs[0] == min(costs)
    np.testing.assert_array_equal(decide.chosen(learned, p), p[:, 1] >= 1 / 6)


@pytest.mark.parametrize("number", [2, 3, 5])
def test_decisions_are_those_of_the_least_expected_cost(number):
    log_p = log_softmax(2 * generator.normal(size=(300, number)), axis=1)
    costs = generator.uniform(1, 20, (number, number))
    costs[np.diag_indices(number)] = generator.uniform(-1, 1, number)  # to be right may cost or bring something too
    learned = fit(log_p, generator.integers(0, number, 300), costs=costs)
    assert json.loads(json.dumps(learned)) == learned
    p = decide.apply(learned, log_p)
    classes = range(number)
    expected = [min(classes, key=lambda j: sum(row[i] * costs[i, j] for i in classes)) for row in p]
    assert decide.chosen(learned, p).tolist() == expected
    assert (p.argmax(1) != expected).any()
    if number > 2:
        np.testing.assert_array_equal(decide.chosen(fit(log_p, np.zeros(300, int)), p), p.argmax(1))
        np.testing.assert_array_equal(decide.chosen({"threshold": None}, p), p.argmax(1))  # of runs of before


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.99])
def test_conformal_sets_hold_the_true_class_as_often_as_promised(coverage):
    shares = []
    for seed in range(30):
        order = np.random.default_rng(seed).permutation(4000)
        known, new = order[:300], order[300:]
        learned = fit(two(LOGITS)[known], LABELS[known], coverage=coverage)
        held = decide.possible(learned, decide.apply(learned, two(LOGITS)[new]))
        shares.append(held[np.arange(len(new)), LABELS[new]].mean())
    assert np.mean(shares) >= coverage - 0.005
    assert np.mean(shares) <= coverage + 0.02


def test_too_few_rows_give_sets_of_all_classes():
    learned = fit(two(LOGITS[:5]), LABELS[:5])
    assert decide.possible(learned, decide.apply(learned, two(LOGITS))).all()


def test_no_set_is_empty_and_decisions_outside_of_it_are_unsure():
    """A model that is nearly always right, and costs for which one row in five is taken for the other class."""
    sharp = 8 * LOGITS
    labels = (generator.uniform(size=4000) < expit(sharp)).astype(int)
    learned = fit(two(sharp), labels, coverage=0.7, costs=FIVE)
    p = decide.apply(learned, two(sharp))
    assert (p.max(1) < learned["conformal"]).any()  # where the sets would be empty
    held = decide.possible(learned, p)
    assert (held.sum(1) == 1).all()
    assert held[np.arange(4000), p.argmax(1)].all()
    decided = decide.chosen(learned, p)
    unsure = decide.unsure(held, decided)
    np.testing.assert_array_equal(unsure, decided != p.argmax(1))
    assert unsure.any()
    wide = np.ones((2, 2), bool)
    assert decide.unsure(wide, np.array([0, 1])).all()


def test_weights_of_the_classes_are_taken_out():
    """By Bayes' rule, for three classes."""
    p = softmax(generator.normal(size=(50, 3)), axis=1)
    weights = np.array([0.4, 1.0, 8.0])
    weighted = p * weights / (p @ weights)[:, None]
    learned = {"prior": np.log(weights).tolist(), "temperature": 1.0, "isotonic": None}
    np.testing.assert_allclose(decide.apply(learned, np.log(weighted)), p)
