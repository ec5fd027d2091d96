"""Parts of a report on a table: its groups, its gaps and some of its rows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.engine.report import Section, Table, Text
from pipelines.inspect import binary
from pipelines.metrics import Estimate

if TYPE_CHECKING:
    from pipelines.data.tables import TableParts
    from pipelines.engine.table_config import TableConfig

SHOWN_COLUMNS = 8
BANDS = 4
GROUPS_UP_TO = 8
_SUBGROUP = re.compile(r"^(sex|gender|age|race|ethnic\w*|origin|nationality)\b", re.I)


def subgroups(config: TableConfig, data: TableParts, p: np.ndarray, learned: Mapping[str, Any]) -> Section | None:
    """Scores by sex, age band and the like, gaps beyond chance marked; None without such columns."""
    part = data.test
    named = config.decide.subgroups or [name for name in part.frame if _SUBGROUP.match(str(name))]
    overall = part.values, p[:, 1]
    said = p[:, 1] >= learned["threshold"]
    rows = []
    for column in named:
        for group, mask in groups_of(data, column):
            labels, scores = overall[0][mask], overall[1][mask]
            positive = labels == 1
            hits = binary.wilson(int((said[mask] & positive).sum()), int(positive.sum()))
            passed = binary.wilson(int((~said[mask] & ~positive).sum()), int((~positive).sum()))
            area = Estimate(float("nan"))
            if 0 < positive.sum() < len(labels):
                drawn = binary.discrimination(
                    labels, scores, specificity=0.95, seed=config.run.seed, resamples=min(config.run.resamples, 200)
                )
                area = drawn.estimates()["roc_auc"]
            whole = _rates(overall[0], said)
            marks = [
                what for what, estimate, of_all in (("sensitivity", hits, whole[0]), ("specificity", passed, whole[1]))
                if not np.isnan(estimate.value) and not estimate.low <= of_all <= estimate.high
            ]  # fmt: skip
            gap = f"gap in {' and '.join(marks)}" if marks else ""
            rows.append((f"{column}: {group}", f"{len(labels):,}", f"{positive.mean():.1%}" if len(labels) else "–",
                         str(area), str(hits), str(passed), gap))  # fmt: skip
    if not rows:
        return None
    caption = "Marked where the rate of all test rows lies outside of the group's 95 % interval (Wilson)."
    columns = ("group", "rows", "positive", "AUC", "sensitivity", "specificity", "")
    return Section("By subgroup", [Table(columns, rows, caption)])


def _rates(labels: np.ndarray, said: np.ndarray) -> tuple[float, float]:
    positive = labels == 1
    return float(said[positive].mean()) if positive.any() else np.nan, float((~said[~positive]).mean())


def groups_of(data: TableParts, column: str) -> list[tuple[str, np.ndarray]]:
    """Name and mask of each group of the test rows: the categories of a column, or bands of its numbers."""
    from pipelines.data import table_values

    values, known = data.test.frame[column], data.train.frame[column]
    if data.kinds.get(column) == "number":
        learned = next(one for one in data.encoder.columns if one.name == column)
        plain = learned.values(values)
        edges = np.unique(np.nanquantile(learned.values(known), np.linspace(0, 1, BANDS + 1)[1:-1]))
        band = np.searchsorted(edges, plain, side="left")
        ends = [
            f"up to {edges[0]:g}",
            *(f"{a:g} to {b:g}" for a, b in pairwise(edges)),
            f"above {edges[-1]:g}",
        ]
        return [(ends[i], (band == i) & ~np.isnan(plain)) for i in range(len(ends))]
    texts = table_values.texts(values)
    names = texts.value_counts().index[:GROUPS_UP_TO]
    return [(str(name), (texts == name).to_numpy()) for name in names]


def missingness(data: TableParts) -> Section:
    """Where values are missing, and whether that goes with the target."""
    target = data.target
    rows = []
    for column in data.encoder.columns:
        shares = [part.frame[column.name].isna().mean() for part in data.parts().values()]
        if not any(shares):
            continue
        cells = [f"{share:.1%}" for share in shares]
        if target.problem == "classes" and len(target.classes) == 2:
            # Of a streamed table only a sample of the training frame is kept: its rows are not those of the values.
            known = data.train if len(data.train.frame) == len(data.train) else data.val
            missing = known.frame[column.name].isna().to_numpy()
            if 0 < missing.sum() < len(missing):
                positive = known.values == 1
                cells += [f"{positive[missing].mean():.1%}", f"{positive[~missing].mean():.1%}"]
            else:
                cells += ["–", "–"]
        rows.append((column.name, *cells))
    if not rows:
        return Section("Missing values", [Text("No value is missing.")])
    more = (f"{target.classes[1]} where missing", f"{target.classes[1]} where not") if len(rows[0]) > 4 else ()
    return Section("Missing values", [Table(("column", *data.parts(), *more), rows, "Share of the rows.")])


def main_columns(data: TableParts, model: Any) -> list[str]:
    """The columns that matter most, by the mean size of their share in the answers on some test rows."""
    from pipelines.inspect.explain import integrated_gradients_of_rows

    x = data.test.x[:100]
    if not hasattr(model, "output_shape"):
        return [column.name for column in data.encoder.columns[:SHOWN_COLUMNS]]
    shares = integrated_gradients_of_rows(model, x, np.zeros(len(x), int) + model.output_shape[-1] - 1, steps=8)
    order = np.argsort(-np.abs(data.encoder.by_column(shares)).mean(0))
    return [data.encoder.columns[i].name for i in order[:SHOWN_COLUMNS]]


def rows_table(
    data: TableParts, chosen: np.ndarray, texts: Sequence[str], caption: str, columns: Sequence[str]
) -> Table:
    """Some test rows with what was said of them."""
    frame = data.test.frame
    rows = [
        (data.test.names[i], text, *(_cell(frame[name].iloc[i]) for name in columns))
        for i, text in zip(chosen, texts, strict=False)
    ]
    return Table(("row", "predicted", *columns), rows, caption)


def _cell(value: Any) -> str:
    if value is None or value != value:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)[:30]
