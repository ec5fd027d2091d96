"""Scores and curves of a classifier of two classes: discrimination, gain, clinical use, cost."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipelines.metrics import Estimate, interval, resample_indices


@dataclass(frozen=True, eq=False)
class Draws:
    """Scores on the rows as they are, and on each resample (R,)."""

    values: dict[str, float]
    draws: dict[str, np.ndarray]

    def estimates(self) -> dict[str, Estimate]:
        """Each with its 95 % interval."""
        return {name: Estimate(value, *interval(self.draws[name])) for name, value in self.values.items()}

    def minus(self, other: Draws) -> dict[str, Estimate]:
        """The differences, on the same resamples."""
        return {
            name: Estimate(value - other.values[name], *interval(self.draws[name] - other.draws[name]))
            for name, value in self.values.items()
        }


class _Ranked:
    """Rows by falling score, with the ends of the groups of equal scores."""

    def __init__(self, labels: np.ndarray, scores: np.ndarray) -> None:
        self.order = np.argsort(-scores, kind="stable")
        self.positive = labels[self.order] == 1
        self.ends = np.append(np.flatnonzero(np.diff(scores[self.order])), len(scores) - 1)

    def curve(self, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """True and false positives, both from 0, and the number of both, when each row counts so often (N,)."""
        weights = counts[self.order]
        hits = np.concatenate([[0.0], np.cumsum(weights * self.positive)[self.ends]])
        alarms = np.concatenate([[0.0], np.cumsum(weights * ~self.positive)[self.ends]])
        return hits, alarms, hits + alarms


def discrimination(
    labels: np.ndarray,
    p: np.ndarray,
    *,
    specificity: float,
    seed: int,
    resamples: int,
    groups: np.ndarray | None = None,
) -> Draws:
    """AUC, Gini, Kolmogorov-Smirnov, average precision, log-loss, Brier, and sensitivity at a specificity.

    Args:
        labels: int (N,), 1 for the positive class.
        p: float (N,) its probability.
        specificity: Share of the negatives that must stay below the threshold.
        seed: Seed of the resamples.
        resamples: Bootstrap resamples.
        groups: int (N,), what is drawn together (`pipelines.metrics.resample_indices`).
    """
    ranked = _Ranked(labels, p)
    clipped = np.clip(p, 1e-15, 1 - 1e-15)
    losses = -np.where(labels == 1, np.log(clipped), np.log1p(-clipped))
    squares = (p - labels) ** 2
    sensitivity = f"sensitivity_at_{specificity:g}_specificity"
    names = ("roc_auc", "gini", "ks", "average_precision", "log_loss", "brier", sensitivity)

    def scores(counts: np.ndarray) -> tuple[float, ...]:
        hits, alarms, both = ranked.curve(counts)
        means = (float(losses @ counts / counts.sum()), float(squares @ counts / counts.sum()))
        if not hits[-1] or not alarms[-1]:
            return (*(np.nan,) * 4, *means, np.nan)
        tpr, fpr = hits / hits[-1], alarms / alarms[-1]
        area = float(np.sum(np.diff(fpr) * (tpr[1:] + tpr[:-1]) / 2))
        precision = np.divide(hits[1:], both[1:], out=np.zeros(len(hits) - 1), where=both[1:] > 0)
        average = float(np.sum(np.diff(tpr) * precision))
        found = float(tpr[fpr <= 1 - specificity + 1e-12].max())
        return area, 2 * area - 1, float(np.abs(tpr - fpr).max()), average, *means, found

    values = dict(zip(names, scores(np.ones(len(labels))), strict=True))
    draws = [
        scores(np.bincount(row, minlength=len(labels)).astype(np.float64))
        for rows in resample_indices(len(labels), resamples, seed, groups)
        for row in rows
    ]
    return Draws(values, dict(zip(names, np.array(draws).T, strict=True)))


def gains(labels: np.ndarray, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of all rows taken from the highest score down, and share of the positives among them; both (M,)."""
    hits, _, both = _Ranked(labels, p).curve(np.ones(len(labels)))
    return both / both[-1], hits / max(hits[-1], 1)


def net_benefit(labels: np.ndarray, p: np.ndarray, thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Net benefit of the model, and of treating all, at each threshold probability; both (T,).

    Reference:
        Vickers & Elkin, "Decision Curve Analysis", Medical Decision Making 2006.
    """
    odds = thresholds / (1 - thresholds)
    above = p[:, None] >= thresholds
    hits = (above & (labels[:, None] == 1)).mean(0)
    alarms = (above & (labels[:, None] == 0)).mean(0)
    share = labels.mean()
    return hits - alarms * odds, share - (1 - share) * odds


def net_benefit_interval(
    labels: np.ndarray,
    p: np.ndarray,
    thresholds: np.ndarray,
    *,
    seed: int,
    resamples: int,
    groups: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the 95 % interval of the model's net benefit at each threshold probability (rising), both (T,)."""
    odds = thresholds / (1 - thresholds)
    # A row counts at the thresholds up to its probability.
    place = np.searchsorted(thresholds, p, side="right")
    size = len(thresholds) + 1
    worth = []
    for rows in resample_indices(len(labels), resamples, seed, groups):
        for row in rows:
            by_class = [np.bincount(place[row][labels[row] == k], minlength=size) for k in (1, 0)]
            hits, alarms = (counts[::-1].cumsum()[::-1][1:] / len(row) for counts in by_class)
            worth.append(hits - alarms * odds)
    low, high = np.quantile(worth, [0.025, 0.975], axis=0)
    return low, high


def cost(labels: np.ndarray, p: np.ndarray, thresholds: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """Mean cost of a row at each threshold, (T,), by the costs (2, 2) of the true class and the one decided for."""
    above = p[:, None] >= thresholds
    shares = [[(said & (labels[:, None] == true)).mean(0) for said in (~above, above)] for true in (0, 1)]
    return np.einsum("ij,ijt->t", costs, shares)


def wilson(hits: int, number: int) -> Estimate:
    """A share with its 95 % interval (Wilson, 1927); undefined without rows."""
    if not number:
        return Estimate(float("nan"))
    z = 1.959964
    share, spread = hits / number, z**2 / number
    center = (share + spread / 2) / (1 + spread)
    half = z * np.sqrt(share * (1 - share) / number + spread / number / 4) / (1 + spread)
    return Estimate(share, max(0.0, float(center - half)), min(1.0, float(center + half)))
