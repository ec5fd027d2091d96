"""Columns (CoNLL): a word a line with its tag, an empty line between sentences."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from pipelines.data import sources

SPLITS = {**sources.SPLITS, "devel": "val", "testa": "val", "testb": "test"}
SUFFIXES = (".conll", ".conll2002", ".conll2003", ".bio", ".iob", ".iob2", ".bioes", ".txt", ".tsv")
TAG = re.compile(r"O|[BIESLUM]-.+")
NUMBER = re.compile(r"\d+(?:[-.]\d+)?")

Place = tuple[int, int, str]
Span = tuple[int, int]
Line = tuple[int, str | None]


def has_columns(path: Path) -> bool:
    """Whether a file has columns by its name; those of CoNLL-2003 are named eng.train, eng.testa and eng.testb."""
    suffix = path.suffix.lower()
    return suffix in SUFFIXES or suffix[1:] in SPLITS


def shown(name: str) -> str:
    """The name of a file as it can be written: bytes that are no UTF-8 stand in it as lone surrogates."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def lines(path: Path) -> Iterator[Line]:
    """Numbered lines without their ends; None for one that is no UTF-8.

    Raises:
        OSError: The file cannot be read.
    """
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError:
                yield number, None


def width(numbered: Sequence[Line]) -> int:
    """How many columns most lines have; 0 where no line has text."""
    number_of = Counter(len(_cells(line)) for _, line in numbered if line and line.strip(" \t"))
    return number_of.most_common(1)[0][0] if number_of else 0


def word_numbers(numbered: Sequence[Line]) -> int | None:
    """Of lines whose first column numbers the words (CoNLL-U), how many are ranges (3-4) or empty nodes (5.1).

    None where the first column is another one.
    """
    firsts = [_cells(line)[0] for _, line in numbered if line and line.strip(" \t") and not line.startswith("#")]
    if not firsts or not all(NUMBER.fullmatch(first) for first in firsts):
        return None
    # The words of each sentence are numbered from 1.
    plain = [int(first) for first in firsts if first.isdigit()]
    if not plain or plain[0] != 1 or any(b not in (a + 1, 1) for a, b in pairwise(plain)):
        return None
    return len(firsts) - len(plain)


def blocks(
    numbered: Sequence[Line], columns: int, token_column: int, tag_column: int | None = None
) -> Iterator[tuple[int, list[list[str]], str]]:
    """The sentences: number of the first line, cells of each line, and what is wrong with the first broken line.

    Args:
        numbered: Lines.
        columns: How many columns each must have.
        token_column: The one of words.
        tag_column: The one of tags, or none that must hold any.
    """
    rows: list[list[str]] = []
    begin, broken = 1, ""
    numbers = bool(token_column and word_numbers(numbered))
    for number, line in [*numbered, (len(numbered) + 1, "")]:
        cells = _cells(line) if line is not None else []
        if line is not None and (not line.strip(" \t") or cells[0] == "-DOCSTART-"):
            if rows or broken:
                yield begin, rows, broken
            rows, broken, begin = [], "", number + 1
        elif line is None:
            broken = broken or f"line {number} is no UTF-8"
        elif line.startswith("# ") and not rows and not (len(cells) == columns and TAG.fullmatch(cells[-1])):
            begin = number + 1  # a comment of CoNLL-U
        elif numbers and not cells[0].isdigit():
            continue  # a range or an empty node: not a word of the sentence
        elif len(cells) != columns:
            broken = broken or f"line {number} has {len(cells)} columns, the others {columns}"
        elif not cells[token_column].strip():
            broken = broken or f"line {number} has no word"
        elif tag_column is not None and not TAG.fullmatch(cells[tag_column]):
            broken = broken or f"line {number} has {cells[tag_column]!r}, which is no tag (O, B-TYPE ...)"
        else:
            rows.append(cells)


def _cells(line: str) -> list[str]:
    """The columns of a line; other spaces than these two can be words."""
    return line.split("\t") if "\t" in line else [cell for cell in line.split(" ") if cell]


def joined(tokens: Sequence[str]) -> tuple[str, list[Span]]:
    """Words with a space between them, and start and end of each."""
    offsets, position = [], 0
    for token in tokens:
        offsets.append((position, position + len(token)))
        position += len(token) + 1
    return " ".join(tokens), offsets


class TagReader:
    """Tags to entities, in all schemes at once, and what scheme it was.

    Read as conlleval reads them: B and S begin an entity, I and E go on with one of their type or else begin one. IOB1,
    BIO, BIOES and BILOU all come out right, and mixtures lose nothing.
    """

    def __init__(self) -> None:
        self.signs: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.first: dict[str, str] = {}

    def __call__(self, tags: Sequence[str], name: str) -> list[Place]:
        spans: list[Place] = []
        sign_before, begin, kind = "O", 0, ""
        for i, tag in enumerate([*tags, "O"]):
            sign, _, of = tag.partition("-")
            sign = {"L": "E", "U": "S", "M": "I"}.get(sign, sign)
            self.signs[sign] += 1
            inside = sign_before in "BI"
            goes_on = sign in "IE" and inside and of == kind
            if inside and not goes_on:
                self._say("open", name)  # in BIOES, where E or S ends all
            if sign_before != "O" and not goes_on:
                spans.append((begin, i, kind))
            if sign != "O" and not goes_on:
                touches = sign_before != "O" and of == kind
                self._say("I" if sign in "IE" else "B touching" if touches and sign == "B" else sign, name)
                begin, kind = i, of
            sign_before = sign
        return spans

    def _say(self, what: str, name: str) -> None:
        self.counts[what] += 1
        self.first.setdefault(what, name)

    def note(self) -> str | None:
        """The scheme, and what breaks its rules."""
        if not sum(self.signs.values()) - self.signs["O"]:
            return "has no entity"
        ends = self.signs["E"] + self.signs["S"]
        late, early = self.counts["I"], self.counts["B"]
        if ends and self.counts["open"] <= ends:
            wrong, where = self.counts["open"] + late, self.first.get("I") or self.first.get("open")
            name = "BIOES"
        elif late > early:
            # IOB1 has B only between two entities of a type that touch.
            wrong, where, name = early, self.first.get("B"), "IOB1"
        else:
            wrong, where, name = late, self.first.get("I"), "BIO"
        if not wrong:
            return f"its tags are {name}"
        return (
            f"its tags are mostly {name}, but {wrong} entities break its rules, the first in {where}; B and S were "
            "read as beginnings, and so were I and E that follow nothing of their type"
        )
