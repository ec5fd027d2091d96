"""The running AP50 and the training batches."""

import keras
import numpy as np
import pytest

from pipelines.detection import scores
from pipelines.detection.annotations import annotated
from pipelines.detection.boxes import NOTHING, decode
from pipelines.detection.config import DetectionAugmentConfig, DetectionDataConfig
from pipelines.detection.load import Samples, load_detection
from pipelines.detection.metrics import RunningAP50
from pipelines.detection.stream import streams


def outputs(draw, truth, classes):
    """Outputs of a made-up detector: near each box two locations that find it, more or less, and noise."""
    found = []
    for rows in truth:
        boxes, labels = rows[rows[:, 4] >= 0, :4], rows[rows[:, 4] >= 0, 4].astype(int)
        near = np.repeat(boxes, 2, 0) + draw.normal(0, 4, (2 * len(boxes), 4))
        corner = draw.uniform(0, 80, (30 - len(near), 2))
        noise = np.concatenate([corner, corner + draw.uniform(8, 30, corner.shape)], 1)
        logits = draw.normal(-5, 1.5, (30, classes))
        logits[np.arange(len(near)), np.repeat(labels, 2)] = draw.normal(0, 2, len(near))
        found.append(np.concatenate([np.concatenate([near, noise]), logits], 1))
    return np.stack(found).astype(np.float32)


@pytest.mark.backend
def test_running_ap50_agrees_with_pycocotools():
    """With one class, AP50 over all detections together is COCO's, but for its 101 recalls and the bins."""
    draw = np.random.default_rng(0)
    truth = np.zeros((60, 5, 5), np.float32)
    truth[..., 4] = NOTHING
    items = []
    for rows in truth:
        n = int(draw.integers(0, 6))
        corner = draw.uniform(0, 70, (n, 2))
        rows[:n, :4] = np.concatenate([corner, corner + draw.uniform(10, 30, (n, 2))], 1)
        rows[:n, 4] = 0
        items.append(annotated(None, "x", rows[:n, :4], ["a"] * n, size=(110, 110)))
    predicted = outputs(draw, truth, 1)
    metric = RunningAP50()
    for start in (0, 20, 40):
        metric.update_state(truth[start : start + 20], predicted[start : start + 20])
    found = [decode(one, least=0.0, threshold=0.6, most=100) for one in predicted]
    exact = scores.coco(Samples(items, [np.zeros(len(i.boxes), int) for i in items], 110, None), found, 1)
    assert float(metric.result()) == pytest.approx(exact.scores["ap50"], abs=0.02)
    assert 0.3 < exact.scores["ap50"] < 0.95
    metric.reset_state()
    assert float(metric.result()) == 0


def test_a_pass_from_the_middle_gives_the_batches_of_the_whole_one():
    data = load_detection(DetectionDataConfig(scenes=20), seed=0)
    config = DetectionAugmentConfig(mosaic=1.0, plain_epochs=0.5)
    stream, validation = streams(data.train, data.val, data.most_boxes, config, batch_size=4, epochs=4, seed=1)

    def batches(epoch, step=0):
        stream.seek(epoch, step)
        return [[np.asarray(x) for x in batch] for batch in stream.dataset]

    whole = batches(1)
    assert len(whole) == stream.steps_per_epoch == 5
    for a, b in zip(whole[2:], batches(1, 2), strict=True):
        np.testing.assert_array_equal(a[0], b[0])
        np.testing.assert_array_equal(a[1], b[1])
    # A mosaic of shrunken images has more boxes than one image: the last epochs have none.
    made, plain = (sum((batch[1][..., 4] >= 0).sum() for batch in batches(epoch)) for epoch in (0, 3))
    assert made > plain
    truth = np.concatenate([keras.ops.convert_to_numpy(y) for _, y in validation])
    assert (truth[..., 4] >= 0).sum() == sum(map(len, data.val.labels))
