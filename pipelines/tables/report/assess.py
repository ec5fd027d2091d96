"""What a report says about a model on a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.engine.classes import classification
from pipelines.engine.report import Assessment, Block, Headline, Section, Table, Text
from pipelines.metrics import title
from pipelines.tables.predict import answers
from pipelines.tables.report import costs as table_costs
from pipelines.tables.report import linear as table_linear
from pipelines.tables.report import number as table_number
from pipelines.tables.report import survival as table_survival
from pipelines.tables.report import two_classes as table_two_classes
from pipelines.tables.report.sections import (
    clusters,
    cross_validation,
    drawn,
    main_columns,
    missingness,
    rows_table,
    share,
    subgroups,
    subgroups_of_two,
)
from pipelines.tables.scores import binary, decide
from pipelines.tables.scores.decisions import costs_of, decisions, judged

if TYPE_CHECKING:
    from pipelines.tables.config import TableConfig
    from pipelines.tables.parts import TableParts

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
    learned, cross = data.decisions, None
    if learned is None:
        part, got = judged(data, model)
        learned = decisions(config, data, part, got)
        cross = cross_validation(config, data, part.values, got, learned)
    if data.target.problem == "classes":
        assessment = _classes(config, data, model, learned, medical)
    else:
        kind = table_number if data.target.problem == "number" else table_survival
        assessment = kind.assess(config, data, model, learned)
    if cross is not None:
        section, assessment.metrics["cross_validation"] = cross
        assessment.sections.insert(1, section)
    if medical:
        assessment.sections.insert(0, Section("No medical device", [Text(CLINICAL)]))
        assessment.sections.append(missingness(data))
    return assessment


def _classes(
    config: TableConfig, data: TableParts, model: Any, learned: Mapping[str, Any], medical: bool
) -> Assessment:
    part, target, groups = data.test, data.target, clusters(config, data)
    p = decide.apply(learned, answers(model, part.x))
    decided = decide.chosen(learned, p)
    linear = table_linear.probabilities(data, config.run.seed)
    boot: dict[str, Any] = {"seed": config.run.seed, "resamples": config.run.resamples, "groups": groups}
    result = classification.classification(part.values, p, target.classes, decided=decided, **boot)
    metrics: dict[str, Any] = {"test": result.to_json()}
    sections: list[Section] = []
    two, costs = len(target.classes) == 2, costs_of(config, target.classes)
    made = {} if costs is None else table_costs.numbers(config, result, costs, groups)
    if two:
        assert costs is not None
        boot["specificity"] = config.decide.specificity
        ours = binary.discrimination(part.values, p[:, 1], **boot)
        estimates = ours.estimates()
        metrics["test"]["binary"] = {name: e.to_json() for name, e in estimates.items()}
        theirs = binary.discrimination(part.values, linear[:, 1], **boot) if linear is not None else None
        if theirs is not None:
            metrics["linear"] = {name: e.to_json() for name, e in theirs.estimates().items()}
        names = drawn(config, groups)
        sections.append(table_two_classes.beside_linear(ours, theirs, target.classes[1], len(part), names))
        made |= table_two_classes.decision_numbers(config, part.values, p, learned, groups)
        sections.append(table_two_classes.decision(config, result, costs, made))
        if medical:
            sections.append(table_two_classes.clinical(config, part.values, p[:, 1], groups))
        else:
            sections.append(table_two_classes.gain(part.values, p))
        by_group = subgroups_of_two(config, data, p, learned, groups)
        headline = [
            Headline(title(name), f"{e.value:.4f}", f"95 % interval {e.low:.4f} to {e.high:.4f}"
                     + (f"; linear model {theirs.values[name]:.4f}" if theirs is not None else ""))
            for name, e in estimates.items() if name in MAIN or medical
        ]  # fmt: skip
    else:
        headline = classification.headline(result)
        if linear is not None:
            boot["decided"] = decide.chosen(learned, linear)
            other = classification.classification(part.values, linear, target.classes, **boot)
            metrics["linear"] = {name: e.to_json() for name, e in other.metrics.items()}
            rows = [(title(n), str(e), str(other.metrics[n])) for n, e in result.metrics.items()]
            sections.append(Section("Beside a linear model", [Table(("score", "network", "linear model"), rows)]))
        if costs is not None:
            headline.insert(0, table_costs.headline(made))
            sections.append(table_costs.section(result, costs, made))
        by_group = subgroups(
            config, data, ("accuracy",), lambda mask: (str(share(config, decided == part.values, mask, groups)),)
        )
    if made:
        metrics["decision"] = made
    sections += [] if by_group is None else [by_group]
    sections.append(_certainty(config, part.values, p, decided, learned, groups, metrics))
    scores = classification.scores(result)
    if made:
        rule = "the class of the least expected cost (the reliability diagram is of the most probable class)"
        if two:
            rule = f"{target.classes[1]!r} from a probability of {learned['threshold']:.3f} on"
        scores.blocks.insert(0, Text(f"Accuracy, F1, the classes and the matrix are those of the decisions: {rule}."))
    sections.append(scores)
    shown = main_columns(data, model)

    def show(name: str, caption: str, chosen: np.ndarray, texts: list[str], right: list[bool]) -> Block:
        return rows_table(data, chosen[:SHOWN_ROWS], [text.replace("\n", ", ") for text in texts], caption, shown)

    sections.append(Section("Errors", [classification.confusion(result), *classification.examples(result, show)]))
    calibration = classification.calibrated(result.reliability, None)
    if two:
        calibration.blocks[:] = [table_two_classes.calibration(part.values, p[:, 1], target.classes[1])]
    sections.append(calibration)
    sections.append(classification.about(data.summary, target.classes))
    predictions = classification.rows(result, part.names)
    for row, k, of_row in zip(predictions, decided, p, strict=True):
        row["decision"] = target.classes[k]
        row |= {f"p_{name}": round(float(v), 6) for name, v in zip(target.classes, of_row, strict=True)}
    curves = (result.labels, result.probabilities, result.classes)
    return Assessment(metrics, headline, predictions, sections, curves)


def _certainty(
    config: TableConfig,
    labels: np.ndarray,
    p: np.ndarray,
    decided: np.ndarray,
    learned: Mapping[str, Any],
    groups: np.ndarray | None,
    metrics: dict[str, Any],
) -> Section:
    """How the conformal sets did."""
    held = decide.possible(learned, p)
    several = held.sum(1) > 1
    covered = share(config, held[np.arange(len(labels)), labels], np.ones(len(labels), bool), groups)
    sure = ~decide.unsure(held, decided)
    right = share(config, decided == labels, sure, groups)
    metrics["conformal"] = {
        "coverage": covered.to_json(),
        "sure": float(sure.mean()),
        "accuracy_of_sure": right.to_json(),
    }
    rows = [
        ("sets that hold the true class", str(covered)),
        ("sure rows: the class decided for is the only possible one", f"{sure.mean():.4f}"),
        ("of these rightly named", str(right)),
        ("rows with several possible classes", f"{several.mean():.4f}"),
        (
            "rows decided by their costs for another class than the only possible one",
            f"{(~sure & ~several).mean():.4f}",
        ),
    ]
    caption = (
        f"The set of possible classes is to hold the true one in {learned['coverage']:.0%} of all rows, which is no "
        "promise for the sure ones alone; a row that is not sure should be left to a person. Learned on rows that the "
        "network did not learn from, but that chose the best epoch."
    )
    by = "" if learned.get("prior") is None else "The weights of the classes were taken out of the odds. "
    by += {
        "temperature": f"The log-odds of the probabilities were divided by {learned['temperature']:.3f} (temperature "
        "scaling).",
        "isotonic": "The probabilities were mapped by isotonic regression.",
        "none": "The probabilities are those of the network (--decide.calibration none).",
    }[config.decide.calibration]
    return Section("How sure", [Text(by), Table(("share of the test rows", "value"), rows, caption)])
