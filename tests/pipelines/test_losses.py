import keras
import numpy as np
import pytest

from pipelines.losses import FocalLoss

LOGITS = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")
TARGET = np.eye(3, dtype="float32")[[0, 1, 2, 0, 1, 2]]


@pytest.mark.backend
def test_focal_follows_the_paper():
    p = np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True)
    pt = (p * TARGET).sum(1)
    got = float(FocalLoss(gamma=2.0)(TARGET, LOGITS))
    assert got == pytest.approx((-((1 - pt) ** 2) * np.log(pt)).mean(), rel=1e-5)


@pytest.mark.backend
def test_without_focus_it_is_cross_entropy():
    plain = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    assert float(FocalLoss(0.0, 0.1)(TARGET, LOGITS)) == pytest.approx(float(plain(TARGET, LOGITS)), rel=1e-5)


def test_config_and_arguments():
    assert FocalLoss.from_config(FocalLoss(1.5, 0.2).get_config()).gamma == 1.5
    with pytest.raises(ValueError, match="gamma"):
        FocalLoss(-1)
