"""Which pairs are no translations of each other, and why: what is dropped before training is counted and named."""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

import numpy as np

BUCKETS = 2**16
SHORTEST = 30  # letters of a text whose language is judged
SURE = 0.5  # mean log ratio of a trigram
MANY = 500  # pairs under which the languages are not judged by their letters
COPY_WORDS = 3
LONGEST = 4000  # characters of a text for training
SHORT = 20  # characters up to which any ratio of lengths is usual
_WORD = re.compile(r"[^\W\d_]{2,}")


@lru_cache(maxsize=65536)
def _script(letter: str) -> str:
    return unicodedata.name(letter, "?").split()[0] if letter.isalpha() else ""


def script(text: str) -> str:
    """The script of most of its letters, as in their Unicode names (LATIN, CYRILLIC, CJK); empty without letters."""
    counts = Counter(filter(None, map(_script, text)))
    return counts.most_common(1)[0][0] if counts else ""


def trigrams(text: str) -> np.ndarray:
    """Hashes of the character trigrams of its words, int64."""
    found = [
        zlib.crc32(f" {word} "[i : i + 3].encode()) % BUCKETS
        for word in _WORD.findall(text.lower())
        for i in range(len(word))
    ]
    return np.array(found, np.int64)


class Judge:
    """What is usual in a collection of pairs, and what is not.

    Args:
        pairs: Sources and targets; what they have in common is learned from them, without any knowledge of languages.
        max_ratio: How many times the usual ratio of lengths is still right.
    """

    def __init__(self, pairs: Iterable[tuple[str, str]], max_ratio: float) -> None:
        self.max_ratio = max_ratio
        counts = np.ones((2, BUCKETS), np.float64)
        scripts: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
        ratios: list[float] = []
        for both in pairs:
            if max(map(len, both)) > LONGEST:
                continue
            for side, text in enumerate(both):
                np.add.at(counts[side], trigrams(text), 1)
                scripts[side][script(text[:200])] += 1
            if min(map(len, both)) > 0:
                ratios.append(np.log(len(both[1]) / len(both[0])))
        self.scripts = [next((name for name, _ in counter.most_common(2) if name), "") for counter in scripts]
        # A script is demanded where nearly all texts are in it.
        self.single = [
            bool(name) and counter[name] > 0.9 * (counter.total() - counter[""])
            for name, counter in zip(self.scripts, scripts, strict=True)
        ]
        self.ratio = float(np.median(ratios)) if ratios else 0.0
        shares = counts / counts.sum(1, keepdims=True)
        self.evidence = np.log(shares[1] / shares[0])  # for the target's language
        self.judges_language = len(ratios) >= MANY and self.scripts[0] == self.scripts[1]

    def reason(self, source: str, target: str) -> str:
        """Why this is no pair to learn from, or empty."""
        if not source.strip() or not target.strip():
            return "an empty side"
        if max(len(source), len(target)) > LONGEST:
            return f"more than {LONGEST} characters"
        if source.strip() == target.strip():
            return "an untranslated copy" if len(_WORD.findall(source)) >= COPY_WORDS else ""
        if max(len(source), len(target)) > SHORT:
            ratio = np.log(len(target) / len(source)) - self.ratio
            if abs(ratio) > np.log(self.max_ratio):
                return "an unusual ratio of lengths"
        for side, text in enumerate((source, target)):
            found = script(text)
            if self.single[side] and found and found != self.scripts[side]:
                return f"its {('source', 'target')[side]} is in another script"
        if self.judges_language:
            for side, text, sign in ((0, source, -1.0), (1, target, 1.0)):
                found_trigrams = trigrams(text)
                if len(found_trigrams) >= SHORTEST and sign * self.evidence[found_trigrams].mean() < -SURE:
                    return f"its {('source', 'target')[side]} reads like the other language"
        return ""


def key(text: str) -> bytes:
    """What texts that differ only in white space have in common."""
    from pipelines.data.summary import digest

    return digest(" ".join(text.split()).encode("utf-8", "replace"))


def masked(text: str) -> str:
    """The text with each digit as 0: what is left of a template."""
    return re.sub(r"\d", "0", text)


def counted(reasons: Iterable[tuple[str, str]], shown: int = 3) -> Iterator[tuple[str, int, Sequence[str]]]:
    """By reason: how many pairs, and the names of the first of them."""
    groups: dict[str, list[str]] = {}
    for name, reason in reasons:
        groups.setdefault(reason, []).append(name)
    for reason, names in sorted(groups.items(), key=lambda item: -len(item[1])):
        yield reason, len(names), names[:shown]
