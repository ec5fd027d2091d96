"""Several labels of one sample: from which chance on one is given, and how files have them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

THRESHOLD = 0.5


def joined(classes: Sequence[str], row: np.ndarray) -> str:
    """The labels of a row (K,) of truth values: a name may hold a comma, and one may be called none."""
    return "|".join(name for name, on in zip(classes, row, strict=True) if on)


def natural(name: str) -> tuple[Any, ...]:
    """Sort key that puts 2 before 10."""
    import re

    return tuple((0, int(t), "") if t.isdigit() else (1, 0, t) for t in re.split(r"(\d+)", name) if t)
