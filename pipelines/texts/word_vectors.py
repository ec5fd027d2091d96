"""Pretrained word vectors in the formats in which they are passed around."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.core.errors import UserError
from pipelines.core.files import one_line

WORD_LISTS = (".txt", ".words", ".vocab", ".parquet")


def load(path: str | Path, words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The vectors of some words; the file is read once and only these are kept.

    Text files have a line a word, `word 0.1 -0.2 ...` (GloVe), with or without the first line `words dimensions` of
    word2vec and fastText, plain or gzipped. An `.npy` of shape (V, D) needs the words of its rows beside it: a `.txt`,
    `.words` or `.vocab` file of the same name with one a line, or a Parquet file (of the same name, or the only one in
    the folder) whose first text column has them. A word that is not there as it is written is tried in lower case; of
    words that stand twice the first counts.

    Args:
        path: The file.
        words: N words.

    Returns:
        float32 (N, D) with zeros for the missing words, and bool (N,): which were found.

    Raises:
        UserError: The file is missing, damaged, or of another kind.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise UserError(f"word vectors not found: {path}")
    wanted: dict[str, list[int]] = {}
    for number, word in enumerate(words):
        wanted.setdefault(word, []).append(number)
    lower: dict[str, list[int]] = {}
    for word, numbers in wanted.items():
        if word.lower() != word:
            lower.setdefault(word.lower(), []).extend(numbers)
    if path.suffix.lower() == ".npy":
        return _array(path, len(words), wanted, lower)
    return _text(path, len(words), wanted, lower)


def _array(
    path: Path, size: int, wanted: Mapping[str, list[int]], lower: Mapping[str, list[int]]
) -> tuple[np.ndarray, np.ndarray]:
    try:
        table = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"word vectors {path} cannot be read: {one_line(error)}") from None
    if table.ndim != 2 or table.dtype.kind != "f":
        raise UserError(f"word vectors {path} must be numbers of shape (words, dimensions), got {table.shape}")
    names = _row_names(path)
    if len(names) != len(table):
        raise UserError(f"word vectors {path} has {len(table)} rows, but its list of words has {len(names)}")
    rows: dict[str, np.ndarray] = {}
    for row, name in enumerate(names):
        if name not in rows and (name in wanted or name in lower):
            rows[name] = table[row]
            if not np.isfinite(rows[name]).all():
                raise UserError(f"word vectors {path} row {row}: the vector of {name!r} holds what is no number")
    return _fill(rows, table.shape[1], size, wanted, lower)


def _row_names(path: Path) -> list[str]:
    beside = [path.with_suffix(suffix) for suffix in WORD_LISTS if path.with_suffix(suffix).is_file()]
    if not beside:
        beside = sorted(path.parent.glob("*.parquet"))
        if len(beside) != 1:
            raise UserError(
                f"word vectors {path} need the words of their rows beside them: {path.stem}.txt, one a line, or one "
                f"Parquet file (there are {len(beside)})"
            )
    try:
        if beside[0].suffix != ".parquet":
            return beside[0].read_text(encoding="utf-8").removesuffix("\n").split("\n")
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = pq.read_schema(beside[0])
        columns = [f.name for f in schema if pa.types.is_string(f.type) or pa.types.is_large_string(f.type)]
        if not columns:
            raise UserError(f"{beside[0]} has no column of text that could be the words of {path.name}")
        return pq.read_table(beside[0], columns=columns[:1])[columns[0]].to_pylist()
    except (OSError, ValueError) as error:
        raise UserError(f"words of {path} in {beside[0]} cannot be read: {one_line(error)}") from None


def _text(
    path: Path, size: int, wanted: Mapping[str, list[int]], lower: Mapping[str, list[int]]
) -> tuple[np.ndarray, np.ndarray]:
    rows: dict[str, np.ndarray] = {}
    dimensions = 0
    for number, line in _lines(path):
        parts = line.split(" ")
        if number == 1 and len(parts) == 2 and all(part.isdigit() for part in parts):
            dimensions = int(parts[1])
            continue
        if not dimensions:
            dimensions = len(parts) - 1
        # A few words of GloVe hold spaces, so the numbers are counted from the end.
        word = " ".join(parts[:-dimensions]) if dimensions else ""
        if dimensions < 2 or not word:
            raise UserError(f"word vectors {path} line {number}: expected a word and {dimensions or 'its'} numbers")
        if word not in rows and (word in wanted or word in lower):
            try:
                values = np.array(parts[-dimensions:], np.float32)
            except ValueError:
                values = np.array([np.nan])
            if not np.isfinite(values).all():
                raise UserError(f"word vectors {path} line {number}: the vector of {word!r} holds what is no number")
            rows[word] = values
    if not dimensions:
        raise UserError(f"word vectors {path} is empty")
    return _fill(rows, dimensions, size, wanted, lower)


def _fill(
    rows: Mapping[str, np.ndarray],
    dimensions: int,
    size: int,
    wanted: Mapping[str, list[int]],
    lower: Mapping[str, list[int]],
) -> tuple[np.ndarray, np.ndarray]:
    matrix, found = np.zeros((size, dimensions), np.float32), np.zeros(size, bool)
    for among in (wanted, lower):
        for word, numbers in among.items():
            missing = [n for n in numbers if not found[n]]
            if word in rows and missing:
                matrix[missing], found[missing] = rows[word], True
    return matrix, found


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        opener: Any = gzip.open if path.suffix.lower() == ".gz" else open
        with opener(path, "rb") as file:
            for number, line in enumerate(file, start=1):
                if number <= 2 and b"\0" in line:
                    raise UserError(f"word vectors {path} are binary: expected the text format, or .npy")
                # Words cut by bytes stand in some files: they match nothing, and must not stop the rest.
                yield number, line.decode("utf-8", "replace").rstrip(" \r\n").replace("\t", " ")
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"word vectors {path} cannot be read: {one_line(error)}") from None


def first_words(path: str | Path, limit: int) -> list[str]:
    """The words of the first `limit` vectors, which in files of this kind are the most frequent.

    Raises:
        UserError: The file is missing or damaged.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise UserError(f"word vectors not found: {path}")
    if path.suffix.lower() == ".npy":
        return [name for name in _row_names(path)[:limit] if isinstance(name, str)]
    return [line.split(" ", 1)[0] for _, line in islice(_lines(path), limit)]
