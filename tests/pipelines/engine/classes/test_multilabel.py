import numpy as np
import pytest
from sklearn import metrics as sk

from pipelines.core.errors import UserError
from pipelines.engine.classes.multilabel import _rows, first_named, score


def test_scores_are_those_of_scikit_learn():
    generator = np.random.default_rng(0)
    truth = generator.random((200, 4)) < [0.5, 0.3, 0.05, 0.0]  # the last label is never given
    chances = np.clip(0.5 * truth + generator.random((200, 4)) * 0.7, 0, 1)
    result = score(truth, chances, list("abcd"), seed=0, resamples=200)
    guess = chances > 0.5
    expected = {
        "micro_f1": sk.f1_score(truth, guess, average="micro"),
        "macro_f1": sk.f1_score(truth, guess, average="macro", zero_division=0),
        "subset_accuracy": sk.accuracy_score(truth, guess),
        "hamming_loss": sk.hamming_loss(truth, guess),
        "average_precision": sk.average_precision_score(truth[:, :3], chances[:, :3], average="macro"),
        "log_loss": np.mean([sk.log_loss(t, p, labels=[0, 1]) for t, p in zip(truth.T, chances.T, strict=True)]),
    }
    for name, value in expected.items():
        assert result.metrics[name].value == pytest.approx(value), name
    for name in ("micro_f1", "macro_f1", "subset_accuracy"):
        estimate = result.metrics[name]
        assert estimate.low < estimate.value < estimate.high
    assert result.per_class[0][5] == truth[:, 0].sum()
    assert result.to_json()["per_class"][3]["recall"] is None


def test_calibration_is_that_of_all_decisions():
    """A chance of 0.9 that comes true eight times in ten, for one label or against the other, is 0.1 off."""
    truth = np.zeros((100, 2), int)
    truth[:80, 0] = truth[80:, 1] = 1
    result = score(truth, np.tile([0.9, 0.1], (100, 1)), ["a", "b"], seed=0)
    assert result.metrics["expected_calibration_error"].value == pytest.approx(0.1)
    assert result.reliability.counts.sum() == 200
    assert result.to_json()["reliability"]["accuracy"][13] == pytest.approx(0.8)


def test_labels_are_written_as_predict_writes_them():
    result = score(np.array([[1, 1], [0, 0]]), np.array([[0.9, 0.8], [0.1, 0.2]]), ["box, wrap", "none"], seed=0)
    rows = _rows(result, ["one", "two"])
    assert [(row["label"], row["predicted"]) for row in rows] == [("box, wrap|none",) * 2, ("",) * 2]


def test_first_label_named():
    truth = np.array([[0, 1, 1], [0, 1, 1], [0, 0, 0]])
    chances = np.array(
        [[0.6, 0.1, 0.9], [0.4, 0.1, 0.3], [0.1, 0.2, 0.3]]
    )  # "a, c is b, c", "none is b, c", "none is none"
    assert first_named(truth, chances).tolist() == [0, 1, 2]


def test_broken_predictions():
    with pytest.raises(UserError, match="not finite"):
        score(np.ones((3, 2)), np.full((3, 2), np.nan), ["a", "b"], seed=0)
    with pytest.raises(ValueError, match="expected two arrays"):
        score(np.ones((3, 2)), np.ones((3, 3)), ["a", "b"], seed=0)
