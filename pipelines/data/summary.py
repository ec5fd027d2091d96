"""What each kind of data reports about itself, and what the engine needs of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, eq=False)
class DataSummary:
    """What a report says about the data.

    Args:
        counts: Samples by split and class (or another grouping).
        skipped: Name and reason of each sample or row that was skipped.
        duplicates: Pairs of equal samples in different splits, as (split, name, split, name); None if they were not
            searched.
        fingerprint: SHA-256 of all samples and labels.
        notes: Further remarks.
    """

    counts: dict[str, dict[str, int]]
    skipped: list[tuple[str, str]]
    duplicates: list[tuple[str, str, str, str]] | None
    fingerprint: str
    notes: list[str]


class Data(Protocol):
    """Data of a task: training, validation and test set."""

    @property
    def summary(self) -> DataSummary: ...

    def assignment(self) -> list[dict[str, str]]:
        """The split of each sample, a row each."""
        ...

    def describe(self) -> str:
        """One sentence."""
        ...


def digest(content: bytes) -> bytes:
    """A short hash that tells samples apart."""
    return hashlib.blake2b(content, digest_size=16).digest()


def duplicates(
    hashes: Mapping[str, Sequence[bytes]], names: Mapping[str, Sequence[str]]
) -> list[tuple[str, str, str, str]]:
    """Equal samples in different splits: (split, name, split, name) of each pair.

    Args:
        hashes: By split, a hash of each sample.
        names: By split, their names.
    """
    seen: dict[bytes, tuple[str, str]] = {}
    pairs: list[tuple[str, str, str, str]] = []
    for split, of_split in hashes.items():
        for key, name in zip(of_split, names[split], strict=True):
            if key in seen and seen[key][0] != split:
                pairs.append((*seen[key], split, name))
            seen.setdefault(key, (split, name))
    return pairs


def fingerprint(hashes: Mapping[str, Sequence[bytes]], labels: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of all samples in their order, split by split, with their labels."""
    whole = hashlib.sha256()
    for split, of_split in hashes.items():
        for key in of_split:
            whole.update(key)
        whole.update(labels[split].tobytes())
    return whole.hexdigest()
