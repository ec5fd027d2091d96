import numpy as np
import pytest
from scipy.special import expit, softmax

from pipelines.engine.calibration import reliability_of_positive, temperature


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("factor", [0.4, 3.0])
def test_the_temperature_that_was_put_in_is_found(factor, several):
    """Labels are drawn from the logits themselves; the model then claims them times a factor."""
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 2, (20_000, 3))
    if several:
        targets = (generator.random(logits.shape) < expit(logits)).astype(float)
    else:
        drawn = (generator.random((len(logits), 1)) > softmax(logits, 1).cumsum(1)).sum(1).clip(0, 2)
        targets = np.eye(3)[drawn]
    assert temperature(factor * logits, targets, several=several) == pytest.approx(factor, rel=0.03)


def test_the_share_of_positives_is_scikit_learns():
    from sklearn.calibration import calibration_curve

    generator = np.random.default_rng(0)
    p = generator.uniform(size=1000) ** 2
    labels = (generator.uniform(size=1000) < p).astype(int)
    share, mean = calibration_curve(labels, p, n_bins=15)
    bins = reliability_of_positive(labels, p)
    np.testing.assert_allclose(bins.accuracy, share)
    np.testing.assert_allclose(bins.confidence, mean)
    assert bins.counts.sum() == 1000


@pytest.mark.parametrize("several", [False, True])
def test_few_samples_without_an_error_do_not_ask_for_certainty(several):
    """By Laplace's rule of succession: n successes speak for a probability of (n + 1) / (n + 2)."""
    for n in (10, 37, 1000):
        if several:
            targets = np.ones((n, 1))
            logits = np.full((n, 1), 3.0)
            confidence = 1 / (1 + np.exp(-3.0 / temperature(logits, targets, several=True)))
        else:
            targets = np.tile([1.0, 0.0], (n, 1))
            confidence = 1 / (1 + np.exp(-3.0 / temperature(3.0 * targets, targets)))
        assert confidence == pytest.approx((n + 1) / (n + 2), abs=1e-4)
