"""Shared by all tests: a quiet backend and a folder of small pictures."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def photos(tmp_path):
    """photos/{cat,dog}/0..9.png, 12 x 12 colour; cats are bright, dogs are dark."""
    generator = np.random.default_rng(0)
    for name, level in (("cat", 180), ("dog", 20)):
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True)
        for i in range(10):
            pixels = generator.integers(level, level + 60, (12, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{i}.png")
    return tmp_path / "photos"
