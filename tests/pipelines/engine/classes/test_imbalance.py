import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from pipelines.engine.classes.imbalance import class_weights, draw_probabilities

LABELS = np.repeat([0, 1, 3], [80, 15, 5])


def test_balanced_is_scikit_learns():
    present = np.array([0, 1, 3])
    expected = compute_class_weight("balanced", classes=present, y=LABELS)
    np.testing.assert_allclose(class_weights(LABELS, 4, "weights")[present], expected)


@pytest.mark.parametrize("kind", ["none", "weights", "effective-number", "focal"])
def test_mean_weight_is_one(kind):
    weights = class_weights(LABELS, 4, kind)
    assert weights[LABELS].mean() == pytest.approx(1)
    assert weights[2] == 0


def test_effective_number_lies_between_and_follows_the_paper():
    weights = class_weights(LABELS, 4, "effective-number", beta=0.9)
    assert weights[3] / weights[0] == pytest.approx((1 - 0.9**80) / (1 - 0.9**5))


def test_classes_are_drawn_equally():
    chances = draw_probabilities(LABELS, 4)
    assert [chances[k == LABELS].sum() for k in (0, 1, 3)] == pytest.approx([1 / 3] * 3)
