"""Console output: with colour on a terminal, plain lines in a log file."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

LOG_SECONDS = 30.0
LOG_WIDTH = 160  # characters


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
    console = Console()
    if not console.is_terminal:
        console.width = LOG_WIDTH
    console.print(drawn)


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """A function of (done, total) that shows the progress of a slow loop: a bar on a terminal, else lines.

    Both write to standard error; a loop that ends within `LOG_SECONDS` leaves nothing in a log file.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(file=sys.stderr)
    if console.is_terminal:
        drawing = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*drawing, console=console, transient=True) as bar:
            task = bar.add_task(what)
            yield lambda done, total: bar.update(task, completed=done, total=total)
        return
    said = time.monotonic()

    def step(done: int, total: int) -> None:
        nonlocal said
        if time.monotonic() - said >= LOG_SECONDS:
            said = time.monotonic()
            say(f"{what}: {done:,} of {total:,}")

    yield step
