"""What a run says: on a terminal with colour, in a log file as plain lines."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def say(message: str) -> None:
    """One line on standard error, so that standard output stays clean for results."""
    print(message, file=sys.stderr, flush=True)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str | None = None) -> None:
    """A small table on standard output; numbers are right-aligned."""
    from rich.console import Console
    from rich.table import Table

    drawn = Table(title=title, box=None, title_justify="left", pad_edge=False)
    for number, name in enumerate(columns):
        numeric = all(row[number][:1].isdigit() for row in rows)
        drawn.add_column(name, justify="right" if numeric else "left")
    for row in rows:
        drawn.add_row(*row)
    Console().print(drawn)
