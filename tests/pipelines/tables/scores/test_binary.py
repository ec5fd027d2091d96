"""Scores and curves of two classes against scikit-learn, SciPy and formulas."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp
from sklearn import metrics as sk

from pipelines.tables.scores import binary

generator = np.random.default_rng(0)
LABELS = (generator.uniform(size=500) < 0.3).astype(int)
P = np.clip(np.round(0.3 * LABELS + generator.uniform(size=500) * 0.7, 2), 0.01, 0.99)  # with ties


def drawn(labels=LABELS, p=P, **options):
    return binary.discrimination(labels, p, **{"specificity": 0.9, "seed": 0, "resamples": 50, **options})


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 9)), min_size=4, max_size=50))
def test_values_are_those_of_the_libraries(rows):
    labels, p = np.array([int(a) for a, _ in rows]), np.array([b / 10 for _, b in rows])
    if len(np.unique(labels)) < 2:
        return
    values = drawn(labels, p, resamples=1).values
    assert values["roc_auc"] == pytest.approx(sk.roc_auc_score(labels, p))
    assert values["gini"] == pytest.approx(2 * sk.roc_auc_score(labels, p) - 1)
    assert values["average_precision"] == pytest.approx(sk.average_precision_score(labels, p))
    assert values["log_loss"] == pytest.approx(sk.log_loss(labels, p))
    assert values["brier"] == pytest.approx(sk.brier_score_loss(labels, p))
    assert values["ks"] == pytest.approx(ks_2samp(p[labels == 1], p[labels == 0]).statistic)
    fpr, tpr, _ = sk.roc_curve(labels, p, drop_intermediate=False)  # which may drop the very point
    assert values["sensitivity_at_0.9_specificity"] == pytest.approx(tpr[fpr <= 0.1 + 1e-12].max())


def test_draws_are_scores_on_resamples():
    from pipelines.metrics import resample_indices

    draws = drawn().draws
    rows = next(resample_indices(500, 50, 0))
    for i in (0, 7):
        assert draws["roc_auc"][i] == pytest.approx(sk.roc_auc_score(LABELS[rows[i]], P[rows[i]]))
        assert draws["log_loss"][i] == pytest.approx(sk.log_loss(LABELS[rows[i]], P[rows[i]]))


def test_the_difference_to_itself_is_nothing():
    for estimate in drawn().minus(drawn()).values():
        assert (estimate.value, estimate.low, estimate.high) == (0, 0, 0)
    better = drawn(p=np.clip(P + 0.2 * LABELS, 0.01, 0.99)).minus(drawn())["roc_auc"]
    assert 0 < better.low < better.value < better.high


def test_gains():
    taken, found = binary.gains(np.array([0, 1, 1, 0]), np.array([0.1, 0.9, 0.4, 0.4]))
    assert taken.tolist() == [0, 0.25, 0.75, 1]
    assert found.tolist() == [0, 0.5, 1, 1]


def test_net_benefit_by_hand():
    labels, p = np.array([1, 0, 1, 0]), np.array([0.9, 0.6, 0.3, 0.1])
    model, everybody = binary.net_benefit(labels, p, np.array([0.5, 0.2]))
    np.testing.assert_allclose(model, [1 / 4 - 1 / 4, 2 / 4 - 1 / 4 * 0.25])
    np.testing.assert_allclose(everybody, [0.5 - 0.5, 0.5 - 0.5 * 0.25])


def test_cost_by_hand():
    labels, p, costs = np.array([1, 0, 1, 0]), np.array([0.9, 0.6, 0.3, 0.1]), np.array([[0.5, 1], [5, 0.25]])
    found = binary.cost(labels, p, np.array([0.5, 2.0]), costs)
    np.testing.assert_allclose(found, [(0.25 + 1 + 5 + 0.5) / 4, (5 + 0.5 + 5 + 0.5) / 4])


def test_wilson_is_that_of_scipy():
    from scipy.stats import binomtest

    for hits, number in ((0, 10), (3, 10), (10, 10), (250, 1000)):
        expected = binomtest(hits, number).proportion_ci(method="wilson")
        got = binary.wilson(hits, number)
        assert (got.value, got.low, got.high) == pytest.approx((hits / number, expected.low, expected.high), abs=1e-6)
    assert np.isnan(binary.wilson(0, 0).value)


def test_one_class_alone_is_undefined():
    values = drawn(np.zeros(20, int), P[:20], resamples=2).values
    assert np.isnan(values["roc_auc"])
    assert np.isfinite(values["log_loss"])


def test_whole_groups_are_drawn():
    """Copies of a row in one group say no more than the row: the draws are those of the rows without copies."""
    labels, p = LABELS[:100], P[:100]
    once, copied = drawn(labels, p), drawn(np.repeat(labels, 5), np.repeat(p, 5), groups=np.repeat(np.arange(100), 5))
    for name, draws in once.draws.items():
        np.testing.assert_allclose(copied.draws[name], draws)
    by_row = drawn(np.repeat(labels, 5), np.repeat(p, 5)).estimates()["roc_auc"]
    by_group = copied.estimates()["roc_auc"]
    assert by_group.high - by_group.low > 1.5 * (by_row.high - by_row.low)


def test_groups_of_different_sizes():
    from pipelines.metrics import bootstrap

    groups = np.array([2, 0, 0, 1, 1, 1])
    sizes = bootstrap(lambda rows: float(len(rows)), 6, seed=0, resamples=500, groups=groups)
    assert (sizes.value, sizes.low, sizes.high) == (6, 3, 9)
    whole = bootstrap(lambda rows: float((rows == 1).sum() - (rows == 2).sum()), 6, seed=0, groups=groups)
    assert (whole.low, whole.high) == (0, 0)


def test_interval_of_the_net_benefit():
    from pipelines.metrics import resample_indices

    thresholds = np.linspace(0.01, 0.99, 99)
    by_hand = [binary.net_benefit(LABELS[row], P[row], thresholds)[0] for row in next(resample_indices(500, 50, 0))]
    low, high = binary.net_benefit_interval(LABELS, P, thresholds, seed=0, resamples=50)
    np.testing.assert_allclose([low, high], np.quantile(by_hand, [0.025, 0.975], axis=0))
