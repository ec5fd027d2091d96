"""The embedded defaults: small real data from installed packages, no network."""

from __future__ import annotations

import numpy as np


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Scans of handwritten digits: uint8 (1797, 8, 8), labels (1797,).

    The test part of the UCI "Optical Recognition of Handwritten Digits" data (Alpaydin & Kaynak, 1998), which comes
    with scikit-learn.
    """
    from sklearn.datasets import load_digits

    data = load_digits()
    return np.rint(data.images * (255 / 16)).astype(np.uint8), data.target
