"""The linear part against the formula of its paper, and its factors."""

import numpy as np
import pytest

from pipelines.core.errors import UserError
from pipelines.interactions import linear

DRAW = np.random.default_rng(0)


def made(users, items, most=12):
    return [DRAW.permutation(items)[: DRAW.integers(2, most)] for _ in range(users)]


def plain(train, items, penalty):
    """EASE as Steck (2019) has it, in four lines."""
    x = np.zeros((len(train), items))
    for row, of in zip(x, train, strict=True):
        row[of] = 1
    p = np.linalg.inv(x.T @ x + penalty * np.eye(items))
    b = p / -np.diag(p)
    np.fill_diagonal(b, 0)
    return x, b


@pytest.mark.parametrize(("users", "items"), [(15, 40), (60, 25)])
def test_scores_of_unknown_items_are_those_of_the_paper(users, items):
    train = made(users, items)
    x, b = plain(train, items, 5.0)
    got = linear.ease(train, items, 5.0).scores(train)
    unknown = x == 0
    np.testing.assert_allclose(got[unknown], (x @ b)[unknown], atol=2e-5)


def test_recent_items_weigh_more():
    np.testing.assert_allclose(linear.recency(3, 2.0), [0.5, 0.5**0.5, 1], rtol=1e-6)
    np.testing.assert_array_equal(linear.recency(3, 0.0), [1, 1, 1])
    train = made(20, 30)
    factors = linear.Factors(*vars(linear.ease(train, 30, 3.0)).values())
    recent = linear.Factors(factors.left, factors.right, 1.0)
    expected = sum(0.5**age * factors.left[item] for age, item in enumerate(train[0][::-1])) @ factors.right
    np.testing.assert_allclose(recent.scores(train[:1])[0], expected, rtol=1e-4, atol=1e-5)


def test_the_best_factors_are_kept():
    left, right = DRAW.normal(size=(20, 8)), DRAW.normal(size=(8, 15))
    u, s, v = np.linalg.svd(left @ right)
    a, b = linear.truncated(left, right, 3)
    np.testing.assert_allclose(a @ b, u[:, :3] * s[:3] @ v[:3], atol=1e-8)


def test_too_many_users_and_items_are_refused(monkeypatch):
    monkeypatch.setattr(linear, "MOST", 10)
    with pytest.raises(UserError, match="at most 10 users or items, got 12 and 30: use --model sasrec"):
        linear.ease(made(12, 30), 30, 1.0)
