"""Raw texts to tag, and what is written about them."""

from __future__ import annotations

import glob
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.data.tag_files import Sentence
from pipelines.data.tokenize import pieces, sentences, words
from pipelines.engine.apply import expand
from pipelines.engine.console import say
from pipelines.engine.files import one_line
from pipelines.errors import UserError

LONGEST_PATH = 1024
KINDS = (".txt", ".text", ".md", ".jsonl", ".ndjson")


class Entities(list[dict[str, Any]]):
    """Entities of a text; in a cell of CSV they stand as JSON."""

    def __str__(self) -> str:
        return json.dumps(self, ensure_ascii=False)


@dataclass(frozen=True)
class Prepared:
    """A text cut into sentences.

    Args:
        name: File, and line where there are several texts in it.
        text: The raw text.
        offsets: Start and end of each word in characters.
        ranges: The words of each sentence.
        error: Why it cannot be read.
    """

    name: str
    text: str = ""
    offsets: list[tuple[int, int]] = field(default_factory=list)
    ranges: list[range] = field(default_factory=list)
    error: str = ""

    @property
    def sentences(self) -> Iterator[list[str]]:
        """The words of each sentence."""
        return ([self.text[start:end] for start, end in self.offsets[r.start : r.stop]] for r in self.ranges)

    def entity(self, sentence: range, place: tuple[int, int, str], confidence: float) -> dict[str, Any]:
        """An entity of a sentence with its place in the raw text."""
        start, end = self.offsets[sentence.start + place[0]][0], self.offsets[sentence.start + place[1] - 1][1]
        return {
            "start": start, "end": end, "label": place[2], "text": self.text[start:end],
            "confidence": round(confidence, 4),
        }  # fmt: skip


def prepare(name: str, text: str, limit: int) -> Prepared:
    """Cuts a text into sentences of at most `limit` words."""
    offsets = words(text)
    ranges = [
        range(whole.start + begin, whole.start + end)
        for whole in sentences(text, offsets)
        for begin, end in pieces(len(whole), limit)
    ]
    return Prepared(name, text, offsets, ranges)


def named(arguments: Sequence[str]) -> list[Any]:
    """What the arguments of `predict` name: files as paths, standard input as its text, and else texts themselves.

    An argument without a space in it is no text, but the name of a file that may be mistyped.

    Raises:
        UserError: Nothing is found under a name, or standard input is no UTF-8.
    """
    found: list[Any] = []
    for argument in arguments:
        if _is_text(argument):
            found.append(argument)
            continue
        if argument != "-":
            found.extend(Path(name) for name in expand([argument], KINDS, "texts (.txt, .md, .jsonl)"))
            continue
        try:
            found.append(sys.stdin.buffer.read().decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            raise UserError(f"standard input is no UTF-8: {one_line(error, 80)}") from None
    return found


def _is_text(argument: str) -> bool:
    if len(argument) >= LONGEST_PATH or "\0" in argument:
        return True
    a_name = Path(argument).suffix.lower() in KINDS or Path(argument).exists() or glob.glob(argument, recursive=True)
    return any(map(str.isspace, argument)) and not a_name


def readable(inputs: Sequence[Any], limit: int) -> Iterator[Sentence]:
    """The sentences of some paths and strings; what cannot be read is named and left out.

    Raises:
        UserError: None could be read.
    """
    read = 0
    for text in texts(inputs, limit):
        if text.error:
            say(f"skipped {text.name}: {text.error}")
            continue
        read += 1
        for words_of in text.ranges:
            chosen = text.offsets[words_of.start : words_of.stop]
            first, last = chosen[0][0], chosen[-1][1]
            places = tuple((start - first, end - first) for start, end in chosen)
            yield Sentence(text.text[first:last], places, (), text.name)
    if not read:
        raise UserError("none of the inputs could be read")


def texts(inputs: Iterable[Any], limit: int) -> Iterator[Prepared]:
    """Each text of some paths and strings; what cannot be read is there with its error."""
    for item in inputs:
        if not isinstance(item, Path):
            yield prepare("text", str(item), limit)
            continue
        try:
            whole = item.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError:
            yield Prepared(str(item), error="not UTF-8")
            continue
        except OSError as error:
            yield Prepared(str(item), error=error.strerror or str(error))
            continue
        if item.suffix.lower() not in (".jsonl", ".ndjson"):
            yield prepare(str(item), whole, limit)
            continue
        for number, line in enumerate(whole.split("\n"), start=1):
            if line.strip():
                yield _row(f"{item}:{number}", line, limit)


def _row(name: str, line: str, limit: int) -> Prepared:
    try:
        row = json.loads(line)
    except ValueError as error:
        return Prepared(name, error=f"no JSON: {one_line(error, 80)}")
    text = row.get("text") if isinstance(row, dict) else row
    return prepare(name, text, limit) if isinstance(text, str) else Prepared(name, error="no text")


def to_columns(row: dict[str, Any]) -> Iterator[str]:
    """A row of `predict` as lines of a word and its tag (BIO)."""
    if row.get("error"):
        yield f"# {row['input']}: {row['error']}\n\n"
        return
    offsets = words(row["text"])
    starts = {entity["start"]: entity for entity in row["entities"]}
    inside: dict[str, Any] | None = None
    for sentence in sentences(row["text"], offsets):
        for start, end in offsets[sentence.start : sentence.stop]:
            begins = start in starts
            if begins:
                inside = starts[start]
            elif inside is not None and start >= inside["end"]:
                inside = None
            tag = "O" if inside is None else f"{'B' if begins else 'I'}-{inside['label']}"
            yield f"{row['text'][start:end]}\t{tag}\n"
        yield "\n"
