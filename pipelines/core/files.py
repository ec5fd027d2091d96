"""Files that appear whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipelines.core.errors import UserError


@contextmanager
def whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a temporary path to write to, which replaces `path` when the block ends well and is deleted otherwise.

    The temporary path keeps the suffix, since some writers look at it.
    """
    target = Path(path)
    aside = target.with_name(f".{os.getpid()}-{target.name}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield aside
        os.replace(aside, target)
    except OSError as error:
        if error.filename is not None and Path(error.filename) not in (aside, target, target.parent):
            raise
        raise UserError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        if aside.is_file():
            aside.unlink()


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes UTF-8 text whole."""
    with whole(path) as aside:
        aside.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Writes indented JSON whole; not-a-number becomes null."""
    write_text(path, json.dumps(_finite(value), indent=2, ensure_ascii=False) + "\n")


def read_json(path: str | os.PathLike[str], what: str) -> Any:
    """Reads JSON; `what` names it in the error.

    Raises:
        UserError: It is missing or damaged.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{what} not found: {path}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{what} {path} cannot be read: {one_line(error)}") from None


def one_line(error: BaseException, limit: int = 300) -> str:
    """The message of an error without line breaks, cut to `limit` characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= limit else text[: limit - 1] + "…"


def write_csv(path: str | os.PathLike[str], rows: list[dict[str, Any]]) -> None:
    """Writes rows of the same keys as CSV, whole."""
    import csv

    with whole(path) as aside, open(aside, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]) if rows else [])
        writer.writeheader()
        writer.writerows(rows)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and value not in (float("inf"), float("-inf")) and value == value:
        return value
    return None if isinstance(value, float) else value
