"""Words to numbers: their place in a vocabulary, their bytes, and hashed features of how they look."""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

PAD, UNKNOWN = 0, 1
BYTES = 24
FEATURES = 24
_AFFIX = 4
_RUNS = re.compile(r"(.)\1+")


def shape(word: str) -> str:
    """How a word looks: `Xx` for letters, `d` for digits; runs count once, `McDonald's` is `XxXx'x`."""
    signs = ("d" if c.isdigit() else "X" if c.isupper() else "x" if c.isalpha() else c for c in word)
    return _RUNS.sub(r"\1", "".join(signs))


def normal(word: str) -> str:
    """The form under which a word is looked up: lower case, one digit for all, one name for all users and links."""
    word = word.lower()
    if word.startswith(("http://", "https://", "www.")):
        return "<link>"
    if len(word) > 1 and word[0] == "@":
        return "<user>"
    return re.sub(r"\d", "0", word)


class WordEncoder:
    """Sentences to int32 (T, 1 + BYTES + FEATURES): number of the word, its UTF-8 bytes plus one, hashed features.

    Padding is 0 everywhere. Bytes need no vocabulary and know every script; of a long word its ends count.

    Args:
        words: The vocabulary; its numbers begin at 2, after padding and the unknown.
        buckets: Size of the hash table of the features, of which number 0 is padding.
    """

    width = 1 + BYTES + FEATURES
    padding = 0

    def __init__(self, words: Sequence[str], buckets: int) -> None:
        self.words = list(words)
        self.buckets = buckets
        self._number = {word: i for i, word in enumerate(self.words, start=2)}
        self._of_word = lru_cache(maxsize=200_000)(self._alone)

    def __call__(self, tokens: Sequence[str]) -> np.ndarray:
        """int32 (T, width) of a sentence."""
        rows = np.zeros((len(tokens), self.width), np.int32)
        alone = [self._of_word(token) for token in tokens]
        edge = ("", "")
        for i, (numbers, lower, own_shape) in enumerate(alone):
            rows[i, : len(numbers)] = numbers
            before = alone[i - 1][1:] if i else edge
            after = alone[i + 1][1:] if i + 1 < len(alone) else edge
            context = (
                f"<{before[0]}|{lower}", f">{lower}|{after[0]}", f"{before[1]}|{own_shape}|{after[1]}",
                f"at{min(i, 1)}{own_shape}", f"end{min(len(alone) - 1 - i, 1)}",
            )  # fmt: skip
            rows[i, self.width - len(context) :] = [self._hash(feature) for feature in context]
        return rows

    def _alone(self, word: str) -> tuple[np.ndarray, str, str]:
        """What a word gives without its neighbours: numbers, its normal form, its shape."""
        lower, own_shape = normal(word), shape(word)
        raw = word.encode("utf-8", "replace")
        raw = raw if len(raw) <= BYTES else raw[: BYTES * 2 // 3] + raw[-(BYTES // 3) :]
        small = word.lower()
        features = [f"w={lower}", f"W={word}", f"s={own_shape}", f"n={min(len(word), 12)}"]
        features += [f"p={small[:n]}" for n in range(1, _AFFIX + 1) if len(small) >= n]
        features += [f"e={small[-n:]}" for n in range(1, _AFFIX + 1) if len(small) >= n]
        features += [f"ps={small[:3]}{own_shape}", f"es={small[-3:]}{own_shape}"]
        features += [f"h={part}" for part in re.split(r"[-/&_.']", small)[:3] if part != small and part]
        numbers = np.zeros(1 + BYTES + FEATURES, np.int32)
        numbers[0] = self._number.get(lower, UNKNOWN)
        numbers[1 : 1 + len(raw)] = np.frombuffer(raw, np.uint8).astype(np.int32) + 1
        hashed = [self._hash(feature) for feature in features]
        numbers[1 + BYTES : 1 + BYTES + len(hashed)] = hashed
        return numbers, lower, own_shape

    def _hash(self, feature: str) -> int:
        return 1 + zlib.crc32(feature.encode("utf-8", "replace")) % (self.buckets - 1)

    def to_json(self) -> dict[str, Any]:
        return {"words": self.words, "buckets": self.buckets}


def learn_words(sentences: Iterable[Sequence[str]], size: int, least: int = 2) -> list[str]:
    """The most frequent words of the training sentences in normal form, each seen `least` times or more."""
    counts = Counter(normal(word) for tokens in sentences for word in tokens)
    return [word for word, count in counts.most_common(size) if count >= least]


def with_vectors(path: str, sentences: Sequence[Sequence[str]], size: int) -> tuple[list[str], np.ndarray]:
    """The words of a file of vectors: those of the training sentences, then the most frequent ones, `size` in all.

    Returns:
        The words, and float32 (words + 2, D) with zeros for padding and the unknown.

    Raises:
        UserError: The file is missing or damaged.
    """
    from pipelines.data import word_vectors

    words = dict.fromkeys(learn_words(sentences, size, least=1))
    words |= dict.fromkeys(word for word in word_vectors.first_words(path, 2 * size) if normal(word) == word)
    vectors, found = word_vectors.load(path, list(words))
    kept = np.flatnonzero(found)[:size]
    names = list(words)
    return [names[i] for i in kept], np.concatenate([np.zeros((2, vectors.shape[1]), np.float32), vectors[kept]])
