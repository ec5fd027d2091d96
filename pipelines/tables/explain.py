"""Which columns matter, how, and for which row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pipelines.engine import figures
from pipelines.engine.explain import integrated_gradients_of_rows
from pipelines.engine.report import Block, Figure, Table
from pipelines.tables.encode import Encoder
from pipelines.tables.parts import TablePart
from pipelines.tables.predict import answers, frame_of, inputs, numbers
from pipelines.tables.report.sections import written
from pipelines.tables.scores import decide
from pipelines.tables.scores.survival import concordance, risk
from pipelines.tables.target import Target

ROWS, CURVE_ROWS, SHOWN = 2000, 300, 6
REPEATS = 10
POINTS = 15
UNITS = {
    "classes": "log-odds",
    "number": "standard deviations",
    "survival": "log-odds of an event in an interval",
}


def explain(
    config: Any, model: Any, spec: dict[str, Any], arguments: Sequence[str], *, load: Callable[[Any], Any]
) -> list[Block]:
    """Permutation importance, mean shares and partial dependence on the test part, or the shares of given rows.

    Args:
        config: Options of the run.
        model: Its model.
        spec: Its spec.json.
        arguments: Tables whose first rows are explained; none takes the test part.
        load: Options to the data of the run.
    """
    encoder, target = Encoder.from_json(spec["encoder"]), Target(**spec["target"])
    if arguments:
        return _rows(model, spec, encoder, target, list(inputs(spec, arguments)))
    part = load(config).test
    rows = np.random.default_rng(config.run.seed).permutation(len(part))[:ROWS]
    part = TablePart(
        part.frame.iloc[rows].reset_index(drop=True), part.x[rows], part.values[rows], [part.names[i] for i in rows]
    )
    mean, spread = permutation_importance(model, spec, encoder, part, seed=config.run.seed)
    names = [column.name for column in encoder.columns]
    order = np.argsort(-mean)
    top = order[:30]
    what = {"classes": "rise of the log-loss", "number": "rise of the squared error of the scaled number",
            "survival": "fall of the C-index"}[target.problem]  # fmt: skip
    blocks: list[Block] = [
        Figure("importance", figures.bars([names[i] for i in top], mean[top], what, spread[top]),
                f"How much worse the test part is predicted when a column is shuffled (Breiman, 2001); mean of "
                f"{REPEATS} and its standard deviation. Columns that say the same hide each other.",
                "Permutation importance"),
    ]  # fmt: skip
    if target.problem != "survival":
        output = np.full(len(part.x), model.output_shape[-1] - 1)
        shares = np.abs(
            encoder.by_column(integrated_gradients_of_rows(model, part.x[:CURVE_ROWS], output[:CURVE_ROWS]))
        ).mean(0)
        top = np.argsort(-shares)[:30]
        of = target.classes[-1] if target.classes else target.columns[-1]
        drawn = figures.bars([names[i] for i in top], shares[top], f"mean size of the share in {of}")
        blocks.append(Figure("shares", drawn, "Integrated gradients from the middle of all columns, summed by column "
                              "(Sundararajan et al., 2017).", "Mean shares of the columns"))  # fmt: skip
    curves = {names[i]: partial_dependence(model, spec, encoder, part.frame, names[i]) for i in order[:SHOWN]}
    blocks.append(Figure("dependence", figures.panels(curves, answer_name(target)),
                          "The mean answer when a column is set to a value in all rows (Friedman, 2001).",
                          "Partial dependence"))  # fmt: skip
    return blocks


def answer_name(target: Target) -> str:
    """What `answer` gives."""
    if target.problem == "classes":
        return f"probability of {target.classes[-1]}"
    return target.columns[0] if target.problem == "number" else "risk"


def answer(model: Any, spec: dict[str, Any], x: np.ndarray) -> np.ndarray:
    """One number a row, (N,): probability of the last class, first number, or risk."""
    target, got = Target(**spec["target"]), answers(model, x)
    if target.problem == "classes":
        return decide.apply(spec["decisions"], got)[:, -1]
    return numbers(got, target)[:, 0] if target.problem == "number" else risk(got)


def loss_of(model: Any, spec: dict[str, Any], x: np.ndarray, values: np.ndarray) -> float:
    """How badly the rows are predicted; less is better."""
    target, got = Target(**spec["target"]), answers(model, x)
    if target.problem == "classes":
        p = decide.apply(spec["decisions"], got)
        return -float(np.log(np.maximum(p[np.arange(len(x)), values], 1e-12)).mean())
    if target.problem == "number":
        return float(np.square(got - target.encode(values)).mean())
    return 1 - concordance(values[:, 0], values[:, 1] == 1, risk(got))


def permutation_importance(
    model: Any, spec: dict[str, Any], encoder: Encoder, part: TablePart, *, seed: int, repeats: int = REPEATS
) -> tuple[np.ndarray, np.ndarray]:
    """Rise of the loss when a column is shuffled, mean and standard deviation over the repeats; both (columns,)."""
    x = part.x[:]
    base = loss_of(model, spec, x, part.values)
    sizes = [block.size for block in encoder.blocks]
    owner = np.repeat([block.column for block in encoder.blocks], sizes)
    rises = np.zeros((len(encoder.columns), repeats))
    for c, column in enumerate(encoder.columns):
        places = np.flatnonzero(owner == column.name)
        for r in range(repeats):
            shuffled = x.copy()
            order = np.random.default_rng([seed, c, r]).permutation(len(x))
            shuffled[:, places] = x[np.ix_(order, places)]
            rises[c, r] = loss_of(model, spec, shuffled, part.values) - base
    return rises.mean(1), rises.std(1)


def partial_dependence(
    model: Any, spec: dict[str, Any], encoder: Encoder, frame: pd.DataFrame, name: str
) -> tuple[list[Any], np.ndarray]:
    """Values of a column and the mean answer when all rows have it."""
    column = next(c for c in encoder.columns if c.name == name)
    rows = frame.head(CURVE_ROWS)
    if column.kind == "number":
        plain = column.values(frame[name])
        values: list[Any] = np.unique(np.nanquantile(plain, np.linspace(0.02, 0.98, POINTS))).tolist()
    elif column.kind == "date":
        moments = column.dates(frame[name]).dropna().sort_values()
        values = (
            moments.iloc[np.linspace(0, len(moments) - 1, POINTS).astype(int)].astype(str).drop_duplicates().tolist()
        )
    else:
        values = column.levels[:POINTS]
    means = [answer(model, spec, encoder.encode(rows.assign(**{name: [value] * len(rows)}))).mean() for value in values]
    return values, np.array(means)


def _log_odds_of_event(model: Any) -> Any:
    """From rows to the mean over the intervals of both log-probabilities, (B, 2): with few events the log-hazard."""
    import keras

    return keras.Model(model.input, keras.ops.mean(model.output, axis=1))


def _rows(model: Any, spec: dict[str, Any], encoder: Encoder, target: Target, files: list[Any]) -> list[Block]:
    model = _log_odds_of_event(model) if target.problem == "survival" else model
    blocks: list[Block] = []
    for file in files:
        name, frame, _ = frame_of(file)
        frame = frame.head(SHOWN - len(blocks) // 2)
        if not len(frame):
            break
        x = encoder.encode(frame)
        got = answers(model, x)
        chosen = (
            decide.chosen(spec["decisions"], decide.apply(spec["decisions"], got))
            if target.problem == "classes"
            else np.full(len(x), model.output_shape[-1] - 1 if target.problem == "survival" else 0)
        )
        shares = encoder.by_column(integrated_gradients_of_rows(model, x, chosen))
        names = [column.name for column in encoder.columns]
        for i in range(len(x)):
            order = np.argsort(-np.abs(shares[i]))[:15]
            label = target.classes[chosen[i]] if target.problem == "classes" else target.columns[0]
            said = [f"{names[j]} = {_cell(frame[names[j]].iloc[i])}" for j in order]
            unit = UNITS[target.problem]
            figure = figures.bars(said, shares[i][order], f"share in {label}, {unit}")
            caption = f"{name}, row {frame.index[i]}: what speaks for and against {label}."
            blocks.append(Figure(f"row_{len(blocks) // 2}", figure, caption, caption))
            blocks.append(
                Table(("column", "share"), [(s, f"{v:+.3f}") for s, v in zip(said, shares[i][order], strict=True)])
            )
    return blocks


def _cell(value: Any) -> str:
    return "missing" if value is None or value != value else written(value, 20)
