"""Scores with their uncertainty: an estimate and its bootstrap interval."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

# Resamples are drawn in blocks of about this many indices: memory stays flat however many are asked for.
_BLOCK_INDICES = 2_000_000


@dataclass(frozen=True)
class Estimate:
    """A value and the ends of its interval; an end that is not known is NaN.

    Args:
        value: the value on the data as they are.
        low: lower end of the interval.
        high: upper end of the interval.
    """

    value: float
    low: float = math.nan
    high: float = math.nan

    def __str__(self) -> str:
        if math.isnan(self.value):
            return "undefined"
        if math.isnan(self.low):
            return f"{self.value:.4f}"
        return f"{self.value:.4f} ({self.range})"

    @property
    def range(self) -> str:
        """The interval as every page writes it, such as `0.9041 to 1.0000`; a dash where it is not known."""
        return "–" if math.isnan(self.low) else f"{self.low:.4f} to {self.high:.4f}"

    def to_json(self) -> dict[str, float | None]:
        """The three numbers; NaN becomes None, which JSON can hold."""
        numbers = {"value": self.value, "low": self.low, "high": self.high}
        return {name: None if math.isnan(number) else float(number) for name, number in numbers.items()}


def resample_indices(n: int, resamples: int, seed: int, groups: np.ndarray | None = None) -> Iterator[np.ndarray]:
    """Draws samples with replacement, the bootstrap of Efron (1979).

    Samples of one group, such as the visits of a patient, are not independent: with `groups`, whole groups are
    drawn, as many as there are (the cluster bootstrap; Davison & Hinkley 1997, section 3.8).

    Args:
        n: number of samples, at least 1.
        resamples: how many resamples in all, at least 1.
        seed: the same seed gives the same resamples.
        groups: (n,) int, the group of each sample; without them each is one of its own.

    Yields:
        int64 arrays of shape (block, n): each row is one resample; the blocks' rows add up to `resamples`. With groups
        shape (1, m), where m is the size of the groups that were drawn.

    Raises:
        ValueError: `n` or `resamples` is below 1.
    """
    if n < 1 or resamples < 1:
        raise ValueError(f"the bootstrap needs at least 1 sample and 1 resample, got {n} and {resamples}")
    generator = np.random.default_rng(seed)
    if groups is not None:
        number, order = int(groups.max()) + 1, np.argsort(groups, kind="stable")
        for _ in range(resamples):
            drawn = np.bincount(generator.integers(0, number, number), minlength=number)
            yield np.repeat(order, drawn[groups[order]])[None]
        return
    block = max(1, _BLOCK_INDICES // n)
    for start in range(0, resamples, block):
        yield generator.integers(0, n, size=(min(block, resamples - start), n))


def interval(draws: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of bootstrap draws (Efron & Tibshirani 1993, chapter 13).

    Args:
        draws: (resamples,) values of the metric; NaN marks resamples on which it is undefined.
        level: fraction of the draws between the ends.

    Returns:
        The two ends; NaN when the metric is undefined on every resample.
    """
    draws = np.asarray(draws, dtype=np.float64)
    draws = draws[~np.isnan(draws)]
    if not draws.size:
        return math.nan, math.nan
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def bootstrap(
    metric: Callable[[np.ndarray], float | np.ndarray],
    n: int,
    *,
    seed: int,
    resamples: int = 1000,
    level: float = 0.95,
    vectorised: bool = False,
    groups: np.ndarray | None = None,
) -> Estimate:
    """The metric on all samples with its percentile bootstrap interval.

    Args:
        metric: gets indices of samples, int64 of shape (n,) or with `groups` about that, and returns a number, NaN
            where undefined. If `vectorised`, it gets shape (block, n) and returns shape (block,).
        n: number of samples, at least 1.
        seed: the same seed gives the same interval.
        resamples: how often to draw the samples anew.
        level: fraction of the resamples between the ends of the interval.
        vectorised: whether `metric` takes many resamples at once.
        groups: (n,) int, what is drawn together; see `resample_indices`.

    Raises:
        ValueError: `n` or `resamples` is below 1.

    Example:
        >>> scores = np.array([1.0, 0.0, 1.0, 1.0])
        >>> bootstrap(lambda rows: scores[rows].mean(), len(scores), seed=0).value
        0.75
    """
    draws: list[np.ndarray] = []
    for rows in resample_indices(n, resamples, seed, groups):
        block = metric(rows) if vectorised else [metric(row) for row in rows]
        draws.append(np.asarray(block, dtype=np.float64))
    everything = np.arange(n)
    value = np.asarray(metric(everything[None] if vectorised else everything)).item()
    return Estimate(float(value), *interval(np.concatenate(draws), level))


# Names of scores in reports; other scores are shown under their own name, with spaces.
SCORES = {
    "boundary_f1": "boundary F1", "brier": "Brier score", "c_index": "C-index", "dice": "Dice",
    "entity_f1": "entity F1", "f1": "F1", "gini": "Gini", "hamming_loss": "Hamming loss", "ks": "Kolmogorov-Smirnov",
    "macro_f1": "macro F1", "mae": "MAE", "mean_iou": "mean IoU", "mean_iou_foreground": "mean IoU of the foreground",
    "mean_iou_images": "mean IoU over images", "micro_f1": "micro F1", "r2": "R²", "rmse": "RMSE",
    "roc_auc": "ROC AUC",
}  # fmt: skip


def signed(value: float) -> str:
    """A difference with its sign; zero is never negative."""
    return f"{round(value, 4) + 0.0:+.4f}"


def title(name: str) -> str:
    """The name of a score as in metrics.json to what is written: `roc_auc` to `ROC AUC`."""
    return SCORES.get(name) or name.replace("_", " ")
