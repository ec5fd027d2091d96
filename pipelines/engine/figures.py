"""Figures of a run, all in one style.

Each function returns a matplotlib Figure of its own; nothing here touches pyplot, so that figures can be drawn in any
thread and never leak. Colours are those of Okabe & Ito (2008), which colour-blind readers can tell apart; right
and wrong, training and validation differ by a mark or a dash as well.
"""

from __future__ import annotations

import functools
import io
import math
import os
import tempfile
import textwrap
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, ParamSpec, TypeVar

import matplotlib as mpl
import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from pipelines.inspect.calibration import Reliability

BLUE, VERMILION, GREEN, SKY, AMBER = "#0072b2", "#d55e00", "#009e73", "#56b4e9", "#e69f00"
INK, MUTED, GRID, EMPTY = "#1f2933", "#66727f", "#e4e9ee", "#f1f3f5"
RIGHT, WRONG = BLUE, VERMILION

RIGHT_COLOURS = LinearSegmentedColormap.from_list("right", ["#ffffff", "#9ccbe8", BLUE, "#00395a"])
WRONG_COLOURS = LinearSegmentedColormap.from_list("wrong", ["#ffffff", "#f9c9a4", VERMILION, "#7a3500"])
SIGNED_COLOURS = LinearSegmentedColormap.from_list("signed", [BLUE, "#9ccbe8", "#ffffff", "#f9b98b", VERMILION])

# Fonts for scripts that DejaVu lacks, used where the machine has them.
_MORE_FONTS = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans", "WenQuanYi Zen Hei", "Microsoft YaHei", "PingFang SC",
    "Hiragino Sans", "Yu Gothic", "Malgun Gothic", "Noto Sans Devanagari", "Noto Sans Thai", "Arial Unicode MS",
)  # fmt: skip
_ALL_LABELS, _ALL_NUMBERS = 40, 20

P = ParamSpec("P")
R = TypeVar("R")


@functools.cache
def _style() -> dict[str, object]:
    installed = set(font_manager.fontManager.get_font_names())
    return {
        "font.family": ["DejaVu Sans", *(name for name in _MORE_FONTS if name in installed)],
        "font.size": 9,
        # A class may be called "$5 bill": names are text, never formulas.
        "text.parse_math": False,
        "text.color": INK,
        "axes.titlesize": 10,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.titlepad": 8,
        "axes.labelcolor": MUTED,
        "axes.labelsize": 9,
        "axes.edgecolor": "#b8c1cb",
        "axes.linewidth": 0.8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": GRID,
        "grid.linewidth": 0.8,
        "xtick.color": "#b8c1cb",
        "ytick.color": "#b8c1cb",
        "xtick.labelcolor": MUTED,
        "ytick.labelcolor": MUTED,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "legend.frameon": False,
        "legend.fontsize": 8,
        "lines.linewidth": 1.8,
        "lines.solid_capstyle": "round",
        "figure.facecolor": "white",
        "savefig.facecolor": "white",
        "figure.dpi": 100,
        # The same figure gives the same bytes.
        "svg.hashsalt": "figures",
    }


def _styled(function: Callable[P, R]) -> Callable[P, R]:
    @functools.wraps(function)
    def inner(*args: P.args, **kwargs: P.kwargs) -> R:
        with mpl.rc_context(_style()):
            return function(*args, **kwargs)

    return inner


def _figure(width: float, height: float) -> Figure:
    """An empty figure, inches, that keeps its parts from overlapping and knows how to draw itself."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


@_styled
def render(figure: Figure, format: Literal["png", "svg"] = "png", dpi: int = 160) -> bytes:
    """The figure as the bytes of a file; the same figure gives the same bytes.

    Args:
        figure: any matplotlib figure.
        format: "png" for pictures, "svg" for lines that stay sharp.
        dpi: pixels an inch; SVG uses it only for pictures inside.
    """
    buffer = io.BytesIO()
    metadata = {"Date": None, "Creator": None} if format == "svg" else {"Software": None}
    with warnings.catch_warnings():
        # A box in place of a letter that no installed font has is better than a page of warnings.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font")
        figure.savefig(buffer, format=format, dpi=dpi, metadata=metadata)
    return buffer.getvalue()


def save(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Writes a .png or .svg file, whole or not at all, and returns its path.

    Raises:
        ValueError: another suffix.
    """
    path = Path(path)
    if path.suffix not in (".png", ".svg"):
        raise ValueError(f"a figure is saved as .png or .svg, got {str(path)!r}")
    data = render(figure, "svg" if path.suffix == ".svg" else "png")
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as aside:
        aside.write(data)
    os.chmod(aside.name, 0o644)
    os.replace(aside.name, path)
    return path


def shorten(name: object, width: int = 18) -> str:
    """A name on one line of at most `width` characters, its end replaced by an ellipsis if need be."""
    text = " ".join("".join(c if c.isprintable() else " " for c in str(name)).split())
    return text if len(text) <= width else text[: width - 1].rstrip() + "…"


@_styled
def learning_curves(
    history: Mapping[str, Sequence[float]],
    *,
    watch: str | None = None,
    mode: Literal["min", "max"] = "min",
) -> Figure:
    """Loss, metrics and learning rate over the epochs, a panel each, validation beside training.

    Args:
        history: name to a value an epoch, as `keras.callbacks.History.history` or the columns of history.csv;
            "val_NAME" shares a panel with "NAME". NaN leaves a gap.
        watch: name of the series whose best epoch is marked; "val_loss" if there is one.
        mode: whether a low or a high value of `watch` is best.

    Raises:
        ValueError: an empty history, or `watch` is not in it.
    """
    series = {name: np.asarray(values, dtype=np.float64) for name, values in history.items() if len(values)}
    if not series:
        raise ValueError("learning curves need a history with at least one series of at least one epoch")
    if watch is None:
        watch, mode = "val_loss", "min"
    elif watch not in series:
        raise ValueError(f"the history has no {watch!r}, only {', '.join(series)}")
    best = _best_epoch(series[watch], mode) if watch in series else None

    panels = sorted(dict.fromkeys(name.removeprefix("val_") for name in series), key=_panel_order)
    columns = min(3, len(panels)) if len(panels) != 4 else 2
    rows = math.ceil(len(panels) / columns)
    figure = _figure(3.4 * columns + 0.2, 2.6 * rows)
    for place, name in enumerate(panels):
        axes = figure.add_subplot(rows, columns, place + 1)
        axes.set_title(name.replace("_", " ").capitalize())
        _curve(axes, series.get(name), "training", MUTED, "--")
        _curve(axes, series.get(f"val_{name}"), "validation", BLUE, "-")
        if name == "learning_rate":
            _rate_axis(axes, series.get(name))
        if best is not None:
            axes.axvline(best, color=VERMILION, linewidth=1, linestyle=":", zorder=1)
            if watch in series and watch.removeprefix("val_") == name:
                value = series[watch][best - 1]
                axes.plot(best, value, "o", color=VERMILION, markersize=6, label=f"best: {value:.4g} (epoch {best})")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, min_n_ticks=1))
        axes.set_xlabel("epoch")
        if f"val_{name}" in series or len(axes.get_legend_handles_labels()[0]) > 1:
            axes.legend(loc="best")
    return figure


def _best_epoch(values: np.ndarray, mode: str) -> int | None:
    """The first epoch, counted from 1, with the best finite value."""
    finite = np.where(np.isfinite(values), values, math.inf if mode == "min" else -math.inf)
    best = int(finite.argmin() if mode == "min" else finite.argmax())
    return best + 1 if np.isfinite(finite[best]) else None


def _panel_order(name: str) -> int:
    return {"loss": 0, "learning_rate": 2}.get(name, 1)


def _curve(axes: Axes, values: np.ndarray | None, label: str, colour: str, dash: str) -> None:
    if values is None:
        return
    marker = "o" if np.isfinite(values).sum() < 3 else None
    epochs = np.arange(1, len(values) + 1)
    axes.plot(epochs, values, dash, color=colour, label=label, marker=marker, markersize=4)


def _rate_axis(axes: Axes, rates: np.ndarray | None) -> None:
    if rates is not None and (rates > 0).all() and rates.max() > 100 * rates.min():
        axes.set_yscale("log")
        axes.yaxis.set_minor_formatter(FuncFormatter(lambda _value, _place: ""))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _place: f"{value:.3g}"))


@_styled
def confusion_matrix(matrix: np.ndarray, classes: Sequence[str]) -> Figure:
    """Counts of true class (rows) against predicted class (columns), coloured by the share of the row.

    The diagonal is blue, errors are vermilion, and the colours grow with the root of the share so that rare errors
    show. Past 20 classes the numbers are left out, past 40 some of the names.

    Args:
        matrix: (K, K) counts.
        classes: K names.

    Raises:
        ValueError: shapes that do not fit.
    """
    matrix = np.asarray(matrix)
    number = len(classes)
    if matrix.shape != (number, number) or not number:
        raise ValueError(f"{number} classes need a confusion matrix of shape ({number}, {number}), got {matrix.shape}")
    totals = matrix.sum(axis=1, keepdims=True)
    shares = np.divide(matrix, totals, out=np.zeros(matrix.shape), where=totals > 0)
    side = float(np.clip(0.46 * number, 2.4, 7.2))
    names = [shorten(name, 22 if number <= _ALL_NUMBERS else 16) for name in classes]
    margin = 0.075 * max(len(name) for name in names)
    figure = _figure(side + margin + 1.6, side + margin + 0.7)
    axes = figure.add_subplot()
    norm = PowerNorm(0.5, 0, 1)
    diagonal = np.eye(number, dtype=bool)
    pixels = np.where(diagonal[..., None], RIGHT_COLOURS(norm(shares)), WRONG_COLOURS(norm(shares)))
    pixels[np.broadcast_to(totals == 0, matrix.shape)] = mpl.colors.to_rgba(EMPTY)
    axes.imshow(pixels, interpolation="nearest")

    axes.grid(False)
    axes.spines[:].set_visible(False)
    if number <= _ALL_LABELS:
        axes.set_xticks(np.arange(number + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(number + 1) - 0.5, minor=True)
        axes.grid(True, which="minor", color="white" if number > 12 else GRID, linewidth=0.8)
    axes.tick_params(which="both", length=0)
    step = math.ceil(number / _ALL_LABELS)
    size = float(np.clip(72 * side / number * step * 0.8, 5, 9))
    places = np.arange(0, number, step)
    shown = [names[place] for place in places]
    upright = max(len(name) for name in shown) * size * 0.6 > 72 * side / number * step
    axes.set_yticks(places, shown, fontsize=size, color=INK)
    axes.set_xticks(places, shown, fontsize=size, color=INK, rotation=90 if upright else 0)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    if number <= _ALL_NUMBERS:
        _write_counts(axes, matrix, shares, 72 * side / number)
    _share_bars(figure, axes, norm)
    return figure


def _write_counts(axes: Axes, matrix: np.ndarray, shares: np.ndarray, cell: float) -> None:
    """The count in each cell that has one; `cell` is a cell's width in points."""
    longest = len(str(int(matrix.max())))
    size = min(10.0, cell * 0.9 / (0.64 * longest))
    for row, column in np.argwhere(matrix > 0):
        colour = "white" if shares[row, column] > 0.3 else INK
        axes.text(column, row, f"{matrix[row, column]:d}", ha="center", va="center", fontsize=size, color=colour)


def _share_bars(figure: Figure, axes: Axes, norm: PowerNorm) -> None:
    """Two colour bars: share of the true class that is right, and that is wrong."""
    for colours, label in ((WRONG_COLOURS, "wrong"), (RIGHT_COLOURS, "right")):
        bar = figure.colorbar(
            ScalarMappable(norm, colours), ax=axes, fraction=0.035, pad=0.02, aspect=28, ticks=[0, 0.01, 0.1, 0.3, 1]
        )
        bar.ax.set_title(label, fontsize=8, fontweight="normal", color=MUTED, loc="center", pad=5)
        bar.ax.tick_params(length=0)
        bar.ax.minorticks_off()
        bar.outline.set_visible(False)  # type: ignore[operator]
        bar.ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        if colours is WRONG_COLOURS:
            bar.ax.tick_params(labelright=False)


@_styled
def reliability_diagram(bins: Reliability) -> Figure:
    """Accuracy against confidence, with the 95 % Wilson interval of each bin, over a histogram of the confidence.

    Guo et al., "On Calibration of Modern Neural Networks" (2017); Wilson (1927) for the intervals.
    """
    figure = _figure(4.6, 4.9)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3.2, 1])
    width = np.diff(bins.edges)
    centre = bins.edges[:-1] + width / 2
    filled = bins.counts > 0
    accuracy, confidence, counts = bins.accuracy[filled], bins.confidence[filled], bins.counts[filled]

    upper.plot([0, 1], [0, 1], color=MUTED, linestyle="--", linewidth=1, label="calibrated")
    upper.bar(centre[filled], accuracy, width[filled] * 0.92, color=SKY, alpha=0.55, label="accuracy in the bin")
    low, high = _wilson(accuracy, counts)
    upper.errorbar(
        confidence, accuracy, [accuracy - low, high - accuracy], fmt="o", color=BLUE, markersize=4, elinewidth=1.1,
        label="at its mean confidence, ± 95 %",
    )  # fmt: skip
    upper.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="accuracy", title=f"Expected calibration error {bins.error:.3f}")
    upper.legend(loc="upper left")
    lower.bar(centre, bins.counts / bins.counts.sum(), width * 0.92, color=BLUE)
    lower.set(ylabel="samples", xlabel="confidence")
    lower.yaxis.set_major_locator(MaxNLocator(nbins=3))
    for axis in (upper.yaxis, lower.yaxis, lower.xaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=0))
    return figure


def _wilson(share: np.ndarray, counts: np.ndarray, z: float = 1.96) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the score interval of a proportion (Wilson 1927), which always hold the proportion."""
    middle = (share + z**2 / (2 * counts)) / (1 + z**2 / counts)
    half = z * np.sqrt(share * (1 - share) / counts + z**2 / (4 * counts**2)) / (1 + z**2 / counts)
    return np.minimum(middle - half, share), np.maximum(middle + half, share)


@_styled
def class_counts(counts: Mapping[str, Mapping[str, int]]) -> Figure:
    """Samples of each class, a bar a class, stacked by part.

    Args:
        counts: part ("train", "val", "test") to class name to number of samples. Past 40 classes the bars are
            sorted by length and only some are named.

    Raises:
        ValueError: no part or no class.
    """
    names = list(dict.fromkeys(name for part in counts.values() for name in part))
    if not names:
        raise ValueError("class counts need at least one part with at least one class")
    totals = {name: sum(part.get(name, 0) for part in counts.values()) for name in names}
    if len(names) > _ALL_LABELS:
        names.sort(key=lambda name: -totals[name])
    number = len(names)
    height = float(np.clip(0.24 * number, 0.7, 8.0))
    figure = _figure(6.4, height + 1.0)
    axes = figure.add_subplot()
    colours = [BLUE, SKY, AMBER, GREEN, VERMILION]
    left = np.zeros(number)
    for place, (part, of_class) in enumerate(counts.items()):
        values = np.array([of_class.get(name, 0) for name in names], dtype=np.float64)
        bar = 0.74 if number <= _ALL_LABELS else 1.0
        axes.barh(np.arange(number), values, bar, left=left, color=colours[place % len(colours)], label=part)
        left += values
    step = math.ceil(number / _ALL_LABELS)
    places = np.arange(0, number, step)
    size = float(np.clip(72 * height / number * step * 0.75, 5, 9))
    axes.set_yticks(places, [shorten(names[place], 26) for place in places], fontsize=size, color=INK)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(number - 0.4, -0.6)
    axes.grid(False, axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _place: f"{value:,.0f}"))
    axes.set_xlim(0, left.max() * 1.1 or 1)
    if number <= _ALL_LABELS:
        for place, total in enumerate(left):
            axes.annotate(
                f"{total:,.0f}", (total, place), (4, 0), textcoords="offset points", va="center", fontsize=size - 1,
                color=MUTED,
            )  # fmt: skip
    axes.set_xlabel("samples")
    figure.legend(loc="outside upper left", ncols=len(counts))
    return figure
