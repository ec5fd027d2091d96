"""Survival against lifelines and by hand."""

import numpy as np
import pandas as pd
import pytest

from pipelines.tables.scores.survival import concordance, cox, kaplan_meier, risk, survival_curves

generator = np.random.default_rng(0)
RISK = np.round(generator.normal(size=300), 1)
TIME = np.ceil(generator.exponential(np.exp(-RISK)) * 10)  # with ties
EVENT = generator.uniform(size=300) < 0.7


def test_concordance_is_that_of_lifelines():
    utils = pytest.importorskip("lifelines.utils")
    expected = utils.concordance_index(TIME, -RISK, EVENT)
    assert concordance(TIME, EVENT, RISK) == pytest.approx(expected, abs=1e-9)


def test_counts_are_repeated_rows():
    rows = generator.integers(0, 300, 300)
    counted = concordance(TIME, EVENT, RISK, np.bincount(rows, minlength=300))
    # Copies of a row make no pair, or are no pair with an order: at equal times and events neither is later.
    assert counted == pytest.approx(concordance(TIME[rows], EVENT[rows], RISK[rows]))


def test_concordance_by_hand():
    assert concordance(np.array([1, 2, 3]), np.ones(3, bool), np.array([3, 2, 1])) == 1
    assert concordance(np.array([1, 2, 3]), np.ones(3, bool), np.array([1, 1, 1])) == 0.5
    assert np.isnan(concordance(np.array([1, 2]), np.zeros(2, bool), np.array([1, 2])))


def test_kaplan_meier_is_that_of_lifelines():
    lifelines = pytest.importorskip("lifelines")
    fitted = lifelines.KaplanMeierFitter().fit(TIME, EVENT)
    at = np.array([0.0, 3, 7.5, 20, 1000])
    np.testing.assert_allclose(kaplan_meier(TIME, EVENT, at), fitted.predict(at).to_numpy(), atol=1e-9)


def test_curves_fall_and_risk_orders():
    p = np.array([[0.9, 0.8], [0.5, 0.5]])
    log_p = np.log(np.stack([p, 1 - p], 2))
    np.testing.assert_allclose(survival_curves(log_p), [[0.9, 0.72], [0.5, 0.25]])
    assert risk(log_p)[1] > risk(log_p)[0]


def test_cox_is_that_of_lifelines():
    lifelines = pytest.importorskip("lifelines")
    x = generator.normal(size=(300, 3))
    time, event = generator.exponential(np.exp(-x @ [1, -0.5, 0])), generator.uniform(size=300) < 0.7
    frame = pd.DataFrame(x, columns=["a", "b", "c"]).assign(time=time, event=event)
    expected = lifelines.CoxPHFitter().fit(frame, "time", "event").params_
    np.testing.assert_allclose(cox(x, time, event, penalty=0.0), expected, atol=1e-4)
    # With ties, and a column twice: the penalty shares it out.
    twice = cox(np.concatenate([x, x[:, :1]], 1), np.ceil(time * 5), event)
    assert twice[0] == pytest.approx(twice[3], abs=1e-3)
    assert np.linalg.norm(cox(x, time, event, penalty=100.0)) < np.linalg.norm(expected)
