"""Time until an event, where not every event was seen."""

from __future__ import annotations

import numpy as np


def concordance(time: np.ndarray, event: np.ndarray, risk: np.ndarray, counts: np.ndarray | None = None) -> float:
    """Share of the comparable pairs in which the row with the earlier event has the higher risk; ties count half.

    Takes time N log N, so that it can be repeated on resamples.

    Args:
        time: float (N,).
        event: bool (N,), whether the event came at that time, or observation only ended.
        risk: float (N,).
        counts: How often each row counts (N,); once by default.

    Reference:
        Harrell et al., "Evaluating the Yield of Medical Tests", JAMA 1982.
    """
    weight = np.ones(len(time)) if counts is None else counts.astype(np.float64)
    # At equal times the event came before the end of an observation.
    moment = 2 * np.unique(time, return_inverse=True)[1] + ~event
    order = np.argsort(moment, kind="stable")
    rank = np.unique(risk, return_inverse=True)[1][order]
    moment, weight, event = moment[order], weight[order], event[order]
    rows = np.flatnonzero(event & (weight > 0))
    later = np.searchsorted(moment, moment[rows], side="right")
    lower, equal = _lower_and_equal(rank, weight, later, rank[rows])
    total = np.append(0.0, weight.cumsum())
    below = float(weight[rows] @ (total[-1] - total[later]))
    return float(weight[rows] @ (lower + 0.5 * equal)) / below if below else float("nan")


def _lower_and_equal(
    rank: np.ndarray, weight: np.ndarray, start: np.ndarray, than: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """For each of Q queries the weight of the rows from `start` on whose rank is lower than `than`, and equal to it.

    The rows are parted by one bit of their rank after another, the highest first; a query follows the bits of its own
    (a wavelet matrix; Claude & Navarro, "The Wavelet Matrix", SPIRE 2012).

    Args:
        rank: int (N,).
        weight: float (N,).
        start: int (Q,), 0 to N.
        than: int (Q,).
    """
    low, high = start.copy(), np.full(len(start), len(rank))
    lower = np.zeros(len(start))
    for bit in range(int(rank.max()).bit_length() - 1, -1, -1):
        one = (rank >> bit) & 1 == 1
        zeros = np.append(0, np.cumsum(~one))
        of_zeros = np.append(0.0, np.cumsum(weight * ~one))
        up = (than >> bit) & 1 == 1
        lower += np.where(up, of_zeros[high] - of_zeros[low], 0.0)
        low = np.where(up, zeros[-1] + low - zeros[low], zeros[low])
        high = np.where(up, zeros[-1] + high - zeros[high], zeros[high])
        order = np.argsort(one, kind="stable")
        rank, weight = rank[order], weight[order]
    total = np.append(0.0, weight.cumsum())
    return lower, total[high] - total[low]


def cox(x: np.ndarray, time: np.ndarray, event: np.ndarray, *, penalty: float = 1.0) -> np.ndarray:
    """Coefficients (D,) of Cox's proportional hazards model: x @ coefficients is the logarithm of the hazard.

    Ties are treated after Breslow. The partial likelihood is maximized less half the squares of the coefficients times
    the penalty, so that columns which say the same do no harm.

    Args:
        x: float (N, D).
        time: float (N,).
        event: bool (N,).
        penalty: Strength of the penalty.

    Reference:
        Cox, "Regression Models and Life-Tables", JRSS B 1972.
    """
    from scipy.optimize import minimize

    order = np.argsort(-time, kind="stable")
    x, time, event = x[order].astype(np.float64), time[order], event[order]
    # Who is still at risk when an event comes: all rows up to the last one of the same time.
    last = np.searchsorted(-time, -time, side="right") - 1
    died = last[event]
    held = np.bincount(died, minlength=len(time)).astype(np.float64)
    centre = x[event].sum(0)

    def loss(beta: np.ndarray) -> tuple[float, np.ndarray]:
        eta = x @ beta
        top = eta.max(initial=0.0)
        hazard = np.exp(eta - top)
        at_risk = hazard.cumsum()
        share = hazard * np.cumsum((held / at_risk)[::-1])[::-1]
        value = centre @ beta - (held @ np.log(at_risk) + top * held.sum()) - penalty / 2 * beta @ beta
        return -float(value), x.T @ share - centre + penalty * beta

    return np.asarray(minimize(loss, np.zeros(x.shape[1]), jac=True, method="L-BFGS-B").x)


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
