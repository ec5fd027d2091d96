"""Long texts in parts that a model can translate, and together again with all that stood between them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

# No sentence ends behind these, where the next word has a capital letter.
_ABBREVIATIONS = re.compile(
    r"(?:\b(?:[A-Za-z]|Dr|Mr|Mrs|Ms|Prof|St|Sr|Jr|vs|No|Nr|Fig|Abb|Vol|cf|vgl|approx|ca|bzw|ggf|evtl|Jan|Feb|Mar|Apr|Jun|Jul"
    r"|Aug|Sept?|Oct|Okt|Nov|Dec|Dez)|\be\.g|\bi\.e|\bz\. ?B|\bd\. ?h|\bu\. ?a|\d)\.$"
)
_BREAK = re.compile(r"""([.!?…]+["'”’»)\]]*)(\s+)(?=["'“„«(\[¿¡]*[^\W_a-zß-öø-ÿ])|([。！？]+[」』”]*)()""")
_LINES = re.compile(r"[^\r\n]+|[\r\n]+")


@dataclass(frozen=True)
class Part:
    """A part of a text: to be translated, or kept as it is."""

    text: str
    kept: bool = False


def sentences(line: str) -> Iterator[Part]:
    """The sentences of a line, and the white space between them."""
    start = 0
    for found in _BREAK.finditer(line):
        end = found.end(1) if found[1] is not None else found.end(3)
        if found[1] == "." and _ABBREVIATIONS.search(line[start:end]):
            continue
        yield Part(line[start:end])
        if found[2]:
            yield Part(found[2], kept=True)
        start = found.end()
    if start < len(line):
        yield Part(line[start:])


def parts(text: str, size: Callable[[str], int], usual: int, most: int) -> list[Part]:
    """A text as parts that, joined, are the text.

    Lines are translated on their own. A line of more than `usual` pieces is cut into sentences, of which as many come
    together as make `usual` pieces; a sentence of more than `most` pieces is cut at a comma, a space or anywhere.

    Args:
        text: It.
        size: How many pieces a text has.
        usual: Pieces of a longer text among those of the training.
        most: Pieces that the model reads.
    """
    found: list[Part] = []
    for line in _LINES.findall(text):
        inner = line.strip()
        if not inner:
            found.append(Part(line, kept=True))
            continue
        before, after = line[: line.index(inner)], line[line.index(inner) + len(inner) :]
        found += [Part(before, kept=True)] if before else []
        found += _packed(inner, size, usual, most) if size(inner) > usual else [Part(inner)]
        found += [Part(after, kept=True)] if after else []
    return found


def _packed(line: str, size: Callable[[str], int], usual: int, most: int) -> Iterator[Part]:
    waiting, space = "", ""
    for part in sentences(line):
        if part.kept:
            space = part.text
            continue
        for piece in _cut(part.text, size, most):
            if piece.kept:
                space = piece.text
                continue
            if waiting and size(waiting + space + piece.text) <= usual:
                waiting += space + piece.text
            else:
                yield from _both(waiting, space)
                waiting = piece.text
            space = ""
    if waiting:
        yield Part(waiting)


def _both(text: str, space: str) -> Iterator[Part]:
    if text:
        yield Part(text)
    if space:
        yield Part(space, kept=True)


def _cut(text: str, size: Callable[[str], int], most: int) -> Iterator[Part]:
    """A sentence in pieces of at most `most`; spaces where it is cut are parts of their own."""
    while size(text) > most:
        low, high = 1, len(text)
        while low < high:  # the longest beginning that fits
            middle = (low + high + 1) // 2
            low, high = (middle, high) if size(text[:middle]) <= most else (low, middle - 1)
        beginning = text[:low]
        places = [m.end() for m in re.finditer(r"[,;:–—]\s", beginning)] or [
            m.end() for m in re.finditer(r"\s", beginning)
        ]
        place = next((p for p in reversed(places) if p > low // 3), low)
        head = text[:place]
        yield Part(head.rstrip() or head)
        if head.rstrip() != head and head.rstrip():
            yield Part(head[len(head.rstrip()) :], kept=True)
        text = text[place:]
        if text != text.lstrip() and text.strip():
            yield Part(text[: len(text) - len(text.lstrip())], kept=True)
            text = text.lstrip()
    if text:
        yield Part(text)
