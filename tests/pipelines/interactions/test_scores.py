"""Ranking scores against scikit-learn and by hand, and that nothing known or unseen is recommended."""

import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from pipelines.interactions.load import Queries
from pipelines.interactions.scores import first, of_user, rank


def queries(known, wanted):
    return Queries(np.arange(len(known)), [np.array(k, int) for k in known], [np.array(w, int) for w in wanted])


@pytest.mark.parametrize("seed", range(5))
def test_ndcg_is_that_of_scikit_learn(seed):
    draw = np.random.default_rng(seed)
    scores, wanted = draw.normal(size=(1, 50)), draw.permutation(50)[: draw.integers(1, 15)]
    truth = np.zeros((1, 50))
    truth[0, wanted] = 1
    found = rank(queries([[]], [wanted]), lambda rows: scores, np.ones(50)).metrics
    for k in (10, 20):
        assert found[f"ndcg_{k}"].value == pytest.approx(ndcg_score(truth, scores, k=k))
        hits = len(set(np.argsort(-scores[0])[:k]) & set(wanted.tolist()))
        assert found[f"recall_{k}"].value == pytest.approx(hits / len(wanted))
        assert found[f"hr_{k}"].value == float(hits > 0)


def test_by_hand():
    found = of_user(np.array([1.0, 4.0, np.inf]), 3)
    assert found["mrr_20"] == pytest.approx(1 / 2)
    assert found["map_20"] == pytest.approx((1 / 2 + 2 / 5) / 3)
    assert found["ndcg_10"] == pytest.approx((1 / np.log2(3) + 1 / np.log2(6)) / (1 + 1 / np.log2(3) + 1 / np.log2(4)))
    assert of_user(np.array([np.inf]), 1)["ndcg_10"] == 0


def test_known_and_unseen_items_are_not_ranked():
    seen = np.array([5, 3, 0, 2])
    scores = np.array([[9.0, 1.0, 8.0, 2.0]])
    result = rank(queries([[0]], [[2]]), lambda rows: scores, seen, resamples=20)
    assert result.top[0][:2].tolist() == [3, 1]
    assert result.metrics["hr_10"].value == 0  # item 2 does not occur in training
    assert result.metrics["popularity_10"].value == pytest.approx(seen[result.top[0]].mean())


def test_ties_go_by_number():
    assert first(np.array([1.0, 3.0, 3.0, 2.0]), 3).tolist() == [1, 2, 3]
