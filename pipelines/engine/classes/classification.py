"""What a report says about a classifier, whatever it classifies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from callbacks.figures import roc_curves
from pipelines.engine import figures
from pipelines.engine.classes.scores import Classification, classification
from pipelines.engine.report import Assessment, Block, Figure, Headline, Section, Table, Text
from pipelines.metrics import title

if TYPE_CHECKING:
    from pipelines.data.summary import DataSummary

SHOWN = 16
MAIN = ("accuracy", "balanced_accuracy", "macro_f1", "log_loss", "expected_calibration_error")
# Where one of two classes is to be found, these have other values for it alone.
AVERAGED = {"roc_auc": "ROC AUC, mean of the classes", "average_precision": "average precision, mean of the classes"}

# Takes a name, a caption, the numbers of the samples to show, a text for each, and whether it was predicted rightly.
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
) -> Assessment:
    """Scores with intervals, predictions and report sections for a classifier on its test part.

    Args:
        labels: (N,) integers.
        probabilities: (N, K), rows sum to 1.
        classes: K names.
        names: N names of the samples.
        summary: What the report says about the data.
        show: Draws some of the samples.
        seed: Seed of the bootstrap.
        resamples: Bootstrap resamples.
    """
    result = classification(labels, probabilities, classes, seed=seed, resamples=resamples)
    sections = [scores(result), Section("Predictions", examples(result, show)), about(summary, classes)]
    curves = (result.labels, result.probabilities, result.classes)
    return Assessment({"test": result.to_json()}, headline(result), rows(result, names), sections, curves)


def headline(result: Classification) -> list[Headline]:
    """The main scores with their intervals."""
    return [
        Headline(title(name), f"{e.value:.4f}", f"95 % interval {e.low:.4f} to {e.high:.4f}")
        for name, e in result.metrics.items()
        if name in MAIN
    ]


def scores(result: Classification) -> Section:
    """The tables and figures that need nothing but the predictions."""
    table = [
        (AVERAGED.get(name) or title(name), f"{e.value:.4f}", f"{e.low:.4f} – {e.high:.4f}")
        for name, e in result.metrics.items()
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
            Figure("confusion_matrix", figures.confusion_matrix(result.confusion, result.classes),
                    "Rows are the true classes, columns the predicted ones, numbers the samples.", "Confusion matrix"),
            Figure("reliability", figures.reliability_diagram(result.reliability),
                    "Bars on the diagonal: a confidence of 90 % is right nine times in ten.", "Reliability diagram"),
            Figure("roc", roc_curves(result.labels, result.probabilities, result.classes),
                    "Each class against the rest; of many classes, those told apart worst. The larger the area under "
                    "a curve, the better.", "ROC curves"),
        ],
    )  # fmt: skip


def examples(result: Classification, show: Show) -> list[Block]:
    """The surest mistakes, the surest hits, and the predictions in doubt."""
    # Taken once: each is computed from all samples.
    predicted, confidence = result.predicted, result.confidence
    right = predicted == result.labels
    sure = np.argsort(-confidence, kind="stable")
    groups = (
        ("surest_mistakes", "The surest mistakes.", sure[~right[sure]]),
        ("surest_hits", "The surest right predictions.", sure[right[sure]]),
        ("most_doubt", "The predictions in most doubt.", sure[::-1]),
    )

    def text(i: int) -> str:
        said = f"{result.classes[predicted[i]]} {confidence[i]:.0%}"
        return said if right[i] else f"{said}\nis {result.classes[result.labels[i]]}"

    note = "Each has the predicted class with its probability, and the true class where it is another."
    return [Text(note), *shown(groups, text, right, show)]


def shown(
    groups: Iterable[tuple[str, str, np.ndarray]], text: Callable[[int], str], right: np.ndarray, show: Show
) -> list[Block]:
    """The first samples of each group, or that it has none.

    Args:
        groups: Name, caption and numbers of the samples of each.
        text: Number of a sample to what is written at it.
        right: (N,) bool, whether each was predicted rightly.
        show: Draws them.
    """
    blocks: list[Block] = []
    for name, caption, order in groups:
        chosen = order[:SHOWN]
        if len(chosen):
            blocks.append(show(name, caption, chosen, [text(i) for i in chosen], right[chosen].tolist()))
        else:
            blocks.append(Text(f"{caption} There are none."))
    return blocks


def rows(result: Classification, names: Sequence[str]) -> list[dict[str, object]]:
    """predictions.csv"""
    # Taken once: each is computed from all samples.
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
    summary: DataSummary, classes: Sequence[str], column: str = "class", caption: str = "Samples by class and part."
) -> Section:
    """Counts, what was skipped, what is in two parts.

    Args:
        summary: What was read.
        classes: The names whose counts are shown.
        column: What these names are.
        caption: What is counted.
    """
    counts = summary.counts
    table = [(name, *(f"{counts[part][name]:,}" for part in counts)) for name in classes]
    section = Section("Data", [Table((column, *counts), table, caption)])
    section.blocks.extend(Text(f"Note: {note}.") for note in summary.notes)
    if summary.skipped:
        section.blocks.append(Table(("skipped", "reason"), summary.skipped, "Left out as broken."))
    else:
        section.blocks.append(Text("No sample was left out as broken."))
    if summary.duplicates:
        section.blocks.append(
            Table(("part", "sample", "part", "the same as"), summary.duplicates[:50],
                  f"{len(summary.duplicates):,} samples stand in two parts: test scores may be too good.")
        )  # fmt: skip
    else:
        looked = summary.duplicates is not None
        section.blocks.append(
            Text("No sample stands in two parts." if looked else "Samples in two parts were not looked for.")
        )
    return section


def _percent(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.1%}"
