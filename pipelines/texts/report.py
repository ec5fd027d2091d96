"""Report sections on texts: coloured words, baselines, near-duplicates, suspicious labels."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.engine.classes import label_errors
from pipelines.engine.report import Mark, Marked, Section, Table, Text
from pipelines.metrics import Estimate, bootstrap, signed
from pipelines.texts import baselines as text_baselines
from pipelines.texts.explain import character_scores
from pipelines.texts.vocabulary import WORD

if TYPE_CHECKING:
    from pipelines.texts.load import TextParts

# Characters of a text that are shown; explanations also read no further.
SHOWN, CELL = 600, 200
SUSPECTS, SIMILAR = 20, 20
# So many training texts are cross-validated for suspicious labels.
MOST_CHECKED, FOLDS = 10_000, 3
SIMILAR_FILE, ISSUES_FILE = "near_duplicates.csv", "label_issues.csv"
STEPS = 16


def cut(text: str, limit: int) -> str:
    """The text, or its beginning."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def words_of(text: str, scores: np.ndarray) -> list[tuple[int, int, float]]:
    """The words of a text with the sum of the scores of their characters."""
    return [(*match.span(), float(scores[slice(*match.span())].sum())) for match in re.finditer(WORD, text)]


def coloured(text: str, words: Sequence[tuple[int, int, float]], labels: Mapping[int, str] | None = None) -> list[Mark]:
    """Words in blue that add to a score, and in orange that lower it; the deeper the colour, the more.

    Args:
        text: The text.
        words: Start, end and score of words in their order.
        labels: By the start of a word, what is written above it.
    """
    labels = labels or {}
    top = max((abs(score) for *_, score in words), default=0.0) or 1.0
    marks, done = [], 0
    for start, end, score in words:
        share, label = abs(score) / top, labels.get(start, "")
        if share < 0.1 and not label:
            continue
        if start > done:
            marks.append(Mark(text[done:start]))
        rgb = "0, 114, 178" if score > 0 else "230, 159, 0"
        marks.append(Mark(text[start:end], f"rgba({rgb}, {0.65 * share:.2f})", label))
        done = end
    return [*marks, Mark(text[done:])] if done < len(text) else marks


def explained(
    model: Any, reader: Any, texts: Sequence[str], labels: Sequence[int], leads: Sequence[str], caption: str,
    limit: int = SHOWN,
) -> Marked:  # fmt: skip
    """Texts with their words coloured by what they add to the logit of a class.

    The texts of a user's model without an embedding layer are shown without colours.
    """
    shown = [cut(text, limit) for text in texts]
    try:
        scores = character_scores(model, reader, shown, labels, steps=STEPS)
    except ValueError:
        scores = [np.zeros(len(text)) for text in shown]
    marks = [coloured(text, words_of(text, of_text)) for text, of_text in zip(shown, scores, strict=True)]
    return Marked([(lead.replace("\n", ", "), row) for lead, row in zip(leads, marks, strict=True)], caption)


def baselines(data: TextParts, probabilities: np.ndarray, own: str, seed: int, resamples: int) -> tuple[Section, Any]:
    """The model beside simple ones on the same test set, with the difference of each from the model.

    Returns:
        A section for the report, and the features of the training texts that `suspicious` reads.
    """
    chosen = text_baselines.some(len(data.train.texts))
    linear, features = text_baselines.tfidf(data, chosen)
    answers = [linear]
    if own != "ngrams":
        answers.insert(0, text_baselines.ngrams(data, chosen))

    def right(of: np.ndarray) -> np.ndarray:
        if data.several:
            return (of > 0.5) == (data.test.labels > 0)
        return (of.argmax(1) == data.test.labels)[:, None]

    ours = right(probabilities).mean(1)
    majority = text_baselines.Baseline("majority class", _frequent(data), 0.0)
    rows = [("this model", f"{ours.mean():.4f}", "", "")]
    for answer in (*answers, majority):
        theirs = right(answer.probabilities).mean(1)
        gap = ours - theirs
        difference = bootstrap(_mean_of(gap), len(gap), seed=seed, resamples=resamples)
        rows.append((answer.name, f"{theirs.mean():.4f}", _signed(difference), f"{answer.seconds:.1f}"))
    what = "label accuracy" if data.several else "accuracy"
    caption = (
        f"On the same test set; the interval of the difference is from a paired bootstrap over {len(ours):,} texts."
    )
    if len(chosen) < len(data.train.texts):
        caption += f" The simple models were trained on {len(chosen):,} of {len(data.train.texts):,} training texts."
    columns = ("model", what, "this model minus the other, 95 % interval", "training, s")
    return Section("Baselines", [Table(columns, rows, caption)]), features


def _mean_of(values: np.ndarray) -> Callable[[np.ndarray], float]:
    return lambda rows: float(values[rows].mean())


def _frequent(data: TextParts) -> np.ndarray:
    if data.several:
        shares = data.train.labels.mean(0)
    else:
        shares = np.bincount(data.train.labels, minlength=len(data.classes)) / len(data.train.labels)
    return np.tile(shares, (len(data.test.texts), 1))


def _signed(estimate: Estimate) -> str:
    return f"{signed(estimate.value)} [{signed(estimate.low)}, {signed(estimate.high)}]"


def near_duplicates(data: TextParts) -> tuple[list[Any], list[dict[str, Any]]]:
    """Texts that are almost the same as texts of another split: blocks for the report, and all of them as rows."""
    if not data.similar:
        return [Text("No text is almost the same as a text of another split.")], []
    splits = data.parts()
    pairs = sorted(data.similar, key=lambda pair: -pair[-1])
    found = [
        {
            "similarity": f"{similarity:.2f}",
            "split": first,
            "sample": splits[first].names[i],
            "text": cut(splits[first].texts[i], CELL),
            "split_2": second,
            "sample_2": splits[second].names[j],
            "text_2": cut(splits[second].texts[j], CELL),
        }
        for first, i, second, j, similarity in pairs
    ]
    touched = len({j for _, _, split, j, _ in data.similar if split == "test"}
                  | {i for split, i, _, _, _ in data.similar if split == "test"})  # fmt: skip
    caption = (
        f"{len(data.similar)} pairs of texts in different splits share most of their word triples. {touched} of "
        f"{len(data.test.texts):,} test texts are among them; scores on these may be too good. All pairs are in "
        f"{SIMILAR_FILE} of the run directory."
    )
    columns = ("similarity", "split", "sample", "text", "split", "sample", "text")
    return [Table(columns, [tuple(row.values()) for row in found[:SIMILAR]], caption)], found


def suspicious(data: TextParts, probabilities: np.ndarray, features: Any) -> tuple[Section, list[dict[str, Any]]]:
    """Labels that are probably wrong: of training texts by a cross-validated linear model, of test texts by the model.

    Args:
        data: The texts.
        probabilities: Those of the model on the test set, (N, K).
        features: Those of the training texts that `baselines` used.

    Returns:
        A section for the report, and all suspicious labels as rows.
    """
    everything = text_baselines.some(len(data.train.texts))
    part = np.arange(len(everything))
    if len(part) > MOST_CHECKED:
        part = np.sort(np.random.default_rng(0).choice(len(part), MOST_CHECKED, replace=False))
    chosen = everything[part]
    labels = data.train.labels[chosen]
    blocks: list[Any] = []
    rows: list[dict[str, Any]] = []
    if text_baselines.can_be_folded(labels, FOLDS):
        predicted = text_baselines.out_of_sample(features[part], labels, len(data.classes), FOLDS)
        found = _doubted(data, "train", chosen, predicted)
        number = len(data.train.texts)
        of = f"{len(chosen):,} training texts" + (f", drawn from {number:,}," if len(chosen) < number else "")
        blocks.append(_table(found, of, f"a linear model in {FOLDS}-fold cross-validation"))
        rows += found
    else:
        blocks.append(Text("The labels of the training set were not checked: it has a class with a single text."))
    found = _doubted(data, "test", np.arange(len(data.test.texts)), probabilities)
    blocks.append(_table(found, f"{len(data.test.texts):,} test texts", "this model"))
    return Section("Suspicious labels", blocks), rows + found


def _doubted(data: TextParts, name: str, chosen: np.ndarray, chances: np.ndarray) -> list[dict[str, Any]]:
    """A row for each doubted label of the chosen texts of a part, the worst first."""
    part = data.parts()[name]
    labels = part.labels[chosen]
    doubts: list[tuple[float, int, str, str]] = []
    if data.several:
        for k, label in enumerate(data.classes):
            words = (f"not {label}", label)
            found = label_errors.suspects(labels[:, k].astype(int), np.stack([1 - chances[:, k], chances[:, k]], 1))
            for i, seems, margin in zip(found.indices, found.suggested, found.margins, strict=True):
                doubts.append((float(margin), int(chosen[i]), words[1 - seems], words[seems]))
    else:
        found = label_errors.suspects(labels, chances)
        for i, seems, margin in zip(found.indices, found.suggested, found.margins, strict=True):
            doubts.append((float(margin), int(chosen[i]), data.classes[labels[i]], data.classes[seems]))
    return [
        {
            "margin": f"{margin:.2f}", "split": name, "sample": part.names[i], "label": label, "suggested": seems,
            "text": cut(part.texts[i], CELL),
        }
        for margin, i, label, seems in sorted(doubts, key=lambda doubt: doubt[0])
    ]  # fmt: skip


def _table(found: list[dict[str, Any]], of: str, by: str) -> Any:
    if not found:
        return Text(f"None of the labels of {of} contradicts {by} (confident learning).")
    caption = (
        f"{len(found)} labels of {of} contradict {by} (confident learning). The {min(SUSPECTS, len(found))} most "
        f"suspicious ones are below; all are in {ISSUES_FILE} of the run directory. The margin is the probability of "
        "the given label minus that of the suggested one. Some labels are wrong, some texts are just hard: read them "
        "before you change a label."
    )
    columns = ("margin", "sample", "label", "suggested", "text")
    return Table(columns, [tuple(row[name] for name in columns) for row in found[:SUSPECTS]], caption)
