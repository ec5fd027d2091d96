"""Texts as what a model reads: rows of token or n-gram numbers, long texts in overlapping windows."""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from pipelines.texts.vocabulary import WORD, Vocabulary

# Rows are padded to a multiple of this, so that a backend that compiles for each shape has few of them.
MULTIPLE = 16
LEARN_BLOCK = 4096
MIX, BITS = np.uint64(2654435761), np.uint64(2**32)  # Knuth's multiplicative hash
CHARACTERS = np.uint64(2**31)  # the bit of n-grams of characters
COUNT, MOST_COUNTED = 2**24, 128  # an entry of a row is the number of an n-gram, plus COUNT for each repetition
SPACES = np.array([i for i in range(0x3001) if chr(i).isspace()], np.uint64)
NOWHERE = np.zeros((0, 2), np.int64)
_WORD = re.compile(WORD)


class TextInput(Protocol):
    """How a text becomes numbers."""

    @property
    def pad(self) -> int: ...

    def windows(self, texts: Sequence[str], *, places: bool = False) -> Windows:
        """The texts cut and numbered; with `places` also where each number stands in its text."""
        ...

    def to_json(self) -> dict[str, Any]: ...


@dataclass(eq=False)
class Windows:
    """Texts cut into windows, each a row for the model; a short text is one.

    Args:
        ids: W arrays of int32.
        owner: int64 (W,): the number of the text that each belongs to, rising.
        pad: Number that fills the rows.
        places: For each window, if asked for, where its entries stand in the raw text: int32 (P, 3), the position of
            the entry in the window, and start and end in characters; an entry may stand at several places, or at none.
    """

    ids: list[np.ndarray]
    owner: np.ndarray
    pad: int
    places: list[np.ndarray]

    def read(self, indices: Iterable[int]) -> np.ndarray:
        """int32 (B, L) of some windows, padded to the longest of them."""
        rows = [self.ids[i] for i in indices]
        longest = max(map(len, rows), default=0)
        table = np.full((len(rows), max(-(-longest // MULTIPLE), 1) * MULTIPLE), self.pad, np.int32)
        for row, ids in zip(table, rows, strict=True):
            row[: len(ids)] = ids
        return table

    @property
    def share(self) -> np.ndarray:
        """float32 (W,): one over the number of windows of the text, so that each text counts once."""
        return (1 / np.bincount(self.owner))[self.owner].astype(np.float32)


@dataclass(eq=False)
class TokenInput:
    """Tokens of a vocabulary, with the special ones that it wants around each window.

    Args:
        vocabulary: It.
        length: Most tokens of a window, the special ones included.
        overlap: Part of a window that the next one repeats.
    """

    vocabulary: Vocabulary
    length: int
    overlap: float = 0.25

    @property
    def pad(self) -> int:
        return self.vocabulary.pad

    def windows(self, texts: Sequence[str], *, places: bool = False) -> Windows:
        prefix, suffix = self.vocabulary.prefix, self.vocabulary.suffix
        room = self.length - len(prefix) - len(suffix)
        windows = Windows([], np.zeros(0, np.int64), self.pad, [])
        owner: list[int] = []
        for number, encoded in enumerate(self.vocabulary.encode(texts)):
            for start, end in spans(len(encoded.ids), room, self.overlap):
                owner.append(number)
                windows.ids.append(np.array([*prefix, *encoded.ids[start:end], *suffix], np.int32))
                if places:
                    at = np.array(encoded.offsets[start:end], np.int32).reshape(-1, 2)
                    windows.places.append(np.column_stack([len(prefix) + np.arange(len(at), dtype=np.int32), at]))
        windows.owner = np.array(owner, np.int64)
        return windows

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": "tokens", "vocabulary": self.vocabulary.to_json(), "length": self.length, "overlap": self.overlap,
        }  # fmt: skip


@dataclass(eq=False)
class NgramInput:
    """N-grams of words and of characters, hashed to 32 bits; those that occur in several training texts are known.

    Upper and lower case are the same, and so is all white space. N-grams of characters stay within a word and the
    spaces around it. A row holds each known n-gram of the window once: its number, plus `COUNT` times the further
    occurrences (at most 127 are counted).

    Args:
        known: uint32 (V,), the hashes of the known n-grams in ascending order; `known[i]` has the number i + 1. The
            highest bit is set for characters, so that the words come first.
        words: Length of the longest n-gram of words.
        low: Length of the shortest n-gram of characters.
        high: Length of the longest n-gram of characters; 0 for none.
        length: Most words of a window.
        overlap: Fraction of a window that the next one repeats.
        weighted: False for runs of version 0.1.0: n-grams of characters cross words, occurrences are not counted, and
            no bit tells characters from words.

    Reference:
        Joulin et al., "Bag of Tricks for Efficient Text Classification", 2016, for the hashing.
    """

    known: np.ndarray
    words: int = 2
    low: int = 2
    high: int = 5
    length: int = 2048
    overlap: float = 0.25
    weighted: bool = True
    pad: int = field(default=0, init=False)
    _recent: list[tuple[Sequence[str], Windows]] = field(default_factory=list, init=False, repr=False)

    @classmethod
    def learn(cls, texts: Sequence[str], *, size: int, least: int = 2, **options: Any) -> NgramInput:
        """Knows the n-grams that occur in at least `least` texts, the `size` most frequent of them."""
        everything = cls(np.zeros(0, np.uint32), **options)
        seen, counts = np.zeros(0, np.uint32), np.zeros(0, np.int64)
        for start in range(0, len(texts), LEARN_BLOCK):
            block = [np.unique(hashes) for hashes, _ in map(everything._hashes, texts[start : start + LEARN_BLOCK])]
            found, number = np.unique(np.concatenate(block), return_counts=True)
            seen, place = np.unique(np.concatenate([seen, found]), return_inverse=True)
            counts = np.bincount(place, np.concatenate([counts, number]), len(seen)).astype(np.int64)
        often = np.flatnonzero(counts >= least)
        often = often[np.argsort(-counts[often], kind="stable")[:size]]
        return cls(np.sort(seen[often]), **options)

    @property
    def known_words(self) -> int:
        """How many of the known n-grams are of words; theirs are the first numbers."""
        return int(np.searchsorted(self.known, CHARACTERS))

    def windows(self, texts: Sequence[str], *, places: bool = False) -> Windows:
        for same, windows in self._recent:
            if same is texts and not places:
                return windows
        windows = Windows([], np.zeros(0, np.int64), self.pad, [])
        owner: list[int] = []
        for number, text in enumerate(texts):
            for piece, shift in self._pieces(text):
                owner.append(number)
                hashes, at = self._hashes(piece, places=places)
                if not len(self.known):
                    hashes = hashes[:0]
                index = np.searchsorted(self.known, hashes)
                index[index == len(self.known)] = 0
                hit = self.known[index] == hashes if len(hashes) else np.zeros(0, bool)
                ids, entry, counts = np.unique(index[hit] + 1, return_inverse=True, return_counts=True)
                if self.weighted:
                    ids = ids + COUNT * np.minimum(counts - 1, MOST_COUNTED - 1)
                windows.ids.append(ids.astype(np.int32))
                if places:
                    windows.places.append(np.column_stack([entry, at[: len(hit)][hit] + shift]).astype(np.int32))
        windows.owner = np.array(owner, np.int64)
        if not places:  # training asks for the same texts several times
            self._recent = [(texts, windows), *self._recent[:1]]
        return windows

    def _pieces(self, text: str) -> Iterator[tuple[str, int]]:
        """The text of each window, and where it begins."""
        if len(text) <= self.length:
            yield text, 0
            return
        found = list(_WORD.finditer(text))
        for start, end in spans(len(found), self.length, self.overlap):
            inner = found[start:end]
            first, last = (inner[0].start(), inner[-1].end()) if inner and len(inner) < len(found) else (0, len(text))
            yield text[first:last], first

    def _hashes(self, text: str, places: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """uint32 hashes of all n-grams, and, if asked for, int64 (N, 2) where they are."""
        lower = text.lower()
        if len(lower) != len(text):  # a few letters grow
            lower = "".join(c if len(c.lower()) != 1 else c.lower() for c in text)
        hashes, at = [], []
        found = list(_WORD.finditer(lower))
        run = np.array([zlib.crc32(m.group().encode("utf-8", "replace")) for m in found], np.uint64)
        single = run
        for size in range(1, self.words + 1):
            if size > 1:
                following = single[size - 1 :]
                run = (run[: len(following)] * MIX + following) % BITS
            hashes.append(run % CHARACTERS if self.weighted else run)
            if places:
                first, last = found[: len(run)], found[size - 1 :]
                at.append(np.array([(a.start(), b.end()) for a, b in zip(first, last, strict=True)]).reshape(-1, 2))
        if not self.high:
            return np.concatenate(hashes).astype(np.uint32), np.concatenate(at).astype(np.int64) if places else NOWHERE
        points = np.frombuffer(f" {lower} ".encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
        space = np.isin(points, SPACES)
        kept = np.flatnonzero(~(space & np.concatenate([[False], space[:-1]])))
        points = np.where(space, np.uint64(32), points)[kept]
        spaces = np.concatenate([[0], np.cumsum(space[kept])])
        run = np.zeros(len(points), np.uint64)
        for size in range(1, self.high + 1):
            run = (run[: len(points) - size + 1] * MIX + points[size - 1 :] + np.uint64(1)) % BITS
            if size < self.low or not len(run):
                continue
            # Each size begins at a value of its own, and words are hashed in another way: no two are taken for one.
            hashed = (run ^ np.uint64(size * 0x9E3779B1 % 2**32)) % BITS
            begins = np.arange(len(run))
            if self.weighted:
                begins = np.flatnonzero(spaces[begins + max(size - 1, 1)] == spaces[begins + 1])
                hashed = hashed[begins] | CHARACTERS
            hashes.append(hashed)
            if places:
                at.append(np.column_stack([kept[begins] - 1, kept[begins + size - 1]]).clip(0, len(text)))
        return np.concatenate(hashes).astype(np.uint32), np.concatenate(at).astype(np.int64) if places else NOWHERE

    def to_json(self) -> dict[str, Any]:
        names = ("words", "low", "high", "length", "overlap", "weighted")
        known = base64.b64encode(zlib.compress(np.diff(self.known, prepend=np.uint32(0)).astype("<u4").tobytes()))
        return {"kind": "ngrams", "known": known.decode(), **{name: getattr(self, name) for name in names}}


def from_json(value: Mapping[str, Any]) -> TextInput:
    """What `to_json` of an input gave."""
    options = {key: option for key, option in value.items() if key != "kind"}
    if value["kind"] == "ngrams":
        steps = np.frombuffer(zlib.decompress(base64.b64decode(options.pop("known"))), "<u4")
        return NgramInput(np.cumsum(steps, dtype=np.uint32), **{"weighted": False, **options})
    return TokenInput(Vocabulary.from_json(options["vocabulary"]), options["length"], options["overlap"])


def spans(size: int, length: int, overlap: float) -> list[tuple[int, int]]:
    """Windows of at most `length` over `size` entries, as (start, end); each but the first repeats a part of the last.

    The last window is a full one that ends with the text, so that no window is a mere rest.
    """
    if size <= length:
        return [(0, size)]
    step = max(int(length * (1 - overlap)), 1)
    starts = [*range(0, size - length, step), size - length]
    return [(start, start + length) for start in starts]
