import numpy as np
import pytest
from scipy.special import expit, softmax

from pipelines.inspect.calibration import temperature


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
