"""Recommendations for users of the training set, and for histories that it has never seen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.core.errors import UserError
from pipelines.interactions.models import histories

if TYPE_CHECKING:
    import keras

TOP = 10
PREFIX = "history:"
REASONS = 3  # items of the history that a recommendation is explained by


def asked(spec: dict[str, Any], arguments: Sequence[str]) -> list[Any]:
    """Users, `all`, `history:ID|ID|…`, or a file with a column of users (a user in each row) or of histories.

    Raises:
        UserError: A file cannot be read.
    """
    from pipelines.interactions.sources import USERS, table

    found: list[Any] = []
    for argument in arguments:
        if argument == "all":
            found += list(spec["histories"])
        elif argument not in spec["histories"] and not argument.startswith(PREFIX) and Path(argument).is_file():
            frame = table(Path(argument))
            column = next((c for c in frame if str(c).strip().lower() in (*USERS, "history")), None)
            if column is None:
                raise UserError(f"{argument}: expected a column user or history, it has {', '.join(map(str, frame))}")
            history = str(column).strip().lower() == "history"
            found += [f"{PREFIX}{x}" if history else str(x) for x in frame[column]]
        else:
            found.append(argument)
    return found


def recommend(model: keras.Model, spec: dict[str, Any], inputs: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """A row for each recommended item: input, rank, item, title, score and the items of the history it comes from."""
    numbers = {name: i for i, name in enumerate(spec["items"])}
    options = spec.get("options") or {}
    top = int(options.get("top") or TOP)
    allowed = _candidates(options.get("candidates"), numbers)
    seen = np.array(spec["popularity"])
    for given in inputs:
        text = str(given) if not isinstance(given, (list, tuple)) else PREFIX + "|".join(map(str, given))
        known, error, why = _history(text, spec, numbers)
        if error:
            yield {"input": text, "error": error}
            continue
        if known:
            scores = np.asarray(model.predict_on_batch(histories([np.array(known)], spec["length"])))[0].astype(float)
        else:
            scores = seen.astype(float)
        scores[seen == 0] = -np.inf
        scores[known] = -np.inf
        if allowed is not None:
            scores[~allowed] = -np.inf
        order = [i for i in np.argsort(-scores, kind="stable")[:top] if np.isfinite(scores[i])]
        reasons = _reasons(model, known, order, spec) if known else [why] * len(order)
        for place, (item, reason) in enumerate(zip(order, reasons, strict=True), start=1):
            yield {
                "input": text, "rank": place, "item": spec["items"][item], "title": spec["titles"][item],
                "score": round(float(scores[item]), 6), "reason": reason,
            }  # fmt: skip


def _history(text: str, spec: dict[str, Any], numbers: dict[str, int]) -> tuple[list[int], str, str]:
    if not text.startswith(PREFIX):
        if text in spec["histories"]:
            return list(spec["histories"][text]), "", ""
        return [], "", "the user is unknown: the most popular items"
    names = [name.strip() for name in text[len(PREFIX) :].split("|") if name.strip()]
    known = [numbers[name] for name in names if name in numbers]
    if names and not known:
        return [], f"none of the items is known, such as {names[0]!r}", ""
    return known, "", "the history is empty: the most popular items"


def _candidates(path: str | None, numbers: dict[str, int]) -> np.ndarray | None:
    if path is None:
        return None
    try:
        lines = Path(path).read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise UserError(f"--candidates {path} cannot be read: {error.strerror or error}") from None
    allowed = np.zeros(len(numbers), bool)
    allowed[[numbers[line.strip()] for line in lines if line.strip() in numbers]] = True
    if not allowed.any():
        raise UserError(f"--candidates {path}: none of its lines is the id of an item")
    return allowed


def _reasons(model: keras.Model, known: list[int], order: Sequence[int], spec: dict[str, Any]) -> list[str]:
    """For each recommendation the items of the history without which its score would be the lowest."""
    last = known[-spec["length"] :]
    distinct = list(dict.fromkeys(reversed(last)))[: spec["length"]]
    without = [[i for i in last if i != item] for item in distinct]
    batch = histories([np.array(h, np.int64) for h in [last, *without]], spec["length"])
    scores = np.asarray(model.predict_on_batch(batch))[:, list(order)]
    gains = scores[:1] - scores[1:]  # (H, items)
    found = []
    for gain in gains.T:
        main = [h for h in np.argsort(-gain, kind="stable")[:REASONS] if gain[h] > 0]
        found.append("; ".join(spec["titles"][distinct[h]] for h in main))
    return found
