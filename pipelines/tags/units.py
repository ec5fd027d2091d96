"""In which unit the offsets of entities are counted: characters, UTF-16 units (as JavaScript does) or UTF-8 bytes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

UNITS = {"characters": 1, "UTF-16 units": 2, "UTF-8 bytes": 1}
ENCODINGS = {"UTF-16 units": "utf-16-le", "UTF-8 bytes": "utf-8"}
SHOWN = 3

Entity = tuple[int, int]


class Found(NamedTuple):
    """The unit of a source, and what to tell the user of it, or nothing."""

    unit: str
    note: str | None


def positions(text: str, unit: str) -> dict[int, int]:
    """From offsets in a unit to offsets in characters; offsets inside a character are missing."""
    if unit == "characters" or text.isascii():
        return {i: i for i in range(len(text) + 1)}
    sizes = (len(c.encode(ENCODINGS[unit], "surrogatepass")) // UNITS[unit] for c in text)
    return {offset: i for i, offset in enumerate(accumulate(sizes, initial=0))}


def cuts(text: str, start: int, end: int) -> bool:
    """Whether an entity from `start` to `end` begins or ends inside a word, with a space, or outside the text."""
    if not 0 <= start < end <= len(text) or text[start].isspace() or text[end - 1].isspace():
        return True
    return _inside(text, start) or _inside(text, end)


def _inside(text: str, place: int) -> bool:
    """Whether a place lies between two letters or digits of a script that puts spaces between words."""
    return 0 < place < len(text) and all(c.isalnum() and not _unspaced(c) for c in text[place - 1 : place + 1])


def _unspaced(sign: str) -> bool:
    """Whether it is of a script without spaces between words: Thai, Lao, Burmese, Khmer, Chinese, Japanese, Korean."""
    point = ord(sign)
    return 0x0E00 <= point < 0x0F00 or 0x1000 <= point < 0x10A0 or 0x1780 <= point < 0x1800 or point >= 0x2E80


def find(rows: Sequence[tuple[str, str, Sequence[Entity]]]) -> Found:
    """The unit in which the entities of most rows do not cut words.

    Args:
        rows: Name, text and entities (start, end) of each row that has any.
    """
    wrong: dict[str, list[int]] = {unit: [] for unit in UNITS}
    for number, (_, text, entities) in enumerate(rows):
        for unit, found in wrong.items():
            place = positions(text, unit)
            if any(cuts(text, place.get(start, -1), place.get(end, -1)) for start, end in entities):
                found.append(number)
    bad = wrong["characters"]
    if not bad:
        return Found("characters", None)
    better = next((unit for unit in ENCODINGS if not wrong[unit]), None)
    if better is not None and len(bad) > 1:
        name, text, entities = rows[bad[0]]
        place = positions(text, better)
        start, end = entities[0]
        return Found(better, (
            f"the offsets of the entities count {better}: as characters they would cut words in {len(bad)} of "
            f"{len(rows)} texts; so the first entity of {name} is {text[place[start] : place[end]]!r}"
        ))  # fmt: skip
    examples = "; ".join(_example(*rows[number]) for number in bad[:SHOWN])
    return Found("characters", (
        f"the offsets of the entities cut words, or begin or end with a space, in {len(bad)} of {len(rows)} texts: "
        f"{examples}; check in which unit they count and whether the end is the place after the last character"
    ))  # fmt: skip


def _example(name: str, text: str, entities: Sequence[Entity]) -> str:
    start, end = next(entity for entity in entities if cuts(text, *entity))
    return f"{name}: {text[max(start, 0) : max(end, 0)]!r} in {text[max(start - 10, 0) : max(end, 0) + 10]!r}"
