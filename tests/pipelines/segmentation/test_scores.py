"""Scores of masks against scikit-learn and by hand."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, jaccard_score

from pipelines.segmentation.masks import IGNORED
from pipelines.segmentation.report import reason
from pipelines.segmentation.scores import Collected, boundary_f1

DRAW = np.random.default_rng(1)


def collected(truths, chances, classes=4):
    gathered = Collected(classes, 0)
    for truth, p in zip(truths, chances, strict=True):
        gathered.add(truth, p)
    return gathered.score([str(k) for k in range(classes)], seed=0, resamples=50)


def test_scores_are_those_of_scikit_learn():
    truths = [DRAW.integers(0, 3, (20, 30)).astype("uint8") for _ in range(4)]  # class 3 never occurs
    chances = [DRAW.dirichlet(np.ones(4), (20, 30)) * [1, 1, 1, 0] for _ in range(4)]
    result = collected(truths, chances)
    truth, found = (np.concatenate([x.ravel() for x in rows]) for rows in (truths, [c.argmax(-1) for c in chances]))
    metrics = {name: e.value for name, e in result.metrics.items()}
    assert metrics["mean_iou"] == pytest.approx(jaccard_score(truth, found, average="macro"))
    assert metrics["dice"] == pytest.approx(f1_score(truth, found, average="macro"))
    assert metrics["pixel_accuracy"] == pytest.approx(accuracy_score(truth, found))
    assert np.isnan(result.iou[3].value)
    assert result.to_json()["per_class"][3]["iou"]["value"] is None
    each = [
        jaccard_score(t.ravel(), c.argmax(-1).ravel(), average="macro") for t, c in zip(truths, chances, strict=True)
    ]
    assert metrics["mean_iou_images"] == pytest.approx(np.mean(each))
    for estimate in (result.metrics["mean_iou"], result.metrics["boundary_f1"]):
        assert estimate.low < estimate.value < estimate.high


def test_ignored_pixels_count_in_no_score():
    truth = np.zeros((12, 12), "uint8")
    truth[4:8, 4:8] = 1
    chances = np.eye(2)[truth]
    holes = truth.copy()
    holes[0] = IGNORED
    wrong = chances.copy()
    wrong[0] = [0, 1]
    assert collected([holes], [wrong], 2).metrics["mean_iou"].value == 1
    assert collected([truth], [wrong], 2).metrics["mean_iou"].value < 1


def test_boundaries_within_the_reach_are_right():
    truth = np.zeros((40, 40), "uint8")
    truth[10:20, 10:20] = 1
    assert boundary_f1(truth, truth, 2) == 1
    moved = np.roll(truth, 1, 1)
    assert boundary_f1(truth, moved, 2) == 1  # by one pixel
    far = np.roll(truth, 6, 1)
    assert boundary_f1(truth, far, 2) < 0.6


def test_the_largest_error_of_an_image_is_named():
    matrix = np.array([[80, 0, 3], [0, 10, 0], [1, 6, 0]])
    assert reason(matrix, ["background", "cat", "dog"]) == "dog is taken for cat (6 pixels, 6.0%)"
    assert reason(np.diag([5, 5, 0]), ["background", "cat", "dog"]) == "no wrong pixel"
    assert reason(np.array([[9, 0], [1, 0]]), ["background", "cat"]) == "cat is missed (1 pixels, 10.0%)"
    assert (
        reason(np.array([[8, 0], [1, 1]]), ["background", "cat"]) == "background in the place of cat (1 pixels, 10.0%)"
    )
