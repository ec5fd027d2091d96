"""From texts to translations: cut, batched in fixed shapes, searched, joined and checked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from pipelines.pairs.config import DecodeConfig
from pipelines.pairs.decoding import check, segment
from pipelines.pairs.decoding.search import NONE, Search, searcher
from pipelines.pairs.models import Translator
from pipelines.pairs.pieces import END, PAD

SHORTEST = 16  # pieces of the shortest shape; each next one is twice as long
PLACES = 512  # pieces of a batch
MORE = 12  # pieces that a translation may have beyond its share of the source's
TEXTS_AT_ONCE = 2000


@dataclass(frozen=True)
class Hypothesis:
    """A translation.

    Args:
        text: It.
        score: Log-probability over the penalty of its length; nearer to 0 is better.
        marks: What is suspicious about how it ended.
    """

    text: str
    score: float
    marks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Translation:
    """What was found for a text.

    Args:
        best: Different hypotheses, the best first.
        warnings: What is suspicious about the first.
    """

    best: list[Hypothesis]
    warnings: list[str] = field(default_factory=list)


class Decoder:
    """Translates texts.

    A batch always has the same shape for texts of about the same length, filled up with copies of its last text, so
    that a translation depends neither on the other texts nor on their order.

    Args:
        model: From pieces to logits.
        subwords: What makes pieces of texts.
        options: How to decode.
        usual: Pieces of a text that is translated in one, see `segment.parts`.
        most: Pieces that the model reads.
    """

    def __init__(self, model: Any, subwords: Any, options: DecodeConfig, *, usual: int, most: int) -> None:
        self.model, self.subwords = model, subwords
        self.options = Search(options.beam, options.alpha, options.best, options.repetition)
        self.usual, self.most, self.ratio = min(usual, most - 1), most - 1, options.max_ratio
        self._searchers: dict[int, Any] = {}

    def translate(self, texts: Iterable[str]) -> Iterator[Translation]:
        """A translation of each text; texts come in blocks, so that any number of them can be translated."""
        rest = iter(texts)
        while block := list(islice(rest, TEXTS_AT_ONCE)):
            yield from self._block(block)

    def _size(self, text: str) -> int:
        return len(self.subwords.encode([text])[0])

    def _block(self, texts: Sequence[str]) -> Iterator[Translation]:
        cut = [segment.parts(text, self._size, self.usual, self.most) for text in texts]
        wanted = [part.text for parts in cut for part in parts if not part.kept]
        found = iter(self.search(self.subwords.encode(wanted)))
        for text, parts in zip(texts, cut, strict=True):
            pieces = [[Hypothesis(part.text, 0.0)] if part.kept else next(found) for part in parts]
            yield _joined(text, pieces, [part.kept for part in parts], self.options.wanted)

    def search(self, ids: Sequence[Sequence[int]]) -> list[list[Hypothesis]]:
        """Different hypotheses for each source, the best first."""
        results: list[list[Hypothesis]] = [[] for _ in ids]
        by_length: dict[int, list[int]] = {}
        for number, source in enumerate(ids):
            length = SHORTEST
            while length < len(source) + 1:
                length *= 2
            by_length.setdefault(length, []).append(number)
        for length, members in sorted(by_length.items()):
            rows = max(PLACES // length, 1)
            for start in range(0, len(members), rows):
                batch = members[start : start + rows]
                source = np.full((rows, length), PAD, np.int32)
                for row in range(rows):
                    text = ids[batch[min(row, len(batch) - 1)]]
                    source[row, : len(text)], source[row, len(text)] = text, END
                limits = (self.ratio * (source != PAD).sum(1) + MORE).astype(np.int32)
                tokens, scores, changed = self._searcher(length)(source, limits)
                for row, number in enumerate(batch):
                    results[number] = self._distinct(tokens[row], scores[row], changed[row], int(limits[row]))
        return results

    def _searcher(self, length: int) -> Any:
        if length not in self._searchers:
            longest = int(self.ratio * length + MORE)
            cached = isinstance(self.model, Translator)
            self._searchers[length] = searcher(self.model, self.options, longest, cached=cached)
        return self._searchers[length]

    def _distinct(self, tokens: np.ndarray, scores: np.ndarray, changed: np.ndarray, limit: int) -> list[Hypothesis]:
        found: dict[str, Hypothesis] = {}
        for row, score, guarded in zip(tokens, scores, changed, strict=True):
            if score <= NONE / 2 and found:
                break
            ends = np.flatnonzero(row == self.options.end)
            size = int(ends[0]) if len(ends) else 0
            text = self.subwords.decode(row[:size])
            marks = (*(("cut at the limit",) if size + 1 >= limit else ()), *(("repetition",) if guarded else ()))
            found.setdefault(text, Hypothesis(text, float(score), marks))
            if len(found) == self.options.wanted:
                break
        return list(found.values())


def _joined(text: str, pieces: Sequence[Sequence[Hypothesis]], kept: Sequence[bool], wanted: int) -> Translation:
    translated = [hypotheses for hypotheses, as_it_is in zip(pieces, kept, strict=True) if not as_it_is]
    if not translated:  # white space alone
        return Translation([Hypothesis("".join(p[0].text for p in pieces), 0.0)])
    score = float(np.mean([hypotheses[0].score for hypotheses in translated]))
    marks = tuple(dict.fromkeys(mark for hypotheses in translated for mark in hypotheses[0].marks))
    best = [Hypothesis("".join(p[0].text for p in pieces), score, marks)]
    if len(translated) == 1:  # of several parts, all combinations would be alternatives
        (place,) = (i for i, as_it_is in enumerate(kept) if not as_it_is)
        before, after = ("".join(p[0].text for p in side) for side in (pieces[:place], pieces[place + 1 :]))
        best += [Hypothesis(before + h.text + after, h.score, h.marks) for h in translated[0][1:wanted]]
    return Translation(best, [*check.warnings(text, best[0].text), *marks])
