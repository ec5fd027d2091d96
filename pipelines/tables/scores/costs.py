"""What decisions cost: the matrix of costs from its file, and the mean cost of a row."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.core.errors import UserError
from pipelines.core.files import one_line
from pipelines.metrics import Estimate, bootstrap


def read(path: str) -> dict[str, dict[str, float]]:
    """Cost of each decision by the true class, from a CSV whose first row and first column name the classes.

    Args:
        path: The file; its rows are the true classes, its columns those decided for. A comma, a semicolon or a tab
            stands between the cells; with the latter two, decimals may have commas.

    Raises:
        UserError: It cannot be read, or is no matrix of numbers.
    """
    where = f"decide.costs {path}"
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        first = next((line for line in text.splitlines() if line.strip()), "")
        separator = next((mark for mark in "\t;" if mark in first), ",")
        rows = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(text), delimiter=separator)]
    except FileNotFoundError:
        raise UserError(f"decide.costs not found: {path}") from None
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{where} cannot be read as CSV: {one_line(error)}") from None
    rows = [row for row in rows if any(row)]
    while rows and not any(row[-1] for row in rows) and len({len(row) for row in rows}) == 1:
        rows = [row[:-1] for row in rows]  # of lines that all end with a separator
    if not rows:
        raise UserError(f"{where} is empty: expected a first row and a first column with the classes")
    decided = rows[0][1:]
    found: dict[str, dict[str, float]] = {}
    for true, *cells in rows[1:]:
        if len(cells) != len(decided):
            raise UserError(f"{where}: the row {true!r} has {len(cells)} cells for {len(decided)} classes")
        if true in found:
            raise UserError(f"{where} has two rows for the class {true!r}")
        found[true] = {
            name: _cost(cell, true, name, where, "." if separator == "," else ",")
            for name, cell in zip(decided, cells, strict=True)
        }
        if len(found[true]) != len(decided):
            twice = next(name for name in decided if decided.count(name) > 1)
            raise UserError(f"{where} has two columns for the class {twice!r}")
    return found


def matrix(named: Mapping[Any, Mapping[Any, float]], classes: Sequence[str]) -> np.ndarray:
    """The costs as float64 (K, K): entry (i, j) is that of deciding for class j where i is true.

    Args:
        named: Costs by the true class and the one decided for.
        classes: K names.

    Raises:
        UserError: A class is missing or unknown, a cost is no number, or of two classes one is never worth deciding
            for.
    """
    if not isinstance(named, Mapping) or not all(isinstance(row, Mapping) for row in named.values()):
        raise UserError(f"decide.costs must name each true class and, for each, each class decided for; got {named!r}")
    costs = {str(true): {str(name): cost for name, cost in row.items()} for true, row in named.items()}
    for what, names in (("row", list(costs)), *(("column", list(row)) for row in costs.values())):
        unknown = [name for name in names if name not in classes]
        if unknown:
            raise UserError(f"decide.costs: there is no class {unknown[0]!r}; there are {', '.join(classes)}")
        missing = [name for name in classes if name not in names]
        if missing:
            raise UserError(f"decide.costs has no {what} for the class {missing[0]!r}")
    found = np.array([[_cost(costs[i][j], i, j, "decide.costs") for j in classes] for i in classes])
    for true, other in ((0, 1), (1, 0)) if len(classes) == 2 else ():
        if found[true, other] <= found[true, true]:
            raise UserError(
                f"decide.costs: to take {classes[true]!r} for {classes[other]!r} must cost more than "
                f"{found[true, true]:g}, which it costs to take it for what it is; got {found[true, other]:g}"
            )
    return found


def _cost(value: Any, true: str, decided: str, where: str, decimal: str = ".") -> float:
    try:
        cost = float(value.replace(decimal, ".") if isinstance(value, str) else value)
    except (TypeError, ValueError):
        cost = math.nan
    if not math.isfinite(cost):
        raise UserError(f"{where}: the cost of {decided!r} where {true!r} is true must be a number, got {value!r}")
    return cost


def mean_cost(
    labels: np.ndarray,
    decided: np.ndarray,
    costs: np.ndarray,
    *,
    seed: int,
    resamples: int,
    groups: np.ndarray | None = None,
) -> Estimate:
    """Mean cost of a row, with its 95 % interval.

    Args:
        labels: int (N,), the true classes.
        decided: int (N,), the classes decided for, or one for all rows.
        costs: float (K, K), of `matrix`.
        seed: Seed of the resamples.
        resamples: Bootstrap resamples.
        groups: int (N,), what is drawn together (`pipelines.metrics.resample_indices`).
    """
    each = costs[labels, decided]
    return bootstrap(
        lambda rows: each[rows].mean(-1), len(each), seed=seed, resamples=resamples, vectorised=True, groups=groups
    )
