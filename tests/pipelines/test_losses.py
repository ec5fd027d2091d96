import keras
import numpy as np
import pytest
from keras import ops
from scipy.special import log_softmax

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


@pytest.mark.backend
@pytest.mark.parametrize("axes", [1, 2])
def test_log_likelihood_is_scipys_cross_entropy(axes):
    from pipelines.losses import LogLikelihood

    generator = np.random.default_rng(0)
    logits = generator.normal(size=(5, 3, 4)).astype("float32")
    target = np.eye(4, dtype="float32")[generator.integers(0, 4, (5, 3))]
    target[2, 1] = 0  # counts for nothing
    log_p = log_softmax(logits, axis=-1)
    expected = -(target * log_p).sum(tuple(range(axes, 3)))
    for normalized, output in ((True, log_p), (False, logits)):
        loss = LogLikelihood(normalized=normalized, axes=axes)
        np.testing.assert_allclose(ops.convert_to_numpy(loss.call(target, output)), expected, rtol=1e-5)
    soft = target * 0.9 + 0.025 * target.sum(-1, keepdims=True)
    smooth = LogLikelihood(0.1, axes=axes)
    expected = -(soft * log_p).sum(tuple(range(axes, 3)))
    np.testing.assert_allclose(ops.convert_to_numpy(smooth.call(target, log_p)), expected, rtol=1e-5)
    assert LogLikelihood.from_config(smooth.get_config()).get_config() == smooth.get_config()
    with pytest.raises(ValueError, match="label_smoothing"):
        LogLikelihood(1.0)
