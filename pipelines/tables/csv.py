"""CSV tables: read at pandas's speed, and row by row only where a row may have too many cells or too few."""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np
import pandas as pd

from pipelines.data import sources

if TYPE_CHECKING:
    from pipelines.tables.raw import RawTable

MISSING = ["?", "-", "na", "n/a", "N/A", "NaN", "nan", "NULL", "null", "None", "none", "NA", "<NA>", ""]
# What no class is called; words such as `none` may be one.
NO_CLASS = {"", "NaN", "nan", "NULL", "null"}


def read_csv(
    source: Path | io.StringIO,
    separator: str | None,
    raw: RawTable,
    targets: Callable[[Sequence[str]], Sequence[str]] = lambda names: (),
) -> pd.DataFrame:
    """A CSV with a header; rows with too many or too few cells are left out and named in `raw.skipped`.

    Args:
        source: The file, or its content.
        separator: Between cells; none looks at the header.
        raw: Gets what was left out, and remarks.
        targets: Names of the columns to those of the targets, in which `none` and the like are classes.

    Returns:
        A frame whose index numbers the rows of the file, from 0, also those that were left out.
    """
    name = source.name if isinstance(source, Path) else "standard input"
    with _opened(source) as file:
        header = file.readline()
    separator = separator or sources.separator(header)
    options: dict[str, Any] = {
        "sep": separator, "na_values": MISSING, "encoding": "utf-8-sig", "index_col": False, "low_memory": False
    }  # fmt: skip
    frame = rows = None
    try:
        with warnings.catch_warnings():
            # What the first row has too much pandas drops in all rows, with no more than this.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(_from_start(source), **options)
    except (pd.errors.ParserError, pd.errors.ParserWarning):
        pass
    # The last cell of a row that is too short is missing.
    if frame is None or (len(frame.columns) > 1 and bool(frame.iloc[:, -1].isna().any())):
        kept, rows, broken = _checked_rows(source, separator, whole=frame is not None)
        raw.skipped += [(f"{name}:{line}", fault) for line, fault in broken]
        if kept is not None:
            source, frame = kept, pd.read_csv(kept, **options)
    assert frame is not None
    for target in targets([str(column).strip() for column in frame.columns]):
        _restore(frame, target, source, options, raw)
    return frame if rows is None else frame.set_axis(rows, axis=0)


@contextmanager
def _opened(source: Path | io.StringIO) -> Iterator[TextIO]:
    if isinstance(source, io.StringIO):
        source.seek(0)
        yield source
        return
    limit = csv.field_size_limit(2**31 - 1)
    try:
        with open(source, encoding="utf-8-sig", newline="") as file:
            yield file
    finally:
        csv.field_size_limit(limit)


def _from_start(source: Path | io.StringIO) -> Path | io.StringIO:
    if isinstance(source, io.StringIO):
        source.seek(0)
    return source


def _checked_rows(
    source: Path | io.StringIO, separator: str, *, whole: bool
) -> tuple[io.StringIO | None, np.ndarray | None, list[tuple[int, str]]]:
    """The rows with the right number of cells as a CSV, their numbers, and line and fault of each other row.

    The first two are None where `whole` says that pandas has read the file, and no row is wrong. Empty cells at the
    end of a row are no fault.
    """
    broken: list[tuple[int, str]] = []
    rows: list[int] = []
    with _opened(source) as file:
        reader = csv.reader(file, delimiter=separator)
        header = next(reader)
        fewest = len(header)
        while fewest > 1 and not header[fewest - 1].strip():
            fewest -= 1

        def good() -> Iterator[list[str]]:
            number, line = 0, reader.line_num
            for cells in reader:
                first, line = line + 1, reader.line_num
                if not cells:
                    continue
                if len(cells) < fewest or any(cells[len(header) :]):
                    broken.append((first, f"{len(cells)} cells, the header has {len(header)}"))
                else:
                    rows.append(number)
                    yield cells[: len(header)]
                number += 1

        if whole:
            for _ in good():
                pass
            if not broken:
                return None, None, []
            return _checked_rows(source, separator, whole=False)
        kept = io.StringIO()
        writer = csv.writer(kept, delimiter=separator)
        writer.writerow(header)
        writer.writerows(good())
    kept.seek(0)
    return kept, np.array(rows, np.int64), broken


def _restore(
    frame: pd.DataFrame, target: str, source: Path | io.StringIO, options: dict[str, Any], raw: RawTable
) -> None:
    """Puts back words such as `none` that were taken for missing values, where a target has classes."""
    place = [str(column).strip() for column in frame.columns].index(target)
    name = frame.columns[place]
    missing = frame[name].isna().to_numpy()
    if not missing.any() or pd.api.types.infer_dtype(frame[name].dropna()) != "string":
        return
    as_text = {**options, "na_values": None, "na_filter": False, "usecols": [name], "dtype": str}
    read = pd.read_csv(_from_start(source), **as_text)[name].str.strip()
    lost = missing & ~read.isin(NO_CLASS).to_numpy()
    if lost.any():
        frame[name] = frame[name].where(~lost, read)
        raw.notes.append(f"in {target}, {', '.join(sorted(set(read[lost])))} is taken for a class, not for a gap")
