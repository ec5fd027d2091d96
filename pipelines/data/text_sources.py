"""Where texts come from: each source gives texts and labels by part."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.data import samples, sources
from pipelines.engine.files import one_line
from pipelines.errors import UserError

if TYPE_CHECKING:
    from pipelines.data.text_config import TextDataConfig

EXTENSIONS = {".txt", ".text", ".md"}
TABLES = {".csv", ".tsv", ".jsonl", ".ndjson", ".parquet"}
TEXT_NAMES = ("text", "sentence", "review", "content", "document", "body", "message", "comment", "tweet")
LABEL_NAMES = ("label", "labels", "class", "category", "target", "sentiment", "y")
# The unlabelled folder of the IMDB reviews as Stanford gives them.
NO_CLASS = "unsup"


@dataclass
class RawPart:
    """Texts as the source gives them.

    Args:
        texts: N texts.
        labels: N labels; where a text may have several, N lists of them.
        names: N names for reports.
        groups: N keys of what must stay together, or none.
    """

    texts: list[str] = field(default_factory=list)
    labels: list[Any] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    groups: list[Any] | None = None


@dataclass
class Raw(sources.Raw[RawPart]):
    """What a source gave; `classes` are their names where it names them, `several` whether a text may have many."""

    classes: tuple[str, ...] | None = None
    several: bool = False


def load(config: TextDataConfig, source: str) -> Raw:
    """Recognizes the source and reads it.

    Raises:
        UserError: It is unknown, missing or not what it must be.
    """
    return sources.read(
        source,
        named={"sample": lambda: _from_pairs(samples.food_reviews(), "sample")},
        kinds={"keras": _keras, "tfds": _tfds},
        folder=_folder,
        file=lambda path: _table(path, config),
        value=_from_value,
        known="sample, keras:imdb, tfds:NAME",
    )


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
        path = Path(argument) if len(argument) < 1024 and "\0" not in argument else None
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
        column = column or sources.choose(list(row), None, TEXT_NAMES, "text_column", path)
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


def _table(path: Path, config: TextDataConfig) -> Raw:
    if path.suffix.lower() not in TABLES:
        raise UserError(f"data.source {config.source}: a file must be one of {', '.join(sorted(TABLES))}")
    raw = Raw({})
    several = config.label_separator is not None
    columns: tuple[str, str, str | None, str | None] | None = None
    for name, row in rows_of(path):
        if isinstance(row, str):
            raw.skipped.append((name, row))
            continue
        if columns is None:
            columns = _columns(list(row), config, path)
            several = several or isinstance(row.get(columns[1]), list)
        text, label, split, group = columns
        labels = _labels(row.get(label), config.label_separator, several)
        part = sources.PARTS.get(str(row.get(split, "")).strip().lower()) if split else "all"
        reason = fault(row.get(text))
        if reason is None and isinstance(labels, str):
            reason = labels
        if reason is None and part is None:
            reason = f"no known split ({row.get(split)!r})" if split else None
        if reason is not None or part is None:
            raw.skipped.append((name, reason or ""))
            continue
        rows = raw.parts.setdefault(part, RawPart(groups=[] if group else None))
        rows.texts.append(row[text])
        rows.labels.append(labels if several else labels[0])
        rows.names.append(name)
        if group and rows.groups is not None:
            rows.groups.append(row.get(group))
    if not raw.parts:
        reasons = f"; {raw.skipped[0][0]}: {raw.skipped[0][1]}" if raw.skipped else ""
        raise UserError(f"data.source {path} has no row with a text and a label{reasons}")
    if columns and columns[2] and "train" not in raw.parts:
        raise UserError(f"data.source {path}: column {columns[2]!r} names no row train")
    raw.several = several
    return raw


def _columns(names: list[str], config: TextDataConfig, path: Path) -> tuple[str, str, str | None, str | None]:
    text = sources.choose(names, config.text_column, TEXT_NAMES, "text_column", path)
    label = sources.choose(names, config.label_column, LABEL_NAMES, "label_column", path)
    for found, option, usual in ((text, "text_column", TEXT_NAMES), (label, "label_column", LABEL_NAMES)):
        if found is None:
            raise UserError(
                f"data.source {path} has no column named {', '.join(usual[:-1])} or {usual[-1]}: say which with "
                f"--data.{option} (it has {', '.join(names)})"
            )
    assert text is not None
    assert label is not None
    split = sources.choose(names, config.split_column, sources.SPLIT_NAMES, "split_column", path)
    return text, label, split, sources.choose(names, config.group_column, (), "group_column", path)


def _labels(value: Any, separator: str | None, several: bool) -> list[str] | str:
    """The labels in a cell, or the reason why there are none."""
    if isinstance(value, list):
        if not several:
            return "a list of labels, but the first row has a single one"
        return [str(label).strip() for label in value if str(label).strip()]
    text = "" if value is None else str(value).strip()
    if several and separator is not None:
        return [label.strip() for label in text.split(separator) if label.strip()]
    if several:
        return "a single label, but the first row has a list of them"
    return [text] if text and text.lower() != "nan" else "no label"


def _folder(root: Path) -> Raw:
    raw = Raw({})
    for part, folder in sources.part_folders(root).items():
        raw.parts[part] = _class_folders(folder, root, raw)
    return raw


def _class_folders(folder: Path, root: Path, raw: Raw) -> RawPart:
    part = RawPart()
    for sub in sources.subfolders(folder):
        found, others = sources.files_below(sub, EXTENSIONS)
        name = sub.relative_to(root).as_posix()
        if sub.name == NO_CLASS:
            raw.notes.append(f"{len(found)} texts in {name} have no class and are left out")
            continue
        raw.notes += sources.class_notes(name, "texts", len(found), others)
        for path in found:
            try:
                text = read_text(path)
                reason = fault(text)
            except ValueError as error:
                reason = str(error)
            if reason is not None:
                raw.skipped.append((path.relative_to(root).as_posix(), reason))
                continue
            part.texts.append(text)
            part.labels.append(sub.name)
            part.names.append(path.relative_to(root).as_posix())
    if not part.texts:
        raise sources.no_class_folders(folder, EXTENSIONS, "texts", "text.txt")
    return part


def _from_pairs(parts: dict[str, tuple[Any, Any]], what: str, classes: tuple[str, ...] | None = None) -> Raw:
    raw = Raw({}, classes=classes)
    several: bool | None = None
    for part, (texts, labels) in parts.items():
        texts, labels = list(texts), list(labels)
        if len(texts) != len(labels):
            raise UserError(f"{what}: {len(texts)} texts, but {len(labels)} labels")
        if not texts:
            raise UserError(f"{what}: the part {part!r} is empty")
        rows = raw.parts.setdefault(part, RawPart())
        for number, (text, label) in enumerate(zip(texts, labels, strict=True)):
            name = f"{what}[{part}][{number}]"
            text = text.decode("utf-8", "surrogateescape") if isinstance(text, bytes) else text
            if isinstance(text, np.str_):
                text = str(text)
            is_list = isinstance(label, (list, tuple, set, frozenset))
            several = is_list if several is None else several
            if is_list != several:
                raise UserError(f"{name}: some labels are lists and some are not")
            value = sorted(_plain(x, name) for x in label) if is_list else _plain(label, name)
            reason = fault(text)
            if reason is not None:
                raw.skipped.append((name, reason))
                continue
            rows.texts.append(text)
            rows.labels.append(value)
            rows.names.append(name)
    raw.several = bool(several)
    return raw


def _plain(label: Any, name: str) -> str:
    value = label.item() if isinstance(label, np.generic) else label
    value = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    if isinstance(value, float) and value == int(value):
        value = int(value)
    if not isinstance(value, (str, int)) or value == "":
        raise UserError(f"{name}: a label must be a text or a whole number, got {label!r}")
    return str(value)


def _from_value(value: Any, what: str) -> Raw:
    """What a user's function may return: (texts, labels), pairs of these for the parts, or a dictionary of pairs."""
    expected = f"data.source {what} must return (texts, labels), (train, test) pairs of these, or a dict of parts"
    # Two texts with two labels are a pair of pairs as well.
    parts = sources.pairs_by_part(value, expected, lambda pairs: not any(isinstance(x, (str, bytes)) for x, _ in pairs))
    if any(isinstance(x, (str, bytes)) or not isinstance(x, Iterable) for x in parts.get("all", ())):
        raise UserError(f"{expected}, got a {type(value).__name__} of {len(value)}")
    return _from_pairs(parts, what)


def _keras(name: str) -> Raw:
    if name != "imdb":
        raise UserError(f"data.source keras:{name} is unknown: expected keras:imdb")
    import keras

    try:
        parts = keras.datasets.imdb.load_data()
        index = keras.datasets.imdb.get_word_index()
    except Exception as error:
        raise sources.keras_failed(name, error) from None
    # Numbers are shifted by three: padding, start and unknown come first.
    words = {number + 3: word for word, number in index.items()}

    def text(numbers: Iterable[int]) -> str:
        return " ".join(words.get(number, "?") for number in numbers if number > 2)

    pairs = {
        part: ([text(x) for x in texts], [("negative", "positive")[y] for y in labels])
        for part, (texts, labels) in zip(("train", "test"), parts, strict=True)
    }
    raw = _from_pairs(pairs, name)
    raw.notes.append("keras:imdb has lower-case words without punctuation; tfds:imdb_reviews has the texts as written")
    return raw


def _tfds(name: str) -> Raw:
    builder = sources.tfds_builder(name, "imdb_reviews")
    import tensorflow_datasets as tfds

    features = builder.info.features
    keys = builder.info.supervised_keys or ("text", "label")
    if keys[0] not in features or keys[1] not in features or not isinstance(features[keys[0]], tfds.features.Text):
        raise UserError(f"data.source tfds:{name} is no text classification data set (no text and label)")
    label = features[keys[1]]
    classes = tuple(label.names) if isinstance(label, tfds.features.ClassLabel) else None
    parts: dict[str, tuple[list[Any], list[Any]]] = {}
    for split, part in sources.tfds_splits(builder, name):
        rows = [(row[keys[0]], row[keys[1]]) for row in tfds.as_numpy(builder.as_dataset(split=split))]
        parts[part] = ([x for x, _ in rows], [classes[int(y)] if classes else y for _, y in rows])
    return _from_pairs(parts, name, classes)
