import io
import re

import keras
import numpy as np
from rich.console import Console

from callbacks import Progress, progress

X = np.ones((8, 2), "float32")


def shown(terminal=False):
    """What is written in two epochs of two steps."""
    out = io.StringIO()
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    console = Console(file=out, soft_wrap=True, force_terminal=terminal, width=100, highlight=False)
    bar = Progress(samples=4, console=console)
    model.fit(X, X[:, :1], batch_size=4, epochs=2, verbose=0, callbacks=[bar])
    return out.getvalue()


def test_log_file_gets_one_plain_line_an_epoch():
    written = shown()
    lines = written.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    assert all("loss" in line and "samples/s" in line for line in lines)
    assert "\x1b" not in written


def test_an_error_leaves_no_bar_and_no_hidden_cursor():
    out = io.StringIO()
    bar = Progress(console=Console(file=out, force_terminal=True))
    bar.set_params({"epochs": 1, "steps": 2})
    bar.on_epoch_begin(0)
    assert screen(out.getvalue())[1]
    bar.close()
    bar.close()
    assert screen(out.getvalue()) == ([], False)
    bar.on_epoch_begin(0)
    del bar  # as at the end of the process
    assert screen(out.getvalue()) == ([], False)


def screen(written):
    """The lines that a terminal has in the end: it goes up and erases where it is told to."""
    lines, row, hidden = [""], 0, False
    for token in re.split(r"(\x1b\[[?\d;]*[a-zA-Z]|\r|\n)", written):
        if token == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif token == "\x1b[1A":
            row -= 1
        elif token == "\x1b[2K":
            lines[row] = ""
        elif token in ("\x1b[?25l", "\x1b[?25h"):
            hidden = token == "\x1b[?25l"
        elif token != "\r" and not token.startswith("\x1b"):
            lines[row] += token
    return [line for line in lines if line], hidden


def test_a_terminal_shows_a_bar_and_keeps_one_line_an_epoch(monkeypatch):
    monkeypatch.setattr(progress, "REDRAW_SECONDS", 0)
    written = shown(terminal=True)
    assert "━" in written
    for part in ("epoch 1/2", "epoch 2/2", "0/2", "2/2"):
        assert part in written
    lines, hidden = screen(written)
    assert [line.split("  ")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    assert not hidden
