"""Labels: the threshold where a sample may have several, and how files list and sort them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

THRESHOLD = 0.5


def joined(classes: Sequence[str], row: np.ndarray) -> str:
    """The labels of a row (K,) of truth values: a name may hold a comma, and one may be called none."""
    return "|".join(name for name, on in zip(classes, row, strict=True) if on)


def alike(names: Sequence[str], what: str = "classes") -> Iterator[str]:
    """A line for each group of class names that differ in case or spaces alone."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault("".join(name.split()).casefold(), []).append(name)
    for same in groups.values():
        if len(same) > 1:
            shown = ", ".join(map(repr, same))
            yield f"the {what} {shown} differ in case or spaces alone: rename them if they are meant to be one"


def natural(name: str) -> tuple[Any, ...]:
    """Sort key that puts 2 before 10."""
    import re

    return tuple((0, int(t), "") if t.isdigit() else (1, 0, t) for t in re.split(r"(\d+)", name) if t)
