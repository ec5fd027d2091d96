"""Item-item models in closed form, and popularity: the baselines, and the start of the network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.core.errors import UserError

MOST = 20_000  # items or users: one of them must not be more, or the matrix of one against the other gets too large


@dataclass(frozen=True, eq=False)
class Factors:
    """Score of item j after a history: sum of weight * left[i] over its items i, times right[:, j].

    Args:
        left: float32 (I, R).
        right: float32 (R, I).
        half_life: Interactions after which the weight of a past one has halved; 0 weighs all alike.
    """

    left: np.ndarray
    right: np.ndarray
    half_life: float

    def scores(self, histories: Sequence[np.ndarray]) -> np.ndarray:
        """float32 (Q, I) for Q histories, the oldest item first; known items are not excluded."""
        state = np.stack([recency(len(h), self.half_life) @ self.left[h] for h in histories])
        return (state @ self.right).astype(np.float32)


def recency(length: int, half_life: float) -> np.ndarray:
    """float32 (length,): the weight of each interaction, 1 for the last one."""
    ages = np.arange(length)[::-1]
    return (0.5 ** (ages / half_life) if half_life else np.ones(length)).astype(np.float32)


def popularity(train: Sequence[np.ndarray], items: int) -> np.ndarray:
    """int64 (I,): how many users of the training set have each item."""
    return np.bincount(np.concatenate(train), minlength=items)


def ease(train: Sequence[np.ndarray], items: int, regularization: float, rank: int | None = None) -> Factors:
    """The linear autoencoder EASE in factors; its diagonal is left in, as known items are excluded anyway.

    With X (users, items) the weights are B = I - P / diag(P), P = (X'X + lambda I)^-1. If users are fewer than items, P
    comes from the users' Gram matrix (Woodbury): off the diagonal B = X' (XX' + lambda I)^-1 X / (lambda diag(P)).

    Args:
        train: Items of each user.
        items: I.
        regularization: lambda.
        rank: Factors that are kept, those of the largest singular values; None keeps all.

    Raises:
        UserError: There are more than 20,000 users and items.

    Reference:
        Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019.
    """
    rows = [items_of for items_of in train if len(items_of)]
    if min(len(rows), items) > MOST:
        raise UserError(
            f"the linear part needs at most {MOST:,} users or items, got {len(rows):,} and {items:,}: use --model "
            "sasrec"
        )
    x = np.zeros((len(rows), items), np.float32)
    for row, items_of in zip(x, rows, strict=True):
        row[items_of] = 1
    if len(rows) <= items:
        inner = np.linalg.inv((x @ x.T).astype(np.float64) + regularization * np.eye(len(rows)))
        left = (x.T @ inner).astype(np.float32)
        diagonal = (1 - np.einsum("ir,ri->i", left, x)) / regularization
        right = x / (regularization * diagonal)[None]
    else:
        p = np.linalg.inv((x.T @ x).astype(np.float64) + regularization * np.eye(items))
        left, right = np.eye(items, dtype=np.float32), (-p / np.diag(p)[None]).astype(np.float32)
        np.fill_diagonal(right, 0)
    if rank is not None and rank < left.shape[1]:
        left, right = truncated(left, right, rank)
    return Factors(left.astype(np.float32), right.astype(np.float32), 0.0)


def truncated(left: np.ndarray, right: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """The best approximation of left @ right by `rank` factors (Eckart & Young, 1936)."""
    q_left, r_left = np.linalg.qr(left)
    q_right, r_right = np.linalg.qr(right.T)
    u, s, v = np.linalg.svd(r_left @ r_right.T)
    root = np.sqrt(s[:rank])
    return q_left @ u[:, :rank] * root, root[:, None] * v[:rank] @ q_right.T
