"""Scores: equal to pycocotools', and errors as TIDE defines them."""

import json

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from pipelines.detection import scores
from pipelines.detection.annotations import annotated
from pipelines.detection.boxes import Detections, decode, suppress
from pipelines.detection.calibrate import platt
from pipelines.detection.load import Samples
from pipelines.detection.predict import by_tiles, merge, starts


def detections(boxes, chances, labels):
    return Detections(np.array(boxes, np.float32), np.array(chances, np.float32), np.array(labels))


def made(number=40, classes=3, seed=0):
    """Images with boxes and detections near them, some wrong."""
    draw = np.random.default_rng(seed)
    items, labels, found = [], [], []
    for i in range(number):
        n, extra = int(draw.integers(0, 6)), int(draw.integers(0, 3))
        corner = draw.uniform(0, 150, (n, 2))
        boxes = np.concatenate([corner, corner + draw.uniform(10, 120, (n, 2))], 1)
        of = draw.integers(0, classes, n)
        items.append(annotated(None, str(i), boxes, [str(k) for k in of], draw.random(n) < 0.1, size=(300, 300)))
        labels.append(of)
        noise = np.add(draw.uniform(0, 100, (extra, 4)), [0, 0, 100, 100])
        near = np.concatenate([boxes + draw.normal(0, 6, boxes.shape), noise])
        kinds = np.concatenate([np.where(draw.random(n) < 0.85, of, 0), draw.integers(0, classes, extra)])
        order = np.argsort(-(chances := draw.random(len(near))))
        found.append(detections(near[order], chances[order], kinds[order].astype(int)))
    return Samples(items, labels, 320, None), found


def test_scores_are_those_of_pycocotools_from_files(tmp_path):
    samples, found = made()
    notes, results = [], []
    for i, (item, labels, one) in enumerate(zip(samples.items, samples.labels, found, strict=True)):
        for (x, y, r, b), k, crowd in zip(item.boxes.tolist(), labels.tolist(), item.ignored.tolist(), strict=True):
            notes.append({"id": len(notes) + 1, "image_id": i, "category_id": 10 * k, "bbox": [x, y, r - x, b - y],
                          "area": (r - x) * (b - y), "iscrowd": int(crowd)})  # fmt: skip
        for (x, y, r, b), k, s in zip(one.boxes.tolist(), one.labels.tolist(), one.scores.tolist(), strict=True):
            results.append({"image_id": i, "category_id": 10 * k, "bbox": [x, y, r - x, b - y], "score": s})
    truth = {"images": [{"id": i} for i in range(len(samples))], "annotations": notes, "info": {},
             "categories": [{"id": 10 * k, "name": str(k)} for k in range(3)]}  # fmt: skip
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    (tmp_path / "results.json").write_text(json.dumps(results))
    gt = COCO(str(tmp_path / "truth.json"))
    judge = COCOeval(gt, gt.loadRes(str(tmp_path / "results.json")), "bbox")
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
    ours = scores.coco(samples, found, 3)
    expected = [x if x > -1 else np.nan for x in judge.stats]
    np.testing.assert_allclose([ours.scores[name] for name in scores.NAMES], expected, atol=1e-12)
    # Each image once is the data itself: what the bootstrap computes must then be pycocotools' score.
    np.testing.assert_allclose(scores.weighted(ours, np.ones(len(samples))), judge.stats[:2], atol=1e-12)
    ends = scores.intervals(ours, len(samples), seed=0, resamples=50)
    assert ends["map"][0] < ours.scores["map"] < ends["map"][1]


def test_each_kind_of_error():
    boxes, labels = np.array([[0, 0, 40, 40], [100, 100, 140, 140], [200, 0, 240, 40.0]]), np.array([0, 1, 0])
    found = detections(
        [[0, 0, 40, 40], [1, 1, 41, 41], [100, 100, 140, 140], [200, 20, 240, 60], [250, 250, 290, 290],
         [100, 125, 140, 165]], [0.9, 0.8, 0.7, 0.6, 0.5, 0.4], [0, 0, 0, 0, 1, 0],
    )  # fmt: skip
    got = scores.match(found, boxes, labels, np.zeros(3, bool))
    assert got.kind.tolist() == ["right", "duplicate", "class", "localisation", "background", "both"]
    assert got.missed.tolist() == [False, True, True]
    item = annotated(None, "x", boxes, ["0", "1", "0"], size=(300, 300))
    kinds = scores.errors(Samples([item], [labels], 320, None), [found], [got], 2)
    numbers = {kind: number for kind, (number, _) in kinds.items()}
    assert numbers == {"class": 1, "localisation": 1, "both": 1, "duplicate": 1, "background": 1, "missed": 0}
    # Class 1 has one object, which nothing finds: put right, its AP goes from 0 to 1, the mean up by a half.
    assert kinds["class"][1] >= 0.5


def test_ignored_boxes_are_neither_right_nor_missed():
    got = scores.match(detections([[0, 0, 40, 40]], [0.9], [0]), np.array([[0, 0, 40, 42.0]]), np.array([0]),
                       np.array([True]))  # fmt: skip
    assert got.kind.tolist() == ["ignored"]
    assert not got.missed.any()


def test_best_confidence_parts_right_from_wrong():
    found = [detections(np.zeros((4, 4)), [0.9, 0.8, 0.3, 0.2], np.zeros(4, int))]
    kinds = np.array(["right", "right", "background", "background"], object)
    assert scores.best_confidence(found, [scores.Match(kinds, np.zeros(4), np.zeros(0))]) == pytest.approx(0.8)


def test_calibration_recovers_scale_and_bias():
    draw = np.random.default_rng(0)
    logits = draw.normal(0, 2, 20_000)
    right = draw.random(20_000) < 1 / (1 + np.exp(-(0.5 * logits - 1)))
    found = [Detections(np.zeros((20_000, 4)), 1 / (1 + np.exp(-logits)), np.zeros(20_000, int))]
    kinds = np.where(right, "right", "background").astype(object)
    scale, bias = platt(found, [scores.Match(kinds, np.zeros(0), np.zeros(0))])
    assert (scale, bias) == (pytest.approx(0.5, abs=0.03), pytest.approx(-1, abs=0.06))


def test_decode_suppresses_within_a_class_only():
    output = np.array([[0, 0, 10, 10, 3, -9], [0, 0, 10, 11, 2, 2.5], [20, 20, 30, 30, -9, -9]], np.float32)
    assert decode(output, least=0.5, threshold=0.6, most=10).labels.tolist() == [0, 1]
    assert suppress(np.zeros((0, 4)), np.zeros(0), np.zeros(0), 0.5, 3).tolist() == []


def test_tiles_cover_and_overlap():
    for extent in (64, 65, 100, 129, 1000):
        places = starts(extent, 64, 0.25)
        assert (places[0], places[-1]) == (0, extent - 64)
        assert max(np.diff(places), default=0) <= 48


def test_merge_drops_copies_and_pieces():
    boxes = [[0, 0, 40, 40], [1, 0, 40, 40], [0, 0, 40, 12], [60, 0, 90, 40], [0, 0, 40, 40]]
    assert merge(detections(boxes, [0.9, 0.8, 0.7, 0.6, 0.5], [0, 0, 0, 0, 1]), 0.6).tolist() == [0, 3, 4]


class Bright:
    """A detector of the bright rectangle in a tile, if there is one."""

    def predict_on_batch(self, images):
        outputs = np.full((len(images), 1, 5), -9, np.float32)
        for output, image in zip(outputs, images, strict=True):
            mask = image.min(-1) > 200
            if mask.any():
                rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
                output[0] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1, 3
        return outputs


@pytest.mark.parametrize("corner", [(0, 0), (50, 90), (100, 45), (60, 56)])
def test_an_object_on_a_seam_is_found_once_and_whole(corner):
    pixels = np.zeros((150, 170, 3), np.uint8)
    top, left = corner
    pixels[top : top + 12, left : left + 12] = 255
    spec = {"size": 64, "overlap": 0.25, "nms_iou": 0.6, "max_detections": 10}
    found = by_tiles(Bright(), pixels, spec, least=0.5)
    np.testing.assert_allclose(found.boxes, [[left, top, left + 12, top + 12]])
