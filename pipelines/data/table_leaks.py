"""Does a column give the target away?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipelines.data.table_encode import Encoder
from pipelines.data.table_target import Target

if TYPE_CHECKING:
    from pipelines.data.tables import TablePart

ROWS, SCORE = 5000, 0.985


def leaks(encoder: Encoder, part: TablePart, target: Target, seed: int) -> list[str]:
    """Remarks on columns that predict the target alone: a small tree on one half, tried on the other."""
    from scipy.stats import rankdata, spearmanr
    from sklearn.metrics import r2_score, roc_auc_score
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    rows = np.random.default_rng(seed).permutation(len(part))[:ROWS]
    fit, test = np.array_split(rows, 2)
    classes = target.problem != "number"
    labels = part.values if target.problem == "classes" else part.values[:, -1]
    if target.problem == "survival":
        labels = labels.astype(np.int64)
    if not classes:
        labels = rankdata(labels)
    if classes and (len(np.unique(labels[fit])) < len(np.unique(labels)) or len(np.unique(labels[test])) < 2):
        return []
    kind = DecisionTreeClassifier if classes else DecisionTreeRegressor
    blocks = encoder.split(part.x)
    remarks = []
    for column in encoder.columns:
        x = np.concatenate(
            [b for b, block in zip(blocks, encoder.blocks, strict=True) if block.column == column.name], 1
        )
        tree = kind(max_leaf_nodes=8, min_samples_leaf=5, random_state=0).fit(x[fit], labels[fit])
        if classes:
            hit = tree.predict_proba(x[test])
            found = np.arange(hit.shape[1])
            present = np.unique(labels[test])
            scores = [
                roc_auc_score(labels[test] == tree.classes_[k], hit[:, k]) for k in found if tree.classes_[k] in present
            ]
            score, name = float(np.mean(scores)), "AUC"
        else:
            score, name = float(r2_score(labels[test], tree.predict(x[test]))), "R² of the ranks"
            if len(np.unique(x[:, 0])) > 1:
                score = max(score, float(spearmanr(x[:, 0], labels).statistic) ** 2)
        if score >= SCORE:
            remarks.append(
                f"warning: {column.name} alone predicts {target.columns[-1]} ({name} {score:.3f}); is it known only "
                f"afterwards? Leave it out with --data.drop '[{column.name}]'"
            )
    return remarks
