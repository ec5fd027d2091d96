"""Several labels of one sample: from which chance on one is given, and how files have them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

THRESHOLD = 0.5


def joined(classes: Sequence[str], row: np.ndarray) -> str:
    """The labels of a row (K,) of truth values: a name may hold a comma, and one may be called none."""
    return "|".join(name for name, on in zip(classes, row, strict=True) if on)
