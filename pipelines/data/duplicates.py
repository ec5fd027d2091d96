"""Texts that are almost the same: MinHash finds the candidates, the shared word triples decide."""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Iterator, Sequence

import numpy as np

WORDS = 3
BANDS, ROWS = 32, 3
# A band that so many texts share is a form letter: its texts are compared with their neighbours only, or the work
# would grow with the square of their number.
CROWD = 50
_PRIME = np.uint64(4294967311)  # the first above 2**32: products of two 32-bit numbers stay below 2**64


def normalized(text: str) -> str:
    """The text without case, variants of form (NFKC), punctuation and runs of white space.

    A text of marks alone, such as emoji, stays as it is.
    """
    return " ".join(re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold())) or text.strip()


def shingles(text: str) -> np.ndarray:
    """Hashes of the word triples of a normalized text, sorted uint32; a shorter text is one of its own."""
    words = text.split()
    triples = [" ".join(words[i : i + WORDS]) for i in range(max(len(words) - WORDS + 1, 1))]
    return np.unique(np.array([zlib.crc32(triple.encode("utf-8", "replace")) for triple in triples], np.uint32))


def pairs(texts: Sequence[str], threshold: float) -> list[tuple[int, int, float]]:
    """All pairs of texts whose word triples have a Jaccard similarity of `threshold` or more.

    Candidates share a band of their MinHash signature: a pair with a similarity of 0.7 is found with a probability of
    99.9 %, of 0.5 with 98 %, of 0.3 with 58 %. The similarity of candidates is then counted, so that no pair is wrong.

    Args:
        texts: As they are.
        threshold: Above 0, at most 1.

    Returns:
        (i, j, similarity) with i < j, in order.

    Reference:
        Broder, "On the Resemblance and Containment of Documents", 1997.
    """
    sets = [shingles(normalized(text)) for text in texts]
    generator = np.random.default_rng(0)
    factors = generator.integers(1, 2**32, (BANDS * ROWS, 1), dtype=np.uint64)
    shifts = generator.integers(0, 2**32, (BANDS * ROWS, 1), dtype=np.uint64)
    buckets: list[dict[bytes, list[int]]] = [{} for _ in range(BANDS)]
    for number, of_text in enumerate(sets):
        signature = np.full(BANDS * ROWS, _PRIME)
        for start in range(0, len(of_text), 4096):  # a text of a megabyte has a hundred thousand triples
            block = of_text[start : start + 4096].astype(np.uint64)
            signature = np.minimum(signature, ((factors * block + shifts) % _PRIME).min(axis=1))
        for band, values in enumerate(signature.reshape(BANDS, ROWS)):
            buckets[band].setdefault(values.tobytes(), []).append(number)
    candidates: set[tuple[int, int]] = set()
    for bucket in buckets:
        for members in bucket.values():
            candidates.update(_neighbours(members))
    found = [(i, j, jaccard(sets[i], sets[j])) for i, j in sorted(candidates)]
    return [(i, j, similarity) for i, j, similarity in found if similarity >= threshold]


def _neighbours(members: list[int]) -> Iterator[tuple[int, int]]:
    reach = len(members) if len(members) <= CROWD else 1
    for position, i in enumerate(members):
        for j in members[position + 1 : position + 1 + reach]:
            yield i, j


def jaccard(a: np.ndarray, b: np.ndarray) -> float:
    """Size of the intersection over that of the union of two sorted sets."""
    shared = len(np.intersect1d(a, b, assume_unique=True))
    return shared / (len(a) + len(b) - shared)


def groups(size: int, links: Sequence[tuple[int, int, float]]) -> list[int]:
    """A key for each of `size` texts; those that a chain of links connects have the same."""
    root = list(range(size))

    def find(i: int) -> int:
        while root[i] != i:
            root[i] = root[root[i]]
            i = root[i]
        return i

    for i, j, _ in links:
        a, b = find(i), find(j)
        root[max(a, b)] = min(a, b)
    return [find(i) for i in range(size)]
