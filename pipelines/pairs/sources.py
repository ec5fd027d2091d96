"""Where pairs of texts come from: each source gives its pairs by split, one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.core.errors import UserError
from pipelines.data import sources
from pipelines.pairs.formats.files import KNOWN, Pair, pairs_of, parallel

if TYPE_CHECKING:
    from pipelines.pairs.config import PairsDataConfig


@dataclass
class Raw:
    """What a source gives.

    Args:
        splits: Pairs by `train`, `val`, `test`, or `all` where there are none; they can be read once.
        notes: Remarks.
    """

    splits: dict[str, Iterable[Pair]]
    notes: list[str] = field(default_factory=list)


def load(config: PairsDataConfig, source: str) -> Raw:
    """Recognizes a source.

    Raises:
        UserError: It is unknown, missing or not what it must be.
    """
    if config.target is not None:
        return Raw({"all": parallel(Path(source).expanduser(), Path(config.target).expanduser())})
    return sources.read(
        source,
        named={"sample": lambda: _sample(config)},
        kinds={"tfds": lambda name: _tfds(name, config)},
        folder=lambda path: _folder(path, config),
        file=lambda path: Raw({"all": pairs_of(path, config)}),
        value=_from_value,
        known="sample, tfds:NAME",
    )


def _sample(config: PairsDataConfig) -> Raw:
    from pipelines.pairs.sample import cldr_pairs

    pairs = cldr_pairs(config.source_language, config.target_language)
    note = (
        "the sample is made of templates of CLDR (dates, numbers, units, currencies, countries, languages), not of "
        "sentences that people wrote: scores on it say nothing about free text"
    )
    return Raw({"all": (Pair(f"sample {n}", *texts) for n, texts in enumerate(pairs))}, [note])


def _folder(root: Path, config: PairsDataConfig) -> Raw:
    """Files of pairs, or text files that end with the languages; their names may say the split."""
    files = sorted(p for p in root.rglob("*") if p.is_file() and not p.name.startswith("."))
    readers: dict[str, list[Iterator[Pair]]] = {}
    source, target = config.source_language, config.target_language
    used = 0
    for path in files:
        if path.suffix.lower() in KNOWN:
            reader = pairs_of(path, config)
        elif path.suffix == f".{source}" and path.with_suffix(f".{target}").is_file():
            reader = parallel(path, path.with_suffix(f".{target}"))
        else:
            continue
        used += 1
        readers.setdefault(_split_of(path) or "all", []).append(reader)
    if not readers:
        raise UserError(
            f"data.source {root} holds no pairs: expected files {', '.join(sorted(KNOWN))}, or text files in pairs "
            f"such as train.{source} and train.{target} (data.source_language, data.target_language)"
        )
    if "all" in readers and len(readers) > 1:  # what names no split is for training, beside files that do
        readers.setdefault("train", []).extend(readers.pop("all"))
    if "train" not in readers and "all" not in readers:
        raise UserError(f"data.source {root} has no file whose name says train; it has {', '.join(readers)}")
    return Raw({split: _chain(of_split) for split, of_split in readers.items()})


def _split_of(path: Path) -> str | None:
    words = path.stem.lower().replace("-", ".").replace("_", ".").split(".")
    return next((sources.SPLITS[word] for word in words if word in sources.SPLITS), None)


def _chain(readers: list[Iterator[Pair]]) -> Iterator[Pair]:
    for reader in readers:
        yield from reader


def _tfds(name: str, config: PairsDataConfig) -> Raw:
    builder = sources.tfds_builder(name, "ted_hrlr_translate/pt_to_en")
    import tensorflow_datasets as tfds

    features = builder.info.features
    languages = [config.source_language, config.target_language]
    missing = [code for code in languages if code not in features]
    if missing:
        raise UserError(
            f"data.source tfds:{name} has no feature {missing[0]!r}: it has {', '.join(features)} "
            "(data.source_language, data.target_language)"
        )

    def rows(split: str) -> Iterator[Pair]:
        for number, row in enumerate(tfds.as_numpy(builder.as_dataset(split=split))):
            texts = [row[code].decode("utf-8", "surrogateescape") for code in languages]
            yield Pair(f"{split} {number}", *texts)

    return Raw({part: rows(split) for split, part in sources.tfds_splits(builder, name)})


def _from_value(value: Any, what: str) -> Raw:
    """What a user's function may return: (sources, targets), pairs of these for the splits, or a dictionary of them."""
    expected = f"data.source {what} must return (sources, targets), (train, test) pairs of these, or a dict of splits"
    splits = sources.pairs_by_split(
        value, expected, lambda pairs: not any(isinstance(x, (str, bytes)) for x, _ in pairs)
    )
    found: dict[str, Iterable[Pair]] = {}
    for split, both in splits.items():
        if any(isinstance(x, (str, bytes)) or not isinstance(x, Iterable) for x in both):
            raise UserError(f"{expected}, got a {type(value).__name__} of {len(value)}")
        texts, translations = (list(x) for x in both)
        if len(texts) != len(translations):
            raise UserError(f"{what}: {len(texts)} sources, but {len(translations)} targets")
        found[split] = [
            Pair(f"{what}[{split}][{number}]", _plain(a), _plain(b))
            for number, (a, b) in enumerate(zip(texts, translations, strict=True))
        ]
    return Raw(found)


def _plain(text: Any) -> Any:
    if isinstance(text, bytes):
        return text.decode("utf-8", "surrogateescape")
    return str(text) if isinstance(text, np.str_) else text
