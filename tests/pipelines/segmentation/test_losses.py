"""Losses against plain NumPy, and that ignored pixels count nowhere."""

import keras
import numpy as np
import pytest
from keras import ops

from pipelines.segmentation.losses import NAMES, MeanIoU, SegmentationLoss, pixel_weights
from pipelines.segmentation.masks import IGNORED

pytestmark = pytest.mark.backend

DRAW = np.random.default_rng(0)
LABELS = DRAW.integers(0, 3, (2, 5, 6)).astype("uint8")
LOGITS = DRAW.normal(size=(2, 5, 6, 3)).astype("float32")
HOLES = DRAW.random((2, 5, 6)) < 0.3


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def value(kind, labels=LABELS, logits=LOGITS, **options):
    return float(ops.convert_to_numpy(SegmentationLoss(kind, **options)(labels, logits)))


def plain(kind, labels, logits, weights=None, alpha=0.7, gamma=0.75):
    """One pixel after the other, as the papers have it."""
    keep = labels != IGNORED
    p, y = softmax(logits.astype(float))[keep], labels[keep]
    classes = logits.shape[-1]
    if kind == "cross-entropy":
        w = np.ones(len(y)) if weights is None else np.asarray(weights)[y]
        return (-np.log(p[np.arange(len(y)), y]) * w).sum() / w.sum()
    if kind == "lovasz":
        losses = []
        for k in range(classes):
            truth = (y == k).astype(float)
            if not truth.any():
                continue
            errors = np.abs(truth - p[:, k])
            order = np.argsort(-errors, kind="stable")
            previous = total = 0.0
            for i in range(len(order)):  # the Jaccard loss of the first i + 1 pixels being wrong
                wrong = np.zeros(len(order), bool)
                wrong[order[: i + 1]] = True
                hits = (truth.astype(bool) & ~wrong).sum()
                union = (truth.astype(bool) | wrong).sum()
                jaccard = 1 - hits / union
                total += errors[order[i]] * (jaccard - previous)
                previous = jaccard
            losses.append(total)
        return np.mean(losses)
    scores = []
    for k in range(classes):
        truth = (y == k).astype(float)
        hits, missed, wrong = (truth * p[:, k]).sum(), (truth * (1 - p[:, k])).sum(), ((1 - truth) * p[:, k]).sum()
        if kind == "dice" and truth.any():
            scores.append(1 - (2 * hits + 1) / (2 * hits + missed + wrong + 1))
        if kind == "focal-tversky":
            scores.append((1 - (hits + 1) / (hits + alpha * missed + (1 - alpha) * wrong + 1)) ** gamma)
    return np.mean(scores)


@pytest.mark.parametrize("holes", [False, True])
@pytest.mark.parametrize("kind", ["cross-entropy", "dice", "focal-tversky", "lovasz"])
def test_losses_are_those_of_the_papers(kind, holes):
    labels = np.where(HOLES, IGNORED, LABELS).astype("uint8") if holes else LABELS
    assert value(kind, labels) == pytest.approx(plain(kind, labels, LOGITS), rel=1e-4)


def test_sum_of_two_and_weights_of_classes():
    assert value("cross-entropy+dice") == pytest.approx(value("cross-entropy") + value("dice"), rel=1e-5)
    weights = [0.5, 1.0, 4.0]
    assert value("cross-entropy", weights=weights) == pytest.approx(
        plain("cross-entropy", LABELS, LOGITS, weights), rel=1e-4
    )


@pytest.mark.parametrize("kind", NAMES)
def test_ignored_pixels_have_no_influence(kind):
    labels = np.where(HOLES, IGNORED, LABELS).astype("uint8")
    changed = np.where(HOLES[..., None], LOGITS + 5 * DRAW.normal(size=LOGITS.shape), LOGITS).astype("float32")
    assert value(kind, labels, changed) == pytest.approx(value(kind, labels), rel=1e-5)
    metric, other = MeanIoU(3), MeanIoU(3)
    metric.update_state(labels, LOGITS)
    other.update_state(labels, changed)
    assert float(metric.result()) == pytest.approx(float(other.result()))


@pytest.mark.parametrize("kind", NAMES)
def test_a_perfect_prediction_costs_about_nothing_and_losses_are_saved(kind):
    sure = (20 * np.eye(3)[LABELS]).astype("float32")
    assert value(kind, LABELS, sure) < 0.02 < value(kind)
    loss = SegmentationLoss(kind, weights=[1, 2, 3], alpha=0.6, gamma=0.5)
    assert keras.losses.deserialize(keras.losses.serialize(loss)).get_config() == loss.get_config()
    with pytest.raises(ValueError, match="kind must be one of"):
        SegmentationLoss("hinge")


def test_mean_iou_is_that_of_scikit_learn():
    from sklearn.metrics import jaccard_score

    metric = MeanIoU(3)
    for image in range(2):  # from several batches
        metric.update_state(LABELS[image : image + 1], LOGITS[image : image + 1])
    expected = jaccard_score(LABELS.ravel(), LOGITS.argmax(-1).ravel(), average="macro")
    assert float(metric.result()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("how", ["weights", "effective-number"])
def test_rare_classes_weigh_more_and_the_mean_is_one(how):
    counts = np.array([900, 90, 10])
    weights = pixel_weights(counts, how)
    assert weights[0] < weights[1] < weights[2]
    assert weights @ counts / counts.sum() == pytest.approx(1)
    assert pixel_weights(counts, "none") is None
