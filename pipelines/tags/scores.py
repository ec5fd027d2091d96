"""How good predicted entities are: scores of seqeval, their intervals, and what kinds of error there are."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines.metrics import Estimate, interval, resample_indices
from pipelines.tags.files import Place

KINDS = ("boundary", "type", "boundary and type", "missed", "invented")


@dataclass(frozen=True)
class TypeScore:
    """Scores of one type of entity; those of a type that never stands or is never predicted are 0, as in seqeval."""

    name: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class EntityScores:
    """Scores of a set of sentences.

    Args:
        metrics: precision, recall and f1 over all entities, and macro_f1, with intervals over sentences.
        per_type: By type.
        errors: How often each of `KINDS`, over all sentences.
        sentences: How many there are.
        resamples: How many resamples the intervals come from.
    """

    metrics: dict[str, Estimate]
    per_type: list[TypeScore]
    errors: dict[str, int]
    sentences: int
    resamples: int

    def to_json(self) -> dict[str, Any]:
        return {
            "sentences": self.sentences,
            "metrics": {name: estimate.to_json() for name, estimate in self.metrics.items()},
            "per_type": {row.name: {"precision": row.precision, "recall": row.recall, "f1": row.f1,
                                    "support": row.support} for row in self.per_type},
            "errors": self.errors,
        }  # fmt: skip


def tags_of(spans: Sequence[Place], size: int) -> list[str]:
    """One BIO tag a word."""
    tags = ["O"] * size
    for begin, end, kind in spans:
        tags[begin:end] = [f"B-{kind}"] + [f"I-{kind}"] * (end - begin - 1)
    return tags


def score(
    true: Sequence[Sequence[Place]],
    predicted: Sequence[Sequence[Place]],
    sizes: Sequence[int],
    *,
    seed: int,
    resamples: int,
) -> EntityScores:
    """Entity-level scores: an entity counts as found when its first and last word and its type are right.

    Args:
        true: Entities of each sentence.
        predicted: The same, as predicted.
        sizes: Words of each sentence.
        seed: Seed of the bootstrap.
        resamples: Bootstrap resamples of sentences.

    Reference:
        Tjong Kim Sang & De Meulder, "Introduction to the CoNLL-2003 Shared Task", 2003; computed by seqeval
        (Nakayama, 2018) in its strict mode.
    """
    from seqeval.metrics import classification_report
    from seqeval.scheme import IOB2

    rows = [[tags_of(spans, size) for spans, size in zip(part, sizes, strict=True)] for part in (true, predicted)]
    types = sorted({kind for part in (true, predicted) for spans in part for _, _, kind in spans})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a score without anything to count is 0
        options = {"mode": "strict", "scheme": IOB2, "output_dict": True, "zero_division": 0}
        report = classification_report(*rows, **options) if types else {}
    nothing = {"precision": 0.0, "recall": 0.0, "f1-score": 0.0, "support": 0}
    whole, macro = report.get("micro avg", nothing), report.get("macro avg", nothing)
    values = {
        "precision": whole["precision"], "recall": whole["recall"], "f1": whole["f1-score"],
        "macro_f1": macro["f1-score"],
    }  # fmt: skip
    draws = _draws(true, predicted, types, seed, resamples)
    return EntityScores(
        {name: Estimate(float(value), *interval(draws[name])) for name, value in values.items()},
        [
            TypeScore(kind, float(row["precision"]), float(row["recall"]), float(row["f1-score"]), int(row["support"]))
            for kind, row in ((kind, report[kind]) for kind in types)
        ],
        dict(sum((kinds(a, b) for a, b in zip(true, predicted, strict=True)), Counter(dict.fromkeys(KINDS, 0)))),
        len(true),
        resamples,
    )  # fmt: skip


def lead(
    true: Sequence[Sequence[Place]],
    ours: Sequence[Sequence[Place]],
    theirs: Sequence[Sequence[Place]],
    *,
    seed: int,
    resamples: int,
) -> Estimate:
    """By how much the F1 of some entities is above that of others; the interval comes from resampled pairs.

    Args:
        true: Entities of each sentence.
        ours: The same, as predicted.
        theirs: The same, as predicted by another model.
        seed: Seed of the bootstrap.
        resamples: Bootstrap resamples of sentences.
    """
    types = sorted({kind for part in (true, ours, theirs) for spans in part for _, _, kind in spans})
    # The same seed draws the same sentences.
    first, second = (_draws(true, part, types, seed, resamples)["f1"] for part in (ours, theirs))
    return Estimate(_f1(true, ours) - _f1(true, theirs), *interval(first - second))


def _f1(true: Sequence[Sequence[Place]], predicted: Sequence[Sequence[Place]]) -> float:
    hits = sum(len(set(a) & set(b)) for a, b in zip(true, predicted, strict=True))
    return 2 * hits / max(sum(map(len, true)) + sum(map(len, predicted)), 1)


def kinds(true: Sequence[Place], predicted: Sequence[Place]) -> Counter[str]:
    """Errors of one sentence by kind.

    An entity that is wrong is compared with the one it shares most words with: the type may be right (`boundary`), the
    words (`type`), or neither; what shares no word with any was `missed` or `invented`. Each entity is in one error.
    """
    left = [p for p in predicted if p not in true]
    errors: Counter[str] = Counter(dict.fromkeys(KINDS, 0))
    for begin, end, kind in (t for t in true if t not in predicted):
        shared = [(min(end, p[1]) - max(begin, p[0]), p[2] == kind, p) for p in left]
        words, same, other = max(shared, default=(0, False, None))
        if words <= 0 or other is None:
            errors["missed"] += 1
            continue
        left.remove(other)
        errors["boundary" if same else "type" if other[:2] == (begin, end) else "boundary and type"] += 1
    errors["invented"] += len(left)
    return errors


def _draws(
    true: Sequence[Sequence[Place]],
    predicted: Sequence[Sequence[Place]],
    types: Sequence[str],
    seed: int,
    resamples: int,
) -> dict[str, np.ndarray]:
    """Each score on resamples of the sentences."""
    counts = np.zeros((3, len(true), max(len(types), 1)))
    number = {kind: i for i, kind in enumerate(types)}
    for i, (a, b) in enumerate(zip(true, predicted, strict=True)):
        for row, spans in enumerate((set(a) & set(b), b, a)):
            for _, _, kind in spans:
                counts[row, i, number[kind]] += 1
    blocks: dict[str, list[np.ndarray]] = {}
    for rows in resample_indices(len(true), resamples, seed):
        weights = np.stack([np.bincount(row, minlength=len(true)) for row in rows]).astype(float)
        hits, guesses, wanted = (weights @ table for table in counts)
        sums = [table.sum(1) for table in (hits, guesses, wanted)]
        found = {
            "precision": _ratio(sums[0], sums[1]), "recall": _ratio(sums[0], sums[2]),
            "f1": _ratio(2 * sums[0], sums[1] + sums[2]),
            "macro_f1": _ratio(2 * hits, guesses + wanted).mean(1),
        }  # fmt: skip
        for name, values in found.items():
            blocks.setdefault(name, []).append(values)
    return {name: np.concatenate(values) for name, values in blocks.items()}


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)
