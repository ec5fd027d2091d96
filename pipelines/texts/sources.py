"""Where texts come from: each source gives texts and labels by part."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pipelines.core.errors import UserError
from pipelines.data import samples, sources
from pipelines.texts.files import (
    EXTENSIONS,
    TABLES,
    TEXT_NAMES,
    bad_unicode,
    fault,
    look_ahead,
    printable,
    read_text,
    rows_of,
)

if TYPE_CHECKING:
    from pipelines.texts.config import TextDataConfig

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


def _table(path: Path, config: TextDataConfig) -> Raw:
    if path.suffix.lower() not in TABLES:
        raise UserError(f"data.source {config.source}: a file must be one of {', '.join(sorted(TABLES))}")
    raw = Raw({})
    several = True if config.label_separator is not None else None  # the first row with a label decides
    names, rows_read = look_ahead(rows_of(path))
    columns = _columns(names, config, path) if names else None
    for name, row in rows_read:
        if isinstance(row, str) or columns is None:
            raw.skipped.append((name, str(row)))
            continue
        text, label, split, group = columns
        value = row.get(label)
        if several is None and not _missing(value):
            several = isinstance(value, list)
        labels = _labels(value, config.label_separator, bool(several))
        part = sources.SPLITS.get(str(row.get(split, "")).strip().lower()) if split else "all"
        reason = fault(row.get(text))
        if reason is None and isinstance(labels, str):
            reason = labels
        if reason is None and part is None:
            reason = f"no known split ({row.get(split)!r})" if split else None
        if reason is not None or part is None:
            raw.skipped.append((name, reason or ""))
            continue
        rows = raw.splits.setdefault(part, RawPart(groups=[] if group else None))
        rows.texts.append(row[text])
        rows.labels.append(labels if several else labels[0])
        rows.names.append(name)
        if group and rows.groups is not None:
            rows.groups.append(row.get(group))
    if not raw.splits:
        reasons = f"; {raw.skipped[0][0]}: {raw.skipped[0][1]}" if raw.skipped else ""
        raise UserError(f"data.source {path} has no row with a text and a label{reasons}")
    if columns and columns[2] and "train" not in raw.splits:
        raise UserError(f"data.source {path}: column {columns[2]!r} names no row train")
    raw.several = bool(several)
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
    split = sources.choose(names, config.split_column, sources.SPLIT_COLUMNS, "split_column", path)
    return text, label, split, sources.choose(names, config.group_column, (), "group_column", path)


def _missing(value: Any) -> bool:
    """Whether this is what stands for no label: null, not-a-number or nothing."""
    return value is None or value != value or (isinstance(value, str) and not value.strip())


def _labels(value: Any, separator: str | None, several: bool) -> list[str] | str:
    """The labels in a cell, or the reason why there are none."""
    if isinstance(value, list):
        if not several:
            return "a list of labels, but the rows before have a single one"
        found = [str(label).strip() for label in value if not _missing(label)]
    elif separator is not None:
        found = [] if _missing(value) else [x.strip() for x in str(value).split(separator) if x.strip()]
    elif _missing(value) or str(value).strip().lower() == "nan":
        return "no label"
    elif several:
        return "a single label, but the rows before have a list of them"
    else:
        found = [str(value).strip()]
    broken = next((reason for label in found if (reason := bad_unicode(label))), None)
    return f"its label is {broken}" if broken else found


def _folder(root: Path) -> Raw:
    raw = Raw({})
    for part, folder in sources.split_folders(root).items():
        raw.splits[part] = _class_folders(folder, root, raw)
    return raw


def _class_folders(folder: Path, root: Path, raw: Raw) -> RawPart:
    part = RawPart()
    for sub in sources.subfolders(folder):
        found, others = sources.files_below(sub, EXTENSIONS)
        name = printable(sub.relative_to(root).as_posix())
        if reason := bad_unicode(sub.name):
            raise UserError(f"the name of the class folder {name} is {reason}")
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
            place = printable(path.relative_to(root).as_posix())
            if reason is not None:
                raw.skipped.append((place, reason))
                continue
            part.texts.append(text)
            part.labels.append(sub.name)
            part.names.append(place)
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
        rows = raw.splits.setdefault(part, RawPart())
        for number, (text, label) in enumerate(zip(texts, labels, strict=True)):
            name = f"{what}[{part}][{number}]"
            text = text.decode("utf-8", "surrogateescape") if isinstance(text, bytes) else text
            if isinstance(text, np.str_):
                text = str(text)
            is_list = isinstance(label, (list, tuple, set, frozenset))
            if not is_list and pd.api.types.is_scalar(label) and (pd.isna(label) or label == ""):
                raw.skipped.append((name, "no label"))
                continue
            several = is_list if several is None else several
            if is_list != several:
                raise UserError(f"{name}: some labels are lists and some are not")
            plain = sorted(_plain(x, name) for x in (label if is_list else [label]))
            reason = fault(text) or next(filter(None, map(bad_unicode, plain)), None)
            if reason is not None:
                raw.skipped.append((name, reason))
                continue
            rows.texts.append(text)
            rows.labels.append(plain if is_list else plain[0])
            rows.names.append(name)
    raw.several = bool(several)
    return raw


def _plain(label: Any, name: str) -> str:
    value = label.item() if isinstance(label, np.generic) else label
    value = value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, (str, int)) or value == "":
        raise UserError(f"{name}: a label must be a text or a whole number, got {label!r}")
    return str(value)


def _from_value(value: Any, what: str) -> Raw:
    """What a user's function may return: (texts, labels), pairs of these for the parts, or a dictionary of pairs."""
    expected = f"data.source {what} must return (texts, labels), (train, test) pairs of these, or a dict of parts"
    # Two texts with two labels are a pair of pairs as well.
    parts = sources.pairs_by_split(
        value, expected, lambda pairs: not any(isinstance(x, (str, bytes)) for x, _ in pairs)
    )
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
        # The number -1 stands for a label that is kept secret.
        labels = [y if classes is None else classes[int(y)] if y >= 0 else None for _, y in rows]
        parts[part] = ([x for x, _ in rows], labels)
    return _from_pairs(parts, name, classes)
