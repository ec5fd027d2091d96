"""Parts of a report on a table: its folds, its groups, its gaps and some of its rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.metrics import roc_auc_score

from pipelines.engine.report import Section, Table, Text
from pipelines.metrics import Estimate, bootstrap, title
from pipelines.tables.predict import numbers
from pipelines.tables.scores import binary, decide, survival

if TYPE_CHECKING:
    from pipelines.tables.config import TableConfig
    from pipelines.tables.parts import TableParts

SHOWN_COLUMNS = 8
BANDS = 4
GROUPS_UP_TO = 8
# What takes long is drawn so often for a group.
FEW_RESAMPLES = 200
# As a word of its own, also in `age_years`, `sex.code` or `patient age`, but not in `agency` or `average`.
_SUBGROUP = re.compile(r"(?<![^\W_])(sex|gender|age|race|ethnic[a-z]*|origin|nationality)(?![^\W\d_])", re.I)


def clusters(config: TableConfig, data: TableParts) -> np.ndarray | None:
    """int64 (N,): the group of each test row by `data.group_column`; None without one."""
    known = data.test.with_aside()
    if config.data.group_column not in known:
        return None
    return np.unique(known[config.data.group_column].astype(str), return_inverse=True)[1]


def drawn(config: TableConfig, groups: np.ndarray | None) -> str:
    """What the bootstrap draws."""
    return "the rows" if groups is None else f"whole groups of the same {config.data.group_column}"


def among(groups: np.ndarray | None, rows: np.ndarray) -> np.ndarray | None:
    """The groups of some rows, numbered without gaps."""
    return None if groups is None else np.unique(groups[rows], return_inverse=True)[1]


def share(config: TableConfig, right: np.ndarray, rows: np.ndarray, groups: np.ndarray | None) -> Estimate:
    """The share of some rows that are right, with its 95 % interval.

    It is Wilson's, which takes rows for independent of each other; where they come in groups these are drawn too, and
    the interval reaches as far as the farther of both.

    Args:
        config: Options.
        right: bool (N,).
        rows: bool (N,), which rows count.
        groups: int (N,), if rows belong together.
    """
    of_rows = right[rows]
    found = binary.wilson(int(of_rows.sum()), len(of_rows))
    if groups is None or not len(of_rows):
        return found
    whole = bootstrap(
        lambda chosen: of_rows[chosen].mean(-1), len(of_rows), seed=config.run.seed, resamples=config.run.resamples,
        vectorised=True, groups=among(groups, rows),
    )  # fmt: skip
    return Estimate(found.value, min(found.low, whole.low), max(found.high, whole.high))


def subgroups(
    config: TableConfig,
    data: TableParts,
    columns: Sequence[str],
    cells: Callable[[np.ndarray], Sequence[str]],
    caption: str = "",
) -> Section | None:
    """Scores by sex, age band and the like; None without such columns.

    Args:
        config: Options.
        data: Data.
        columns: Names of the scores.
        cells: The scores of the test rows of a mask.
        caption: Of the table.
    """
    known = data.test.with_aside()
    named = config.decide.subgroups or [name for name in known if _SUBGROUP.search(str(name))]
    rows = [
        (f"{column}: {group}", f"{mask.sum():,}", *cells(mask))
        for column in named
        for group, mask in groups_of(data, column)
        if mask.any()
    ]
    return Section("By subgroup", [Table(("group", "rows", *columns), rows, caption)]) if rows else None


def subgroups_of_two(
    config: TableConfig, data: TableParts, p: np.ndarray, learned: Mapping[str, Any], clustered: np.ndarray | None
) -> Section | None:
    """The scores of two classes by group, gaps beyond chance marked."""
    positive, said = data.test.values == 1, p[:, 1] >= learned["threshold"]
    whole = _rates(data.test.values, said)

    def cells(mask: np.ndarray) -> Sequence[str]:
        hits = share(config, said, mask & positive, clustered)
        passed = share(config, ~said, mask & ~positive, clustered)
        area = Estimate(float("nan"))
        if 0 < (mask & positive).sum() < mask.sum():
            scores = binary.discrimination(
                data.test.values[mask], p[mask, 1], specificity=0.95, seed=config.run.seed,
                resamples=min(config.run.resamples, FEW_RESAMPLES), groups=among(clustered, mask),
            )  # fmt: skip
            area = scores.estimates()["roc_auc"]
        marks = [
            what for what, estimate, of_all in (("sensitivity", hits, whole[0]), ("specificity", passed, whole[1]))
            if not np.isnan(estimate.value) and not estimate.low <= of_all <= estimate.high
        ]  # fmt: skip
        gap = f"gap in {' and '.join(marks)}" if marks else ""
        return f"{positive[mask].mean():.1%}", str(area), str(hits), str(passed), gap

    caption = (
        "Marked where the rate of all test rows lies outside of the group's 95 % interval; of twenty groups one is, by "
        "chance alone."
    )
    return subgroups(config, data, ("positive", "AUC", "sensitivity", "specificity", ""), cells, caption)


def _rates(labels: np.ndarray, said: np.ndarray) -> tuple[float, float]:
    positive = labels == 1
    return float(said[positive].mean()) if positive.any() else np.nan, float((~said[~positive]).mean())


def groups_of(data: TableParts, column: str) -> list[tuple[str, np.ndarray]]:
    """Name and mask of each group of the test rows: the categories of a column, or bands of its numbers."""
    from pipelines.tables import types
    from pipelines.tables import values as table_values
    from pipelines.tables.columns import Column

    values, known = data.test.with_aside()[column], data.train.with_aside()[column]
    if (data.kinds.get(column) or types.guess(known)) == "number":
        learned = next((one for one in data.encoder.columns if one.name == column), None)
        learned = learned or Column.fit(known, "number", "quantile", 0)
        plain = learned.values(values)
        edges = np.unique(np.nanquantile(learned.values(known), np.linspace(0, 1, BANDS + 1)[1:-1]))
        band = np.searchsorted(edges, plain, side="left")
        ends = [
            f"up to {edges[0]:g}",
            *(f"above {a:g} to {b:g}" for a, b in pairwise(edges)),
            f"above {edges[-1]:g}",
        ]
        return [(ends[i], (band == i) & ~np.isnan(plain)) for i in range(len(ends))]
    texts = table_values.texts(values)
    names = texts.value_counts().index[:GROUPS_UP_TO]
    return [(str(name), (texts == name).to_numpy()) for name in names]


def cross_validation(
    config: TableConfig, data: TableParts, values: np.ndarray, got: np.ndarray, learned: Mapping[str, Any]
) -> tuple[Section, dict[str, Any]] | None:
    """The scores of each fold, and their mean and standard deviation; None without folds.

    Args:
        config: Options.
        data: Data.
        values: Targets (N, ...) of the rows that were judged.
        got: The answers to them, each of the copy that left the row out.
        learned: What was learned on them; the log loss leaves out the calibration, which has seen all these rows.
    """
    if data.folds is None:
        return None
    target = data.target
    if target.problem == "classes":
        p = decide.apply({**learned, "temperature": 1.0, "isotonic": None}, got)
        two = len(target.classes) == 2
        decided = decide.chosen(learned, decide.apply(learned, got))

        def scores(rows: np.ndarray) -> dict[str, float]:
            likely = np.maximum(p[rows, values[rows]], 1e-15)
            mixed = 0 < values[rows].sum() < rows.sum()
            area = float(roc_auc_score(values[rows], p[rows, 1])) if two and mixed else np.nan
            right = {"roc_auc": area} if two else {"accuracy": float((decided[rows] == values[rows]).mean())}
            return {**right, "log_loss": -float(np.log(likely).mean())}
    elif target.problem == "number":
        errors = np.square(numbers(got, target) - values)
        names = [f"rmse_{name}" if len(target.columns) > 1 else "rmse" for name in target.columns]

        def scores(rows: np.ndarray) -> dict[str, float]:
            return dict(zip(names, np.sqrt(errors[rows].mean(0)).tolist(), strict=True))
    else:
        risk = survival.risk(got)

        def scores(rows: np.ndarray) -> dict[str, float]:
            return {"c_index": survival.concordance(values[rows, 0], values[rows, 1] == 1, risk[rows])}

    each = [scores(data.folds == fold) for fold in range(int(data.folds.max()) + 1)]
    by_name = {name: np.array([fold[name] for fold in each]) for name in each[0]}
    rows = [
        (_of(name), *(f"{v:.4f}" for v in values), f"{values.mean():.4f} ± {values.std(ddof=1):.4f}")
        for name, values in by_name.items()
    ]
    caption = (
        "Scores on each fold of the rows of training and validation, of the one copy of the network that did not learn "
        "from it. The best epoch was chosen on the same rows. The test scores are those of the mean of all "
        f"{len(each)} copies, while calibration, sets and widths were learned on these answers of one copy a row."
    )
    table = Table(("score", *(f"fold {i}" for i in range(1, len(each) + 1)), "mean ± deviation"), rows, caption)
    found = {
        name: {
            "folds": [None if np.isnan(v) else v for v in values.tolist()],
            "mean": None if np.isnan(values).any() else float(values.mean()),
            "deviation": None if np.isnan(values).any() else float(values.std(ddof=1)),
        }
        for name, values in by_name.items()
    }
    return Section("Cross-validation", [table]), found


def _of(name: str) -> str:
    score, _, column = name.partition("_")
    return f"{title(score)} of {column}" if score == "rmse" and column else title(name)


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
    from pipelines.engine.explain import integrated_gradients_of_rows

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
    return written(value, 30)


def written(value: Any, most: int) -> str:
    """A known value in so many characters; amounts, such as of money, without exponents."""
    if not isinstance(value, float):
        return str(value)[:most]
    return f"{value:.0f}" if 1e4 <= abs(value) < 1e12 else f"{value:.4g}"
