"""Report sections and scores of a classifier, for all kinds of data."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from callbacks.figures import roc_curves
from pipelines.engine import figures
from pipelines.engine.calibration import Reliability, reliability, uncalibrated
from pipelines.engine.classes.scores import BINS, Classification, classification
from pipelines.engine.intervals import counted
from pipelines.engine.report import Assessment, Block, Figure, Headline, Section, Table, Text
from pipelines.metrics import title

if TYPE_CHECKING:
    from pipelines.data.summary import DataSummary

SHOWN = 16
SETS = {"train": "training", "val": "validation", "test": "test"}
MAIN = ("accuracy", "macro_f1", "expected_calibration_error", "balanced_accuracy", "log_loss")
# For two classes, the scores of the positive class alone have other values.
AVERAGED = {"roc_auc": "ROC AUC, mean of the classes", "average_precision": "average precision, mean of the classes"}

# Takes a name, a caption, the numbers of the samples to show, a text for each, and whether its prediction is right.
Show = Callable[[str, str, np.ndarray, list[str], list[bool]], Block]


def assess(
    labels: np.ndarray,
    probabilities: np.ndarray,
    classes: Sequence[str],
    names: Sequence[str],
    summary: DataSummary,
    show: Show,
    *,
    seed: int,
    resamples: int,
    temperature: float = 1.0,
) -> Assessment:
    """Scores with intervals, predictions and report sections for a classifier on its test set.

    Args:
        labels: (N,) integers.
        probabilities: (N, K), rows sum to 1.
        classes: K names.
        names: N names of the samples.
        summary: What the report says about the data.
        show: Draws some of the samples.
        seed: Seed of the bootstrap.
        resamples: Bootstrap resamples.
        temperature: By what the logits were divided for calibration; 1 where they were not.
    """
    result = classification(labels, probabilities, classes, seed=seed, resamples=resamples)
    before = None
    metrics = result.to_json()
    if temperature != 1.0:
        before = reliability(result.labels, uncalibrated(result.probabilities, temperature), BINS)
        metrics["uncalibrated"] = {"temperature": temperature, "expected_calibration_error": before.error}
    sections = [
        scores(result),
        Section("Errors", [confusion(result), *examples(result, show)]),
        calibrated(result.reliability, before),
        about(summary, classes),
    ]
    baseline = majority(labels, classes, summary)
    curves = (result.labels, result.probabilities, result.classes)
    return Assessment(
        {"test": metrics}, headline(result, baseline), rows(result, names), sections, curves,
        summary=sentence(result, baseline, before),
    )  # fmt: skip


def majority(labels: np.ndarray, classes: Sequence[str], summary: DataSummary) -> float:
    """Accuracy (0 to 1) of always predicting the most frequent class of the training set, NaN where that is unknown."""
    counts = summary.counts.get("train", {})
    if not all(name in counts for name in classes):
        return math.nan
    return float((np.asarray(labels) == max(range(len(classes)), key=lambda k: counts[classes[k]])).mean())


def headline(result: Classification, baseline: float = math.nan) -> list[Headline]:
    """The main scores with their intervals; the accuracy also beside that of the majority class."""
    found = []
    for name in MAIN:
        estimate = result.metrics[name]
        note = f"95 % interval {estimate.range}"
        if name == "accuracy":
            right, number = round(estimate.value * len(result.labels)), len(result.labels)
            note += f"; {counted(right, number)}" if right in (0, number) else ""
            note += "" if math.isnan(baseline) else f"; majority class {baseline:.4f}"
        found.append(Headline(title(name), f"{estimate.value:.4f}", note))
    return found


def sentence(result: Classification, baseline: float, before: Reliability | None) -> str:
    """What the model has learned, in words."""
    accuracy = result.metrics["accuracy"]
    right = round(accuracy.value * len(result.labels))
    parts = [
        f"Predicts the right class for {accuracy.value:.1%} of {len(result.labels):,} test samples "
        f"(95 % interval {accuracy.low:.1%} to {accuracy.high:.1%})"
    ]
    if right == len(result.labels):
        parts[0] += f", {counted(right, right)}"
    if not math.isnan(baseline):
        points = 100 * (accuracy.value - baseline)
        better = f"{points:.0f} points above" if points >= 0.5 else f"{-points:.0f} points below"
        level = "no better than" if abs(points) < 0.5 else better
        parts.append(f"{level} always predicting the most frequent class")
    mistakes = result.confusion * (1 - np.eye(len(result.classes), dtype=int))
    if mistakes.any():
        true, predicted = np.unravel_index(mistakes.argmax(), mistakes.shape)
        number = int(mistakes[true, predicted])
        what = f"{result.classes[predicted]} for {result.classes[true]}"
        parts.append(f"the most frequent error is {what} ({number:,})" if number > 1 else f"an error is {what}")
    now = result.metrics["expected_calibration_error"].value
    after = f"; it was {before.error:.1%} before calibration" if before is not None else ""
    return f"{'; '.join(parts)}. Confidence and accuracy differ by {now:.1%} on average{after}."


def scores(result: Classification) -> Section:
    """The tables and figures that need nothing but the predictions."""
    table = [(AVERAGED.get(name) or title(name), f"{e.value:.4f}", e.range) for name, e in result.metrics.items()]
    per_class = [
        (row.name, *(_percent(x) for x in (row.precision, row.recall, row.f1)), str(row.support))
        for row in result.per_class
    ]
    shown = (result.labels, result.probabilities, result.classes)
    if len(result.classes) == 2:  # the curve of one class is that of the other, turned round
        shown = (result.labels, result.probabilities[:, 1:], result.classes[1:])
    caption = (
        f"ROC curve of {result.classes[1]}." if len(result.classes) == 2
        else "ROC curve of each class against the rest; of many classes, those with the smallest areas."
    )  # fmt: skip
    return Section(
        "Scores",
        [
            Table(("score", "value", "95 % interval"), table, f"{len(result.labels):,} test samples."),
            Table(("class", "precision", "recall", "F1", "samples"), per_class, "By class."),
            Figure("roc", roc_curves(*shown), f"{caption} The larger the area under the curve, the better.",
                   "ROC curves"),
        ],
    )  # fmt: skip


def confusion(result: Classification) -> Figure:
    """The confusion matrix as a block of the report."""
    return Figure(
        "confusion_matrix", figures.confusion_matrix(result.confusion, result.classes),
        "Confusion matrix: rows are the true classes, columns the predicted ones, numbers the samples.",
        "Confusion matrix",
    )  # fmt: skip


def calibrated(now: Reliability, before: Reliability | None) -> Section:
    """The reliability diagram, and that of the model before its calibration."""
    caption = "Bars on the diagonal: of predictions with a confidence of 90 %, nine in ten are right."
    after = Figure("reliability", figures.reliability_diagram(now), caption, "Reliability diagram")
    if before is None:
        return Section("Calibration", [after])
    was = Figure(
        "reliability_before", figures.reliability_diagram(before),
        f"Before calibration; the expected calibration error was {before.error:.4f}.",
        "Reliability diagram before calibration",
    )  # fmt: skip
    after = replace(after, caption=f"After calibration; the error is {now.error:.4f}. {caption}")
    return Section("Calibration", [
        Text("The logits were divided by a temperature that was fitted on the validation set (temperature scaling). "
             "The predicted classes do not change, their confidences do."),
        was, after,
    ])  # fmt: skip


def examples(result: Classification, show: Show) -> list[Block]:
    """The most confident errors, the most confident right predictions, and the least confident predictions."""
    # Both are computed from all samples.
    predicted, confidence = result.predicted, result.confidence
    right = predicted == result.labels
    sure = np.argsort(-confidence, kind="stable")
    groups = (
        ("most_confident_errors", "Most confident errors.", sure[~right[sure]]),
        ("most_confident_right", "Most confident right predictions.", sure[right[sure]]),
        ("least_confident", "Least confident predictions.", sure[::-1]),
    )

    def text(i: int) -> str:
        said = f"{result.classes[predicted[i]]} {confidence[i]:.0%}"
        return said if right[i] else f"{said}\ntrue: {result.classes[result.labels[i]]}"

    note = "Each sample has its predicted class with the confidence, and the true class if the prediction is wrong."
    return [Text(note), *shown(groups, text, right, show)]


def shown(
    groups: Iterable[tuple[str, str, np.ndarray]], text: Callable[[int], str], right: np.ndarray, show: Show
) -> list[Block]:
    """The first samples of each group, or a line that says there are none.

    Args:
        groups: Name, caption and numbers of the samples of each.
        text: Number of a sample to its caption.
        right: (N,) bool, whether each prediction is right.
        show: Draws them.
    """
    blocks: list[Block] = []
    for name, caption, order in groups:
        chosen = order[:SHOWN]
        if len(chosen):
            blocks.append(show(name, caption, chosen, [text(i) for i in chosen], right[chosen].tolist()))
        else:
            blocks.append(Text(f"{caption} None."))
    return blocks


def rows(result: Classification, names: Sequence[str]) -> list[dict[str, object]]:
    """predictions.csv"""
    # Both are computed from all samples.
    predicted, confidence = result.predicted, result.confidence
    return [
        {
            "sample": names[i],
            "label": result.classes[result.labels[i]],
            "predicted": result.classes[predicted[i]],
            "confidence": round(float(confidence[i]), 6),
            "right": bool(predicted[i] == result.labels[i]),
        }
        for i in range(len(result.labels))
    ]


def about(
    summary: DataSummary, classes: Sequence[str], column: str = "class", caption: str = "Samples by class and split."
) -> Section:
    """Counts, skipped samples, and samples that occur in two splits.

    Args:
        summary: What was read.
        classes: The names whose counts are shown.
        column: Heading of these names.
        caption: What is counted.
    """
    counts = summary.counts
    table = [(name, *(f"{counts[split][name]:,}" for split in counts)) for name in classes]
    section = Section("Data", [Table((column, *(SETS.get(split, split) for split in counts)), table, caption)])
    section.blocks.extend(Text(f"Note: {note}.") for note in summary.notes)
    if summary.skipped:
        section.blocks.append(Table(("skipped", "reason"), summary.skipped, "Skipped samples."))
    else:
        section.blocks.append(Text("No sample was skipped."))
    if summary.duplicates:
        section.blocks.append(
            Table(("split", "sample", "split", "the same as"), summary.duplicates[:50],
                  f"{len(summary.duplicates):,} samples occur in two splits: test scores may be too good.")
        )  # fmt: skip
    else:
        looked = summary.duplicates is not None
        section.blocks.append(
            Text("No sample occurs in two splits." if looked else "Samples that occur in two splits were not searched.")
        )
    return section


def _percent(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.1%}"
