"""A linear model on the same encoded rows: a report that does not show it says little."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipelines.tables.parts import learned_from, some_rows

if TYPE_CHECKING:
    from pipelines.tables.parts import TableParts

# More rows make a linear model no better, only slower.
ROWS = 100_000


def probabilities(data: TableParts, seed: int) -> np.ndarray | None:
    """What a logistic regression on rows that the network has learned from says of the test part, (N, K).

    None where a finished run is tried on other data, as its rows are then not there, or if they have one class only.
    """
    from sklearn.linear_model import LogisticRegression

    known = _known(data, seed)
    if known is None or len(np.unique(known[1])) < 2:
        return None
    fitted = LogisticRegression(max_iter=2000).fit(*known)
    p = np.full((len(data.test), len(data.target.classes)), 1e-12)
    p[:, fitted.classes_] = fitted.predict_proba(data.test.x)
    return p / p.sum(1, keepdims=True)


def numbers(data: TableParts, seed: int) -> np.ndarray | None:
    """What ridge regression says of the test part, (N, T); None as for `probabilities`."""
    from sklearn.linear_model import Ridge

    known = _known(data, seed)
    if known is None:
        return None
    return np.asarray(Ridge().fit(*known).predict(data.test.x)).reshape(len(data.test), -1)


def log_hazards(data: TableParts, seed: int) -> np.ndarray | None:
    """What Cox's model says of the test part, (N,): more for those whom the event meets earlier; None as above."""
    from pipelines.tables.scores.survival import cox

    known = _known(data, seed)
    if known is None:
        return None
    x, values = known
    return np.asarray(data.test.x @ cox(x, values[:, 0], values[:, 1] == 1))


def _known(data: TableParts, seed: int) -> tuple[np.ndarray, np.ndarray] | None:
    if data.decisions is not None:
        return None
    part = learned_from(data)
    rows = some_rows(len(part), ROWS, seed)
    return part.x[rows], part.values[rows]
