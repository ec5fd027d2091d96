"""Figures of detections; every function returns a matplotlib figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from callbacks.figures import BLUE, GREEN, GREY, ORANGE, RED, new
from pipelines.detection.boxes import Detections
from pipelines.engine.figures import STYLE, show

COLOURS = {"right": GREEN, "ignored": GREY}
CURVES = 10  # classes in one plot


def beside(
    images: Sequence[np.ndarray], truths: Sequence[tuple[np.ndarray, Sequence[str]]], found: Sequence[Detections],
    kinds: Sequence[np.ndarray], classes: Sequence[str], titles: Sequence[str],
) -> Figure:  # fmt: skip
    """For each image its true boxes, and beside them the detections: green right ones, red wrong ones."""
    number = len(images)
    columns = min(2, max(number, 1))
    lines = -(-max(number, 1) // columns)
    with rc_context({**STYLE, "axes.grid": False}):
        figure = new(4.8 * columns, 2.6 * lines)
        axes = figure.subplots(lines, 2 * columns, squeeze=False).reshape(-1, 2)
        for row in axes[number:]:
            for one in row:
                one.set_visible(False)
        for row, image, (boxes, labels), one, kind, title in zip(
            axes, images, truths, found, kinds, titles, strict=False
        ):
            for part in row:
                show(part, image)
            for box, label in zip(boxes, labels, strict=True):
                _box(row[0], box, BLUE, label)
            for box, label, score, k in zip(one.boxes, one.labels, one.scores, kind, strict=True):
                _box(row[1], box, COLOURS.get(str(k), RED), f"{classes[label]} {score:.0%}")
            row[0].set_title(f"{title}: truth", fontsize=7)
            row[1].set_title("detected", fontsize=7)
    return figure


def _box(axes: Any, box: np.ndarray, colour: str, text: str) -> None:
    left, top, right, bottom = (float(x) for x in box)
    axes.add_patch(Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, fill=False, ec=colour, lw=1.2))
    style = {"facecolor": colour, "edgecolor": "none", "pad": 0.6, "alpha": 0.8}
    axes.text(left, top, text, fontsize=5.5, color="white", va="bottom", bbox=style, clip_on=True)


def precision_recall(curves: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Precision against recall for each class, the first in colour and labelled."""
    with rc_context(STYLE):
        figure = new(4.6, 3.6)
        axes = figure.add_subplot()
        for number, (name, (recall, precision)) in enumerate(curves.items()):
            if number < CURVES:
                axes.plot(recall, precision, linewidth=1.2, label=name, color=f"C{number}")
            else:
                axes.plot(recall, precision, linewidth=0.6, color=GREY, alpha=0.5)
        axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.01), ylim=(0, 1.03))
        if len(curves) > 1:
            figure.legend(loc="outside right center", frameon=False, fontsize=7)
    return figure


def sizes(sides: np.ndarray, strides: Sequence[int]) -> Figure:
    """How large the boxes are at the size of the model's input, with the strides of the pyramid."""
    with rc_context(STYLE):
        figure = new(4.6, 3.0)
        axes = figure.add_subplot()
        axes.hist(sides, bins=40, color=BLUE)
        for stride in strides:
            axes.axvline(stride, color=ORANGE, linewidth=1.2, linestyle="--")
            axes.text(stride, axes.get_ylim()[1], f" stride {stride}", fontsize=7, color=ORANGE, va="top", rotation=90)
        axes.set(xlabel="side of a training box in pixels of the input (square root of its area)", ylabel="boxes")
        axes.set_xlim(left=0)
    return figure
