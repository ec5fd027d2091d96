"""Texts in files, as they are, and why some are none."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.data.sources import choose
from pipelines.engine.files import one_line
from pipelines.errors import UserError

EXTENSIONS = {".txt", ".text", ".md"}
TABLES = {".csv", ".tsv", ".jsonl", ".ndjson", ".parquet"}
TEXT_NAMES = ("text", "sentence", "review", "content", "document", "body", "message", "comment", "tweet")


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
    if isinstance(text, Unreadable):
        return text.reason
    if not isinstance(text, str):
        return f"not a text, but {type(text).__name__}"
    if not text.strip():
        return "empty text"
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        return f"not valid Unicode: character {error.start} is {error.object[error.start]!r}"
    return None


def rows_of(path: Path) -> Iterator[tuple[str, dict[str, Any] | str]]:
    """The rows of a table: a name for each, and its cells by column, or the reason why it cannot be read.

    Raises:
        UserError: The file as a whole cannot be read.
    """
    suffix = path.suffix.lower()
    try:
        if suffix == ".parquet":
            yield from _parquet_rows(path)
        elif suffix in (".jsonl", ".ndjson"):
            yield from _json_rows(path)
        else:
            yield from _csv_rows(path)
    except (OSError, ValueError) as error:
        raise UserError(f"data.source {path} cannot be read: {one_line(error)}") from None


def raw_texts(arguments: Sequence[str]) -> Iterator[Any]:
    """What the arguments of `predict` stand for: text files, folders of them, tables, `-`, and else texts themselves.

    Raises:
        UserError: A table has no column of texts.
    """
    for argument in arguments:
        path = Path(argument) if 0 < len(argument) < 1024 and "\0" not in argument else None
        if argument == "-":
            yield from (line.rstrip("\r\n") for line in sys.stdin)
        elif path is not None and path.is_dir():
            files = sorted(p for p in path.rglob("*") if p.suffix.lower() in EXTENSIONS)
            if not files:
                raise UserError(f"no text files in the folder {argument}")
            yield from map(_or_reason, files)
        elif path is not None and path.is_file():
            yield from _table_texts(path) if path.suffix.lower() in TABLES else [_or_reason(path)]
        elif path is not None and path.suffix.lower() in (EXTENSIONS | TABLES) and " " not in argument:
            raise UserError(f"input not found: {argument}")
        else:
            yield argument


def _or_reason(path: Path) -> Any:
    try:
        return read_text(path)
    except ValueError as error:
        return Unreadable(f"{path}: {error}")


@dataclass(frozen=True)
class Unreadable:
    """An input that could not be read as a text, and why."""

    reason: str

    def __repr__(self) -> str:
        return self.reason


def _table_texts(path: Path) -> Iterator[Any]:
    column = None
    for name, row in rows_of(path):
        if isinstance(row, str):
            yield Unreadable(f"{name}: {row}")
            continue
        column = column or choose(list(row), None, TEXT_NAMES, "text_column", path)
        if column is None:
            raise UserError(f"{path} has no column named {' or '.join(TEXT_NAMES)} (it has {', '.join(row)})")
        yield row.get(column)


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
                    yield f"{path.name} line {line}", str(error)
                    continue
                if columns is None:
                    columns = [name.strip() for name in cells]
                elif cells and len(cells) != len(columns):
                    yield f"{path.name} line {line}", f"expected {len(columns)} cells, got {len(cells)}"
                elif cells:
                    yield f"{path.name} line {line}", dict(zip(columns, cells, strict=True))
    finally:
        csv.field_size_limit(limit)


def _json_rows(path: Path) -> Iterator[tuple[str, dict[str, Any] | str]]:
    with open(path, encoding="utf-8-sig", errors="surrogateescape") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            name = f"{path.name} line {number}"
            try:
                row = json.loads(line)
            except ValueError as error:
                yield name, f"not JSON: {one_line(error, 80)}"
                continue
            yield name, row if isinstance(row, dict) else f"not a JSON object, but {type(row).__name__}"


def _parquet_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    import pyarrow.parquet as pq

    number = 0
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches():
            for row in batch.to_pylist():
                yield f"{path.name} row {number}", row
                number += 1
