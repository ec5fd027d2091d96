"""What every kind of data tells about itself, and what the engine asks of it."""

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
        counts: Samples by part and class (or another grouping).
        skipped: Name and reason of each sample or row that was left out.
        duplicates: Pairs of equal samples in different parts, as (part, name, part, name); None where they were not
            looked for.
        fingerprint: SHA-256 of all samples and labels.
        notes: Further remarks.
    """

    counts: dict[str, dict[str, int]]
    skipped: list[tuple[str, str]]
    duplicates: list[tuple[str, str, str, str]] | None
    fingerprint: str
    notes: list[str]


class Data(Protocol):
    """Data of a task, in parts for training, validation and test."""

    @property
    def summary(self) -> DataSummary: ...

    def assignment(self) -> list[dict[str, str]]:
        """Which sample is in which part, a row each."""
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
    """Equal samples that stand in different parts: (part, name, part, name) of each pair.

    Args:
        hashes: By part, one hash a sample.
        names: By part, their names.
    """
    seen: dict[bytes, tuple[str, str]] = {}
    pairs: list[tuple[str, str, str, str]] = []
    for part, of_part in hashes.items():
        for key, name in zip(of_part, names[part], strict=True):
            if key in seen and seen[key][0] != part:
                pairs.append((*seen[key], part, name))
            seen.setdefault(key, (part, name))
    return pairs


def fingerprint(hashes: Mapping[str, Sequence[bytes]], labels: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of all samples in their order, part by part, with their labels."""
    whole = hashlib.sha256()
    for part, of_part in hashes.items():
        for key in of_part:
            whole.update(key)
        whole.update(labels[part].tobytes())
    return whole.hexdigest()
