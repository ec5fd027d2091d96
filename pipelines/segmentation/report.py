"""What the report of a segmentation shows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import rc_context

from callbacks.figures import new
from pipelines.engine import figures
from pipelines.engine.calibration import Reliability, applied, reliability, uncalibrated
from pipelines.engine.classes.classification import about, calibrated
from pipelines.engine.report import Assessment, Figure, Headline, Section, Table, Text
from pipelines.metrics import title
from pipelines.segmentation.colours import colours, overlay
from pipelines.segmentation.masks import IGNORED
from pipelines.segmentation.predict import each, viewable
from pipelines.segmentation.scores import BINS, Collected, Segmentation

if TYPE_CHECKING:
    import keras

    from pipelines.segmentation.load import SegmentSplits

SHOWN = 6
HEADLINE = ("mean_iou", "dice", "boundary_f1", "pixel_accuracy")


def assess(data: SegmentSplits, model: keras.Model, *, seed: int, resamples: int) -> Assessment:
    """Scores with intervals, predictions and report sections on the test set."""
    collected = Collected(len(data.classes), seed)
    for _, mask, chances in each(model, data.test):
        collected.add(mask, chances)
    result = collected.score(data.classes, seed=seed, resamples=resamples)
    metrics, before = result.to_json(), None
    temperature = applied(model)
    if temperature != 1.0:
        chances = uncalibrated(np.concatenate(collected.probabilities), temperature)
        before = reliability(np.concatenate(collected.labels), chances, BINS)
        metrics["uncalibrated"] = {"temperature": temperature, "expected_calibration_error": before.error}
    names = data.test.names
    order = np.argsort(np.nan_to_num(result.images, nan=1.0), kind="stable")
    sections = [
        _scores(result),
        Section("Errors", _errors(data, model, result, order, collected.confusions)),
        _calibration(result, before),
        about(data.summary, data.classes, "class", "Pixels by class and split."),
    ]
    predictions = [
        {
            "sample": names[i], "mean_iou": _rounded(result.images[i]), "boundary_f1": _rounded(collected.boundary[i]),
            "largest_error": reason(collected.confusions[i], data.classes),
        }
        for i in range(len(names))
    ]  # fmt: skip
    headline = [
        Headline(title(name), f"{e.value:.4f}", f"95 % interval {e.range}")
        for name, e in result.metrics.items() if name in HEADLINE
    ]  # fmt: skip
    background = int(result.support[0]) / max(int(result.support.sum()), 1)
    headline[-1] = Headline(
        headline[-1].name, headline[-1].value, f"{headline[-1].note}; only {data.classes[0]} {background:.4f}"
    )
    return Assessment({"test": metrics}, headline, predictions, sections, summary=_sentence(result, before))


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(float(value), 6)


def _sentence(result: Segmentation, before: Reliability | None) -> str:
    score = result.metrics["mean_iou"]
    defined = [(e.value, name) for e, name in zip(result.iou, result.classes, strict=True) if not math.isnan(e.value)]
    worst = min(defined)
    rows = result.confusion * (1 - np.eye(len(result.classes), dtype=int))
    text = (
        f"Predicted and true regions of {len(result.images):,} test images overlap by a mean IoU of {score.value:.3f} "
        f"(95 % interval {score.low:.3f} to {score.high:.3f}); the lowest is {worst[0]:.3f} of {worst[1]}"
    )
    if rows.any():
        true, predicted = np.unravel_index(rows.argmax(), rows.shape)
        text += f"; most wrong pixels are {result.classes[predicted]} in the place of {result.classes[true]}"
    after = f"; it was {before.error:.1%} before calibration" if before is not None else ""
    error = result.metrics["expected_calibration_error"].value
    return f"{text}. Confidence and accuracy of a pixel differ by {error:.1%} on average{after}."


def _scores(result: Segmentation) -> Section:
    table = [(title(name), f"{e.value:.4f}", e.range) for name, e in result.metrics.items()]
    by_class = [
        (name, "absent" if math.isnan(e.value) else f"{e.value:.4f}", e.range, f"{n:,}")
        for name, e, n in zip(result.classes, result.iou, result.support, strict=True)
    ]
    caption = (
        f"{len(result.images):,} test images, at the size of the model's input. Mean IoU and Dice are of all pixels of "
        "the set, averaged over the classes that occur, the background included; mean IoU images is the average over "
        "images. A boundary pixel is right within 0.75 % of the diagonal. Intervals: bootstrap over images."
    )
    return Section("Scores", [
        Table(("score", "value", "95 % interval"), table, caption),
        Table(("class", "IoU", "95 % interval", "pixels"), by_class, "By class; absent: not in masks nor predicted."),
    ])  # fmt: skip


def reason(confusion: np.ndarray, classes: Sequence[str]) -> str:
    """The most frequent error in an image, from its confusion matrix (K, K), with its part of the scored pixels."""
    wrong = confusion * (1 - np.eye(len(classes), dtype=int))
    if not wrong.any():
        return "no wrong pixel"
    true, predicted = np.unravel_index(wrong.argmax(), wrong.shape)
    number = wrong[true, predicted]
    found = confusion[true, true]
    what = f"{classes[true]} is missed" if not found else f"{classes[predicted]} in the place of {classes[true]}"
    if not found and predicted != 0:
        what = f"{classes[true]} is taken for {classes[predicted]}"
    return f"{what} ({number:,} pixels, {number / confusion.sum():.1%})"


def _errors(
    data: SegmentSplits, model: keras.Model, result: Segmentation, order: np.ndarray, confusions: Sequence[np.ndarray]
) -> list[Any]:
    share = result.confusion / np.maximum(result.confusion.sum(1, keepdims=True), 1)
    matrix = np.rint(1000 * share).astype(int)
    blocks: list[Any] = [
        Figure("confusion_matrix", figures.confusion_matrix(matrix, result.classes),
               "Confusion of pixels: rows are the true classes, columns the predicted ones, in thousandths of the row.",
               "Confusion matrix of pixels"),
    ]  # fmt: skip
    # An image of background alone is right for every model, and shows nothing.
    full = np.array([matrix[1:].any() for matrix in confusions])
    best = order[::-1][full[order[::-1]]] if full.any() else order[::-1]
    groups = (
        ("worst", "The images with the lowest IoU.", order[:SHOWN]),
        ("best", "The images with the highest IoU, of those with a class beside the first.", best[:SHOWN]),
    )
    for name, caption, chosen in groups:
        samples = type(data.test)(
            data.test.pairs, data.test.chosen[chosen], data.spec, data.encoding, data.test.images, data.test.masks
        )
        rows = [(image, mask, chances.argmax(-1)) for image, mask, chances in each(model, samples)]
        captions = [f"{data.test.names[i]}\nIoU {result.images[i]:.3f}" for i in chosen]
        text = f"{caption} From left to right: image, true mask, predicted mask, wrong pixels (red)."
        blocks.append(Figure(name, gallery(rows, captions, result.classes), text, f"Gallery: {caption}"))
    reasons = [
        (data.test.names[i], f"{result.images[i]:.4f}", reason(confusions[i], result.classes)) for i in order[:50]
    ]
    caption = "The images with the lowest IoU, with the largest error in each; predictions.csv has all."
    blocks.append(Table(("image", "mean IoU", "largest error"), reasons, caption))
    return blocks


def gallery(
    rows: Sequence[tuple[np.ndarray, np.ndarray | None, np.ndarray]], captions: Sequence[str], classes: Sequence[str]
) -> Any:
    """A figure with a row for each image: image, true mask (if any), predicted mask, wrong pixels.

    Args:
        rows: Image (H, W, C), true and predicted class numbers (H, W).
        captions: One for each.
        classes: K names, for the legend.
    """
    from matplotlib.patches import Patch

    palette, number = colours(len(classes)), len(rows)
    columns = 4 if number and rows[0][1] is not None else 2
    with rc_context({**figures.STYLE, "axes.grid": False}):
        figure = new(2.0 * columns + 1.4, 2.1 * max(number, 1))
        grid = figure.subplots(max(number, 1), columns, squeeze=False)
        seen: set[int] = set()
        for axes, (image, true, predicted), caption in zip(grid, rows, captions, strict=True):
            image = viewable(image)
            panels = [image]
            if true is not None:
                panels.append(overlay(image, true, palette))
                seen |= set(np.unique(true).tolist())
            panels.append(overlay(image, predicted, palette))
            seen |= set(np.unique(predicted).tolist())
            if true is not None:
                wrong = (true != predicted) & (true != IGNORED)
                dimmed = overlay(image, np.zeros_like(true), palette) // 3
                dimmed[wrong] = (213, 60, 40)
                panels.append(dimmed)
            for axis, panel in zip(axes, panels, strict=True):
                figures.show(axis, panel)
            axes[0].set_title(caption, fontsize=7)
        patches = [Patch(color=palette[k] / 255, label=classes[k]) for k in sorted(seen) if 0 < k < len(classes)]
        if patches:
            figure.legend(handles=patches, loc="outside right upper", frameon=False, fontsize=8)
    return figure


def _calibration(result: Segmentation, before: Reliability | None) -> Section:
    section = calibrated(result.reliability, before)
    section.blocks.append(Text("Over a sample of at most 500 pixels of each test image."))
    return section
