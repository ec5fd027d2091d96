"""Report sections and scores of a classifier that may predict several labels, for all kinds of data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn import metrics as sk

from pipelines.core.errors import UserError
from pipelines.data.labels import THRESHOLD, joined
from pipelines.engine import intervals
from pipelines.engine.calibration import Reliability, reliability, uncalibrated
from pipelines.engine.classes.classification import Show, about, calibrated, shown
from pipelines.engine.classes.scores import BINS
from pipelines.engine.report import Assessment, Block, Headline, Section, Table, Text
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
        """bool (N, K): the labels with a probability above one half."""
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
    """Scores predictions; a label is predicted where its probability is above one half.

    F1 scores are as in scikit-learn (0 where undefined); the mean average precision is over the labels that some sample
    has. `log_loss` and `expected_calibration_error` (Guo et al., 2017, 15 bins) are over all decisions for or against a
    label. F1 scores have 95 % percentile bootstrap intervals over the samples, subset accuracy has that of Wilson.

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
        "subset_accuracy": intervals.wilson(int(right.sum()), len(truth)),
    }
    decided = {"micro_f1": int(truth.sum()), "macro_f1": int(truth.sum(0)[truth.any(0)].min(initial=len(truth)))}
    estimates |= {name: intervals.widened(estimates[name], number) for name, number in decided.items()}
    precision, recall, f1, support = sk.precision_recall_fscore_support(truth, guess, zero_division=np.nan)
    average = [sk.average_precision_score(truth[:, k], chances[:, k]) if truth[:, k].any() else math.nan
               for k in range(len(classes))]  # fmt: skip
    estimates["average_precision"] = Estimate(float(np.nanmean(average)) if truth.any() else math.nan)
    estimates["hamming_loss"] = Estimate(float((truth != guess).mean()))
    decisions = np.stack([1 - chances.ravel(), chances.ravel()], axis=1)
    bins = _reliability(truth, chances)
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
    temperature: float | np.ndarray = 1.0,
) -> Assessment:
    """Scores with intervals, predictions and report sections on the test set; arguments as in `classification`.

    `temperature` is one for all labels, or one for each, (K,).
    """
    result = score(targets, probabilities, classes, seed=seed, resamples=resamples)
    metrics, before = result.to_json(), None
    if np.any(np.asarray(temperature) != 1.0):
        before = _reliability(result.targets, uncalibrated(result.probabilities, temperature, several=True))
        metrics["uncalibrated"] = {
            "temperature": np.asarray(temperature).tolist(), "expected_calibration_error": before.error,
        }  # fmt: skip
    headline = [Headline(title(name), f"{e.value:.4f}", _interval(e)) for name, e in result.metrics.items()
                if name in MAIN]  # fmt: skip
    sections = [
        _scores(result),
        Section("Errors", _examples(result, show)),
        calibrated(result.reliability, before),
        about(summary, classes, "label", "Samples with each label, by split."),
    ]
    return Assessment({"test": metrics}, headline, _rows(result, names), sections, summary=_sentence(result))


def _sentence(result: MultiLabel) -> str:
    exact, f1 = result.metrics["subset_accuracy"], result.metrics["micro_f1"]
    return (
        f"All labels are right for {exact.value:.1%} of {len(result.targets):,} test samples (95 % interval "
        f"{exact.low:.1%} to {exact.high:.1%}); micro F1 is {f1.value:.3f} ({f1.low:.3f} to {f1.high:.3f})."
    )


def _reliability(truth: np.ndarray, chances: np.ndarray) -> Reliability:
    """Each of the N * K decisions for or against a label is one prediction."""
    decisions = np.stack([1 - chances.ravel(), chances.ravel()], axis=1)
    return reliability(truth.ravel().astype(int), decisions, BINS)


def _interval(estimate: Estimate) -> str:
    return "" if math.isnan(estimate.low) else f"95 % interval {estimate.range}"


def _scores(result: MultiLabel) -> Section:
    table = [(title(name), f"{e.value:.4f}", e.range) for name, e in result.metrics.items()]
    per_class = [(name, *("–" if math.isnan(x) else f"{x:.1%}" for x in scores), str(support))
                 for name, *scores, support in result.per_class]  # fmt: skip
    columns = ("label", "precision", "recall", "F1", "average precision", "samples")
    caption = (
        f"{len(result.targets):,} test samples; a label is predicted where its probability is above one half. Subset "
        "accuracy is the fraction of samples with all labels right, Hamming loss that of wrong decisions for or "
        "against a label."
    )
    blocks: list[Block] = [
        Table(("score", "value", "95 % interval"), table, caption),
        Table(columns, per_class, "By label."),
    ]
    return Section("Scores", blocks)


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
    best = worst[::-1]
    groups = (
        ("most_confident_errors", "Most confident errors.", worst[~right[worst]]),
        ("most_confident_right", "Most confident right predictions.", best[right[best]]),
    )

    def text(i: int) -> str:
        said = _words(result, predicted[i])
        return said if right[i] else f"{said}; true: {_words(result, result.targets[i])}"

    note = "Each sample has its predicted labels, and the true ones if they differ."
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
