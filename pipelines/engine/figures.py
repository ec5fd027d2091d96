"""Images of what was learned; every function returns a matplotlib figure and touches no global state."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from callbacks import figures as drawings
from callbacks.figures import BLUE, GREEN, GREY, ORANGE, RED, new
from pipelines.metrics import title

if TYPE_CHECKING:
    from pipelines.engine.calibration import Reliability

STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.titlesize": 10,
    "figure.constrained_layout.use": True,
    "savefig.dpi": 110,
}
FLAT = 0.02  # range of a saliency map, as a fraction of its largest value, up to which it singles out nothing
CURVES_IN_A_ROW = 3  # more of them are too small to read on a page


def learning_curves(history: Mapping[str, Sequence[float]], kept: int | None = None) -> Figure:
    """Training against validation for each value, and the learning rate; one point an epoch, in rows.

    Args:
        history: Values by name, one an epoch.
        kept: The epoch, from 1, whose weights were kept: a vertical line.
    """
    names = [n for n in history if not n.startswith("val_") and n not in ("learning_rate", "seconds")]
    names.sort(key=lambda name: name != "loss")
    panels = names + (["learning_rate"] if "learning_rate" in history else [])
    with rc_context(STYLE):
        columns = 2 if len(panels) == 4 else min(max(len(panels), 1), CURVES_IN_A_ROW)
        rows = -(-len(panels) // columns)
        figure = new(3.2 * columns, 2.7 * max(rows, 1))
        for number, name in enumerate(panels, start=1):
            axes = figure.add_subplot(rows, columns, number)
            epochs = np.arange(1, len(history[name]) + 1)
            marker = "o" if len(epochs) < 30 else None
            axes.plot(epochs, history[name], color=BLUE, marker=marker, markersize=3, label="training")
            if f"val_{name}" in history:
                values = history[f"val_{name}"]
                axes.plot(epochs, values, color=ORANGE, marker=marker, markersize=3, label="validation")
            if kept is not None and name != "learning_rate":
                axes.axvline(kept, color=GREY, linestyle="--", linewidth=1, label=f"kept: epoch {kept}")
            if f"val_{name}" in history:
                axes.legend(frameon=False)
            if name == "learning_rate":
                highest = max(history[name])
                if np.ptp(history[name]) < 1e-3 * highest:  # else rounding errors fill the axis
                    axes.set_ylim(0, 2 * highest)
            axes.set(title=title(name), xlabel="epoch")
            axes.xaxis.get_major_locator().set_params(integer=True)
    return figure


def confusion_matrix(matrix: np.ndarray, classes: Sequence[str]) -> Figure:
    """Counts (K, K), rows true and columns predicted; colour is the share of the row."""
    with rc_context({**STYLE, "axes.grid": False}):
        return drawings.confusion_matrix(matrix, [_short(name) for name in classes])


def reliability_diagram(bins: Reliability) -> Figure:
    """Accuracy against confidence, with the number of predictions in each bin below."""
    with rc_context(STYLE):
        return drawings.reliability_diagram(bins.edges, bins.counts, bins.accuracy, bins.confidence)


def lines(
    series: Mapping[str, tuple[np.ndarray, np.ndarray]],
    x: str,
    y: str,
    *,
    steps: bool = False,
    marks: Mapping[str, float] | None = None,
    low: float | None = None,
) -> Figure:
    """Curves by name, from the third on dashed; `marks` are named vertical lines, `low` is the end of the y axis."""
    colours = (BLUE, ORANGE, GREY, GREEN, RED)
    with rc_context(STYLE):
        figure = new(4.6, 3.6)
        axes = figure.add_subplot()
        for number, (name, (xs, ys)) in enumerate(series.items()):
            style = {"color": colours[number % len(colours)], "linestyle": "-" if number < 2 else "--", "label": name}
            axes.plot(xs, ys, drawstyle="steps-post" if steps else "default", **style)
        for name, value in (marks or {}).items():
            axes.axvline(value, color=RED, linewidth=1, linestyle=":", label=name)
        axes.set(xlabel=x, ylabel=y)
        if low is not None:
            axes.set_ylim(bottom=low)
        if len(series) + len(marks or {}) > 1:
            figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize=8)
    return figure


def scatter(predicted: np.ndarray, true: np.ndarray, ends: np.ndarray) -> Figure:
    """True against predicted numbers, with the line where both are the same."""
    with rc_context(STYLE):
        figure = new(4.2, 4.2)
        axes = figure.add_subplot()
        axes.plot(ends, ends, color=GREY, linestyle="--", linewidth=1)
        axes.scatter(predicted, true, s=9, alpha=0.5, color=BLUE)
        axes.set(xlabel="predicted", ylabel="true")
    return figure


def trials(points: Mapping[str, Sequence[tuple[float, float]]], y: str) -> Figure:
    """A panel an option: its value in each trial against what came of it, on a logarithmic axis where it spans much."""
    with rc_context(STYLE):
        figure = new(3 * max(len(points), 1), 2.8)
        grid = figure.subplots(1, max(len(points), 1), sharey=True, squeeze=False)[0]
        for axes, (name, pairs) in zip(grid, points.items(), strict=False):
            xs, ys = np.array(pairs, float).T
            axes.scatter(xs, ys, s=14, color=BLUE)
            axes.set(xlabel=name)
            if xs.min() > 0 and xs.max() > 30 * xs.min():
                axes.set_xscale("log")
        grid[0].set_ylabel(y)
    return figure


def bars(names: Sequence[str], values: np.ndarray, label: str, errors: np.ndarray | None = None) -> Figure:
    """Horizontal bars, the first on top; negative ones in orange; `errors` are half widths."""
    with rc_context(STYLE):
        figure = new(6, 0.8 + 0.24 * len(names))
        axes = figure.add_subplot()
        places = np.arange(len(names))[::-1]
        axes.barh(places, values, xerr=errors, color=[BLUE if v >= 0 else ORANGE for v in values], ecolor=GREY)
        axes.set_yticks(places, [_short(name, 40) for name in names])
        axes.set(xlabel=label)
        axes.grid(axis="y", visible=False)
    return figure


def panels(
    series: Mapping[str, tuple[Sequence[float] | Sequence[str], np.ndarray]], y: str, columns: int = 3
) -> Figure:
    """A small plot by name, all of the same height: a line over numbers, bars over names."""
    rows = -(-len(series) // columns)
    with rc_context(STYLE):
        figure = new(3 * columns, 2.4 * rows)
        grid = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
        for axes, (name, (xs, ys)) in zip(grid, series.items(), strict=False):
            if xs and isinstance(xs[0], str):
                axes.bar(np.arange(len(xs)), ys, color=BLUE)
                turned = max(map(len, map(str, xs))) > 3
                style = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if turned else {}
                axes.set_xticks(np.arange(len(xs)), [_short(str(x), 10) for x in xs], fontsize=7, **style)
            else:
                axes.plot(xs, ys, color=BLUE, marker="o", markersize=3)
            axes.set_title(_short(name, 30))
        for axes in grid[len(series) :]:
            axes.set_visible(False)
        for axes in grid[::columns]:
            axes.set_ylabel(y)
    return figure


def gallery(
    images: np.ndarray, captions: Sequence[str], right: Sequence[bool] | None = None, columns: int = 8
) -> Figure:
    """Images uint8 (N, H, W, C) with a caption each, green or red where `right` says whether they are."""
    number = len(images)
    columns = min(columns, max(number, 1))
    rows = -(-max(number, 1) // columns)
    with rc_context({**STYLE, "axes.grid": False}):
        figure = new(1.35 * columns, 1.75 * rows)
        for i in range(number):
            axes = figure.add_subplot(rows, columns, i + 1)
            show(axes, images[i])
            colour = "black" if right is None else GREEN if right[i] else RED
            axes.set_title(captions[i], fontsize=7, color=colour)
    return figure


def explanations(images: np.ndarray, maps: Mapping[str, np.ndarray], captions: Sequence[str]) -> Figure:
    """A row an image: the image, then each method's map (N, H, W) laid over it."""
    with rc_context({**STYLE, "axes.grid": False}):
        figure = new(2.1 * (1 + len(maps)), 2.3 * len(images))
        axes = figure.subplots(len(images), 1 + len(maps), squeeze=False)
        for row, image in enumerate(images):
            show(axes[row][0], image)
            axes[row][0].set_title(captions[row], fontsize=8)
            for column, (name, values) in enumerate(maps.items(), start=1):
                show(axes[row][column], image, alpha=0.45)
                signed = bool((values < 0).any())
                top = max(float(np.abs(values[row]).max()), 1e-12)
                colours = "RdBu" if signed else "inferno"  # blue speaks for it, as in texts and bars
                low = -top if signed else 0
                axes[row][column].imshow(values[row], cmap=colours, vmin=low, vmax=top, alpha=0.65)
                flat = np.ptp(values[row]) <= FLAT * top
                axes[row][column].set_title(f"{name}: flat" if flat else name, fontsize=8)
    return figure


def show(axes: Any, image: np.ndarray, alpha: float = 1.0) -> None:
    """One image without ticks; pixels stay sharp when it is small."""
    grey = image.shape[-1] == 1
    sharp = "nearest" if max(image.shape[:2]) <= 64 else "antialiased"
    axes.imshow(image[..., 0] if grey else image, cmap="gray", vmin=0, vmax=255, alpha=alpha, interpolation=sharp)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def png(figure: Figure) -> bytes:
    """The figure as PNG."""
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()


def _short(name: str, limit: int = 16) -> str:
    return name if len(name) <= limit else name[: limit - 1] + "…"
