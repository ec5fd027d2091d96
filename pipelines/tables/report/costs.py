"""What a report says of the costs of decisions."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.engine.report import Block, Headline, Section, Table, Text
from pipelines.metrics import Estimate
from pipelines.tables.scores.costs import mean_cost

if TYPE_CHECKING:
    from pipelines.engine.classes.scores import Classification
    from pipelines.tables.config import TableConfig


def numbers(
    config: TableConfig, result: Classification, costs: np.ndarray, groups: np.ndarray | None
) -> dict[str, Any]:
    """Mean cost of a test row by the decisions, by the most probable classes, and by the cheapest one for all rows."""
    single = int((np.bincount(result.labels, minlength=len(costs)) @ costs).argmin())
    decisions = {"decided": result.predicted, "most_probable": result.probabilities.argmax(1), "single_class": single}
    of = partial(
        mean_cost, result.labels, costs=costs, seed=config.run.seed, resamples=config.run.resamples, groups=groups
    )
    return {
        "cost": {name: of(decided).to_json() for name, decided in decisions.items()},
        "single_class": result.classes[single],
    }


def tables(result: Classification, costs: np.ndarray, made: Mapping[str, Any]) -> list[Block]:
    """The matrix with the number of test rows in each place, and the mean costs of `numbers`."""
    names = result.classes
    places = [
        (true, *(f"{cost:g} × {count:,}" for cost, count in zip(*rows, strict=True)))
        for true, *rows in zip(names, costs, result.confusion, strict=True)
    ]
    said = {
        "decided": "the decisions",
        "most_probable": "the most probable class of each row",
        "single_class": f"{made['single_class']} for all rows, the cheapest single class",
    }
    means = [(said[name], str(estimate(made, name))) for name in said]
    return [
        Table(("true", *(f"taken for {name}" for name in names)), places,
              "The cost of a decision, times the number of test rows of which it was made."),
        Table(("rule", "mean cost and 95 % interval"), means, "What a test row costs on average, by each rule."),
    ]  # fmt: skip


def estimate(made: Mapping[str, Any], name: str) -> Estimate:
    """One of the mean costs of `numbers`."""
    return Estimate(**made["cost"][name])


def headline(made: Mapping[str, Any]) -> Headline:
    """The mean cost at the top of the report."""
    cost, other = estimate(made, "decided"), estimate(made, "most_probable")
    note = f"95 % interval {cost.low:.4f} to {cost.high:.4f}; by the most probable class {other.value:.4f}"
    return Headline("mean cost of a row", f"{cost.value:.4f}", note)


def section(result: Classification, costs: np.ndarray, made: Mapping[str, Any]) -> Section:
    """Where there are more than two classes, which have no threshold."""
    text = (
        "A row is taken for the class whose expected cost by the calibrated probabilities is the least "
        "(--decide.costs; Elkan, 2001)."
    )
    return Section("Decision", [Text(text), *tables(result, costs, made)])
