"""The choice of the linear part on the validation set, and the scale of its scores."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pipelines.core.console import say
from pipelines.interactions.linear import Factors, ease, popularity
from pipelines.interactions.scores import baseline_scores, rank

if TYPE_CHECKING:
    from pipelines.interactions.config import RecommenderConfig
    from pipelines.interactions.load import InteractionSplits, Queries

MONITOR = "ndcg_10"


def choose(config: RecommenderConfig, data: InteractionSplits) -> tuple[Factors, float, dict[str, float]]:
    """Tries all regularizations and half-lives.

    Returns:
        The factors with the best NDCG@10 on the validation set, their regularization, and the score of each trial.
    """
    seen = popularity(data.train, data.items)
    best: tuple[float, Factors, float] | None = None
    trials = {}
    for penalty in config.regularization:
        whole = ease(data.train, data.items, penalty, config.rank)
        for half_life in config.half_lives:
            factors = replace(whole, half_life=half_life)
            result = rank(data.val, baseline_scores(factors.scores, data.val), seen)
            value = result.metrics[MONITOR].value
            trials[f"lambda {penalty:g}, half-life {half_life:g}"] = value
            if best is None or value > best[0]:
                best = value, factors, penalty
    assert best is not None
    say(f"linear part: lambda {best[2]:g}, half-life {best[1].half_life:g} (validation NDCG@10 {best[0]:.4f})")
    return best[1], best[2], trials


def scale_of(factors: Factors, queries: Queries) -> float:
    """By what the scores are multiplied to be logits: the one with the lowest log loss on the queries."""
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    scores = factors.scores(queries.known).astype(np.float64)
    for row, known in zip(scores, queries.known, strict=True):
        row[known] = -np.inf
    wanted = np.array([w[0] for w in queries.wanted])
    of_wanted = scores[np.arange(len(scores)), wanted]
    defined = np.isfinite(of_wanted)

    def loss(log_scale: float) -> float:
        scale = np.exp(log_scale)
        return float((logsumexp(scores[defined] * scale, axis=1) - of_wanted[defined] * scale).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(0.0, 12.0), method="bounded").x))


def examples(data: InteractionSplits, number: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Histories int32 (N, L) and the next items int32 (N,) from the last interactions of each user in training."""
    from pipelines.interactions.models import histories

    known, wanted = [], []
    for items in data.train:
        for place in range(max(1, len(items) - number), len(items)):
            known.append(items[max(0, place - length) : place])
            wanted.append(items[place])
    return histories(known, length), np.array(wanted, np.int32)
