import numpy as np
import pytest
from sklearn import metrics as sk

from pipelines.engine.classes.scores import classification

GENERATOR = np.random.default_rng(0)
K = 4
LABELS = GENERATOR.integers(0, K, 500)
LOGITS = GENERATOR.normal(size=(500, K)) + 2 * np.eye(K)[LABELS]
P = np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True)


def test_values_are_scikit_learns():
    got = classification(LABELS, P, "abcd", seed=0, resamples=50).metrics
    expected = {
        "accuracy": sk.accuracy_score(LABELS, P.argmax(1)),
        "balanced_accuracy": sk.balanced_accuracy_score(LABELS, P.argmax(1)),
        "macro_f1": sk.f1_score(LABELS, P.argmax(1), average="macro"),
        "log_loss": sk.log_loss(LABELS, P),
        "roc_auc": sk.roc_auc_score(LABELS, P, multi_class="ovr"),
        "brier": ((P - np.eye(K)[LABELS]) ** 2).sum(1).mean(),
    }
    for name, value in expected.items():
        assert got[name].value == pytest.approx(value), name
        assert got[name].low < value < got[name].high


def test_interval_is_that_of_a_binomial():
    accuracy = classification(LABELS, P, "abcd", seed=0).metrics["accuracy"]
    deviation = np.sqrt(accuracy.value * (1 - accuracy.value) / len(LABELS))
    assert accuracy.high - accuracy.low == pytest.approx(2 * 1.96 * deviation, rel=0.15)


def test_confusion_and_classes():
    result = classification(LABELS, P, "abcd", seed=0, resamples=20)
    np.testing.assert_array_equal(result.confusion, sk.confusion_matrix(LABELS, P.argmax(1)))
    recall = sk.recall_score(LABELS, P.argmax(1), average=None)
    assert [row.recall for row in result.per_class] == pytest.approx(recall.tolist())


def test_odd_data():
    one = classification(np.array([0]), np.array([[0.9, 0.1]]), "ab", seed=0, resamples=10)
    assert one.metrics["accuracy"].value == 1
    absent = classification(np.array([0, 1, 1]), np.full((3, 3), 1 / 3), "abc", seed=0, resamples=10)
    assert np.isnan(absent.per_class[2].recall)
    with pytest.raises(Exception, match=r"diverged|finite"):
        classification(np.array([0, 1]), np.full((2, 2), np.nan), "ab", seed=0)


def test_what_is_decided_need_not_be_what_is_most_probable():
    decided = np.where(P[:, 3] > 0.1, 3, P.argmax(1))
    result = classification(LABELS, P, "abcd", seed=0, resamples=50, decided=decided)
    np.testing.assert_array_equal(result.confusion, sk.confusion_matrix(LABELS, decided))
    np.testing.assert_allclose(result.confidence, P[np.arange(500), decided])
    accuracy = result.metrics["accuracy"]
    assert accuracy.value == pytest.approx((decided == LABELS).mean())
    assert accuracy.low < accuracy.value < accuracy.high
    plain = classification(LABELS, P, "abcd", seed=0, resamples=50)
    for name in ("log_loss", "brier", "roc_auc", "average_precision", "expected_calibration_error"):
        assert result.metrics[name] == plain.metrics[name]


def test_intervals_of_groups_are_those_of_the_rows_without_copies():
    once = classification(LABELS[:100], P[:100], "abcd", seed=0, resamples=50, groups=np.arange(100)).metrics
    groups = np.repeat(np.arange(100), 3)
    copied = classification(LABELS[groups], P[groups], "abcd", seed=0, resamples=50, groups=groups).metrics
    for name, estimate in once.items():
        assert [copied[name].low, copied[name].high] == pytest.approx([estimate.low, estimate.high], abs=1e-6), name
