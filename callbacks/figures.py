"""Figures of a classifier, for TensorBoard or any other place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# Okabe & Ito's palette: told apart with any kind of colour vision.
BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#767676"
CURVES = 12  # more of them cannot be told apart


def classification_figures(
    x: Any, labels: np.ndarray, classes: Sequence[str], *, images: np.ndarray | None = None, batch_size: int = 256
) -> Callable[[keras.Model, int], dict[str, Figure]]:
    """What `TensorBoard(figures=...)` takes: confusion matrix, ROC curves, reliability and example images.

    ```python
    board = TensorBoard("logs", figures=classification_figures(x_val, y_val, classes, images=x_val), figures_every=5)
    ```

    Args:
        x: Inputs of the model, N samples.
        labels: (N,) int, the true classes.
        classes: K names.
        images: Images of the samples uint8 (N, H, W, 1 or 3), of which some are drawn with their predictions.
        batch_size: Samples that are predicted at once.
    """

    def draw(model: keras.Model, epoch: int) -> dict[str, Figure]:
        probabilities = to_probabilities(model.predict(x, batch_size=batch_size, verbose=0))
        figures = {
            "confusion_matrix": confusion_matrix(confusion(labels, probabilities), classes),
            "roc": roc_curves(labels, probabilities, classes),
            "reliability": reliability(labels, probabilities),
        }
        if images is not None:
            figures["examples"] = examples(images, labels, probabilities, classes)
        return figures

    return draw


def to_probabilities(outputs: np.ndarray) -> np.ndarray:
    """(N, K) probabilities from what a classifier gives: they themselves, logits, or one column for two classes."""
    outputs = np.asarray(outputs, np.float64)
    low, high = outputs.min(), outputs.max()
    if outputs.ndim == 1 or outputs.shape[1] == 1:
        column = outputs.reshape(-1)
        second = column if low >= 0 and high <= 1 else 1 / (1 + np.exp(-column))
        return np.stack([1 - second, second], axis=1)
    if low >= 0 and np.allclose(outputs.sum(1), 1, atol=0.02):
        return outputs
    powers = np.exp(outputs - outputs.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def confusion(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """int64 (K, K): how many samples of each true class (row) were predicted as each class (column)."""
    number = probabilities.shape[1]
    return np.bincount(labels * number + probabilities.argmax(1), minlength=number**2).reshape(number, number)


def confusion_matrix(counts: np.ndarray, classes: Sequence[str]) -> Figure:
    """Counts (K, K), rows true and columns predicted; colour is the share of the row."""
    number = len(classes)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = min(4 + 0.32 * number, 14)
    figure = new(side + 0.8, side)
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    ticks = np.arange(0, number, -(-number // 40))
    fits = max(map(len, classes)) * 0.09 < (side - 1) / len(ticks)  # inches of a name, and of its place
    axes.set_xticks(ticks, [classes[i] for i in ticks], rotation=0 if fits else 90)
    axes.set_yticks(ticks, [classes[i] for i in ticks])
    axes.set(xlabel="predicted", ylabel="true")
    if number <= 20:
        for row, column in zip(*np.nonzero(counts), strict=True):
            colour = "white" if shares[row, column] > 0.55 else "black"
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour, fontsize=8)
    figure.colorbar(image, ax=axes, shrink=0.7, label="share of the true class")
    return figure


def roc(right: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """False and true positive rates as the threshold falls through the scores, and the area under them.

    Args:
        right: (N,) bool, whether each sample is of the class; there must be both kinds.
        scores: (N,) larger for samples that are more likely of the class.
    """
    order = np.argsort(-scores, kind="stable")
    hits, alarms = np.cumsum(right[order]), np.cumsum(~right[order])
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)  # of samples with an equal score
    true = np.concatenate([[0], hits[last] / hits[-1]])
    false = np.concatenate([[0], alarms[last] / alarms[-1]])
    return false, true, float(((true[1:] + true[:-1]) / 2) @ np.diff(false))


def roc_curves(labels: np.ndarray, probabilities: np.ndarray, classes: Sequence[str]) -> Figure:
    """A curve for each class against the rest; with many classes, those with the least area."""
    mixed = [k for k in range(len(classes)) if 0 < (labels == k).sum() < len(labels)]
    curves = sorted(((classes[k], *roc(labels == k, probabilities[:, k])) for k in mixed), key=lambda curve: curve[3])
    figure = new(5, 4.6)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1)
    colours = ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7"]
    for i, (name, false, true, area) in enumerate(curves[:CURVES]):
        style = {"color": colours[i % len(colours)], "linestyle": "-" if i < len(colours) else ":"}
        axes.plot(false, true, label=f"{name} ({area:.3f})", linewidth=1.2, **style)
    axes.set(xlabel="false positive rate", ylabel="true positive rate", xlim=(-0.01, 1), ylim=(0, 1.01))
    axes.grid(alpha=0.3)
    if curves:
        axes.legend(loc="lower right", frameon=False, fontsize=7, title="class (area)", title_fontsize=7)
    return figure


def reliability(labels: np.ndarray, probabilities: np.ndarray, bins: int = 15) -> Figure:
    """Accuracy against confidence, with the number of predictions in each bin below."""
    confidence = probabilities.max(1)
    right = probabilities.argmax(1) == labels
    places = np.minimum((confidence * bins).astype(int), bins - 1)
    counts = np.bincount(places, minlength=bins)
    some = np.maximum(counts, 1)
    accuracy, mean = np.bincount(places, right, bins) / some, np.bincount(places, confidence, bins) / some
    return reliability_diagram(np.linspace(0, 1, bins + 1), counts, accuracy, mean)


def reliability_diagram(edges: np.ndarray, counts: np.ndarray, accuracy: np.ndarray, confidence: np.ndarray) -> Figure:
    """Accuracy against confidence in bins, with the number of predictions in each below.

    Args:
        edges: (B + 1,) ends of the bins.
        counts: (B,) predictions in each; what the others say of an empty one does not matter.
        accuracy: (B,) share of the right ones.
        confidence: (B,) their mean.
    """
    centers, widths, filled = (edges[:-1] + edges[1:]) / 2, np.diff(edges), counts > 0
    figure = new(4.6, 4.6)
    upper, lower = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [3, 1]})
    upper.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, label="perfect")
    upper.bar(centers[filled], accuracy[filled], widths[filled] * 0.92, color=BLUE, label="accuracy")
    upper.scatter(confidence[filled], accuracy[filled], color=ORANGE, s=14, zorder=3, label="bin mean")
    upper.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    figure.legend(*upper.get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
    lower.bar(centers, counts, widths * 0.92, color=GREY)
    lower.set(xlabel="confidence", ylabel="predictions")
    return figure


def examples(
    images: np.ndarray, labels: np.ndarray, probabilities: np.ndarray, classes: Sequence[str], number: int = 24
) -> Figure:
    """Images uint8 (N, H, W, 1 or 3): the most confident errors first, then the least confident predictions."""
    predicted, confidence = probabilities.argmax(1), probabilities.max(1)
    right = predicted == labels
    chosen = np.lexsort((np.where(right, confidence, -confidence), right))[:number]
    columns = min(8, len(chosen))
    rows = -(-len(chosen) // columns)
    figure = new(1.35 * columns, 1.75 * rows)
    for place, i in enumerate(chosen, start=1):
        axes = figure.add_subplot(rows, columns, place)
        image = images[i]
        axes.imshow(image[..., 0] if image.shape[-1] == 1 else image, cmap="gray", vmin=0, vmax=255)
        axes.set_axis_off()
        title = f"{classes[predicted[i]]} {confidence[i]:.0%}" + ("" if right[i] else f"\nis {classes[labels[i]]}")
        axes.set_title(title, fontsize=7, color=GREEN if right[i] else RED)
    return figure


def new(width: float, height: float) -> Figure:
    """An empty figure, in inches, with a canvas of its own."""
    figure = Figure(figsize=(width, height), layout="constrained", dpi=110)
    FigureCanvasAgg(figure)
    return figure
