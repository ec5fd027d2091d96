"""How good translations are: scores with baselines, by length, the best and the worst, and where the model looked."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.engine.report import Assessment, Details, Headline, Section, Table, Text
from pipelines.pairs import clean
from pipelines.pairs.decoding import check
from pipelines.pairs.explain import attention_maps
from pipelines.pairs.models import Translator
from pipelines.pairs.scores import Scores

if TYPE_CHECKING:
    from pipelines.metrics import Estimate
    from pipelines.pairs.decoding.decoder import Decoder
    from pipelines.pairs.load import PairData

SHOWN, MAPS, BANDS = 12, 3, 5
COPIED = "the source, copied"
NEIGHBOURS = 50_000  # training sources among which the most similar is looked for
CELL = 300


def assess(data: PairData, decoder: Decoder, *, seed: int, resamples: int) -> Assessment:
    """Translates the test set and compares.

    Args:
        data: Pairs.
        decoder: What translates.
        seed: Of the bootstrap.
        resamples: Of the bootstrap.
    """
    names, sources, references = (list(column) for column in zip(*data.read("test"), strict=True))
    start = time.perf_counter()
    found = list(decoder.translate(sources))
    seconds = time.perf_counter() - start
    texts = [translation.best[0].text for translation in found]
    scores = Scores(texts, references, data.languages[1])
    estimates = scores.estimates(seed=seed, resamples=resamples)
    single = scores.sentences()
    new = ~data.seen
    metrics: dict[str, Any] = {
        "test": {"samples": len(texts), "metrics": {name: value.to_json() for name, value in estimates.items()}},
        "signatures": scores.signatures,
        "decoding": {"seconds": round(seconds, 2), "texts_per_second": round(len(texts) / seconds, 1)},
        "warnings": dict(Counter(w for translation in found for w in translation.warnings)),
    }
    sections = [
        Section("Scores", [_scores(scores, estimates, data, decoder, sources, references, metrics)]),
        Section("Translations", _examples(sources, references, texts, single, seed)),
        Section("Scores by the length of the source", [_by_length(scores, sources)]),
    ]
    if isinstance(decoder.model, Translator):
        short = [i for i in np.argsort([len(s) for s in sources], kind="stable") if len(sources[i]) > 15]
        drawn = [sources[i] for i in short[:: max(len(short) // (3 * MAPS), 1)][:MAPS]] or sources[:1]
        note = "Rows are the pieces of the translation, columns those of the source; a row's weights sum to 1."
        sections.append(Section("Attention", [Text(note), *attention_maps(decoder, drawn, "attention_test")]))
    sections.append(Section("Suspicious translations", _suspicious(sources, references, found)))
    if data.encoded:
        sections.append(Section("Data", _data(data, sources, scores, new, metrics)))
    rows = [
        {
            "sample": name, "source": source, "reference": reference, "translation": text,
            "chrf": f"{value:.2f}", "exact": text.strip() == reference.strip(), "score": f"{t.best[0].score:.4f}",
            "warnings": "; ".join(t.warnings), "source_in_training": bool(seen),
        }
        for name, source, reference, text, value, t, seen in zip(
            names, sources, references, texts, single, found, data.seen, strict=True
        )
    ]  # fmt: skip
    copied = metrics["baselines"][COPIED]
    headline = []
    for name, title, digits in (("bleu", "BLEU", 2), ("chrf", "chrF", 2), ("exact_match", "exact match", 4)):
        value, low, high, other = (f"{x:.{digits}f}" for x in (*vars(estimates[name]).values(), copied[name]))
        headline.append(Headline(title, value, f"95 % interval {low} to {high}; {COPIED} {other}"))
    exact = estimates["exact_match"]
    summary = (
        f"{exact.value:.1%} of {len(texts):,} test texts are translated exactly as in the reference (95 % interval "
        f"{exact.low:.1%} to {exact.high:.1%}); BLEU is {estimates['bleu'].value:.1f} and chrF "
        f"{estimates['chrf'].value:.1f}; {COPIED}, they are {copied['bleu']:.1f} and {copied['chrf']:.1f}."
    )
    _print_examples(sources, references, texts, seed)
    return Assessment(metrics, headline, rows, sections, summary=summary)


def _hundred(value: Estimate) -> str:
    return f"{value.value:.2f} ({value.low:.2f} to {value.high:.2f})"


def _scores(
    scores: Scores, estimates: Any, data: PairData, decoder: Decoder, sources: Sequence[str],
    references: Sequence[str], metrics: dict[str, Any],
) -> Table:  # fmt: skip
    rows = [("this model", *(_hundred(estimates[n]) for n in ("bleu", "chrf")), str(estimates["exact_match"]))]
    metrics["baselines"] = {}
    others = {COPIED: list(sources)}
    if data.encoded:
        others["the translation of the most similar training source"] = _nearest(data, sources)
    for name, texts in others.items():
        value = Scores(texts, references, data.languages[1]).of()
        metrics["baselines"][name] = value
        rows.append((name, f"{value['bleu']:.2f}", f"{value['chrf']:.2f}", f"{value['exact_match']:.4f}"))
    caption = (
        f"BLEU and chrF by sacreBLEU (0 to 100): {scores.signatures['bleu']}; {scores.signatures['chrf']}. "
        "In parentheses 95 % intervals of the bootstrap."
    )
    return Table(("translation", "BLEU", "chrF", "exact match"), rows, caption)


def _nearest(data: PairData, sources: Sequence[str]) -> list[str]:
    """A translation memory: for each source the translation of the training source that shares most of its letters."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    numbers = data.index["train"]
    if len(numbers) > NEIGHBOURS:
        numbers = np.sort(np.random.default_rng(0).choice(numbers, NEIGHBOURS, replace=False))
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), max_features=50_000, dtype=np.float32)
    known = vectorizer.fit_transform(source for _, source, _ in data.store.read(numbers)).T.tocsc()
    wanted = vectorizer.transform(sources)
    best = [int(wanted[i].dot(known).toarray().argmax()) for i in range(len(sources))]
    return [target for _, _, target in data.store.read(numbers[best])]


def _examples(
    sources: Sequence[str], references: Sequence[str], texts: Sequence[str], single: np.ndarray, seed: int
) -> list[Any]:
    order = np.argsort(-single, kind="stable")
    long = [i for i in order if len(sources[i].split()) >= 3] or list(order)
    blocks = []
    chosen = np.sort(np.random.default_rng(seed).permutation(len(texts))[:SHOWN])
    for caption, rows in (
        ("Drawn at random.", chosen),
        ("The best, of three words or more.", long[:SHOWN]),
        ("The worst.", order[::-1][:SHOWN]),
    ):
        cells = [
            (_short(sources[i]), _short(texts[i]), _short(references[i]), f"{single[i]:.1f}") for i in map(int, rows)
        ]
        blocks.append(Table(("source", "translation", "reference", "chrF"), cells, caption))
    return blocks


def _short(text: str) -> str:
    return text if len(text) <= CELL else text[: CELL - 1] + "…"


def _print_examples(sources: Sequence[str], references: Sequence[str], texts: Sequence[str], seed: int) -> None:
    from pipelines.core.console import table

    chosen = np.random.default_rng(seed + 1).permutation(len(texts))[:6]
    table(
        ("source", "translation", "reference"),
        [tuple(_line(column[int(i)]) for column in (sources, texts, references)) for i in chosen],
    )


def _line(text: str, most: int = 60) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= most else flat[: most - 1] + "…"


def _by_length(scores: Scores, sources: Sequence[str]) -> Table:
    words = np.array([len(source.split()) for source in sources])
    ends = np.unique(np.quantile(words, np.linspace(0, 1, BANDS + 1)).astype(int))
    rows = []
    for low, high in pairwise(ends) if len(ends) > 1 else [(ends[0], ends[0])]:
        first = low if low == ends[0] else low + 1
        members = np.flatnonzero((words >= first) & (words <= high))
        if len(members):
            value = scores.of(members)
            span = f"{first} to {high}" if first < high else str(high)
            rows.append(
                (
                    span,
                    f"{len(members):,}",
                    f"{value['bleu']:.2f}",
                    f"{value['chrf']:.2f}",
                    f"{value['exact_match']:.4f}",
                )
            )
    return Table(("words of the source", "texts", "BLEU", "chrF", "exact match"), rows)


def _suspicious(sources: Sequence[str], references: Sequence[str], found: Sequence[Any]) -> list[Any]:
    flagged = [i for i, translation in enumerate(found) if translation.warnings]
    natural = sum(bool(check.warnings(s, r)) for s, r in zip(sources, references, strict=True))
    counts = Counter(w for translation in found for w in translation.warnings)
    told = ", ".join(f"{name} {count}" for name, count in counts.most_common()) or "none"
    text = (
        f"{len(flagged):,} of {len(found):,} translations have a warning ({told}); of the references "
        f"{natural:,} have one."
    )
    rows = [(_short(sources[i]), _short(found[i].best[0].text), "; ".join(found[i].warnings)) for i in flagged[:SHOWN]]
    return [Text(text), *([Table(("source", "translation", "warnings"), rows)] if rows else [])]


def _data(
    data: PairData, sources: Sequence[str], scores: Scores, new: np.ndarray, metrics: dict[str, Any]
) -> list[Any]:
    templates = {clean.masked(source) for _, source, _ in data.read("train")}
    known = np.array([clean.masked(source) in templates for source in sources])
    rows = []
    for name, chosen in (
        ("source is in the training set", ~new), ("source is not in the training set", new),
        ("… but with other digits it is", new & known), ("… and not with other digits either", new & ~known),
    ):  # fmt: skip
        if chosen.any():
            value = scores.of(np.flatnonzero(chosen))
            metrics.setdefault("overlap", {})[name] = {"samples": int(chosen.sum()), **value}
            rows.append(
                (
                    name,
                    f"{chosen.sum():,}",
                    f"{value['bleu']:.2f}",
                    f"{value['chrf']:.2f}",
                    f"{value['exact_match']:.4f}",
                )
            )
    counts = [(split, f"{count['pairs']:,}") for split, count in data.summary.counts.items()]
    dropped = [(reason, f"{count:,}", ", ".join(names)) for reason, count, names in data.dropped]
    blocks: list[Any] = [
        Table(
            ("test pairs", "texts", "BLEU", "chrF", "exact match"), rows, "What of the test the model may have seen."
        ),
        Table(("split", "pairs"), counts),
        Table(("dropped from training", "pairs", "such as"), dropped)
        if dropped
        else Text("No training pair was dropped."),
        *(Text(note) for note in data.summary.notes),
    ]
    if data.summary.skipped:
        blocks.append(Details("Broken rows", "\n".join(f"{name}: {why}" for name, why in data.summary.skipped)))
    return blocks
