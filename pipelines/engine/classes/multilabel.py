"""What a report says about a classifier that may give several labels, whatever it classifies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn import metrics as sk

from pipelines.core.errors import UserError
from pipelines.data.labels import THRESHOLD, joined
from pipelines.engine import figures
from pipelines.engine.calibration import Reliability, reliability
from pipelines.engine.classes.classification import Show, about, shown
from pipelines.engine.classes.scores import BINS
from pipelines.engine.report import Assessment, Block, Figure, Headline, Section, Table, Text
from pipelines.metrics import Estimate, bootstrap, title

if TYPE_CHECKING:
    from pipelines.data.summary import DataSummary

MAIN = ("micro_f1", "macro_f1", "subset_accuracy", "average_precision", "expected_calibration_error")


@dataclass(frozen=True, eq=False)
class MultiLabel:
    """Scores on one set of samples.

    Args:
        classes: K names.
        metrics: Name to value and 95 % interval.
        per_class: K rows of precision, recall, F1, average precision and support; NaN where undefined.
        reliability: The bins of the reliability diagram; each of the N * K decisions for or against a label is one.
        targets: (N, K) of 0 and 1.
        probabilities: float64 (N, K).
        resamples: Bootstrap resamples behind the intervals.
    """

    classes: tuple[str, ...]
    metrics: dict[str, Estimate]
    per_class: list[tuple[str, float, float, float, float, int]]
    reliability: Reliability
    targets: np.ndarray
    probabilities: np.ndarray
    resamples: int

    @property
    def predicted(self) -> np.ndarray:
        """bool (N, K): the labels with a chance above one half."""
        return self.probabilities > THRESHOLD

    def to_json(self) -> dict[str, Any]:
        names = ("name", "precision", "recall", "f1", "average_precision", "support")
        rows = [dict(zip(names, row, strict=True)) for row in self.per_class]
        return {
            "samples": len(self.targets),
            "resamples": self.resamples,
            "classes": list(self.classes),
            "metrics": {name: estimate.to_json() for name, estimate in self.metrics.items()},
            "per_class": [
                {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()} for row in rows
            ],
            "reliability": self.reliability.to_json(),
        }


def score(
    targets: np.ndarray, probabilities: np.ndarray, classes: Sequence[str], *, seed: int, resamples: int = 1000
) -> MultiLabel:
    """Scores predictions; a label is given where its chance is above one half.

    F1 scores are as in scikit-learn (0 where undefined); the mean average precision is over the labels that some sample
    has. `log_loss` and `expected_calibration_error` (Guo et al., 2017, 15 bins) are over all decisions for or against a
    label. F1 scores and subset accuracy have 95 % percentile bootstrap intervals over the samples.

    Args:
        targets: (N, K) of 0 and 1.
        probabilities: (N, K), each between 0 and 1.
        classes: K names.
        seed: Seed of the resamples.
        resamples: How often the samples are drawn anew.

    Raises:
        UserError: The probabilities are not finite: the training diverged.
    """
    truth, chances = np.asarray(targets) > 0, np.asarray(probabilities, np.float64)
    if truth.shape != chances.shape or truth.ndim != 2 or not len(truth) or truth.shape[1] != len(classes):
        raise ValueError(f"expected two arrays (N, {len(classes)}), got {truth.shape} and {chances.shape}")
    if not np.isfinite(chances).all():
        raise UserError("the model's predictions are not finite numbers: training diverged, try a lower learning rate")
    guess = chances > THRESHOLD
    hits, wrong, missed = truth & guess, ~truth & guess, truth & ~guess

    def ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
        return np.divide(above, below, out=np.zeros(np.shape(below)), where=below > 0)

    def micro(rows: np.ndarray) -> float:
        tp, errors = hits[rows].sum(), wrong[rows].sum() + missed[rows].sum()
        return float(ratio(2.0 * tp, 2 * tp + errors))

    def macro(rows: np.ndarray) -> float:
        tp, errors = hits[rows].sum(0), wrong[rows].sum(0) + missed[rows].sum(0)
        return float(ratio(2.0 * tp, 2 * tp + errors).mean())

    right = (truth == guess).all(1).astype(float)
    estimates = {
        "micro_f1": bootstrap(micro, len(truth), seed=seed, resamples=resamples),
        "macro_f1": bootstrap(macro, len(truth), seed=seed, resamples=resamples),
        "subset_accuracy": bootstrap(lambda rows: right[rows].mean(), len(truth), seed=seed, resamples=resamples),
    }
    precision, recall, f1, support = sk.precision_recall_fscore_support(truth, guess, zero_division=np.nan)
    average = [sk.average_precision_score(truth[:, k], chances[:, k]) if truth[:, k].any() else math.nan
               for k in range(len(classes))]  # fmt: skip
    estimates["average_precision"] = Estimate(float(np.nanmean(average)) if truth.any() else math.nan)
    estimates["hamming_loss"] = Estimate(float((truth != guess).mean()))
    decisions = np.stack([1 - chances.ravel(), chances.ravel()], axis=1)
    bins = reliability(truth.ravel().astype(int), decisions, BINS)
    estimates["log_loss"] = Estimate(float(sk.log_loss(truth.ravel(), decisions, labels=[False, True])))
    estimates["expected_calibration_error"] = Estimate(bins.error)
    names = tuple(map(str, classes))
    columns = (precision.tolist(), recall.tolist(), f1.tolist(), average, support.tolist())
    return MultiLabel(names, estimates, list(zip(names, *columns, strict=True)), bins, truth, chances, resamples)


def assess(
    targets: np.ndarray,
    probabilities: np.ndarray,
    classes: Sequence[str],
    names: Sequence[str],
    summary: DataSummary,
    show: Show,
    *,
    seed: int,
    resamples: int,
) -> Assessment:
    """Scores with intervals, predictions and report sections on the test part; arguments as in `classification`."""
    result = score(targets, probabilities, classes, seed=seed, resamples=resamples)
    headline = [Headline(title(name), f"{e.value:.4f}", _interval(e)) for name, e in result.metrics.items()
                if name in MAIN]  # fmt: skip
    sections = [
        _scores(result),
        Section("Predictions", _examples(result, show)),
        about(summary, classes, "label", "Samples with each label, by part."),
    ]
    return Assessment({"test": result.to_json()}, headline, _rows(result, names), sections)


def _interval(estimate: Estimate) -> str:
    return "" if math.isnan(estimate.low) else f"95 % interval {estimate.low:.4f} to {estimate.high:.4f}"


def _ends(estimate: Estimate) -> str:
    return "–" if math.isnan(estimate.low) else f"{estimate.low:.4f} – {estimate.high:.4f}"


def _scores(result: MultiLabel) -> Section:
    table = [(title(name), f"{e.value:.4f}", _ends(e)) for name, e in result.metrics.items()]
    per_class = [(name, *("–" if math.isnan(x) else f"{x:.1%}" for x in scores), str(support))
                 for name, *scores, support in result.per_class]  # fmt: skip
    columns = ("label", "precision", "recall", "F1", "average precision", "samples")
    caption = (
        f"{len(result.targets):,} test samples; a label is given where its chance is above one half. Subset accuracy "
        "is the share of samples with all labels right, Hamming loss that of wrong decisions for or against a label."
    )
    diagram = Figure(
        "reliability", figures.reliability_diagram(result.reliability),
        "All decisions for or against a label. Bars on the diagonal: a confidence of 90 % is right nine times in ten.",
        "Reliability diagram",
    )  # fmt: skip
    blocks: list[Block] = [
        Table(("score", "value", "95 % interval"), table, caption),
        Table(columns, per_class, "By label."),
        diagram,
    ]
    return Section("Test scores", blocks)


def _words(result: MultiLabel, row: np.ndarray) -> str:
    return ", ".join(name for name, on in zip(result.classes, row, strict=True) if on) or "none"


def first_named(targets: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """int (N,): the label that an example names first: a predicted one, else a true one, else the likeliest.

    Args:
        targets: (N, K) of 0 and 1.
        probabilities: (N, K).
    """
    predicted, true = probabilities > THRESHOLD, np.asarray(targets) > 0
    rest = np.where(true.any(1), true.argmax(1), probabilities.argmax(1))
    return np.where(predicted.any(1), predicted.argmax(1), rest)


def _examples(result: MultiLabel, show: Show) -> list[Block]:
    likelihood = np.where(result.targets, result.probabilities, 1 - result.probabilities)
    worst = np.argsort(likelihood.min(1), kind="stable")
    predicted = result.predicted
    right = (predicted == result.targets).all(1)
    groups = (("surest_mistakes", "The surest mistakes.", worst[~right[worst]]),
              ("surest_hits", "The surest right predictions.", worst[::-1][right[worst[::-1]]]))  # fmt: skip

    def text(i: int) -> str:
        said = _words(result, predicted[i])
        return said if right[i] else f"{said}; is {_words(result, result.targets[i])}"

    note = 'Each has the predicted labels, and after "is" the true ones where they are others.'
    return [Text(note), *shown(groups, text, right, show)]


def _rows(result: MultiLabel, names: Sequence[str]) -> list[dict[str, object]]:
    return [
        {
            "sample": names[i],
            "label": joined(result.classes, result.targets[i]),
            "predicted": joined(result.classes, result.predicted[i]),
            "right": bool((result.predicted[i] == result.targets[i]).all()),
            **{
                f"p_{name}": round(float(p), 6) for name, p in zip(result.classes, result.probabilities[i], strict=True)
            },
        }
        for i in range(len(result.targets))
    ]
