"""What a report says where one of two classes is to be found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.engine import figures
from pipelines.engine.calibration import reliability_of_positive
from pipelines.engine.report import Figure, Section, Table, Text
from pipelines.metrics import Estimate, signed, title
from pipelines.tables.report import costs as table_costs
from pipelines.tables.report.sections import share
from pipelines.tables.scores import binary

if TYPE_CHECKING:
    from pipelines.engine.classes.scores import Classification
    from pipelines.tables.config import TableConfig


def beside_linear(ours: binary.Draws, theirs: binary.Draws | None, positive: str, number: int, drawn: str) -> Section:
    estimates = ours.estimates()
    if theirs is None:
        rows = [(title(n), str(e)) for n, e in estimates.items()]
        return Section("Test scores", [Table(("score", "network"), rows, f"{number:,} test rows.")])
    other, difference = theirs.estimates(), ours.minus(theirs)
    table = [
        (title(n), str(e), str(other[n]), signed(difference[n].value),
         f"{signed(difference[n].low)} to {signed(difference[n].high)}")
        for n, e in estimates.items()
    ]  # fmt: skip
    caption = (
        f"{number:,} test rows; {positive!r} is the class to be found. 95 % intervals from resamples of {drawn}; "
        "the difference is that on the same resamples. The linear model is a logistic regression on the same columns "
        "and rows."
    )
    columns = ("score", "network", "linear model", "difference", "95 % interval")
    return Section("Beside a linear model", [Table(columns, table, caption)])


def decision_numbers(
    config: TableConfig,
    labels: np.ndarray,
    p: np.ndarray,
    learned: Mapping[str, Any],
    groups: np.ndarray | None,
) -> dict[str, Any]:
    """The threshold and what it comes to."""
    said = p[:, 1] >= learned["threshold"]
    positive = labels == 1
    among = {
        "sensitivity": positive, "specificity": ~positive,
        "positive_predictive_value": said, "negative_predictive_value": ~said,
    }  # fmt: skip
    rates = {name: share(config, said == positive, rows, groups) for name, rows in among.items()}
    return {"threshold": learned["threshold"], **{name: estimate.to_json() for name, estimate in rates.items()}}


def decision(config: TableConfig, result: Classification, costs: np.ndarray, made: Mapping[str, Any]) -> Section:
    positive = result.classes[1]
    thresholds = np.linspace(0.005, 0.995, 199)
    curve = binary.cost(result.labels, result.probabilities[:, 1], thresholds, costs)
    options = "--decide.miss and --decide.alarm" if config.decide.costs is None else "--decide.costs"
    right = f", to be right {costs[1, 1]:g} and {costs[0, 0]:g}" if costs.diagonal().any() else ""
    text = (
        f"To miss a {positive!r} costs {costs[1, 0]:g}, a false alarm {costs[0, 1]:g}{right} ({options}): a row is "
        f"taken for {positive!r} from a probability of {made['threshold']:.3f} on."
    )
    rates = [
        (title(name), str(Estimate(*(float("nan") if v is None else v for v in made[name].values()))))
        for name in ("sensitivity", "specificity", "positive_predictive_value", "negative_predictive_value")
    ]
    figure = figures.lines(
        {"cost a row": (thresholds, curve)},
        "threshold",
        "cost",
        marks={"threshold taken": made["threshold"]},
        low=min(0, float(curve.min())),
    )
    return Section(
        "Decision",
        [Text(text), *table_costs.tables(result, costs, made),
         Table(("at the threshold", "value and 95 % interval"), rates),
         Figure("cost", figure, "Mean cost of a test row at each threshold.", "Cost against threshold")],
    )  # fmt: skip


def gain(labels: np.ndarray, p: np.ndarray) -> Section:
    taken, found = binary.gains(labels, p[:, 1])
    grid = np.linspace(0.05, 1, 20)
    lift = np.interp(grid, taken, found) / grid
    curves = {"network": (taken, found), "at random": (np.array([0.0, 1.0]), np.array([0.0, 1.0]))}
    tenths = [
        (f"{share:.0%}", f"{np.interp(share, taken, found):.1%}", f"{np.interp(share, taken, found) / share:.2f}")
        for share in np.linspace(0.1, 1, 10)
    ]
    return Section(
        "Gain and lift",
        [
            Figure("gain", figures.lines(curves, "share of rows, highest risk first", "share of the positives", low=0),
                    "How many of the positives are among the rows of highest risk.", "Gain chart"),
            Figure("lift", figures.lines({"lift": (grid, lift)}, "share of rows, highest risk first", "lift", low=0),
                    "How many times more positives these rows hold than as many drawn at random.", "Lift chart"),
            Table(("rows taken", "positives found", "lift"), tenths),
        ],
    )  # fmt: skip


def clinical(config: TableConfig, labels: np.ndarray, p: np.ndarray, groups: np.ndarray | None) -> Section:
    thresholds = np.linspace(0.01, 0.99, 99)
    model, everybody = binary.net_benefit(labels, p, thresholds)
    low, high = binary.net_benefit_interval(
        labels, p, thresholds, seed=config.run.seed, resamples=config.run.resamples, groups=groups
    )
    curves = {"by the network": (thresholds, model), "treat all": (thresholds, np.maximum(everybody, -0.05)),
              "treat none": (thresholds, np.zeros(len(thresholds))),
              "network, lower end": (thresholds, np.maximum(low, -0.05)),
              "network, upper end": (thresholds, high)}  # fmt: skip
    figure = figures.lines(curves, "threshold probability", "net benefit", low=-0.05)
    return Section(
        "Decision curve",
        [Figure("decision_curve", figure, "Net benefit: true positives, less the false ones weighed by the odds of "
                 "the threshold. A model is of use where it lies above both other lines (Vickers & Elkin, 2006). The "
                 "ends are those of the 95 % interval at each threshold.", "Decision curve")],
    )  # fmt: skip


def calibration(labels: np.ndarray, p: np.ndarray, positive: str) -> Figure:
    """How often the positive class came true at each probability of it: what is read off a prediction."""
    bins = reliability_of_positive(labels, p)
    figure = figures.reliability_diagram(bins)
    upper, lower = figure.axes
    upper.set_ylabel(f"share of {positive}")
    for text in figure.legends[0].get_texts():
        if text.get_text() == "accuracy":
            text.set_text(f"share of {positive}")
    lower.set(xlabel=f"probability of {positive}", ylabel="rows")
    caption = f"Bars on the diagonal: of the rows with a probability of 90 % nine in ten are {positive}."
    return Figure("reliability", figure, caption, "Reliability diagram")
