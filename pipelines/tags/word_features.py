"""Words to numbers: their place in a vocabulary, their bytes, and features of how they look."""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
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
    """Sentences to int32 (T, 1 + BYTES + FEATURES): number of the word, its UTF-8 bytes plus one, features that it has.

    Padding is 0 everywhere, and so are features that training has not seen. Bytes need no vocabulary and know every
    script; of a long word its ends count.

    Args:
        words: The vocabulary; its numbers begin at 2, after padding and the unknown.
        features: What `learn_features` gave; its numbers begin at 1.
    """

    width = 1 + BYTES + FEATURES
    padding = 0

    def __init__(self, words: Sequence[str], features: Sequence[int]) -> None:
        self.words, self.features = list(words), list(features)
        self._word = {word: i for i, word in enumerate(self.words, start=2)}
        self._feature = {key: i for i, key in enumerate(self.features, start=1)}
        self._of_word = lru_cache(maxsize=200_000)(self._numbers)

    def __call__(self, tokens: Sequence[str]) -> np.ndarray:
        """int32 (T, width) of a sentence."""
        rows = np.zeros((len(tokens), self.width), np.int32)
        for row, token, context in zip(rows, tokens, _contexts(tokens), strict=True):
            row[:] = self._of_word(token)
            row[-len(context) :] = [self._feature.get(_key(feature), 0) for feature in context]
        return rows

    def _numbers(self, word: str) -> np.ndarray:
        """What a word gives without its neighbours."""
        raw = word.encode("utf-8", "replace")
        raw = raw if len(raw) <= BYTES else raw[: BYTES * 2 // 3] + raw[-(BYTES // 3) :]
        found = [self._feature.get(_key(feature), 0) for feature in _alone(word)]
        numbers = np.zeros(self.width, np.int32)
        numbers[0] = self._word.get(normal(word), UNKNOWN)
        numbers[1 : 1 + len(raw)] = np.frombuffer(raw, np.uint8).astype(np.int32) + 1
        numbers[1 + BYTES : 1 + BYTES + len(found)] = found
        return numbers

    def to_json(self) -> dict[str, Any]:
        return {"words": self.words, "features": self.features}


def learn_features(sentences: Iterable[Sequence[str]], size: int, least: int = 2) -> list[int]:
    """Keys of the most frequent hand features of the training sentences, each seen `least` times or more."""
    counts: Counter[int] = Counter()
    for tokens in sentences:
        for token, context in zip(tokens, _contexts(tokens), strict=True):
            counts.update(_key(feature) for feature in (*_alone(token), *context))
    return [key for key, count in counts.most_common(size) if count >= least]


def _key(feature: str) -> int:
    return zlib.crc32(feature.encode("utf-8", "replace"))


@lru_cache(maxsize=100_000)
def _alone(word: str) -> tuple[str, ...]:
    """Features of a word by itself."""
    look, small = shape(word), word.lower()
    features = [f"w={normal(word)}", f"W={word}", f"s={look}", f"n={min(len(word), 12)}"]
    features += [f"p={small[:n]}" for n in range(1, _AFFIX + 1) if len(small) >= n]
    features += [f"e={small[-n:]}" for n in range(1, _AFFIX + 1) if len(small) >= n]
    features += [f"ps={small[:3]}{look}", f"es={small[-3:]}{look}"]
    features += [f"h={part}" for part in re.split(r"[-/&_.']", small)[:3] if part != small and part]
    return tuple(features)


def _contexts(tokens: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Features of each word among its neighbours."""
    words = ["", *(normal(token) for token in tokens), ""]
    looks = ["", *(shape(token) for token in tokens), ""]
    for i in range(1, len(tokens) + 1):
        yield (
            f"<{words[i - 1]}|{words[i]}", f">{words[i]}|{words[i + 1]}", f"{looks[i - 1]}|{looks[i]}|{looks[i + 1]}",
            f"at{min(i - 1, 1)}{looks[i]}", f"end{min(len(tokens) - i, 1)}{looks[i]}",
        )  # fmt: skip


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
    from pipelines.texts import word_vectors

    words = dict.fromkeys(learn_words(sentences, size, least=1))
    words |= dict.fromkeys(word for word in word_vectors.first_words(path, 2 * size) if normal(word) == word)
    vectors, found = word_vectors.load(path, list(words))
    kept = np.flatnonzero(found)[:size]
    names = list(words)
    return [names[i] for i in kept], np.concatenate([np.zeros((2, vectors.shape[1]), np.float32), vectors[kept]])
