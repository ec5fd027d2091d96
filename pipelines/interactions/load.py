"""Interactions as sequences of items, split without a look into the future."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from pipelines.core.errors import UserError
from pipelines.data import summary as summaries
from pipelines.interactions import sources

if TYPE_CHECKING:
    from pipelines.interactions.config import InteractionDataConfig

FEWEST = 3  # interactions of a user whose last ones are held out


@dataclass(frozen=True, eq=False)
class Queries:
    """Users with what they did before, and what they did next.

    Args:
        users: int64 (Q,), numbers of users.
        known: Q arrays: the items that the user had before, the oldest first.
        wanted: Q arrays: the items held out.
    """

    users: np.ndarray
    known: list[np.ndarray]
    wanted: list[np.ndarray]

    def __len__(self) -> int:
        return len(self.users)


@dataclass(frozen=True, eq=False)
class InteractionSplits:
    """Interactions ready for training and testing.

    Args:
        interactions: All of them.
        train: For each user, the items of the training set, the oldest first.
        val: Validation queries.
        test: Test queries, whose known items include those of the validation set.
        summary: For the report.
    """

    interactions: sources.Interactions
    train: list[np.ndarray]
    val: Queries
    test: Queries
    summary: summaries.DataSummary

    @property
    def items(self) -> int:
        return len(self.interactions.items)

    def assignment(self) -> list[dict[str, str]]:
        """Each held-out interaction, a row each."""
        names, items = self.interactions.users, self.interactions.items
        return [
            {"part": split, "user": names[u], "item": items[i]}
            for split, queries in (("val", self.val), ("test", self.test))
            for u, wanted in zip(queries.users, queries.wanted, strict=True) for i in wanted
        ]  # fmt: skip

    def describe(self) -> str:
        """One sentence."""
        return (
            f"{len(self.interactions.user):,} interactions of {len(self.interactions.users):,} users with "
            f"{self.items:,} items; {len(self.val):,} users for validation and {len(self.test):,} for the test."
        )


def load_interactions(config: InteractionDataConfig, *, seed: int) -> InteractionSplits:
    """Reads, checks and splits the interactions of a source.

    Raises:
        UserError: The source cannot be used, or no user has enough interactions.
    """
    data = sources.load(config)
    bounds = np.searchsorted(data.user, np.arange(len(data.users) + 1))
    sequences = [data.item[a:b] for a, b in pairwise(bounds)]
    times = None if data.time is None else [data.time[a:b] for a, b in pairwise(bounds)]
    if config.split == "leave-last":
        marks = [_last(len(s)) for s in sequences]
        data.notes.append("leave-last: the future of other users is in the training set; the split time avoids that")
    elif config.split == "time":
        marks = _by_time(sequences, times, config)
    else:
        draw = np.random.default_rng(seed)
        marks = [_random(len(s), draw, config) for s in sequences]
    train = [s[m == 0] for s, m in zip(sequences, marks, strict=True)]
    seen = np.zeros(len(data.items), bool)
    for items in train:
        seen[items] = True
    val, test = (_queries(sequences, marks, split) for split in (1, 2))
    if not len(val) or not len(test):
        raise UserError(
            f"data.source {config.source}: no user has {FEWEST} interactions or more, of which some can be held out"
        )
    cold = sum(int((~seen[w]).sum()) for w in (s[m == 2] for s, m in zip(sequences, marks, strict=True)) if len(w))
    if cold:
        data.notes.append(
            f"{cold:,} held-out interactions are with items that training has not seen; they count as missed"
        )
    single = int((np.bincount(data.item, minlength=len(data.items)) == 1).sum())
    data.notes.append(f"{single / len(data.items):.0%} of the items have one interaction only")
    if times is not None:
        short = np.mean([t[-1] - t[0] < 86400 for t in times])
        data.notes.append(f"{short:.0%} of the users have all their interactions within a day")
    counts = {
        "train": {"interactions": int(sum(map(len, train))), "users": sum(len(t) > 0 for t in train)},
        "val": {"interactions": int(sum(map(len, val.wanted))), "users": len(val)},
        "test": {"interactions": int(sum(map(len, test.wanted))), "users": len(test)},
    }
    whole = hashlib.sha256(data.user.tobytes() + data.item.tobytes() + "\n".join([*data.users, *data.items]).encode())
    summary = summaries.DataSummary(counts, data.skipped, None, whole.hexdigest(), data.notes)
    return InteractionSplits(data, train, val, test, summary)


def _last(length: int) -> np.ndarray:
    """0 training, 1 validation, 2 test: the last is for the test, the one before it for validation."""
    marks = np.zeros(length, np.int8)
    if length >= FEWEST:
        marks[-2:] = 1, 2
    return marks


def _by_time(
    sequences: list[np.ndarray], times: list[np.ndarray] | None, config: InteractionDataConfig
) -> list[np.ndarray]:
    if times is None:
        raise UserError("data.split time needs a column of times: name it with --data.time_column")
    every = np.concatenate(times)
    cuts = np.quantile(every, [1 - config.test_fraction - config.val_fraction, 1 - config.test_fraction])
    return [np.searchsorted(cuts, t, side="left").astype(np.int8) for t in times]


def _random(length: int, draw: np.random.Generator, config: InteractionDataConfig) -> np.ndarray:
    marks = np.zeros(length, np.int8)
    order = draw.permutation(length)
    test, val = (round(fraction * length) for fraction in (config.test_fraction, config.val_fraction))
    if length >= FEWEST:
        marks[order[:test]] = 2
        marks[order[test : test + val]] = 1
    return marks


def _queries(sequences: list[np.ndarray], marks: list[np.ndarray], split: int) -> Queries:
    """Users with something held out in a split and something known before; known is all of the earlier splits."""
    users, known, wanted = [], [], []
    for user, (items, mark) in enumerate(zip(sequences, marks, strict=True)):
        before, after = items[mark < split], items[mark == split]
        if len(before) and len(after):
            users.append(user)
            known.append(before)
            wanted.append(after)
    return Queries(np.array(users, np.int64), known, wanted)
