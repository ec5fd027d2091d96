"""Time until an event, where not every event was seen."""

from __future__ import annotations

import numpy as np

BLOCK = 512


def concordance(time: np.ndarray, event: np.ndarray, risk: np.ndarray, counts: np.ndarray | None = None) -> float:
    """Share of the comparable pairs in which the row with the earlier event has the higher risk; ties count half.

    Args:
        time: float (N,).
        event: bool (N,), whether the event came at that time, or observation only ended.
        risk: float (N,).
        counts: How often each row counts (N,); once by default.

    Reference:
        Harrell et al., "Evaluating the Yield of Medical Tests", JAMA 1982.
    """
    weight = np.ones(len(time)) if counts is None else counts.astype(np.float64)
    above = below = 0.0
    rows = np.flatnonzero(event & (weight > 0))
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK, None]
        # At equal times the event came before the end of an observation.
        later = (time > time[block]) | ((time == time[block]) & ~event)
        pairs = later * (weight * weight[block])
        above += float((pairs * ((risk < risk[block]) + 0.5 * (risk == risk[block]))).sum())
        below += float(pairs.sum())
    return above / below if below else float("nan")


def survival_curves(log_p: np.ndarray) -> np.ndarray:
    """Probability of being without the event at the end of each interval, (N, M).

    Args:
        log_p: (N, M, 2) log-probabilities of living through an interval, and of its event, for those who reach it.
    """
    return np.exp(np.cumsum(log_p[:, :, 0], axis=1))


def risk(log_p: np.ndarray) -> np.ndarray:
    """Mean probability of having had the event over the intervals, (N,): higher for those whom it meets earlier."""
    return 1 - survival_curves(log_p).mean(1)


def kaplan_meier(time: np.ndarray, event: np.ndarray, at: np.ndarray) -> np.ndarray:
    """The share without the event at each time of `at`, from the observations alone (Kaplan & Meier, 1958)."""
    moments = np.unique(time[event])
    reached = len(time) - np.searchsorted(np.sort(time), moments, side="left")
    died = np.searchsorted(np.sort(time[event]), moments, side="right") - np.searchsorted(
        np.sort(time[event]), moments, side="left"
    )
    curve = np.concatenate([[1.0], np.cumprod(1 - died / reached)])
    return curve[np.searchsorted(moments, at, side="right")]
