"""What a report says about a model on a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.engine import classification, figures
from pipelines.engine.report import Block, Headline, Picture, Section, Table, Text
from pipelines.engine.table_predict import answers, numbers
from pipelines.engine.table_sections import main_columns, missingness, rows_table, subgroups
from pipelines.engine.table_task import decisions
from pipelines.engine.train import Assessment
from pipelines.inspect import binary, decide, survival
from pipelines.metrics import Estimate, bootstrap

if TYPE_CHECKING:
    from pipelines.data.tables import TableParts
    from pipelines.engine.table_config import TableConfig

LINEAR_ROWS = 100_000
SHOWN_ROWS = 10
MAIN = ("roc_auc", "log_loss", "gini", "ks", "average_precision", "brier")

CLINICAL = (
    "This is research software and no medical device. It has not been tested for use on patients, and what it says "
    "must not decide on anybody's diagnosis or treatment."
)


def assess(config: TableConfig, data: TableParts, model: Any, *, medical: bool) -> Assessment:
    """Scores with intervals, predictions and report sections.

    Args:
        config: Options.
        data: Data; their test part is scored.
        model: The trained model.
        medical: Whether the sections are those of medicine rather than those of finance.
    """
    kinds = {"classes": _classes, "number": _number, "survival": _survival}
    assessment: Assessment = kinds[data.target.problem](config, data, model, medical)
    if medical:
        assessment.sections.insert(0, Section("No medical device", [Text(CLINICAL)]))
        assessment.sections.append(missingness(data))
    return assessment


def _classes(config: TableConfig, data: TableParts, model: Any, medical: bool) -> Assessment:
    part, target, seed, resamples = data.test, data.target, config.run.seed, config.run.resamples
    learned = decisions(config, data, model)
    got = answers(model, part.x)
    p = decide.apply(learned, got)
    linear = linear_probabilities(data)
    result = classification.classification(part.values, p, target.classes, seed=seed, resamples=resamples)
    metrics: dict[str, Any] = {"test": result.to_json()}
    sections: list[Section] = []
    if len(target.classes) == 2:
        options: dict[str, Any] = {"specificity": config.decide.specificity, "seed": seed, "resamples": resamples}
        ours = binary.discrimination(part.values, p[:, 1], **options)
        estimates = ours.estimates()
        metrics["test"]["binary"] = {name: e.to_json() for name, e in estimates.items()}
        theirs = binary.discrimination(part.values, linear[:, 1], **options) if linear is not None else None
        if theirs is not None:
            metrics["linear"] = {name: e.to_json() for name, e in theirs.estimates().items()}
        sections.append(_beside_linear(ours, theirs, target.classes[1], len(part)))
        sections.append(_decision(config, part.values, p, learned, target.classes))
        metrics["decision"] = _decision_numbers(config, part.values, p, learned)
        sections.append(_clinical(part.values, p) if medical else _gain(part.values, p))
        groups = subgroups(config, data, p, learned)
        if groups is not None:
            sections.append(groups)
        headline = [
            Headline(name.replace("_", " "), f"{e.value:.4f}", f"95 % interval {e.low:.4f} to {e.high:.4f}"
                     + (f"; linear model {theirs.values[name]:.4f}" if theirs is not None else ""))
            for name, e in estimates.items() if name in MAIN or medical
        ]  # fmt: skip
    else:
        headline = classification.headline(result)
        if linear is not None:
            other = classification.classification(part.values, linear, target.classes, seed=seed, resamples=resamples)
            metrics["linear"] = {name: e.to_json() for name, e in other.metrics.items()}
            rows = [(n.replace("_", " "), str(e), str(other.metrics[n])) for n, e in result.metrics.items()]
            sections.append(Section("Beside a linear model", [Table(("score", "network", "linear model"), rows)]))
    sections.append(_certainty(part.values, p, learned, target.classes, metrics))
    sections.append(classification.scores(result))
    shown = main_columns(data, model)

    def show(name: str, caption: str, chosen: np.ndarray, texts: list[str], right: list[bool]) -> Block:
        return rows_table(data, chosen[:SHOWN_ROWS], [text.replace("\n", ", ") for text in texts], caption, shown)

    sections.append(Section("Predictions", classification.examples(result, show)))
    sections.append(classification.about(data.summary, target.classes))
    names = decide.chosen(learned, p)
    predictions = classification.rows(result, part.names)
    for row, k, of_row in zip(predictions, names, p, strict=True):
        row["decision"] = target.classes[k]
        row |= {f"p_{name}": round(float(v), 6) for name, v in zip(target.classes, of_row, strict=True)}
    curves = (result.labels, result.probabilities, result.classes)
    return Assessment(metrics, headline, predictions, sections, curves)


def linear_probabilities(data: TableParts) -> np.ndarray | None:
    """What a logistic regression on the same encoded training part says of the test part, (N, K).

    None where a finished run is tried on other data, as the training part is then not there.
    """
    from sklearn.linear_model import LogisticRegression

    if data.decisions is not None:
        return None
    rows = slice(LINEAR_ROWS)
    fitted = LogisticRegression(max_iter=2000).fit(data.train.x[rows], data.train.values[rows])
    p = np.full((len(data.test), len(data.target.classes)), 1e-12)
    p[:, fitted.classes_] = fitted.predict_proba(data.test.x)
    return p / p.sum(1, keepdims=True)


def _beside_linear(ours: binary.Draws, theirs: binary.Draws | None, positive: str, number: int) -> Section:
    estimates = ours.estimates()
    if theirs is None:
        rows = [(n.replace("_", " "), str(e)) for n, e in estimates.items()]
        return Section("Test scores", [Table(("score", "network"), rows, f"{number:,} test rows.")])
    other, difference = theirs.estimates(), ours.minus(theirs)
    table = [
        (n.replace("_", " "), str(e), str(other[n]), f"{difference[n].value:+.4f}",
         f"{difference[n].low:+.4f} to {difference[n].high:+.4f}")
        for n, e in estimates.items()
    ]  # fmt: skip
    caption = (
        f"{number:,} test rows; {positive!r} is the class to be found. 95 % intervals from resamples of the rows; the "
        "difference is that on the same resamples. The linear model is a logistic regression on the same columns."
    )
    columns = ("score", "network", "linear model", "difference", "interval")
    return Section("Beside a linear model", [Table(columns, table, caption)])


def _decision_numbers(
    config: TableConfig, labels: np.ndarray, p: np.ndarray, learned: Mapping[str, Any]
) -> dict[str, Any]:
    options = config.decide
    costs = {"miss": options.miss, "alarm": options.alarm}
    found = binary.cost(labels, p[:, 1], np.array([learned["threshold"], 0.5, -1.0, 2.0]), **costs)
    said = p[:, 1] >= learned["threshold"]
    positive = labels == 1
    rates = {
        "sensitivity": binary.wilson(int((said & positive).sum()), int(positive.sum())),
        "specificity": binary.wilson(int((~said & ~positive).sum()), int((~positive).sum())),
        "positive_predictive_value": binary.wilson(int((said & positive).sum()), int(said.sum())),
        "negative_predictive_value": binary.wilson(int((~said & ~positive).sum()), int((~said).sum())),
    }
    return {
        "threshold": learned["threshold"],
        "cost": dict(zip(("at_threshold", "at_one_half", "all_positive", "all_negative"), found.tolist(), strict=True)),
        **{name: estimate.to_json() for name, estimate in rates.items()},
    }


def _decision(
    config: TableConfig, labels: np.ndarray, p: np.ndarray, learned: Mapping[str, Any], classes: Sequence[str]
) -> Section:
    options, made = config.decide, _decision_numbers(config, labels, p, learned)
    costs = made["cost"]
    thresholds = np.linspace(0.005, 0.995, 199)
    curve = binary.cost(labels, p[:, 1], thresholds, miss=options.miss, alarm=options.alarm)
    text = (
        f"To miss a {classes[1]!r} costs {options.miss:g}, a false alarm {options.alarm:g} (--decide.miss and "
        f"--decide.alarm): a row is taken for {classes[1]!r} from a probability of {learned['threshold']:.3f} on. That "
        f"costs {costs['at_threshold']:.4f} a row on the test part; {costs['at_one_half']:.4f} from one half on, "
        f"{costs['all_negative']:.4f} if all are taken for {classes[0]!r}, {costs['all_positive']:.4f} if none is."
    )
    rates = [
        (name.replace("_", " "), str(Estimate(*(float("nan") if v is None else v for v in made[name].values()))))
        for name in ("sensitivity", "specificity", "positive_predictive_value", "negative_predictive_value")
    ]
    figure = figures.lines(
        {"cost a row": (thresholds, curve)}, "threshold", "cost", marks={"threshold taken": learned["threshold"]}, low=0
    )
    return Section(
        "Decision",
        [Text(text), Table(("at the threshold", "value and 95 % interval"), rates, "Wilson's intervals."),
         Picture("cost", figure, "Mean cost of a test row at each threshold.", "Cost against threshold")],
    )  # fmt: skip


def _gain(labels: np.ndarray, p: np.ndarray) -> Section:
    taken, found = binary.gains(labels, p[:, 1])
    grid = np.linspace(0.05, 1, 20)
    lift = np.interp(grid, taken, found) / grid
    gain = {"network": (taken, found), "at random": (np.array([0.0, 1.0]), np.array([0.0, 1.0]))}
    tenths = [
        (f"{share:.0%}", f"{np.interp(share, taken, found):.1%}", f"{np.interp(share, taken, found) / share:.2f}")
        for share in np.linspace(0.1, 1, 10)
    ]
    return Section(
        "Gain and lift",
        [
            Picture("gain", figures.lines(gain, "share of rows, highest risk first", "share of the positives", low=0),
                    "How many of the positives are among the rows of highest risk.", "Gain chart"),
            Picture("lift", figures.lines({"lift": (grid, lift)}, "share of rows, highest risk first", "lift", low=0),
                    "How many times more than among all.", "Lift chart"),
            Table(("rows taken", "positives found", "lift"), tenths),
        ],
    )  # fmt: skip


def _clinical(labels: np.ndarray, p: np.ndarray) -> Section:
    thresholds = np.linspace(0.01, 0.99, 99)
    model, everybody = binary.net_benefit(labels, p[:, 1], thresholds)
    curves = {"by the network": (thresholds, model), "treat all": (thresholds, np.maximum(everybody, -0.05)),
              "treat none": (thresholds, np.zeros(len(thresholds)))}  # fmt: skip
    figure = figures.lines(curves, "threshold probability", "net benefit", low=-0.05)
    return Section(
        "Decision curve",
        [Picture("decision_curve", figure, "Net benefit: true positives, less the false ones weighed by the odds of "
                 "the threshold. A model is of use where it lies above both other lines (Vickers & Elkin, 2006).",
                 "Decision curve")],
    )  # fmt: skip


def _certainty(
    labels: np.ndarray, p: np.ndarray, learned: Mapping[str, Any], classes: Sequence[str], metrics: dict[str, Any]
) -> Section:
    """How the conformal sets did."""
    held = decide.possible(learned, p)
    number = held.sum(1)
    covered = binary.wilson(int(held[np.arange(len(labels)), labels].sum()), len(labels))
    sure = number == 1
    right = binary.wilson(int((sure & (p.argmax(1) == labels)).sum()), int(sure.sum()))
    metrics["conformal"] = {
        "coverage": covered.to_json(),
        "sure": float(sure.mean()),
        "accuracy_of_sure": right.to_json(),
    }
    rows = [
        ("sets that hold the true class", str(covered)),
        ("rows with one possible class", f"{sure.mean():.4f}"),
        ("of these rightly named", str(right)),
        ("rows with several possible classes", f"{(number > 1).mean():.4f}"),
        ("rows unlike all classes", f"{(number == 0).mean():.4f}"),
    ]
    caption = (
        f"The set of possible classes is to hold the true one in {learned['coverage']:.0%} of the rows; a row whose "
        "set is not one class should be left to a person. Learned on validation, which also chose the best epoch."
    )
    by = f"Probabilities were divided in log-odds by a temperature of {learned['temperature']:.3f}"
    by += ", then mapped by isotonic regression." if learned["isotonic"] else "."
    return Section("How sure", [Text(by), Table(("share of the test rows", "value"), rows, caption)])


def _number(config: TableConfig, data: TableParts, model: Any, medical: bool) -> Assessment:
    from sklearn.linear_model import Ridge

    part, target = data.test, data.target
    learned = decisions(config, data, model)
    got = numbers(answers(model, part.x), target)
    linear = None
    if data.decisions is None:
        fitted = Ridge().fit(data.train.x[:LINEAR_ROWS], data.train.values[:LINEAR_ROWS])
        linear = fitted.predict(part.x).reshape(len(part), -1)
    metrics: dict[str, Any] = {"test": {"samples": len(part), "metrics": {}}, "linear": {}}
    headline, sections = [], []
    for t, name in enumerate(target.columns):
        true, said, half = part.values[:, t], got[:, t], learned["half_width"][t]
        ours = _errors(true, said, config)
        other = _errors(true, linear[:, t], config) if linear is not None else None
        suffix = f"_{name}" if len(target.columns) > 1 else ""
        metrics["test"]["metrics"] |= {f"{k}{suffix}": e.to_json() for k, e in ours.items()}
        if other is not None:
            metrics["linear"] |= {f"{k}{suffix}": e.to_json() for k, e in other.items()}
        for key, e in ours.items():
            note = f"95 % interval {e.low:.4g} to {e.high:.4g}"
            note += f"; linear model {other[key].value:.4g}" if other is not None else ""
            headline.append(Headline(f"{key}{suffix}", f"{e.value:.4g}", note))
        rows = [(key, str(e), *((str(other[key]),) if other is not None else ())) for key, e in ours.items()]
        covered = binary.wilson(int((np.abs(true - said) <= half).sum()), len(part))
        metrics["test"]["metrics"][f"coverage{suffix}"] = covered.to_json()
        ends = np.array([min(true.min(), said.min()), max(true.max(), said.max())])
        sections.append(
            Section(f"{name}: test scores", [
                Table(("score", "network", *(("linear model",) if other is not None else ())), rows,
                      f"{len(part):,} test rows."),
                Text(f"{name} lies within {half:.4g} of the prediction in {covered} of the test rows; "
                     f"{learned['coverage']:.0%} were wanted."),
                Picture(f"scatter{suffix}", figures.scatter(said, true, ends), "The nearer to the line, the better.",
                        "Predicted against true values"),
            ])
        )  # fmt: skip
    sections.append(classification.about(data.summary, list(data.summary.counts["test"])))
    rows_out = [
        {"sample": name, **{f"true_{c}": float(a) for c, a in zip(target.columns, true, strict=True)},
         **{f"predicted_{c}": float(f"{b:.6g}") for c, b in zip(target.columns, said, strict=True)}}
        for name, true, said in zip(part.names, part.values, got, strict=True)
    ]  # fmt: skip
    return Assessment(metrics, headline, rows_out, sections)


def _errors(true: np.ndarray, said: np.ndarray, config: TableConfig) -> dict[str, Estimate]:
    """Root of the mean squared error, mean absolute error and R², with intervals."""
    squared, absolute = (true - said) ** 2, np.abs(true - said)

    def explained(rows: np.ndarray) -> np.ndarray:
        spread = true[rows].var(-1)
        return 1 - squared[rows].mean(-1) / np.where(spread > 0, spread, np.nan)

    options: dict[str, Any] = {"seed": config.run.seed, "resamples": config.run.resamples, "vectorised": True}
    return {
        "rmse": bootstrap(lambda rows: np.sqrt(squared[rows].mean(-1)), len(true), **options),
        "mae": bootstrap(lambda rows: absolute[rows].mean(-1), len(true), **options),
        "r2": bootstrap(explained, len(true), **options),
    }


def _survival(config: TableConfig, data: TableParts, model: Any, medical: bool) -> Assessment:
    part, target = data.test, data.target
    got = answers(model, part.x)
    time, event = part.values[:, 0], part.values[:, 1] == 1
    index = survival.risk(got)
    curves = survival.survival_curves(got)
    resamples = min(config.run.resamples, 200)

    def concordance(row: np.ndarray) -> float:
        return survival.concordance(time, event, index, np.bincount(row, minlength=len(time)))

    c = bootstrap(concordance, len(time), seed=config.run.seed, resamples=resamples)
    edges = np.array(target.edges)
    third = np.searchsorted(np.quantile(index, [1 / 3, 2 / 3]), index)
    series = {}
    for group, name in enumerate(("low risk", "middle risk", "high risk")):
        mask = third == group
        series[f"{name}: observed"] = (edges, survival.kaplan_meier(time[mask], event[mask], edges))
    drawn = figures.lines(series, str(target.duration), "share without the event", steps=True, low=0)
    mean = {"predicted": (edges, np.append(1.0, curves.mean(0))),
            "observed (Kaplan-Meier)": (edges, survival.kaplan_meier(time, event, edges))}  # fmt: skip
    sections = [
        Section("Test scores", [
            Table(("score", "value and 95 % interval"), [("C-index (Harrell)", str(c))],
                  f"{len(time):,} test rows, {int(event.sum()):,} events; {resamples} resamples."),
            Picture("risk_groups", drawn, "The test rows in three groups of equal size by predicted risk.",
                    "Survival by group"),
            Picture("survival", figures.lines(mean, str(target.duration), "share without the event", low=0),
                    "The mean of the predicted curves should lie on what was observed.",
                    "Predicted and observed survival"),
        ]),
        classification.about(data.summary, ["event", "censored"]),
    ]  # fmt: skip
    headline = [Headline("C-index", f"{c.value:.4f}", f"95 % interval {c.low:.4f} to {c.high:.4f}")]
    rows = [
        {"sample": n, "time": float(t), "event": bool(e), "risk": round(float(r), 6)}
        for n, t, e, r in zip(part.names, time, event, index, strict=True)
    ]
    return Assessment({"test": {"samples": len(time), "metrics": {"c_index": c.to_json()}}}, headline, rows, sections)
