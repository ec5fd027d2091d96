"""Scores of detections: those of COCO by pycocotools, their intervals, matches, and kinds of errors."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines.detection.boxes import Detections, overlaps
from pipelines.detection.load import Samples

NAMES = ("map", "ap50", "ap75", "map_small", "map_medium", "map_large", "ar_1", "ar_10", "ar_100", "ar_small",
         "ar_medium", "ar_large")  # fmt: skip
RECALLS = np.linspace(0, 1, 101)
RESAMPLES = 300  # at most
FAR = 0.1  # IoU below which a detection is on the background


@dataclass(frozen=True, eq=False)
class CocoScores:
    """What pycocotools finds.

    Args:
        scores: By `NAMES`; NaN where no object has the size.
        per_class: AP and AP50 of each class (K, 2); NaN where a class has no object.
        flat: For each class: scores (D,), right (10, D) and counted (10, D) at IoU 0.5 to 0.95, number of the image
            (D,), and objects of each image (I,). What is not counted lies in an ignored region.
    """

    scores: dict[str, float]
    per_class: np.ndarray
    flat: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]]


def coco(samples: Samples, found: Sequence[Detections], classes: int) -> CocoScores:
    """Scores by pycocotools; ignored boxes are `iscrowd`.

    Args:
        samples: Images with true boxes.
        found: Detections of each image, in pixels of it.
        classes: Number of classes.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    images = [{"id": i + 1} for i in range(len(samples))]
    categories = [{"id": k + 1} for k in range(classes)]
    truth: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for i, (item, labels, one) in enumerate(zip(samples.items, samples.labels, found, strict=True), start=1):
        for box, label, ignored in zip(item.boxes.tolist(), labels.tolist(), item.ignored.tolist(), strict=True):
            truth.append({**_note(box, i, label, len(truth) + 1), "iscrowd": int(ignored)})
        for box, label, score in zip(one.boxes.tolist(), one.labels.tolist(), one.scores.tolist(), strict=True):
            results.append({**_note(box, i, label, len(results) + 1), "iscrowd": 0, "score": score})
    with contextlib.redirect_stdout(io.StringIO()):
        pair = []
        for notes in (truth, results):
            made = COCO()
            made.dataset = {"images": images, "categories": categories, "annotations": notes}
            made.createIndex()
            pair.append(made)
        judge = COCOeval(*pair, iouType="bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    scores = {name: float(x) if x > -1 else np.nan for name, x in zip(NAMES, judge.stats, strict=True)}
    precision = judge.eval["precision"][:, :, :, 0, -1]  # IoU, recall, class
    with np.errstate(invalid="ignore"):
        of_class = np.where(precision < 0, np.nan, precision)
    present = (precision > -1).any((0, 1))
    per_class = np.full((classes, 2), np.nan)
    per_class[present, 0] = of_class[:, :, present].mean((0, 1))
    per_class[present, 1] = of_class[0][:, present].mean(0)
    number, areas = len(images), len(judge.params.areaRng)
    flat = [_flat(judge.evalImgs[k * areas * number : k * areas * number + number]) for k in range(classes)]
    return CocoScores(scores, per_class, flat)


def _note(box: list[float], image: int, label: int, number: int) -> dict[str, Any]:
    left, top, right, bottom = box
    return {"id": number, "image_id": image, "category_id": label + 1, "area": (right - left) * (bottom - top),
            "bbox": [left, top, right - left, bottom - top]}  # fmt: skip


def _flat(of_images: list[Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    objects = np.zeros(len(of_images), np.int64)
    scores, right, counted, index = [np.zeros(0)], [np.zeros((10, 0), bool)], [np.zeros((10, 0), bool)], [np.zeros(0)]
    for i, one in enumerate(of_images):
        if one is None:
            continue
        objects[i] = int((~np.asarray(one["gtIgnore"], bool)).sum())
        scores.append(np.asarray(one["dtScores"], float))
        right.append(np.asarray(one["dtMatches"]).reshape(10, -1) > 0)
        counted.append(~np.asarray(one["dtIgnore"], bool).reshape(10, -1))
        index.append(np.full(len(one["dtScores"]), i))
    flat = np.concatenate(scores)
    order = np.argsort(-flat, kind="mergesort")
    return (flat[order], np.concatenate(right, 1)[:, order], np.concatenate(counted, 1)[:, order],
            np.concatenate(index).astype(np.int64)[order], objects)  # fmt: skip


def average_precision(right: np.ndarray, wrong: np.ndarray, objects: float) -> float:
    """COCO's AP: precision at 101 recalls, the best at that recall or a higher one.

    Args:
        right: (D,) weight of each detection, by falling score, that is right.
        wrong: (D,) likewise of those that are wrong.
        objects: Their number.
    """
    if objects <= 0:
        return np.nan
    hits = np.cumsum(right)
    precision = hits / np.maximum(hits + np.cumsum(wrong), np.spacing(1))
    envelope = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    return float(envelope[np.minimum(np.searchsorted(hits / objects, RECALLS, side="left"), len(hits))].mean())


def weighted(scores: CocoScores, weights: np.ndarray) -> tuple[float, float]:
    """mAP and AP50 where each image (I,) counts so many times."""
    table = []
    for _, right, counted, index, objects in scores.flat:
        total = float((objects * weights).sum())
        if total <= 0:
            continue
        of_image = weights[index]
        table.append([
            average_precision((r & c) * of_image, (~r & c) * of_image, total)
            for r, c in zip(right, counted, strict=True)
        ])  # fmt: skip
    if not table:
        return np.nan, np.nan
    mean = np.mean(table, 0)
    return float(mean.mean()), float(mean[0])


def intervals(scores: CocoScores, images: int, *, seed: int, resamples: int) -> dict[str, tuple[float, float]]:
    """95 % bootstrap intervals of mAP and AP50 over images."""
    draw = np.random.default_rng(seed)
    values = [
        weighted(scores, np.bincount(draw.integers(0, images, images), minlength=images).astype(float))
        for _ in range(min(resamples, RESAMPLES))
    ]
    ends = np.nanquantile(np.array(values), [0.025, 0.975], axis=0)
    return {"map": (ends[0, 0], ends[1, 0]), "ap50": (ends[0, 1], ends[1, 1])}


@dataclass(frozen=True, eq=False)
class Match:
    """The detections of an image against its true boxes, at IoU 0.5.

    Args:
        kind: (N,) of each detection: `right`, `ignored`, `localisation`, `class`, `both`, `duplicate` or `background`.
        partner: (N,) number of the true box that it is or would be right for, or -1.
        missed: (M,) whether a true box has no right detection; ignored ones are not missed.
    """

    kind: np.ndarray
    partner: np.ndarray
    missed: np.ndarray


def match(found: Detections, boxes: np.ndarray, labels: np.ndarray, ignored: np.ndarray, least: float = 0.5) -> Match:
    """Matches greedily, the most confident detection first; each true box once.

    The kinds of errors are those of Bolya et al., "TIDE: A General Toolbox for Identifying Object Detection Errors",
    ECCV 2020: IoU with a box of its class between 0.1 and 0.5 is an error of localisation, IoU of 0.5 or more with
    a box of another class one of class, between 0.1 and 0.5 with such a box both; a second detection of a box is a
    duplicate; what overlaps nothing lies on the background.
    """
    iou = overlaps(found.boxes.astype(float), boxes.astype(float)) if len(boxes) else np.zeros((len(found), 0))
    kind, partner = np.full(len(found), "background", object), np.full(len(found), -1)
    taken = np.zeros(len(boxes), bool)
    for i in range(len(found)):
        same = (labels == found.labels[i]) & ~ignored
        free = np.where(same & ~taken, iou[i], -1)
        if len(free) and free.max() >= least:
            kind[i], partner[i] = "right", int(free.argmax())
            taken[partner[i]] = True
            continue
        if (iou[i][ignored & (labels == found.labels[i])] >= least).any():
            kind[i] = "ignored"
            continue
        of_same, of_other = np.where(same, iou[i], -1), np.where(~same & ~ignored, iou[i], -1)
        best_same, best_other = of_same.max(initial=-1), of_other.max(initial=-1)
        if best_same >= least:
            kind[i], partner[i] = "duplicate", int(of_same.argmax())
        elif best_other >= least:
            kind[i], partner[i] = "class", int(of_other.argmax())
        elif best_same >= FAR:
            kind[i], partner[i] = "localisation", int(of_same.argmax())
        elif best_other >= FAR:
            kind[i], partner[i] = "both", int(of_other.argmax())
    return Match(kind, partner, ~taken & ~ignored)


def matches(samples: Samples, found: Sequence[Detections]) -> list[Match]:
    """Of each image."""
    rows = zip(samples.items, samples.labels, found, strict=True)
    return [match(one, item.boxes, labels, item.ignored) for item, labels, one in rows]


def best_confidence(found: Sequence[Detections], matched: Sequence[Match]) -> float:
    """The confidence whose detections have the best F1 against the true boxes, all classes together."""
    scores = np.concatenate([one.scores for one in found] or [np.zeros(0)])
    kinds = np.concatenate([m.kind for m in matched] or [np.zeros(0, object)])
    objects = sum(int((m.kind == "right").sum() + m.missed.sum()) for m in matched)
    scores, kinds = scores[kinds != "ignored"], kinds[kinds != "ignored"]
    if not len(scores) or not (kinds == "right").any():
        return 0.5
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(kinds[order] == "right")
    f1 = 2 * hits / (np.arange(len(order)) + 1 + objects)
    return float(np.clip(scores[order][f1.argmax()], 0.01, 0.99))


FIXES = ("class", "localisation", "both", "duplicate", "background", "missed")


def errors(
    samples: Samples, found: Sequence[Detections], matched: Sequence[Match], classes: int
) -> dict[str, tuple[int, float]]:
    """Number of errors of each kind, and how much AP50 would gain without them (TIDE).

    Errors of class and place become right where their true box is still free, else they are dropped; duplicates and
    detections on the background are dropped; missed boxes are taken from the objects. The gains do not add up.
    """
    table = []  # class, score, kind, image, partner
    objects = np.zeros(classes)
    lost = np.zeros(classes)
    for i, (labels, item, one, m) in enumerate(zip(samples.labels, samples.items, found, matched, strict=True)):
        objects += np.bincount(labels[~item.ignored], minlength=classes)
        near = {int(p) for k, p in zip(m.kind, m.partner, strict=True) if k in ("class", "localisation", "both")}
        gone = [j for j in np.flatnonzero(m.missed) if int(j) not in near]
        lost += np.bincount(labels[gone], minlength=classes)
        for label, score, kind, partner in zip(one.labels, one.scores, m.kind, m.partner, strict=True):
            to = int(labels[partner]) if partner >= 0 else -1
            free = bool(partner >= 0 and m.missed[partner])
            table.append((int(label), float(score), str(kind), (i, int(partner)), to, free))
    table.sort(key=lambda row: -row[1])

    def ap(fixed: str | None) -> float:
        right: list[list[bool]] = [[] for _ in range(classes)]
        done: set[tuple[int, int]] = set()
        for label, _, kind, place, to, free in table:
            if kind == "ignored":
                continue
            if kind != fixed:
                right[label].append(kind == "right")
            elif kind in ("class", "localisation", "both") and free and place not in done:
                done.add(place)
                right[to].append(True)
        wanted = objects - (lost if fixed == "missed" else 0)
        values = []
        for k in range(classes):
            if wanted[k] > 0:
                hits = np.array(right[k], float)
                values.append(average_precision(hits, 1 - hits, float(wanted[k])))
        return float(np.mean(values)) if values else np.nan

    base = ap(None)
    numbers = {kind: sum(row[2] == kind for row in table) for kind in FIXES[:-1]}
    numbers["missed"] = int(lost.sum())
    return {kind: (numbers[kind], max(0.0, ap(kind) - base)) for kind in FIXES}
