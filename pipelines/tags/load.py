"""Sentences with entities: splitting, tags by number, and what a model reads."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from pipelines.data import summary as summaries

if TYPE_CHECKING:
    import numpy as np

    from pipelines.tags.config import TagsDataConfig
    from pipelines.tags.files import Place, Raw, Sentence
    from pipelines.tags.word_features import WordEncoder
    from pipelines.texts.vocabulary import Vocabulary

MULTIPLE = 16  # a backend that compiles for each shape has few of them
SUBWORDS = 5  # of one word at most; the rest of a long one is not read


class Encoder(Protocol):
    """Words of a sentence to rows of whole numbers, `width` each; `padding` fills up a batch."""

    width: int
    padding: Any

    def __call__(self, tokens: Sequence[str]) -> np.ndarray: ...

    def to_json(self) -> dict[str, Any]: ...


@dataclass(frozen=True, eq=False)
class TagParts:
    """Sentences ready for training and testing; `encoded` is how their words become numbers, and what is pretrained."""

    train: list[Sentence]
    val: list[Sentence]
    test: list[Sentence]
    types: tuple[str, ...]
    summary: summaries.DataSummary
    encoded: Any = None

    def parts(self) -> dict[str, list[Sentence]]:
        return {"train": self.train, "val": self.val, "test": self.test}

    def assignment(self) -> list[dict[str, str]]:
        """Which sentence is in which part, a row each."""
        return [
            {"part": part, "sample": s.name, "label": " ".join(sorted({kind for _, _, kind in s.spans}))}
            for part, of_part in self.parts().items()
            for s in of_part
        ]

    def describe(self) -> str:
        """One sentence."""
        sizes = ", ".join(f"{len(part):,} {name}" for name, part in self.parts().items())
        number = sum(len(s.spans) for part in self.parts().values() for s in part)
        return f"{sizes} sentences with {number:,} entities of {len(self.types)} types."


def load_tags(config: TagsDataConfig, *, seed: int) -> TagParts:
    """Reads, checks and splits the sentences of a source.

    Raises:
        UserError: The source cannot be used.
    """
    import numpy as np

    from pipelines.core.errors import UserError
    from pipelines.data.labels import alike

    raw = _load(config)
    parts = _split(raw, config, seed)
    broken = "".join(f"; {name}: {reason}" for name, reason in raw.skipped[:1])
    for part, of_part in parts.items():
        if not of_part:
            raise UserError(
                f"data.source {config.source}: the {part} part is empty; there are too few usable sentences{broken}"
            )
    types = tuple(sorted({kind for s in parts["train"] for _, _, kind in s.spans}))
    if not types:
        raise UserError(f"data.source {config.source}: no sentence of the training part has an entity")
    if config.limit is not None and config.limit < len(parts["train"]):
        chosen = np.random.default_rng([seed, 3]).permutation(len(parts["train"]))[: config.limit]
        parts["train"] = [parts["train"][i] for i in sorted(chosen)]
    raw.notes += alike(types, "types of entity")
    for split, meaning in (("val", "validation"), ("test", "test")):
        absent = set(types) - {kind for s in parts[split] for _, _, kind in s.spans}
        if absent:
            raw.notes.append(f"no entity of the {meaning} set has the type {', '.join(sorted(absent))}")
    return TagParts(**parts, types=types, summary=_summary(raw, parts, types))


def load_test_tags(config: TagsDataConfig, types: Sequence[str]) -> TagParts:
    """All sentences of a source as the test part of a trained model.

    Raises:
        UserError: The source cannot be used.
    """
    from pipelines.core.errors import UserError

    raw = _load(config)
    chosen = raw.splits.get("test") or [s for part in raw.splits.values() for s in part]
    if not chosen:
        raise UserError(f"data {config.source} has no usable sentence")
    return TagParts(chosen, chosen, chosen, tuple(types), _summary(raw, {"test": chosen}, types))


def _load(config: TagsDataConfig) -> Raw:
    from pipelines.data import sources
    from pipelines.tags import sources as tag_sources

    raw = tag_sources.load(config, config.source)
    complaint = f"more than data.max_broken = {config.max_broken} sentences or rows of {config.source} are broken"
    sources.check_broken(raw, config.max_broken, complaint)
    return raw


def _split(raw: Raw, config: TagsDataConfig, seed: int) -> dict[str, list[Sentence]]:
    """Parts that the source lacks are cut from its training part, by the rarest type of each sentence."""
    import numpy as np

    from pipelines.data.split import stratified

    frequency = Counter(kind for part in raw.splits.values() for s in part for _, _, kind in s.spans)
    rank = {kind: i for i, (kind, _) in enumerate(frequency.most_common(), start=1)}
    rest = raw.splits.get("train", raw.splits.get("all", []))
    total = len(rest)
    made: dict[str, list[Sentence]] = {}
    for part, fraction, salt in (("test", config.test_fraction, 1), ("val", config.val_fraction, 2)):
        if part in raw.splits:
            made[part] = raw.splits[part]
            continue
        labels = np.array([max((rank[kind] for _, _, kind in s.spans), default=0) for s in rest], np.int64)
        # The fraction is of all sentences, also for the part that is cut second.
        share = min(fraction * total / max(len(rest), 1), 0.9)
        chosen = stratified(labels, share, seed=seed + salt, groups=[_key(s) for s in rest])
        made[part] = [s for s, c in zip(rest, chosen, strict=True) if c]
        rest = [s for s, c in zip(rest, chosen, strict=True) if not c]
        raw.notes.append(f"the {part} part is a seeded, stratified {fraction:.0%} of the sentences")
    return {"train": rest, "val": made["val"], "test": made["test"]}


def _key(sentence: Sentence) -> bytes:
    return summaries.digest("\n".join(sentence.tokens).encode("utf-8", "surrogatepass"))


def _summary(raw: Raw, parts: dict[str, list[Sentence]], types: Sequence[str]) -> summaries.DataSummary:
    import numpy as np

    counts: dict[str, dict[str, int]] = {}
    notes = list(raw.notes)
    for part, of_part in parts.items():
        found = Counter(kind for s in of_part for _, _, kind in s.spans)
        words = sum(len(s.offsets) for s in of_part)
        counts[part] = {"sentences": len(of_part), "words": words, **{kind: found[kind] for kind in types}}
        if unknown := sorted(set(found) - set(types)):
            number = sum(found[kind] for kind in unknown)
            notes.append(
                f"{number} entities of the {part} part are of types that no training sentence has "
                f"({', '.join(unknown[:5])}): they count as missed"
            )
    hashes = {part: [_key(s) for s in of_part] for part, of_part in parts.items()}
    whole = {
        part: [summaries.digest(_key(s) + json.dumps(s.spans).encode()) for s in of_part]
        for part, of_part in parts.items()
    }
    names = {part: [s.name for s in of_part] for part, of_part in parts.items()}
    fingerprint = summaries.fingerprint(whole, {part: np.zeros(0) for part in parts})
    return summaries.DataSummary(counts, raw.skipped, summaries.duplicates(hashes, names), fingerprint, notes)


class Tags:
    """Entities as one tag a word.

    Args:
        types: Types of entities.
        scheme: `bio`, or `bioes`, which also tells ends and single words.
    """

    def __init__(self, types: Sequence[str], scheme: str) -> None:
        self.types, self.scheme = tuple(types), scheme
        self.names = ["O", *(f"{sign}-{kind}" for kind in types for sign in ("BI" if scheme == "bio" else "BIES"))]
        self._number = {name: i for i, name in enumerate(self.names)}

    def forbidden(self) -> list[tuple[int, int]]:
        """Pairs of tags that no entities give, as `pipelines.layers.CRF` takes them."""
        start, end = len(self.names), len(self.names) + 1
        named = [(i, *name.partition("-")[::2]) for i, name in enumerate(self.names)]
        pairs = []
        for i, sign, kind in [(start, "O", ""), *named]:
            is_open = self.scheme == "bioes" and sign in "BI"
            for j, after, of in [*named, (end, "O", "")]:
                goes_on = after in "IE" and sign in "BI" and of == kind
                if (after in "IE" and not goes_on) or (is_open and not goes_on):
                    pairs.append((i, j))
        return pairs

    def encode(self, spans: Iterable[Place], size: int) -> list[int]:
        """The number of each word's tag."""
        numbers = [0] * size
        for begin, end, kind in spans:
            for i in range(begin, end):
                sign = "B" if i == begin else "I"
                if self.scheme == "bioes" and i == end - 1:
                    sign = "S" if i == begin else "E"
                numbers[i] = self._number.get(f"{sign}-{kind}", 0)
        return numbers

    def decode(self, numbers: Iterable[int]) -> list[Place]:
        """Entities of a sequence of tags that breaks no rule."""
        spans: list[Place] = []
        for i, number in enumerate(numbers):
            sign, _, kind = self.names[number].partition("-")
            if sign in "BS":
                spans.append((i, i + 1, kind))
            elif sign in "IE":
                spans[-1] = (spans[-1][0], i + 1, kind)
        return spans


def most_words(vocabulary: Vocabulary, length: int) -> int:
    """Words of the longest sentence of which a pretrained encoder that reads `length` subwords can read each word."""
    # Batches are padded to a multiple of MULTIPLE, which must fit as well.
    return length // MULTIPLE * MULTIPLE - len(vocabulary.prefix) - len(vocabulary.suffix)


class SubwordEncoder:
    """Rows of `WordEncoder` with two more columns for a pretrained encoder: int32 (S, width), S subwords and 2 special.

    The last column but one has the subwords' numbers, the last the place of the first subword of the row's word. Of a
    sentence with more subwords than fit, fewer of each word are read, so that all words stay.

    Args:
        words: What gives the other columns.
        vocabulary: The tokenizer of the pretrained encoder.
        length: Most subwords that the pretrained encoder reads at once, the special ones included.

    Raises:
        ValueError: From a call, for a sentence of more than `most_words` words.
    """

    def __init__(self, words: WordEncoder, vocabulary: Vocabulary, length: int) -> None:
        import numpy as np

        self.words, self.vocabulary, self.length = words, vocabulary, length
        self.most_words = most_words(vocabulary, length)
        self.width = words.width + 2
        self.padding = np.zeros(self.width, np.int32)
        self.padding[-2] = vocabulary.pad

    def __call__(self, tokens: Sequence[str]) -> np.ndarray:
        import numpy as np

        ids = list(self.vocabulary.prefix)
        firsts = []
        # The space lets byte-level tokenizers see the beginning of a word; others drop it.
        encoded = self.vocabulary.encode([f" {token}" for token in tokens])
        subwords = [word.ids or [self.vocabulary.pad] for word in encoded]
        sizes = [len(of_word) for of_word in subwords]
        fitting = (n for n in range(SUBWORDS, 0, -1) if sum(min(size, n) for size in sizes) <= self.most_words)
        most = next(fitting, 0)
        if not most:
            raise ValueError(f"a sentence has {len(tokens)} words, but {self.most_words} fit")
        for of_word in subwords:
            firsts.append(len(ids))
            ids.extend(of_word[:most])
        ids += self.vocabulary.suffix
        rows = np.zeros((max(len(ids), len(tokens)), self.width), np.int32)
        rows[: len(tokens), : self.words.width] = self.words(tokens)
        rows[:, -2] = self.vocabulary.pad
        rows[: len(ids), -2] = ids
        rows[: len(firsts), -1] = firsts
        return rows

    def to_json(self) -> dict[str, Any]:
        return {**self.words.to_json(), "subwords": self.vocabulary.to_json(), "length": self.length}


def encoder_from_json(value: dict[str, Any]) -> Encoder:
    """The encoder that a run's spec describes."""
    from pipelines.tags.word_features import WordEncoder

    words = WordEncoder(value["words"], value["features"])
    if "subwords" not in value:
        return words
    from pipelines.texts.vocabulary import Vocabulary

    return SubwordEncoder(words, Vocabulary.from_json(value["subwords"]), value.get("length", 512))


def padded(rows: Sequence[np.ndarray], fill: Any = 0) -> np.ndarray:
    """Arrays of different lengths as one, padded to a multiple of `MULTIPLE`.

    Args:
        rows: (T, ...) each, of one type.
        fill: What stands in the padding, a number or an array of the rest's shape.
    """
    import numpy as np

    longest = max((len(row) for row in rows), default=1)
    length = max(-(-longest // MULTIPLE), 1) * MULTIPLE
    table = np.empty((len(rows), length, *rows[0].shape[1:]), rows[0].dtype)
    table[:] = fill
    for target, row in zip(table, rows, strict=True):
        target[: len(row)] = row
    return table
