"""Texts in files, as they are, and why some are none."""

from __future__ import annotations

import csv
import glob
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from pipelines.core.console import say
from pipelines.core.errors import UserError
from pipelines.core.files import one_line
from pipelines.core.inputs import expand
from pipelines.data.sources import choose

EXTENSIONS = {".txt", ".text", ".md"}
TABLES = {".csv", ".tsv", ".jsonl", ".ndjson", ".parquet"}
TEXT_NAMES = ("text", "sentence", "review", "content", "document", "body", "message", "comment", "tweet")
LONGEST_PATTERN = 1024
# Rows of a table that are looked at to know its columns: in JSON each row may have others.
LOOKED_AT = 1000


def read_text(path: str | os.PathLike[str]) -> str:
    """A text file in UTF-8, with or without a byte order mark.

    Raises:
        ValueError: It cannot be read, or is not UTF-8.
    """
    try:
        return Path(path).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8: byte {error.start} is {error.object[error.start]:#04x}") from None
    except OSError as error:
        raise ValueError(error.strerror or "cannot be read") from None


def fault(text: Any) -> str | None:
    """Why this is no text that can be classified, or none."""
    if not isinstance(text, str):
        return f"not a text, but {type(text).__name__}"
    return "empty text" if not text.strip() else bad_unicode(text)


def bad_unicode(text: str) -> str | None:
    """Why this cannot be written as UTF-8, or none; bytes of another encoding are lone surrogates here."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        return f"not valid Unicode: character {error.start} is {error.object[error.start]!r}"
    return None


def printable(text: str) -> str:
    """The text with an escape for each character that cannot be written as UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


@dataclass(frozen=True)
class Given:
    """What `predict` is given as a text.

    Args:
        name: File, and line or row where there are several texts in it; `text` for a text itself.
        text: It; what is none has a `fault`.
        error: Why it could not be read.
    """

    name: str
    text: Any = None
    error: str = ""

    @property
    def reason(self) -> str | None:
        """Why it cannot be classified, or none."""
        return self.error or fault(self.text)


def rows_of(path: Path) -> Iterator[tuple[str, dict[str, Any] | str]]:
    """The rows of a table: a name for each, and its cells by column, or the reason why it cannot be read.

    Raises:
        UserError: The file as a whole cannot be read.
    """
    suffix = path.suffix.lower()
    kinds = {".parquet": _parquet_rows, ".jsonl": _json_rows, ".ndjson": _json_rows}
    try:
        for place, row in kinds.get(suffix, _csv_rows)(path):
            yield f"{printable(path.name)} {place}", row
    except (OSError, ValueError) as error:
        raise UserError(f"data.source {path} cannot be read: {one_line(error)}") from None


def look_ahead(
    rows: Iterable[tuple[str, dict[str, Any] | str]],
) -> tuple[list[str], Iterator[tuple[str, dict[str, Any] | str]]]:
    """The columns of the first readable rows, in their order, and all rows."""
    rest, seen, columns, readable = iter(rows), [], dict[str, None](), 0
    while readable < LOOKED_AT and (item := next(rest, None)) is not None:
        seen.append(item)
        if isinstance(item[1], dict):
            columns.update(dict.fromkeys(item[1]))
            readable += 1
    return list(columns), chain(seen, rest)


def given(arguments: Sequence[str]) -> Iterator[Given]:
    """What the arguments of `predict` stand for: text files, tables, folders and globs of these, `-`, else texts.

    Raises:
        UserError: Nothing is found under the name of a file, or a table has no column of texts.
    """
    for argument in arguments:
        if argument == "-":
            for number, line in enumerate(sys.stdin.buffer, start=1):
                text = line.decode("utf-8-sig" if number == 1 else "utf-8", "surrogateescape")
                yield Given(f"standard input line {number}", text.rstrip("\r\n"))
        elif os.path.isfile(argument):
            yield from _of_file(Path(argument))
        elif os.path.isdir(argument) or _is_pattern(argument):
            for name in expand([argument], EXTENSIONS | TABLES, "texts or tables"):
                try:
                    yield from _of_file(Path(name))
                except UserError as error:  # a table of something else may lie among the texts
                    yield Given(printable(name), error=str(error))
        elif _is_name(argument):
            raise UserError(f"input not found: {argument}")
        else:
            yield Given("text", argument)


def _is_pattern(argument: str) -> bool:
    usable = len(argument) < LONGEST_PATTERN and "\0" not in argument
    return usable and bool(glob.glob(argument, recursive=True))


def _is_name(argument: str) -> bool:
    suffix = os.path.splitext(argument)[1].lower()
    return suffix in EXTENSIONS | TABLES and not any(map(str.isspace, argument))


def _of_file(path: Path) -> Iterator[Given]:
    if path.suffix.lower() in TABLES:
        yield from _table_texts(path)
        return
    try:
        yield Given(printable(str(path)), read_text(path))
    except ValueError as error:
        yield Given(printable(str(path)), error=str(error))


def _table_texts(path: Path) -> Iterator[Given]:
    names, rows = look_ahead(rows_of(path))
    column = choose(names, None, TEXT_NAMES, "text_column", path)
    if names and column is None:
        raise UserError(f"{path} has no column named {' or '.join(TEXT_NAMES)} (it has {', '.join(names)})")
    for name, row in rows:
        place = printable(str(path.parent / name))
        yield Given(place, error=row) if isinstance(row, str) else Given(place, row.get(str(column)))


def readable(inputs: Iterable[Given], limit: int) -> list[str]:
    """The first texts of these; what cannot be read is named and left out.

    Raises:
        UserError: None could be read.
    """
    texts: list[str] = []
    for item in inputs:
        if len(texts) == limit:
            say(f"only the first {limit} texts are taken")
            break
        if item.reason is None:
            texts.append(item.text)
        else:
            say(f"skipped {item.name}: {item.reason}")
    if not texts:
        raise UserError("none of the inputs could be read")
    return texts


def _csv_rows(path: Path) -> Iterator[tuple[str, dict[str, Any] | str]]:
    limit = csv.field_size_limit(2**31 - 1)  # texts may be long
    try:
        # Bytes that are no UTF-8 become lone surrogates, by which their row is known later.
        with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            first = file.readline()
            file.seek(0)
            separator = "\t" if path.suffix.lower() == ".tsv" else max(",;\t|", key=first.count)
            reader = csv.reader(file, delimiter=separator, strict=True)
            columns: list[str] | None = None
            while True:
                line = reader.line_num + 1
                try:
                    cells = next(reader)
                except StopIteration:
                    return
                except csv.Error as error:
                    if "end of data" in str(error):
                        raise UserError(
                            f"data.source {path} line {line}: a quotation mark is opened and never closed"
                        ) from None
                    yield f"line {line}", str(error)
                    continue
                if columns is None:
                    columns = [name.strip() for name in cells]
                elif cells and len(cells) != len(columns):
                    yield f"line {line}", f"expected {len(columns)} cells, got {len(cells)}"
                elif cells:
                    yield f"line {line}", dict(zip(columns, cells, strict=True))
    finally:
        csv.field_size_limit(limit)


def _json_rows(path: Path) -> Iterator[tuple[str, dict[str, Any] | str]]:
    with open(path, encoding="utf-8-sig", errors="surrogateescape") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            name = f"line {number}"
            try:
                row = json.loads(line)
            except ValueError as error:
                yield name, f"not JSON: {one_line(error, 80)}"
                continue
            yield name, row if isinstance(row, dict) else f"not a JSON object, but {type(row).__name__}"


def _parquet_rows(path: Path) -> Iterator[tuple[str, dict[str, Any] | str]]:
    import pyarrow.parquet as pq

    number = 0
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches():
            for row in batch.to_pylist():
                yield f"row {number}", row
                number += 1
