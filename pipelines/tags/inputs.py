"""Raw texts to tag, and what is written about them."""

from __future__ import annotations

import glob
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.core.console import say
from pipelines.core.errors import UserError
from pipelines.core.files import one_line
from pipelines.core.inputs import expand
from pipelines.data.sources import choose
from pipelines.tags import columns as tag_columns
from pipelines.tags.columns import Span, joined, shown
from pipelines.tags.files import ROWS, Sentence, no_text
from pipelines.tags.tokenize import pieces, sentences, words
from pipelines.texts.files import EXTENSIONS, TEXT_NAMES, read_text, rows_of

LONGEST_NAME, LONGEST_PATH = 255, 1024  # bytes of a part of it, characters; what is longer is a text
TABLES = (".csv", ".parquet")
IN_FOLDERS = (*EXTENSIONS, *ROWS)


class Entities(list[dict[str, Any]]):
    """Entities of a text; in a cell of CSV they stand as JSON. `words` are those of the source, where it gives them."""

    def __init__(self, found: Iterable[dict[str, Any]], words: Sequence[Span] | None = None) -> None:
        super().__init__(found)
        self.words = words

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
        given: The words are those of the source, which is one sentence.
    """

    name: str
    text: str = ""
    offsets: list[Span] = field(default_factory=list)
    ranges: list[range] = field(default_factory=list)
    error: str = ""
    given: bool = False

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


def prepare(name: str, text: Any, limit: int) -> Prepared:
    """Cuts a text into sentences of at most `limit` words."""
    if reason := no_text(text):
        return Prepared(name, error=reason)
    offsets = words(text)
    ranges = [
        range(whole.start + begin, whole.start + end)
        for whole in sentences(text, offsets)
        for begin, end in pieces(len(whole), limit)
    ]
    return Prepared(name, text, offsets, ranges)


def named(arguments: Sequence[str]) -> list[Any]:
    """What the arguments of `predict` name: files as paths, standard input as its text, and else texts themselves.

    Raises:
        UserError: Nothing is found under what can only be a name, or standard input is no UTF-8.
    """
    found: list[Any] = []
    for argument in arguments:
        if argument == "-":
            try:
                found.append(sys.stdin.buffer.read().decode("utf-8-sig"))
            except UnicodeDecodeError as error:
                raise UserError(f"standard input is no UTF-8: {one_line(error, 80)}") from None
        elif _is_name(argument):
            found.extend(Path(name) for name in expand([argument], IN_FOLDERS, "texts (.txt, .md, .jsonl)"))
        else:
            found.append(argument)
    return found


def _is_name(argument: str) -> bool:
    """Whether it names files, which may be mistyped: they are there, or it looks like a name and like no text."""
    parts = argument.encode("utf-8", "surrogatepass").split(b"/")
    if "\0" in argument or len(argument) >= LONGEST_PATH or max(map(len, parts)) > LONGEST_NAME:
        return False  # the file system would not even look for it
    path = Path(argument)
    suffix, spaced = path.suffix.lower(), any(map(str.isspace, argument))
    looks = suffix in TABLES or tag_columns.has_columns(path) or (len(parts) > 1 and "://" not in argument)
    if not argument or suffix in IN_FOLDERS or (looks and not spaced):
        return True
    return os.path.exists(argument) or bool(glob.glob(argument, recursive=True))


def readable(inputs: Sequence[Any], limit: int, token_column: int = 0) -> Iterator[Sentence]:
    """The sentences of some paths and strings; what cannot be read is named and left out.

    Raises:
        UserError: None could be read.
    """
    read = 0
    for text in texts(inputs, limit, token_column):
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


def texts(inputs: Iterable[Any], limit: int, token_column: int = 0) -> Iterator[Prepared]:
    """Each text of some paths and strings; what cannot be read is there with its error.

    Args:
        inputs: Paths, of which the suffix says what they hold, and texts.
        limit: Most words of a sentence.
        token_column: Column of the words in files in columns that have several.
    """
    for item in inputs:
        if not isinstance(item, Path):
            yield prepare("text", item, limit)
            continue
        try:
            yield from _of_file(item, limit, token_column)
        except OSError as error:
            yield Prepared(shown(str(item)), error=error.strerror or one_line(error))
        except (ValueError, UserError) as error:
            yield Prepared(shown(str(item)), error=one_line(error))


def _of_file(path: Path, limit: int, token_column: int) -> Iterator[Prepared]:
    suffix = path.suffix.lower()
    if suffix in ROWS:
        for number, line in tag_columns.lines(path):
            if line is None or line.strip():
                yield _row(f"{shown(str(path))}:{number}", line, limit)
    elif suffix in TABLES:
        yield from _cells(path, limit)
    elif tag_columns.has_columns(path) and suffix not in EXTENSIONS:
        yield from _columns(path, limit, token_column)
    else:
        yield prepare(shown(str(path)), read_text(path), limit)


def _row(name: str, line: str | None, limit: int) -> Prepared:
    if line is None:
        return Prepared(name, error="not UTF-8")
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        return Prepared(name, error=f"no JSON: {one_line(error, 80)}")
    text = row.get("text") if isinstance(row, dict) else row
    return prepare(name, text, limit) if isinstance(text, str) else Prepared(name, error="no text")


def _cells(path: Path, limit: int) -> Iterator[Prepared]:
    """The texts of a table."""
    column = None
    for name, row in rows_of(path):
        name = shown(str(path.with_name(name)))
        if isinstance(row, str):
            yield Prepared(name, error=row)
            continue
        column = column or choose(list(row), None, TEXT_NAMES, "text_column", path)
        if column is None:
            raise UserError(f"no column named {' or '.join(TEXT_NAMES)} (it has {', '.join(row)})")
        yield prepare(name, row.get(column), limit)


def _columns(path: Path, limit: int, token_column: int) -> Iterator[Prepared]:
    """The sentences of a file in columns, each a text with the file's own words; their tags are not looked at."""
    lines = list(tag_columns.lines(path))
    columns = tag_columns.width(lines)
    if not columns:
        raise UserError("holds no line of text in UTF-8")
    column = token_column if columns > 1 else 0
    if column >= columns:
        raise UserError(f"has {columns} columns a line, but the words are in column {column}")
    for begin, rows, broken in tag_columns.blocks(lines, columns, column):
        name = f"{shown(str(path))}:{begin}"
        if broken:
            yield Prepared(name, error=broken)
            continue
        text, offsets = joined([row[column] for row in rows])
        yield Prepared(name, text, offsets, [range(*piece) for piece in pieces(len(rows), limit)], given=True)


def to_columns(row: dict[str, Any]) -> Iterator[str]:
    """A row of `predict` as lines of a word and its tag (BIO)."""
    if row.get("error"):
        yield f"# {row['input']}: {row['error']}\n\n"
        return
    given = row["entities"].words
    offsets = words(row["text"]) if given is None else given
    starts = {entity["start"]: entity for entity in row["entities"]}
    inside: dict[str, Any] | None = None
    for sentence in sentences(row["text"], offsets) if given is None else [range(len(offsets))]:
        for start, end in offsets[sentence.start : sentence.stop]:
            begins = start in starts
            if begins:
                inside = starts[start]
            elif inside is not None and start >= inside["end"]:
                inside = None
            tag = "O" if inside is None else f"{'B' if begins else 'I'}-{inside['label']}"
            yield f"{row['text'][start:end]}\t{tag}\n"
        yield "\n"
