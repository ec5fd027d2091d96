"""Ranking scores: all items ranked, known ones excluded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.metrics import Estimate, bootstrap

if TYPE_CHECKING:
    from pipelines.interactions.load import Queries

CUTS = (10, 20)
BATCH = 256


@dataclass(frozen=True, eq=False)
class Ranking:
    """Scores of one model.

    Args:
        users: Score by name, (Q,) a value for each user.
        metrics: Their means with intervals from the bootstrap over users; and coverage, novelty and popularity.
        top: int64 (Q, 20), the first items for each user.
    """

    users: dict[str, np.ndarray]
    metrics: dict[str, Estimate]
    top: np.ndarray


def of_user(ranks: np.ndarray, number: int) -> dict[str, float]:
    """Scores of a user from the ranks (0 is the first) of the `number` held-out items; those not ranked are infinite.

    NDCG has binary gains and the logarithm of base 2; Recall is the fraction of the held-out items among the first k,
    HR (hit rate) whether one of them is, MRR the inverse of the first one's rank, MAP the average precision, both at
    20.
    """
    found: dict[str, float] = {}
    for k in CUTS:
        hits = np.sort(ranks[ranks < k])
        ideal = (1 / np.log2(np.arange(min(number, k)) + 2)).sum()
        found[f"ndcg_{k}"] = float((1 / np.log2(hits + 2)).sum() / ideal)
        found[f"recall_{k}"] = len(hits) / number
        found[f"hr_{k}"] = float(len(hits) > 0)
    hits = np.sort(ranks[ranks < CUTS[-1]])
    found["mrr_20"] = float(1 / (hits[0] + 1)) if len(hits) else 0.0
    precisions = (np.arange(len(hits)) + 1) / (hits + 1)
    found["map_20"] = float(precisions.sum() / min(number, CUTS[-1])) if len(hits) else 0.0
    return found


def rank(
    queries: Queries, score: Callable[[np.ndarray], np.ndarray], seen: np.ndarray, *, seed: int = 0, resamples: int = 0
) -> Ranking:
    """Ranks all items for each query.

    Ties are broken by the number of the item. Held-out items that training has not seen count as missed.

    Args:
        queries: Users with known and wanted items.
        score: Numbers of queries (B,) to scores (B, I).
        seen: int64 (I,), users of each item in training; items with none are never recommended.
        seed: Of the bootstrap.
        resamples: Of the bootstrap; 0 gives no intervals.
    """
    rows: list[dict[str, float]] = []
    tops = []
    for start in range(0, len(queries), BATCH):
        chosen = np.arange(start, min(start + BATCH, len(queries)))
        scores = np.array(score(chosen), np.float64)
        scores[:, seen == 0] = -np.inf
        for row, q in zip(scores, chosen, strict=True):
            row[queries.known[q]] = -np.inf
            order = first(row, CUTS[-1])
            tops.append(order)
            wanted = queries.wanted[q]
            of_item = {int(item): place for place, item in enumerate(order) if np.isfinite(row[item])}
            rows.append(of_user(np.array([of_item.get(int(i), np.inf) for i in wanted]), len(wanted)))
    users = {name: np.array([r[name] for r in rows]) for name in rows[0]}
    top = np.stack(tops)
    if resamples:
        metrics = {name: mean(values, seed=seed, resamples=resamples) for name, values in users.items()}
    else:
        metrics = {name: Estimate(float(values.mean())) for name, values in users.items()}
    shown = top[:, : CUTS[0]]
    fraction = seen / max(seen.sum(), 1)
    metrics["coverage_10"] = Estimate(len(np.unique(shown)) / max(int((seen > 0).sum()), 1))
    metrics["novelty_10"] = Estimate(float(-np.log2(np.maximum(fraction[shown], 1e-12)).mean()))
    metrics["popularity_10"] = Estimate(float(seen[shown].mean()))
    return Ranking(users, metrics, top)


def first(scores: np.ndarray, number: int) -> np.ndarray:
    """The numbers of the highest scores (I,), the highest first; ties by number."""
    number = min(number, len(scores))
    chosen = np.argpartition(-scores, number - 1)[:number]
    return chosen[np.lexsort((chosen, -scores[chosen]))]


def mean(values: np.ndarray, *, seed: int, resamples: int) -> Estimate:
    """The mean over users with its bootstrap interval."""
    return bootstrap(lambda rows: values[rows].mean(-1), len(values), seed=seed, resamples=resamples, vectorised=True)


def difference(ours: Ranking, other: Ranking, name: str, **options: Any) -> Estimate:
    """How much better a score is than that of another model for the same users (paired bootstrap)."""
    return mean(ours.users[name] - other.users[name], **options)


def baseline_scores(function: Callable[[Sequence[np.ndarray]], np.ndarray], queries: Queries) -> Any:
    """What `rank` takes, from a function of histories."""
    return lambda chosen: function([queries.known[i] for i in chosen])
