"""What a report says about a classifier, whatever it classifies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipelines.engine import figures
from pipelines.engine.evaluate import Classification, classification
from pipelines.engine.report import Headline, Picture, Section, Table, Text
from pipelines.engine.train import Assessment

if TYPE_CHECKING:
    from pipelines.data.images import ImageParts, Part

SHOWN = 16
MAIN = ("accuracy", "balanced_accuracy", "macro_f1", "log_loss", "expected_calibration_error")


def assess(data: ImageParts, probabilities: np.ndarray, *, seed: int, resamples: int) -> Assessment:
    """Scores with intervals, predictions and report sections for a picture classifier on its test part."""
    result = classification(data.test.labels, probabilities, data.classes, seed=seed, resamples=resamples)
    headline = [
        Headline(name.replace("_", " "), f"{e.value:.4f}", f"95 % interval {e.low:.4f} to {e.high:.4f}")
        for name, e in result.metrics.items()
        if name in MAIN
    ]
    sections = [
        scores(result),
        Section("Predictions", [*pictures(result, data.test, data.classes)]),
        about(data),
    ]
    return Assessment({"test": result.to_json()}, headline, rows(result, data.test, data.classes), sections)


def scores(result: Classification) -> Section:
    """The tables and figures that need nothing but the predictions."""
    table = [
        (name.replace("_", " "), f"{e.value:.4f}", f"{e.low:.4f} – {e.high:.4f}") for name, e in result.metrics.items()
    ]
    per_class = [
        (row.name, *(_percent(x) for x in (row.precision, row.recall, row.f1)), str(row.support))
        for row in result.per_class
    ]
    return Section(
        "Test scores",
        [
            Table(("score", "value", "95 % interval"), table, f"{len(result.labels):,} test samples; the intervals are "
                  f"bootstrapped from {result.resamples:,} resamples of them."),
            Table(("class", "precision", "recall", "F1", "samples"), per_class, "By class."),
            Picture("confusion_matrix", figures.confusion_matrix(result.confusion, result.classes),
                    "Rows are the true classes, columns the predicted ones.", "Confusion matrix"),
            Picture("reliability", figures.reliability_diagram(result.reliability),
                    "Bars on the diagonal: a confidence of 90 % is right nine times in ten.", "Reliability diagram"),
        ],
    )  # fmt: skip


def pictures(result: Classification, part: Part, classes: tuple[str, ...]) -> list[Picture | Text]:
    """Galleries of the surest mistakes, the surest hits, and the predictions in doubt."""
    right = result.predicted == result.labels
    sure = np.argsort(-result.confidence, kind="stable")
    groups = (
        ("worst", "The surest mistakes.", sure[~right[sure]]),
        ("best", "The surest right predictions.", sure[right[sure]]),
        ("unsure", "The predictions in most doubt.", sure[::-1]),
    )
    blocks: list[Picture | Text] = []
    for name, caption, order in groups:
        chosen = order[:SHOWN]
        if not len(chosen):
            blocks.append(Text(f"{caption} There are none."))
            continue
        captions = [
            f"{classes[result.predicted[i]]} {result.confidence[i]:.0%}"
            + ("" if right[i] else f"\nis {classes[result.labels[i]]}")
            for i in chosen
        ]
        figure = figures.gallery(part.pictures.read(chosen), captions, right[chosen].tolist())
        blocks.append(Picture(name, figure, caption, f"Gallery: {caption}"))
    return blocks


def rows(result: Classification, part: Part, classes: tuple[str, ...]) -> list[dict[str, object]]:
    """predictions.csv"""
    return [
        {
            "sample": part.pictures.names[i],
            "label": classes[result.labels[i]],
            "predicted": classes[result.predicted[i]],
            "confidence": round(float(result.confidence[i]), 6),
            "right": bool(result.predicted[i] == result.labels[i]),
        }
        for i in range(len(result.labels))
    ]


def about(data: ImageParts) -> Section:
    """Counts, what was skipped, what is in two parts."""
    counts = data.summary.counts
    table = [(name, *(str(counts[part][name]) for part in counts)) for name in data.classes]
    section = Section("Data", [Table(("class", *counts), table, "Samples by class and part.")])
    section.blocks.extend(Text(f"{note[:1].upper()}{note[1:]}.") for note in data.summary.notes)
    if data.summary.skipped:
        section.blocks.append(Table(("skipped", "reason"), data.summary.skipped, "Left out as broken."))
    else:
        section.blocks.append(Text("No sample was left out as broken."))
    if data.summary.duplicates:
        section.blocks.append(
            Table(("part", "sample", "part", "the same as"), data.summary.duplicates[:50],
                  f"{len(data.summary.duplicates)} samples stand in two parts: test scores may be too good.")
        )  # fmt: skip
    else:
        section.blocks.append(Text("No sample stands in two parts."))
    return section


def _percent(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.1%}"
