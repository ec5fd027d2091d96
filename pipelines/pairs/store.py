"""Texts on disk: only their places are held in memory."""

from __future__ import annotations

import json
import tempfile
from array import array
from collections.abc import Iterator, Sequence

import numpy as np


class PairStore:
    """Pairs of texts with their names in a temporary file that vanishes with the process."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the store
        self._starts = array("q", [0])

    def __len__(self) -> int:
        return len(self._starts) - 1

    def append(self, name: str, source: str, target: str) -> int:
        """Keeps a pair; returns its number."""
        record = json.dumps((name, source, target), ensure_ascii=False).encode("utf-8")
        self._file.seek(0, 2)
        self._file.write(record)
        self._starts.append(self._starts[-1] + len(record))
        return len(self) - 1

    def __getitem__(self, number: int) -> tuple[str, str, str]:
        """Name, source and target."""
        start, end = self._starts[number], self._starts[number + 1]
        self._file.seek(start)
        name, source, target = json.loads(self._file.read(end - start))
        return name, source, target

    def read(self, numbers: Sequence[int] | np.ndarray) -> Iterator[tuple[str, str, str]]:
        """Those of some numbers, one after the other."""
        return (self[int(number)] for number in numbers)
