"""Report sections on entities in text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pipelines.engine.classes.classification import about
from pipelines.engine.report import Assessment, Block, Headline, Mark, Marked, Section, Table, Text
from pipelines.metrics import signed, title
from pipelines.tags.scores import EntityScores, Place, kinds, lead, score

if TYPE_CHECKING:
    from pipelines.data.summary import DataSummary
    from pipelines.tags.files import Sentence

SHOWN = 12
LEAST = "Least confident predictions, with the lowest confidence of an entity of each sentence."
# Okabe & Ito's palette, thin enough for light and dark pages.
COLOURS = [f"rgba({c}, .35)" for c in ("0,114,178", "230,159,0", "0,158,115", "213,94,0", "204,121,167", "86,180,233",
                                       "240,228,66", "118,118,118")]  # fmt: skip

Found = Sequence[Sequence[tuple[Place, float]]]


def assess(
    sentences: Sequence[Sentence],
    found: Found,
    summary: DataSummary,
    dictionary: Sequence[Sequence[Place]] | None,
    *,
    seed: int,
    resamples: int,
) -> Assessment:
    """Scores with intervals, predictions and report sections for the test sentences.

    Args:
        sentences: The test part.
        found: Predicted entities of each with their confidences.
        summary: What the report says about the data.
        dictionary: What a list of the training part's entities finds in the same sentences, to compare with.
        seed: Seed of the bootstrap.
        resamples: Bootstrap resamples.
    """
    predicted = [[place for place, _ in entities] for entities in found]
    true = [list(s.spans) for s in sentences]
    result = score(true, predicted, [len(s.offsets) for s in sentences], seed=seed, resamples=resamples)
    headline = [
        Headline(title(name), f"{e.value:.4f}", f"95 % interval {e.low:.4f} to {e.high:.4f}")
        for name, e in result.metrics.items()
    ]
    types = [name for name in next(iter(summary.counts.values())) if name not in ("sentences", "words")]
    rows = [
        {
            "sample": s.name, "text": s.text, "true": _written(s, s.spans), "predicted": _written(s, places),
            "confidence": round(min(c for _, c in entities), 6) if entities else "", "right": places == list(s.spans),
        }
        for s, entities, places in zip(sentences, found, predicted, strict=True)
    ]  # fmt: skip
    sections = [
        _scores(result),
        Section("Predictions", list(_examples(sentences, found, predicted, types))),
        about(
            summary,
            list(next(iter(summary.counts.values()))),
            "what",
            "Sentences, words and entities of each type, by part.",
        ),
    ]
    metrics: dict[str, Any] = {"test": result.to_json()}
    if dictionary is not None:
        section, scores = _dictionary(sentences, predicted, result, dictionary, seed)
        sections.insert(1, section)
        metrics["baselines"] = {"dictionary": scores}
    return Assessment(metrics, headline, rows, sections)


def _dictionary(
    sentences: Sequence[Sentence],
    predicted: Sequence[Sequence[Place]],
    result: EntityScores,
    dictionary: Sequence[Sequence[Place]],
    seed: int,
) -> tuple[Section, dict[str, Any]]:
    """The model beside the dictionary, with its lead; and the scores of the latter as JSON."""
    true, options = [s.spans for s in sentences], {"seed": seed, "resamples": result.resamples}
    theirs = score(true, dictionary, [len(s.offsets) for s in sentences], **options).metrics
    ahead = lead(true, predicted, dictionary, **options)
    columns = ("precision", "recall", "f1")
    rows = [
        ("this model", *(f"{result.metrics[name].value:.4f}" for name in columns), ""),
        (
            "dictionary",
            *(f"{theirs[name].value:.4f}" for name in columns),
            f"{signed(ahead.value)} [{signed(ahead.low)}, {signed(ahead.high)}]",
        ),
    ]
    caption = (
        "Whole entities in the same test sentences, strict (seqeval). The dictionary has the entities of the training "
        "part that have one type there, and takes the longest that matches (Tjong Kim Sang & De Meulder, 2003); the "
        "interval of the lead in F1 is bootstrapped from pairs."
    )
    table = Table(("model", "precision", "recall", "F1", "this model's lead, 95 % interval"), rows, caption)
    scores = {**{name: estimate.to_json() for name, estimate in theirs.items()}, "lead": ahead.to_json()}
    return Section("Baseline", [table]), scores


def _scores(result: EntityScores) -> Section:
    whole = [(title(n), f"{e.value:.4f}", f"{e.low:.4f} – {e.high:.4f}") for n, e in result.metrics.items()]
    by_type = [
        (r.name, f"{r.precision:.1%}", f"{r.recall:.1%}", f"{r.f1:.1%}", str(r.support)) for r in result.per_type
    ]
    meanings = {
        "boundary": "right type, some words too few or too many", "type": "right words, another type",
        "boundary and type": "shares words with a true one, nothing else",
        "missed": "no predicted entity shares a word", "invented": "no true entity shares a word",
    }  # fmt: skip
    errors = [(kind, str(number), meanings[kind]) for kind, number in result.errors.items()]
    return Section(
        "Test scores",
        [
            Table(("score", "value", "95 % interval"), whole, f"Whole entities in {result.sentences:,} test sentences, "
                  f"strict (seqeval); intervals from {result.resamples:,} resamples of the sentences."),
            Table(("type", "precision", "recall", "F1", "entities"), by_type, "By type."),
            Table(("error", "entities", "which is"), errors, "What kinds of error there are."),
        ],
    )  # fmt: skip


def _examples(
    sentences: Sequence[Sentence], found: Found, predicted: Sequence[Sequence[Place]], types: Sequence[str]
) -> Iterator[Block]:
    wrong = {i: sum(kinds(s.spans, p).values()) for i, (s, p) in enumerate(zip(sentences, predicted, strict=True))}
    sure = [min((c for _, c in entities), default=1.0) for entities in found]
    hits = [i for i in wrong if not wrong[i] and predicted[i]]
    groups = (
        ("Sentences with the most errors.", sorted((i for i in wrong if wrong[i]), key=lambda i: -wrong[i])),
        ("Sentences with the most entities, all of them right.", sorted(hits, key=lambda i: -len(predicted[i]))),
        (LEAST, sorted((i for i in wrong if predicted[i]), key=lambda i: sure[i])),
    )
    for caption, order in groups:
        if not order:
            yield Text(f"{caption} There are none.")
            continue
        shown: list[tuple[str, Sequence[Mark]]] = []
        for i in order[:SHOWN]:
            lowest = f" ({sure[i]:.0%})" if caption == LEAST else ""
            shown.append((f"{sentences[i].name}, true:", _marks(sentences[i], sentences[i].spans, types)))
            shown.append((f"{sentences[i].name}, predicted{lowest}:", _marks(sentences[i], predicted[i], types)))
        yield Marked(shown, caption)


def _marks(sentence: Sentence, places: Sequence[Place], types: Sequence[str]) -> list[Mark]:
    marks, position = [], 0
    for begin, end, kind in places:
        start, stop = sentence.offsets[begin][0], sentence.offsets[end - 1][1]
        colour = COLOURS[types.index(kind) % len(COLOURS)] if kind in types else COLOURS[-1]
        marks += [Mark(sentence.text[position:start]), Mark(sentence.text[start:stop], colour, kind)]
        position = stop
    return [*marks, Mark(sentence.text[position:])]


def _written(sentence: Sentence, places: Sequence[Place]) -> str:
    """`Ada Lovelace (person); London (place)`"""
    offsets = sentence.offsets
    return "; ".join(f"{sentence.text[offsets[b][0] : offsets[e - 1][1]]} ({kind})" for b, e, kind in places)
