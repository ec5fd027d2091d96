"""Pairs of texts: read, checked, cleaned, split, and kept on disk; their pieces are numbers in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.core.errors import UserError
from pipelines.data import sources as data_sources
from pipelines.data import split as splitting
from pipelines.data import summary as summaries
from pipelines.pairs import clean, sources
from pipelines.pairs.store import PairStore

if TYPE_CHECKING:
    from pipelines.pairs.config import PairsDataConfig

SPLITS = ("train", "val", "test")
ENCODED_AT_ONCE = 1000


@dataclass(frozen=True, eq=False)
class Encoded:
    """Pieces of N pairs.

    Args:
        ids: int32, all sources and targets in a row.
        starts: int64 (N, 2), where each source and target begins.
        lengths: int64 (N, 2).
    """

    ids: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray

    def __len__(self) -> int:
        return len(self.starts)

    def pair(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Pieces of a source and of its target."""
        (a, b), (m, n) = self.starts[number], self.lengths[number]
        return self.ids[a : a + m], self.ids[b : b + n]


@dataclass(frozen=True, eq=False)
class PairData:
    """Pairs ready for training and testing.

    Args:
        store: All of them.
        index: By split, the numbers of its pairs in the store.
        languages: Codes of source and target.
        summary: What the report says about the data.
        dropped: By reason, how many pairs were not trained on, and the names of some.
        seen: Which test pairs have a source that is in the training set, bool.
        subwords: None until they are learned from the training set.
        encoded: Pieces of training and validation.
        usual: Pieces of a longer source among those of the training; longer texts are translated in parts.
    """

    store: PairStore
    index: dict[str, np.ndarray]
    languages: tuple[str, str]
    summary: summaries.DataSummary
    dropped: list[tuple[str, int, Sequence[str]]]
    seen: np.ndarray
    subwords: Any = None
    encoded: dict[str, Encoded] = field(default_factory=dict)
    usual: int = 0

    def read(self, split: str) -> Iterator[tuple[str, str, str]]:
        """Names, sources and targets of a split."""
        return self.store.read(self.index[split])

    def texts(self, split: str) -> Iterator[str]:
        """All texts of a split."""
        for _, source, target in self.read(split):
            yield source
            yield target

    def assignment(self) -> list[dict[str, str]]:
        """Which pair is in which split, a row each."""
        return [{"part": split, "sample": name} for split in self.index for name, _, _ in self.read(split)]

    def describe(self) -> str:
        """One sentence."""
        sizes = ", ".join(f"{len(numbers):,} {split}" for split, numbers in self.index.items())
        return f"{sizes} pairs of texts, {self.languages[0]} to {self.languages[1]}."


def load_pairs(config: PairsDataConfig, *, seed: int) -> PairData:
    """Reads, checks, cleans and splits the pairs of a source.

    Raises:
        UserError: The source cannot be used.
    """
    raw = sources.load(config, config.source)
    store, index, broken = PairStore(), dict[str, list[int]](), list[tuple[str, str]]()
    _read(raw, store, index, broken, config)
    notes = list(raw.notes)
    dropped: list[tuple[str, str]] = []
    numbers = {split: np.array(found, np.int64) for split, found in index.items()}
    origin = "train" if "train" in numbers else "all"
    if config.clean:
        numbers[origin] = _cleaned(store, numbers[origin], config, dropped)
    keys = {split: [clean.key(source) for _, source, _ in store.read(found)] for split, found in numbers.items()}
    cut = splitting.cut(
        {split: np.zeros(len(found), np.int64) for split, found in numbers.items()}, keys,
        val_fraction=config.val_fraction, test_fraction=config.test_fraction, limit=config.limit, seed=seed,
        what="pairs", notes=notes,
    )  # fmt: skip
    final = {split: numbers[cut[split][0]][cut[split][1]] for split in SPLITS}
    for split, found in final.items():
        if not len(found):
            raise UserError(f"data.source {config.source}: the {split} set is empty; there are too few usable pairs")
    trained = {keys[cut["train"][0]][i] for i in cut["train"][1]}
    seen = np.array([keys[cut["test"][0]][i] in trained for i in cut["test"][1]], bool)
    return _finished(store, final, config, broken, dropped, seen, notes)


def load_test_pairs(config: PairsDataConfig) -> PairData:
    """All pairs of a source, or its own test set, as the test set of a trained model.

    Raises:
        UserError: The source cannot be used.
    """
    raw = sources.load(config, config.source)
    store, index, broken = PairStore(), dict[str, list[int]](), list[tuple[str, str]]()
    _read(raw, store, index, broken, config)
    chosen = index.get("test") or [number for found in index.values() for number in found]
    if not chosen:
        raise UserError(f"data {config.source} has no usable pair")
    final = {split: np.array(chosen, np.int64) for split in SPLITS}
    return _finished(store, final, config, broken, [], np.zeros(len(chosen), bool), list(raw.notes))


def _read(
    raw: sources.Raw, store: PairStore, index: dict[str, list[int]], broken: list[tuple[str, str]],
    config: PairsDataConfig,
) -> None:  # fmt: skip
    """Puts all usable pairs into the store."""
    empty = 0
    for split, pairs in raw.splits.items():
        for pair in pairs:
            reason, part = pair.fault, split
            if not reason and pair.split:
                part = data_sources.SPLITS.get(pair.split.strip().lower(), "")
                reason = "" if part else f"no known split ({pair.split!r})"
            if reason:
                broken.append((pair.name, reason))
            elif not (pair.source or "").strip() or not (pair.target or "").strip():
                empty += 1
                if empty <= data_sources.SEVERAL:
                    raw.notes.append(f"{pair.name} has an empty side and is skipped")
            else:
                index.setdefault(part, []).append(store.append(pair.name, pair.source, pair.target))
    if empty > data_sources.SEVERAL:
        raw.notes.append(f"{empty} pairs in all have an empty side and are skipped")
    data_sources.check_broken(
        data_sources.Raw({}, broken), config.max_broken,
        f"{len(broken)} rows of {config.source} are broken, more than data.max_broken = {config.max_broken}",
    )  # fmt: skip
    if not index:
        first = f"; {broken[0][0]}: {broken[0][1]}" if broken else ""
        raise UserError(f"data.source {config.source} has no pair of a text and its translation{first}")
    if "all" not in index and "train" not in index:
        raise UserError(f"data.source {config.source} has no training pair")


def _cleaned(
    store: PairStore, numbers: np.ndarray, config: PairsDataConfig, dropped: list[tuple[str, str]]
) -> np.ndarray:
    judge = clean.Judge(((source, target) for _, source, target in store.read(numbers)), config.max_ratio)
    kept, known = [], set[bytes]()
    for number in numbers:
        name, source, target = store[int(number)]
        reason = judge.reason(source, target)
        if not reason:
            both = clean.key(source) + clean.key(target)
            reason = "the same pair again" if both in known else ""
            known.add(both)
        if reason:
            dropped.append((name, reason))
        else:
            kept.append(number)
    return np.array(kept, np.int64)


def _finished(
    store: PairStore, final: dict[str, np.ndarray], config: PairsDataConfig, broken: list[tuple[str, str]],
    dropped: list[tuple[str, str]], seen: np.ndarray, notes: list[str],
) -> PairData:  # fmt: skip
    counted = list(clean.counted(dropped))
    for reason, count, names in counted:
        notes.append(f"{count:,} training pairs are dropped: {reason} ({', '.join(names)}{' …' if count > 3 else ''})")
    if seen.any():
        notes.append(f"{seen.sum():,} of {len(seen):,} test sources are also in the training set")
    whole = hashlib.sha256()
    for found in final.values():
        for name, source, target in store.read(found):
            whole.update("\0".join((name, source, target, "")).encode())
    summary = summaries.DataSummary(
        {split: {"pairs": len(found)} for split, found in final.items()}, broken, None, whole.hexdigest(), notes
    )
    languages = (config.source_language, config.target_language)
    return PairData(store, final, languages, summary, counted, seen)


def encoded(data: PairData, split: str, subwords: Any) -> Encoded:
    """The pieces of a split's pairs."""
    parts: list[np.ndarray] = []
    lengths = np.zeros((len(data.index[split]), 2), np.int64)
    numbers = data.index[split]
    for start in range(0, len(numbers), ENCODED_AT_ONCE):
        rows = list(data.store.read(numbers[start : start + ENCODED_AT_ONCE]))
        both = [subwords.encode([row[side + 1] for row in rows], side) for side in (0, 1)]
        for place, pair in enumerate(zip(*both, strict=True)):
            lengths[start + place] = [len(ids) for ids in pair]
            parts += [np.array(ids, np.int32) for ids in pair]
    ends = np.cumsum(lengths.ravel())
    starts = np.concatenate([[0], ends[:-1]]).reshape(-1, 2)
    return Encoded(np.concatenate(parts), starts, lengths)


def with_subwords(data: PairData, subwords: Any, longest: int) -> PairData:
    """The data with the pieces of training and validation; pairs with more than `longest` are dropped from both."""
    from dataclasses import replace

    index, found = dict(data.index), dict[str, Encoded]()
    dropped = list(data.dropped)
    for split in ("train", "val"):
        pieces = encoded(data, split, subwords)
        fits = (pieces.lengths.max(1) < longest) & (pieces.lengths.min(1) > 0)  # the end needs a place
        if not fits.any():
            raise UserError(
                f"the {split} set has no pair of at most data.max_length = {longest} pieces; the shortest has "
                f"{int(pieces.lengths.max(1).min()) + 1}"
            )
        names = [data.store[int(data.index[split][i])][0] for i in np.flatnonzero(~fits)[:3]]
        if names:
            count = int((~fits).sum())
            if split == "train":
                dropped.append((f"more than {longest} pieces", count, names))
            data.summary.notes.append(
                f"{count:,} {split} pairs have more than data.max_length = {longest} pieces and are dropped "
                f"({', '.join(names)}{' …' if count > 3 else ''})"
            )
            index[split] = data.index[split][fits]
            pieces = Encoded(pieces.ids, pieces.starts[fits], pieces.lengths[fits])
        found[split] = pieces
    return replace(data, index=index, subwords=subwords, encoded=found, dropped=dropped)
