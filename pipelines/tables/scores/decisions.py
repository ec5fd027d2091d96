"""What is decided on rows that were not learned from: calibration, threshold, intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipelines.tables.config import TableConfig
from pipelines.tables.parts import learned_from
from pipelines.tables.predict import answers, numbers

if TYPE_CHECKING:
    import numpy as np

    from pipelines.tables.parts import TablePart, TableParts


def class_factors(config: TableConfig, data: TableParts) -> np.ndarray | None:
    """How many times each class counts in training (K,), by its weight or by how often it is drawn; None if once."""
    from pipelines.engine.classes.imbalance import class_weights

    kind = config.fit.imbalance
    if kind == "none":
        return None
    values, number = learned_from(data).values, len(data.target.classes)
    weights = class_weights(values, number, "weights" if kind == "oversample" else kind)
    weights[weights == 0] = 1
    return weights


def decisions(config: TableConfig, data: TableParts, part: TablePart, got: np.ndarray) -> dict[str, Any]:
    """What is learned on rows that were not learned from: calibration, threshold, and how wide an answer must be.

    Args:
        config: Options.
        data: Data.
        part: The rows, as `judged` gives them.
        got: The answers to them. With folds each is that of one copy, though what is learned from them is then used on
            the mean of the copies: the mean is mostly nearer, so that answers are rather too wide than too narrow.
    """
    import numpy as np

    from pipelines.tables.scores import decide

    options = config.decide
    if data.target.problem == "classes":
        return decide.fit(
            got, part.values, kind=options.calibration, coverage=options.coverage,
            costs=costs_of(config, data.target.classes), weights=class_factors(config, data),
        )  # fmt: skip
    if data.target.problem == "survival":
        return {}
    errors = np.abs(numbers(got, data.target) - part.values)
    # The order statistic of split conformal prediction (Lei et al., 2018).
    rank = min(int(np.ceil((len(errors) + 1) * options.coverage)), len(errors))
    return {"half_width": np.sort(errors, axis=0)[rank - 1].tolist(), "coverage": options.coverage}


def costs_of(config: TableConfig, classes: Sequence[str]) -> np.ndarray | None:
    """Costs (K, K) of the true classes (rows) and those decided for; None where all mistakes are to cost the same."""
    import numpy as np

    from pipelines.tables.scores import costs

    options = config.decide
    if isinstance(options.costs, dict):
        return costs.matrix(options.costs, classes)
    return np.array([[0, options.alarm], [options.miss, 0]]) if len(classes) == 2 else None


def judged(data: TableParts, model: Any) -> tuple[TablePart, np.ndarray]:
    """Rows that were not learned from, and the answers to them: with folds, of the copy that left the row out."""
    import numpy as np

    from pipelines.tables.models import copies

    if data.folds is None:
        return data.val, answers(model, data.val.x)
    part = data.pooled()
    return part, answers(copies(model), part.x)[np.arange(len(part)), data.folds]
