"""What the sources of all kinds of data share: how a source is recognized, and how its splits are named."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from pipelines.core.errors import UserError
from pipelines.core.files import one_line
from pipelines.core.functions import call, import_function, is_function_name

SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val",
         "test": "test", "testing": "test"}  # fmt: skip
SPLIT_COLUMNS = ("split", "part", "set", "subset")
HIDDEN = ("__macosx", "@eadir", "thumbs.db", "desktop.ini")
SEVERAL = 5  # broken samples that an error names

SplitT = TypeVar("SplitT")
ReadT = TypeVar("ReadT")


@dataclass
class Raw(Generic[SplitT]):
    """What a source gave.

    Args:
        splits: By name: `train`, `val`, `test`, or `all` when it has none.
        skipped: Name and reason of each sample or row that was skipped.
        notes: Remarks.
    """

    splits: dict[str, SplitT]
    skipped: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read(
    source: str,
    *,
    named: Mapping[str, Callable[[], ReadT]],
    kinds: Mapping[str, Callable[[str], ReadT]],
    folder: Callable[[Path], ReadT],
    file: Callable[[Path], ReadT],
    value: Callable[[Any, str], ReadT],
    known: str,
) -> ReadT:
    """Recognizes a source and reads it.

    Args:
        source: What the user gave as `data.source`.
        named: Sources by their whole names.
        kinds: Sources KIND:NAME by their kinds; each takes the name, which may be empty.
        folder: Reads a folder.
        file: Reads a file.
        value: Reads what a user's function returned; takes it and what to call it.
        known: `named` and `kinds` for the error, such as `sample, tfds:NAME`.

    Raises:
        UserError: It is unknown, missing or not valid.
    """
    path = Path(source).expanduser()
    kind, colon, name = source.partition(":")
    if source in named:
        return named[source]()
    if colon and kind in kinds:
        return kinds[kind](name)
    if path.is_dir():
        return folder(path)
    if path.is_file():
        return file(path)
    if is_function_name(source):
        return value(call(import_function(source, "data.source"), what=f"data.source {source}"), source)
    raise UserError(f"data.source not found: {source!r} is no file, no folder, and none of {known}, my_module:function")


def check_broken(raw: Raw[Any], limit: int, complaint: str) -> None:
    """Raises if more samples or rows are broken than the user allows; `complaint` begins the line, which lists some.

    Raises:
        UserError: There are more.
    """
    if len(raw.skipped) > limit:
        first = "; ".join(f"{name}: {reason}" for name, reason in raw.skipped[:SEVERAL])
        raise UserError(f"{complaint}, among them {first}")


def check_classes(raw: Raw[Any], classes: Sequence[str], source: str, what: str, fewest: int = 2) -> None:
    """Raises if there are too few samples to learn the classes; `what` names the samples.

    Raises:
        UserError: There are fewer than `fewest` classes, or fewer than two training samples per class.
    """
    if len(classes) < fewest:
        found = f"only the class {classes[0]!r}" if classes else "no class"
        raise UserError(f"data.source {source} has {found}; classification needs at least two")
    training = raw.splits.get("train") or raw.splits["all"]
    if len(training.labels) < 2 * len(classes):
        raise UserError(
            f"data.source {source} has {len(training.labels)} usable training {what} for {len(classes)} "
            "classes; at least two per class are needed"
        )


def pairs_by_split(value: Any, expected: str, are_splits: Callable[[Any], bool]) -> dict[str, tuple[Any, Any]]:
    """What a user's function may return: (inputs, labels), two or three such pairs, or a dictionary of pairs by split.

    Args:
        value: What it returned.
        expected: Beginning of the error.
        are_splits: Whether a sequence of pairs holds splits; a pair of pairs may also be two inputs and two labels.

    Raises:
        UserError: It returned something else.
    """
    if isinstance(value, dict):
        if not value or not all(SPLITS.get(str(k)) and _is_pair(v) for k, v in value.items()):
            raise UserError(f"{expected} named train, val and test")
        return {SPLITS[str(key)]: (pair[0], pair[1]) for key, pair in value.items()}
    if not isinstance(value, (tuple, list)) or len(value) not in (2, 3):
        raise UserError(f"{expected}, got {type(value).__name__}")
    if all(_is_pair(pair) for pair in value) and are_splits(value):
        names = ("train", "test") if len(value) == 2 else ("train", "val", "test")
        return {name: (pair[0], pair[1]) for name, pair in zip(names, value, strict=True)}
    if len(value) != 2:
        raise UserError(f"{expected}, got a {type(value).__name__} of {len(value)}")
    return {"all": (value[0], value[1])}


def _is_pair(value: Any) -> bool:
    return isinstance(value, (tuple, list)) and len(value) == 2


def split_folders(root: Path) -> dict[str, Path]:
    """The folders of the splits in a folder, or the folder itself as `all` if none is named train."""
    named = {SPLITS[p.name.lower()]: p for p in subfolders(root) if p.name.lower() in SPLITS}
    return named if "train" in named else {"all": root}


def subfolders(folder: Path) -> list[Path]:
    """The folders in it that are not hidden."""
    return sorted(p for p in folder.iterdir() if p.is_dir() and not _hidden(p))


def files_below(folder: Path, extensions: set[str], notes: list[str] | None = None) -> tuple[list[Path], int]:
    """The files of these kinds in it and below, and how many others there are that are not hidden.

    Links to folders are followed, but no folder is read twice: `notes` gets a line about each that would be.
    """
    files: list[Path] = []
    seen: set[str] = set()
    for base, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(base)
        if real in seen:
            folders.clear()
            if notes is not None:
                notes.append(f"{base} leads to a folder that was read already: skipped")
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not _hidden(Path(name)))
        files += [Path(base, name) for name in names if not _hidden(Path(name))]
    files = sorted(path for path in files if path.is_file())
    found = [p for p in files if p.suffix.lower() in extensions]
    return found, len(files) - len(found)


def class_notes(name: str, what: str, found: int, others: int) -> Iterator[str]:
    """Remarks on a class folder."""
    if others:
        yield f"{others} files in {name} are not {what} by their suffix and are not read"
    if not found:
        yield f"the class folder {name} has no {what}"


def no_class_folders(folder: Path, extensions: set[str], what: str, example: str) -> UserError:
    """The error for a folder without class folders."""
    loose = sum(p.suffix.lower() in extensions for p in folder.iterdir())
    return UserError(
        f"data.source {folder} holds {loose} {what}, but no class folders with {what}: expected "
        f"FOLDER/CLASS/{example}, or FOLDER/train/CLASS/{example}"
    )


def _hidden(path: Path) -> bool:
    """What file managers, notebooks and network drives leave beside the data."""
    return path.name.startswith(".") or path.name.lower() in HIDDEN


def choose(columns: Sequence[str], chosen: str | None, usual: Sequence[str], option: str, path: Path) -> str | None:
    """The column that the user chose, or the first with a usual name.

    Raises:
        UserError: There is no column of the chosen name.
    """
    if chosen is not None:
        if chosen not in columns:
            raise UserError(f"data.{option} {chosen!r} is not a column of {path}: it has {', '.join(columns)}")
        return chosen
    lower = {name.lower(): name for name in reversed(columns)}
    return next((lower[name] for name in usual if name in lower), None)


def separator(header: str) -> str:
    """The separator of a table by its first line: what stands in quotes does not count; a comma if it has none."""
    bare = re.sub(r'"[^"]*"', "", header)
    return max(",;\t|", key=bare.count)


def keras_failed(name: str, error: Exception) -> UserError:
    """The error for a data set of Keras that could not be downloaded."""
    return UserError(
        f"data.source keras:{name} could not be downloaded ({one_line(error, 120)}): connect to the network once, "
        "or put the files into Keras's cache (~/.keras/datasets)"
    )


def tfds_builder(name: str, example: str) -> Any:
    """The builder of a prepared data set of TensorFlow Datasets; `example` is one that fits.

    Raises:
        UserError: There is no name, or it cannot be prepared.
    """
    if not name:
        raise UserError(f"data.source tfds: needs a name, such as tfds:{example}")
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(name)
        builder.download_and_prepare()
    except Exception as error:
        raise tfds_failed(name, error) from None
    return builder


def tfds_failed(name: str, error: Exception) -> UserError:
    """The error for a data set of TensorFlow Datasets that could not be prepared."""
    return UserError(
        f"data.source tfds:{name} could not be prepared ({one_line(error, 160)}): check the name, and connect to "
        "the network once"
    )


def tfds_splits(builder: Any, name: str, names: Mapping[str, str] = SPLITS) -> list[tuple[str, str]]:
    """The splits of a builder that are used, each with its name here.

    Raises:
        UserError: None is the training set.
    """
    found = [(split, names[split]) for split in builder.info.splits if split in names]
    if "train" not in dict(found).values():
        raise UserError(f"data.source tfds:{name} has no split named train; it has {', '.join(builder.info.splits)}")
    return found
