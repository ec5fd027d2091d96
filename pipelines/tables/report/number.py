"""What a report says of predicted numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.engine import figures
from pipelines.engine.classes import classification
from pipelines.engine.report import Assessment, Figure, Headline, Section, Table, Text
from pipelines.metrics import Estimate, bootstrap, title
from pipelines.tables.predict import answers, numbers
from pipelines.tables.report import linear as table_linear
from pipelines.tables.report.sections import FEW_RESAMPLES, among, clusters, drawn, share, subgroups

if TYPE_CHECKING:
    from pipelines.tables.config import TableConfig
    from pipelines.tables.parts import TableParts


def assess(config: TableConfig, data: TableParts, model: Any, learned: Mapping[str, Any]) -> Assessment:
    part, target = data.test, data.target
    got = numbers(answers(model, part.x), target)
    linear = table_linear.numbers(data, config.run.seed)
    groups = clusters(config, data)
    everything = np.ones(len(part), bool)
    metrics: dict[str, Any] = {"test": {"samples": len(part), "metrics": {}}, "linear": {}}
    headline: list[Headline] = []
    sections: list[Section | None] = []
    for t, name in enumerate(target.columns):
        true, said, half = part.values[:, t], got[:, t], learned["half_width"][t]
        ours = _errors(true, said, config, groups)
        other = _errors(true, linear[:, t], config, groups) if linear is not None else None
        suffix = f"_{name}" if len(target.columns) > 1 else ""
        metrics["test"]["metrics"] |= {f"{k}{suffix}": e.to_json() for k, e in ours.items()}
        if other is not None:
            metrics["linear"] |= {f"{k}{suffix}": e.to_json() for k, e in other.items()}
        for key, e in ours.items():
            note = f"95 % interval {e.low:.4g} to {e.high:.4g}"
            note += f"; linear model {other[key].value:.4g}" if other is not None else ""
            headline.append(Headline(title(key) + (f" of {name}" if suffix else ""), f"{e.value:.4g}", note))
        rows = [(title(key), str(e), *((str(other[key]),) if other is not None else ())) for key, e in ours.items()]
        covered = share(config, np.abs(true - said) <= half, everything, groups)
        metrics["test"]["metrics"][f"coverage{suffix}"] = covered.to_json()
        ends = np.array([min(true.min(), said.min()), max(true.max(), said.max())])
        sections.append(
            Section(f"{name}: test scores", [
                Table(("score", "network", *(("linear model",) if other is not None else ())), rows,
                      f"{len(part):,} test rows; 95 % intervals from resamples of {drawn(config, groups)}."),
                Text(f"{name} lies within {half:.4g} of the prediction in {covered} of the test rows; "
                     f"{learned['coverage']:.0%} were wanted."),
                Figure(f"scatter{suffix}", figures.scatter(said, true, ends), "The nearer to the line, the better.",
                        "Predicted against true values"),
            ])
        )  # fmt: skip
        sections.append(_by_subgroup(config, data, name, true, said, groups))
    sections.append(classification.about(data.summary, list(data.summary.counts["test"]), "target", "Rows by part."))
    rows_out = [
        {"sample": name, **{f"true_{c}": float(a) for c, a in zip(target.columns, true, strict=True)},
         **{f"predicted_{c}": float(f"{b:.6g}") for c, b in zip(target.columns, said, strict=True)}}
        for name, true, said in zip(part.names, part.values, got, strict=True)
    ]  # fmt: skip
    return Assessment(metrics, headline, rows_out, [section for section in sections if section is not None])


def _by_subgroup(
    config: TableConfig, data: TableParts, name: str, true: np.ndarray, said: np.ndarray, groups: np.ndarray | None
) -> Section | None:
    def cells(mask: np.ndarray) -> Sequence[str]:
        options: dict[str, Any] = {"seed": config.run.seed, "resamples": min(config.run.resamples, FEW_RESAMPLES)}
        error = (said - true)[mask]
        options |= {"groups": among(groups, mask), "vectorised": True}
        rmse = bootstrap(lambda rows: np.sqrt(np.square(error[rows]).mean(-1)), len(error), **options)
        return str(rmse), str(bootstrap(lambda rows: error[rows].mean(-1), len(error), **options))

    found = subgroups(config, data, ("RMSE", "predicted less true"), cells)
    if found is not None and len(data.target.columns) > 1:
        found = replace(found, title=f"{name}: by subgroup")
    return found


def _errors(true: np.ndarray, said: np.ndarray, config: TableConfig, groups: np.ndarray | None) -> dict[str, Estimate]:
    """Root of the mean squared error, mean absolute error and R², with intervals."""
    squared, absolute = (true - said) ** 2, np.abs(true - said)

    def explained(rows: np.ndarray) -> np.ndarray:
        spread = true[rows].var(-1)
        return 1 - squared[rows].mean(-1) / np.where(spread > 0, spread, np.nan)

    options: dict[str, Any] = {"seed": config.run.seed, "resamples": config.run.resamples, "vectorised": True,
                               "groups": groups}  # fmt: skip
    return {
        "rmse": bootstrap(lambda rows: np.sqrt(squared[rows].mean(-1)), len(true), **options),
        "mae": bootstrap(lambda rows: absolute[rows].mean(-1), len(true), **options),
        "r2": bootstrap(explained, len(true), **options),
    }
