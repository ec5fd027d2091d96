"""What the README and the documents show is run: their Python, and their commands down to the options."""

import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest

from pipelines import TASKS
from pipelines.core import cli

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
TEXT = {page.name: page.read_text(encoding="utf-8") for page in PAGES}
COMMAND = re.compile(r"python -m pipelines\.(\w+)((?:'[^'\n]*'|[^`|\n])*)")
# What an example takes for given: a classifier of digits, built and not yet compiled.
GIVEN = """
import keras
import numpy as np
from sklearn.datasets import load_digits

data = load_digits()
images, targets, classes = data.images[..., None] / 16, data.target, [str(name) for name in data.target_names]
x, y, x_val, y_val, x_test, y_test = (part[i : i + 200] for i in (0, 200, 400) for part in (images, targets))
vx, vy, accuracy = x_val, y_val, 0.9
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
layers = [keras.layers.Flatten(), keras.layers.Dense(16, "relu"), keras.layers.Dense(10)]
model = keras.Sequential([keras.Input((8, 8, 1)), *layers])
model.compile("adam", loss, metrics=["accuracy"])
"""


def toolkit_examples():
    for page, text in TEXT.items():
        for number, block in enumerate(re.findall(r"```python\n(.*?)```", text, re.DOTALL)):
            if re.search(r"\b(optimizers|regularizers|callbacks)\b", block):
                yield pytest.param(block, id=f"{page}-{number}")


@pytest.mark.parametrize("block", list(toolkit_examples()))
@pytest.mark.backend
def test_toolkit_examples_run(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(GIVEN, names)
    exec(block, names)
    model = names["model"]
    if "fit(" not in block:
        model.compile(model.optimizer, names["loss"])
        assert model.fit(names["x"], names["y"], verbose=0).history["loss"][0] > 0


def commands():
    for page, text in TEXT.items():
        for task, rest in COMMAND.findall(text):
            yield pytest.param(task, rest.partition("#")[0], id=f"{page}: {task}{rest.partition('#')[0].rstrip()}")


@pytest.mark.parametrize(("task", "rest"), list(commands()))
def test_commands_have_options_that_exist(task, rest):
    assert task in TASKS
    declared = import_module(f"pipelines.{task}").TASK
    arguments = shlex.split(rest.replace("&&", " "))
    verb = arguments[0] if arguments and arguments[0] in declared.verbs else "train"
    assert not arguments or arguments[0].startswith("--") or verb in declared.verbs
    known = {*cli.option_names(declared.config), "config", "resume", "print_config", "help"}
    if verb == "train":
        flags = [a[2:].partition("=")[0] for a in arguments if a.startswith("--")]
        assert all(cli._full_name(flag, sorted(known)) in known for flag in flags)
