"""Raw text to words and sentences; both keep their places in the text, and every character but space is in a word."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence

Span = tuple[int, int]

# Marks belong to the letter before them, but \w leaves most of them out.
_MARKS = (
    "\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u065f\u0670"
    "\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed\u0900-\u0963\u0966-\u0df3\u0e01-\u0e3a\u0e40-\u0e4e"
    "\u0e81-\u0ecf\u0f18-\u0fbc\u1000-\u1049\u1050-\u109f\u1780-\u17d3\u1ab0-\u1aff\u1dc0-\u1dff\u200c\u200d"
    "\u20d0-\u20ff\ufe00-\ufe0f"
)
_SINGLE = "\u3041-\u30fa\u30fd-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_LETTER = f"(?:(?![{_SINGLE}])\\w|[{_MARKS}])"
_PICTURE = "[\u2190-\u21ff\u2300-\u23ff\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001f1e5\U0001f200-\U0001faff]"
_MODIFIER = "[\ufe0e\ufe0f\u20e3\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]"
_WORD = re.compile(
    "|".join((
        r"(?:https?://|www\.)[^\s<>\"“”]*[^\s<>\"“”.,;:!?)\]}'’…]",
        # The longest name of RFC 5321: without a bound, each character of a run without spaces reads the rest of it.
        r"[\w.+-]{1,64}@[\w-]+(?:\.[\w-]+)+",
        rf"[@#]{_LETTER}+",
        r"[:;=8xX][-o^']?(?:[)(\]\[dDpP|/\\*]+(?!\w)|3(?![\w.]))",
        r"<3(?!\w)",
        r"\d+(?:[.,:/]\d+)+",
        r"(?:[A-Za-z]\.){2,}",
        r"(?i:n't\b|(?<=\w)['’](?:s|re|ve|ll|d|m)\b)",
        rf"{_LETTER}+?(?=n['’]t\b)|{_LETTER}(?:{_LETTER}|[-&/](?=\w)|['’](?!(?i:(?:s|re|ve|ll|d|m)\b))(?=\w))*",
        "[\U0001f1e6-\U0001f1ff]{2}",
        rf"{_PICTURE}{_MODIFIER}*(?:\u200d{_PICTURE}{_MODIFIER}*)*",
        rf"[{_SINGLE}][{_MARKS}]*",
        r"([^\w\s])\1*",
        r"\S",
    ))
)  # fmt: skip
_ENDS = re.compile(r"[.!?…。！？।؟]+|[.!?…。！？।؟][\"'”’»)\]]*")
_CLOSING = "\"'”’»)]"
_BREAK = re.compile(r"\r\n|\r|\n")


def words(text: str, cuts: Collection[int] = ()) -> list[Span]:
    """The words of a text as (start, end) in characters.

    Words of scripts without spaces are cut into characters (Chinese and Japanese); Thai and the like stay whole up
    to the next space.

    Args:
        text: Any text.
        cuts: Places that no word may span.
    """
    found = [match.span() for match in _WORD.finditer(text)]
    if not cuts:
        return found
    inner = sorted(cuts)
    pieces: list[Span] = []
    position = 0
    for start, end in found:
        while position < len(inner) and inner[position] <= start:
            position += 1
        while position < len(inner) and inner[position] < end:
            pieces.append((start, inner[position]))
            start = inner[position]
            position += 1
        pieces.append((start, end))
    return pieces


def sentences(text: str, offsets: Sequence[Span]) -> list[range]:
    """The words of each sentence: one ends at an empty line, or at a full stop before a word that begins large.

    Args:
        text: The text.
        offsets: Its words.
    """
    ranges: list[range] = []
    begin = 0
    for i in range(1, len(offsets)):
        gap = text[offsets[i - 1][1] : offsets[i][0]]
        if len(_BREAK.findall(gap)) > 1 or _ended(text, offsets, i, gap):
            ranges.append(range(begin, i))
            begin = i
    if begin < len(offsets):
        ranges.append(range(begin, len(offsets)))
    return ranges


def _ended(text: str, offsets: Sequence[Span], i: int, gap: str) -> bool:
    last = i - 1
    while last > 0 and text[offsets[last][0] : offsets[last][1]] in _CLOSING and last > i - 3:
        last -= 1
    word = text[offsets[last][0] : offsets[last][1]]
    if not _ENDS.fullmatch(word):
        return False
    if word[0] in "。！？":
        return True
    first = text[offsets[i][0]]
    return bool(gap) and (not first.isalpha() or not first.islower())


def pieces(size: int, limit: int, spans: Sequence[tuple[int, int, str]] = ()) -> Iterator[tuple[int, int]]:
    """Cuts `size` words into runs of at most `limit`, not through a span (unless that is longer itself).

    Args:
        size: Number of words.
        limit: Most words of a run.
        spans: First word, word after the last, and type of each, in order; none overlap.
    """
    begin = 0
    starts = [start for start, _, _ in spans]
    while size - begin > limit:
        end = begin + limit
        last = bisect_left(starts, end) - 1
        if last >= 0 and begin < starts[last] and spans[last][1] > end:
            end = starts[last]
        yield begin, end
        begin = end
    yield begin, size
