"""What a report says of times until an event."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.engine import figures
from pipelines.engine.classes import classification
from pipelines.engine.report import Assessment, Figure, Headline, Section, Table
from pipelines.metrics import resample_indices, signed
from pipelines.tables.predict import answers
from pipelines.tables.report import linear as table_linear
from pipelines.tables.report.sections import FEW_RESAMPLES, among, clusters, drawn, subgroups
from pipelines.tables.scores import survival
from pipelines.tables.scores.binary import Draws

if TYPE_CHECKING:
    from pipelines.tables.config import TableConfig
    from pipelines.tables.parts import TableParts


def assess(config: TableConfig, data: TableParts, model: Any, learned: Mapping[str, Any]) -> Assessment:
    part, target = data.test, data.target
    got = answers(model, part.x)
    time, event = part.values[:, 0], part.values[:, 1] == 1
    index = survival.risk(got)
    curves = survival.survival_curves(got)
    resamples = min(config.run.resamples, FEW_RESAMPLES)
    groups = clusters(config, data)
    linear = table_linear.log_hazards(data, config.run.seed)
    ours = concordance(time, event, index, config, groups)
    theirs = concordance(time, event, linear, config, groups) if linear is not None else None
    c = ours.estimates()["c_index"]
    metrics: dict[str, Any] = {"test": {"samples": len(time), "metrics": {"c_index": c.to_json()}}}
    scores, columns = [str(c)], ["network"]
    note = f"95 % interval {c.low:.4f} to {c.high:.4f}"
    if theirs is not None:
        other, difference = theirs.estimates()["c_index"], ours.minus(theirs)["c_index"]
        metrics["linear"] = {"c_index": other.to_json()}
        scores += [str(other), signed(difference.value), f"{signed(difference.low)} to {signed(difference.high)}"]
        columns += ["linear model", "difference", "95 % interval"]
        note += f"; linear model {other.value:.4f}"
    edges = np.array(target.edges)
    third = np.searchsorted(np.quantile(index, [1 / 3, 2 / 3]), index)
    series = {}
    for group, name in enumerate(("low risk", "middle risk", "high risk")):
        mask = third == group
        series[name] = (edges, survival.kaplan_meier(time[mask], event[mask], edges))
    figure = figures.lines(series, str(target.duration), "share without the event", steps=True, low=0)
    mean = {"predicted": (edges, np.append(1.0, curves.mean(0))),
            "observed (Kaplan-Meier)": (edges, survival.kaplan_meier(time, event, edges))}  # fmt: skip
    sections = [
        Section("Test scores", [
            Table(("score", *columns), [("C-index (Harrell)", *scores)],
                  f"{len(time):,} test rows, {int(event.sum()):,} events; 95 % intervals from {resamples} resamples of "
                  f"{drawn(config, groups)}. The linear model is Cox's on the same columns and rows. The C-index is "
                  "the share of comparable pairs of rows where the higher risk has the earlier event; chance is 0.5."),
            Figure("risk_groups", figure,
                    "Observed (Kaplan-Meier) in three groups of test rows of equal size by predicted risk.",
                    "Survival by group"),
            Figure("survival", figures.lines(mean, str(target.duration), "share without the event", low=0),
                    "The mean of the predicted curves should lie on what was observed.",
                    "Predicted and observed survival"),
        ]),
    ]  # fmt: skip

    def cells(mask: np.ndarray) -> Sequence[str]:
        of_mask = concordance(time[mask], event[mask], index[mask], config, among(groups, mask))
        return f"{event[mask].sum():,}", str(of_mask.estimates()["c_index"])

    by_group = subgroups(config, data, ("events", "C-index"), cells)
    sections += [] if by_group is None else [by_group]
    sections.append(classification.about(data.summary, ["event", "censored"], "outcome", "Rows by outcome and part."))
    headline = [Headline("C-index", f"{c.value:.4f}", note)]
    rows = [
        {"sample": n, "time": float(t), "event": bool(e), "risk": round(float(r), 6)}
        for n, t, e, r in zip(part.names, time, event, index, strict=True)
    ]
    return Assessment(metrics, headline, rows, sections)


def concordance(
    time: np.ndarray, event: np.ndarray, index: np.ndarray, config: TableConfig, groups: np.ndarray | None
) -> Draws:
    """Harrell's C-index on the rows, and on each resample."""
    resamples = min(config.run.resamples, FEW_RESAMPLES)
    draws = [
        survival.concordance(time, event, index, np.bincount(row, minlength=len(time)))
        for rows in resample_indices(len(time), resamples, config.run.seed, groups)
        for row in rows
    ]
    return Draws({"c_index": survival.concordance(time, event, index)}, {"c_index": np.array(draws)})
