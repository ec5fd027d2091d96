"""What the report of a detector says: scores, errors of each kind, images beside their truths, the data."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.detection import figures, scores
from pipelines.detection.boxes import Detections
from pipelines.detection.load import DetectionSplits, Samples
from pipelines.engine import figures as drawings
from pipelines.engine import report
from pipelines.images import decode
from pipelines.metrics import Estimate

if TYPE_CHECKING:
    from pipelines.detection.scores import CocoScores, Match

SHOWN = 8  # images in a figure
LISTED = 200  # rows of a table
CONFUSED = 30  # classes of a confusion matrix at most
TITLES = {"map": "mAP (IoU 0.50 to 0.95)", "ap50": "AP50", "ap75": "AP75"}


def assess(
    data: DetectionSplits, found: Sequence[Detections], strides: Sequence[int], confidence: float, *, seed: int,
    resamples: int,
) -> report.Assessment:  # fmt: skip
    """Scores the detections of the test set.

    Args:
        data: All splits.
        found: Detections of each test image, in pixels of it.
        strides: Of the pyramid.
        confidence: What counts as detected where there must be a decision.
        seed: Seed of the bootstrap.
        resamples: Its size.
    """
    test, classes = data.test, data.classes
    judged = scores.coco(test, found, len(classes))
    sure = [one.at_least(confidence) for one in found]
    matched = scores.matches(test, sure)
    everything = scores.matches(test, found)
    ends = scores.intervals(judged, len(test), seed=seed, resamples=resamples)
    estimates = {
        name: Estimate(value, *ends[name]) if name in ends and not math.isnan(value) else Estimate(value)
        for name, value in judged.scores.items()
    }
    kinds = Counter(str(k) for m in matched for k in m.kind)
    right, missed = kinds["right"], sum(int(m.missed.sum()) for m in matched)
    wrong = sum(number for kind, number in kinds.items() if kind not in ("right", "ignored"))
    precision, recall = right / max(right + wrong, 1), right / max(right + missed, 1)
    named = {name: (None if math.isnan(e.value) else round(e.value, 6)) for name, e in estimates.items()}
    test_scores = {name: e.to_json() for name, e in estimates.items()}
    test_scores |= {"precision": Estimate(precision).to_json(), "recall": Estimate(recall).to_json()}
    metrics = {
        **named,
        "test": {"samples": len(test), "metrics": test_scores, "confidence": round(confidence, 4),
                 "per_class": _per_class(judged, classes)},
    }  # fmt: skip
    headline = [report.Headline(TITLES[n], f"{estimates[n].value:.4f}", _note(estimates[n])) for n in ("ap50", "map")]
    headline.append(report.Headline(
        "precision / recall", f"{precision:.3f} / {recall:.3f}", f"with a confidence of {confidence:.2f} or more"
    ))  # fmt: skip
    headline += [report.Headline(TITLES["ap75"], f"{estimates['ap75'].value:.4f}"),
                 report.Headline("AR (100 boxes an image)", f"{estimates['ar_100'].value:.4f}")]  # fmt: skip
    sections = [
        report.Section("Scores", _score_blocks(judged, estimates, classes, len(test))),
        report.Section("Errors", _error_blocks(test, found, everything, sure, matched, classes)),
        report.Section("Images", _image_blocks(test, sure, matched, classes)),
        report.Section("Data", _data_blocks(data, strides)),
    ]
    summary = (
        f"At a confidence of {confidence:.2f} the detector finds {recall:.0%} of the {right + missed} objects in "
        f"{len(test)} test images, and {precision:.0%} of what it marks is right (same class, IoU of 0.5 or more)."
    )
    predictions = _rows(test, found, everything, classes)
    problems = [{"image": name, "problem": problem} for name, problem in data.problems]
    return report.Assessment(
        metrics, headline, predictions, sections, tables={"boxes_changed.csv": problems}, summary=summary
    )


def _note(estimate: Estimate) -> str:
    return "" if math.isnan(estimate.low) else f"95 % interval {estimate.range}, bootstrap over images"


def _per_class(judged: CocoScores, classes: Sequence[str]) -> dict[str, dict[str, float | None]]:
    return {
        name: {"ap": None if np.isnan(ap) else float(ap), "ap50": None if np.isnan(ap50) else float(ap50)}
        for name, (ap, ap50) in zip(classes, judged.per_class, strict=True)
    }


def _score_blocks(
    judged: CocoScores, estimates: dict[str, Estimate], classes: Sequence[str], images: int
) -> list[report.Block]:
    shown = {
        "map": "AP, mean of IoU 0.50 to 0.95", "ap50": "AP at IoU 0.50", "ap75": "AP at IoU 0.75",
        "map_small": "AP of small objects (below 32 x 32 pixels)", "map_medium": "AP of medium objects (below 96 x 96)",
        "map_large": "AP of large objects", "ar_1": "AR with 1 box an image", "ar_10": "AR with 10 boxes an image",
        "ar_100": "AR with 100 boxes an image", "ar_small": "AR of small objects", "ar_medium": "AR of medium objects",
        "ar_large": "AR of large objects",
    }  # fmt: skip
    rows = [
        [text, "–" if math.isnan(estimates[n].value) else f"{estimates[n].value:.4f}", estimates[n].range]
        for n, text in shown.items()
    ]
    caption = f"By pycocotools on {images} test images; sizes are areas in pixels of the image itself."
    blocks: list[report.Block] = [report.Table(["score", "value", "95 % interval"], rows, caption)]
    curves, of_class = {}, []
    for k, name in enumerate(classes):
        _, right, counted, _, objects = judged.flat[k]
        total = int(objects.sum())
        ap, ap50 = judged.per_class[k]
        of_class.append([name, str(total), *("–" if np.isnan(x) else f"{x:.4f}" for x in (ap, ap50))])
        if total:
            hits, wrong = np.cumsum(right[0] & counted[0]), np.cumsum(~right[0] & counted[0])
            curves[name] = hits / total, hits / np.maximum(hits + wrong, 1)
    blocks.append(report.Table(["class", "objects", "AP", "AP50"], of_class, "Each class."))
    if curves:
        caption = "Precision against recall at IoU 0.5; the area under a curve is about its AP50."
        drawn = figures.precision_recall(curves)
        blocks.append(report.Figure("precision_recall", drawn, caption, "Precision-recall curves of the classes"))
    return blocks


def _error_blocks(
    test: Samples, found: Sequence[Detections], everything: Sequence[Match], sure: Sequence[Detections],
    matched: Sequence[Match], classes: Sequence[str],
) -> list[report.Block]:  # fmt: skip
    kinds = scores.errors(test, found, everything, len(classes))
    about = {
        "class": "right place, wrong class", "localisation": "right class, IoU between 0.1 and 0.5",
        "both": "wrong class, IoU between 0.1 and 0.5", "duplicate": "second box on the same object",
        "background": "IoU below 0.1 with every object", "missed": "object that no detection is near",
    }  # fmt: skip
    at = Counter(str(k) for m in matched for k in m.kind)
    at["missed"] = sum(int(m.missed.sum()) for m in matched)
    rows = [[kind, about[kind], f"{at[kind]}", f"{kinds[kind][1]:.4f}"] for kind in about]
    caption = (
        "Errors by kind (TIDE, Bolya et al. 2020): how many there are at the chosen confidence, and what AP50 "
        "would gain if all of a kind were put right. The gains do not add up."
    )
    blocks: list[report.Block] = [report.Table(["error", "meaning", "number", "AP50 gained"], rows, caption)]
    gains = np.array([kinds[kind][1] for kind in about])
    blocks.append(report.Figure(
        "error_kinds", drawings.bars(list(about), gains, "AP50 gained without these errors"),
        "What limits AP50.", "Bars: AP50 gained without each kind of error",
    ))  # fmt: skip
    if 1 < len(classes) <= CONFUSED or len(classes) == 1:
        matrix = confusion(test, sure, matched, len(classes))
        caption = (
            "Rows are true, columns detected. The last column counts objects that were missed, the last row detections "
            "on the background."
        )
        drawn = drawings.confusion_matrix(matrix, [*classes, "background"])
        blocks.append(report.Figure("confusion_matrix", drawn, caption, "Confusion of the classes and the background"))
    return blocks


def confusion(test: Samples, found: Sequence[Detections], matched: Sequence[Match], classes: int) -> np.ndarray:
    """Counts (K + 1, K + 1) of true and detected classes; the last stands for the background."""
    matrix = np.zeros((classes + 1, classes + 1), np.int64)
    for labels, one, m in zip(test.labels, found, matched, strict=True):
        taken_for: set[int] = set()
        for label, kind, partner in zip(one.labels, m.kind, m.partner, strict=True):
            if kind in ("right", "class"):
                if kind == "class" and (not m.missed[partner] or int(partner) in taken_for):
                    matrix[classes, label] += 1
                    continue
                taken_for.add(int(partner))
                matrix[labels[partner], label] += 1
            elif kind != "ignored":
                matrix[classes, label] += 1
        for j in np.flatnonzero(m.missed):
            if int(j) not in taken_for:
                matrix[labels[j], classes] += 1
    return matrix


def _image_blocks(
    test: Samples, sure: Sequence[Detections], matched: Sequence[Match], classes: Sequence[str]
) -> list[report.Block]:
    bad = np.array([int(m.missed.sum()) + sum(k not in ("right", "ignored") for k in m.kind) for m in matched])
    blocks: list[report.Block] = [report.Figure(
        "predictions", _drawn(test, np.arange(min(SHOWN, len(test))), sure, matched, classes),
        "The first test images: true boxes in blue, right detections in green, wrong ones in red.",
        "Test images with true and detected boxes",
    )]  # fmt: skip
    worst = np.argsort(-bad, kind="stable")[:SHOWN]
    worst = worst[bad[worst] > 0]
    if len(worst):
        blocks.append(report.Figure(
            "worst_images", _drawn(test, worst, sure, matched, classes),
            "The images with the most errors (missed objects and wrong detections together).",
            "Test images with the most errors",
        ))  # fmt: skip
        rows = []
        for i in worst:
            kinds = Counter(str(k) for k in matched[i].kind if k not in ("right", "ignored"))
            listed = [f"{n} {kind}" for kind, n in kinds.items()]
            if missed := int(matched[i].missed.sum()):
                listed.append(f"{missed} missed")
            rows.append([test.items[i].name, str(len(test.labels[i])), str(bad[i]), ", ".join(listed)])
        blocks.append(report.Table(["image", "objects", "errors", "kinds"], rows, "Why these images are wrong."))
    return blocks


def _drawn(
    test: Samples, chosen: np.ndarray, sure: Sequence[Detections], matched: Sequence[Match], classes: Sequence[str]
) -> Any:
    images = [np.asarray(decode.to_mode(decode.open_image(test.items[i].image), "rgb")) for i in chosen]
    return figures.beside(
        images, [(test.items[i].boxes, test.items[i].labels) for i in chosen], [sure[i] for i in chosen],
        [matched[i].kind for i in chosen], classes, [test.items[i].name.rpartition("/")[2][-28:] for i in chosen],
    )  # fmt: skip


def _data_blocks(data: DetectionSplits, strides: Sequence[int]) -> list[report.Block]:
    summary = data.summary
    names = list(summary.counts)
    rows = [[name, *(f"{summary.counts[split][name]:,}" for split in names)] for name in data.classes]
    empty = {split: sum(not len(k) for k in of.labels) for split, of in data.splits().items()}
    rows.append(["images", *(f"{len(data.splits()[split]):,}" for split in names)])
    rows.append(["images without objects", *(f"{empty[split]:,}" for split in names)])
    blocks: list[report.Block] = [report.Table(["boxes of", *names], rows, "Boxes by class and split.")]
    sides = data.train.sides()
    if len(sides):
        drawn = figures.sizes(sides, strides)
        low, median, high = np.quantile(sides, [0.1, 0.5, 0.9])
        caption = (
            f"Sizes of the training boxes: median {median:.0f} pixels, 80 % between {low:.0f} and {high:.0f}. Dashed "
            f"lines are the distances between the locations of each level ({', '.join(map(str, strides))} pixels)."
        )
        blocks.append(report.Figure("box_sizes", drawn, caption, "Histogram of box sizes with the strides"))
    blocks += [report.Text(f"{note[0].upper()}{note[1:]}.") for note in summary.notes]
    if summary.skipped:
        skipped = [[name, reason] for name, reason in summary.skipped[:LISTED]]
        blocks.append(report.Table(["skipped", "why"], skipped, f"{len(summary.skipped)} skipped."))
    if data.problems:
        changed = [[name, problem] for name, problem in data.problems[:LISTED]]
        caption = f"{len(data.problems)} boxes were changed or dropped; all are in boxes_changed.csv."
        blocks.append(report.Table(["image", "problem"], changed, caption))
    if summary.duplicates:
        pairs = [list(pair) for pair in summary.duplicates[:LISTED]]
        caption = f"{len(summary.duplicates)} equal images in two splits: scores may be too good."
        blocks.append(report.Table(["split", "image", "split", "same image"], pairs, caption))
    return blocks


def _rows(
    test: Samples, found: Sequence[Detections], matched: Sequence[Match], classes: Sequence[str]
) -> list[dict[str, Any]]:
    rows = []
    for item, one, m in zip(test.items, found, matched, strict=True):
        for box, label, score, kind in zip(one.boxes.tolist(), one.labels, one.scores, m.kind, strict=True):
            corners = dict(zip(("left", "top", "right", "bottom"), (round(x, 2) for x in box), strict=True))
            rows.append({"input": item.name, "label": classes[label], "confidence": round(float(score), 6), **corners,
                         "outcome": kind})  # fmt: skip
    empty = {
        "input": "",
        "label": "",
        "confidence": "",
        "left": "",
        "top": "",
        "right": "",
        "bottom": "",
        "outcome": "",
    }
    return rows or [empty]
