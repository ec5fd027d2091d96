"""Does a column give the target away?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipelines.tables.encode import Encoder
from pipelines.tables.target import Target

if TYPE_CHECKING:
    from pipelines.tables.parts import TablePart

ROWS, SCORE = 5000, 0.985
# Rows of a rare class that are drawn in any case; in each half there must be so many for the class to be judged.
RARE, JUDGED = 20, 5


def leaks(encoder: Encoder, part: TablePart, target: Target, seed: int) -> list[str]:
    """Remarks on columns that predict a target alone: a small tree on one half, tried on the other."""
    from scipy.stats import rankdata

    if target.problem == "number":
        aims = [(name, rankdata(values)) for name, values in zip(target.columns, part.values.T, strict=True)]
    else:
        labels = part.values if target.problem == "classes" else part.values[:, -1].astype(np.int64)
        aims = [(target.columns[0], labels)]
    blocks = encoder.split(part.x)
    remarks = []
    for aim, labels in aims:
        fit, test = _halves(labels, target.problem != "number", seed)
        if len(np.unique(labels[fit])) < 2 or len(np.unique(labels[test])) < 2:
            continue
        for column in encoder.columns:
            own = [b for b, block in zip(blocks, encoder.blocks, strict=True) if block.column == column.name]
            score = _score(np.concatenate(own, 1), labels, fit, test, target.problem != "number")
            if score >= SCORE:
                remarks.append(
                    f"warning: {column.name} alone predicts {aim} "
                    f"({'R² of the ranks' if target.problem == 'number' else 'AUC'} {score:.3f}); is it known only "
                    f"afterwards? Leave it out with --data.drop '[{column.name}]'"
                )
    return remarks


def _halves(labels: np.ndarray, classes: bool, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of rows to fit and to try: about `ROWS`, of each class its share or `RARE`, if there are so many."""
    order = np.random.default_rng(seed).permutation(len(labels))
    if not classes:
        fit, test = np.array_split(order[:ROWS], 2)
        return fit, test
    order = order[np.argsort(labels[order], kind="stable")]
    share = min(1.0, ROWS / len(labels))
    found = []
    for rows in np.split(order, np.cumsum(np.unique(labels, return_counts=True)[1])[:-1]):
        drawn = rows[: max(round(share * len(rows)), RARE)]
        if len(drawn) >= 2 * JUDGED:
            found.append(np.array_split(drawn, 2))
    if not found:
        return order[:0], order[:0]
    return np.concatenate([a for a, _ in found]), np.concatenate([b for _, b in found])


def _score(x: np.ndarray, labels: np.ndarray, fit: np.ndarray, test: np.ndarray, classes: bool) -> float:
    """How well a column's numbers (N, size) alone predict the labels (N,): mean AUC of the classes, or R²."""
    from scipy.stats import spearmanr
    from sklearn.metrics import r2_score, roc_auc_score
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    kind = DecisionTreeClassifier if classes else DecisionTreeRegressor
    tree = kind(max_leaf_nodes=8, min_samples_leaf=5, random_state=0).fit(x[fit], labels[fit])
    if classes:
        hit = tree.predict_proba(x[test])
        return float(np.mean([roc_auc_score(labels[test] == c, hit[:, k]) for k, c in enumerate(tree.classes_)]))
    score = float(r2_score(labels[test], tree.predict(x[test])))
    if len(np.unique(x[:, 0])) > 1:
        score = max(score, float(spearmanr(x[:, 0], labels).statistic) ** 2)
    return score
