"""Options of picture data; nothing slow is imported here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from pipelines.engine.config import check, check_data


@dataclass
class ImageDataConfig:
    """The pictures, and how they are read.

    Args:
        source: `sample` (8x8 scans of digits, embedded), `fashion_mnist`, `keras:NAME`, `tfds:NAME`, a folder with a
            folder of pictures for each class (or train/, val/, test/ with these), a CSV of paths and labels, an .npz of
            arrays, or my_module:function.
        val_fraction: Part of the training pictures kept for validation when the source has no part for it.
        test_fraction: Part of all pictures kept for the test when the source has no part for it.
        image_column: CSV column of the paths, relative to the CSV; by default the usual names are tried.
        label_column: CSV column of the labels.
        split_column: CSV column that says train, val or test.
        group_column: CSV column of what must stay in one part, such as the patient.
        size: Height and width in pixels; none keeps the stored size when all agree and it is at most 256, and takes
            224 otherwise.
        channels: Grey or colour; auto takes grey when all pictures are grey.
        resize: What is done to a picture of another shape: crop the longer side, pad the shorter, or stretch.
        max_broken: Broken pictures or rows that are skipped and reported; one more is an error that lists them.
        memory_gib: Decoded pictures up to this size are kept in memory; larger sets are read from disk each epoch.
        limit: Use only so many training pictures, drawn by class.
    """

    source: str = "sample"
    val_fraction: float = 0.15
    test_fraction: float = 0.15
    image_column: str | None = None
    label_column: str | None = None
    split_column: str | None = None
    group_column: str | None = None
    size: int | None = None
    channels: Literal["auto", "grey", "rgb"] = "auto"
    resize: Literal["crop", "pad", "stretch"] = "crop"
    max_broken: int = 10
    memory_gib: float = 2.0
    limit: int | None = None

    def __post_init__(self) -> None:
        check_data(self)
        check(self.size is None or 4 <= self.size <= 4096, "data.size", "between 4 and 4096", self.size)
        check(0 <= self.memory_gib < math.inf, "data.memory_gib", "0 or more", self.memory_gib)
