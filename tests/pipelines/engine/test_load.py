"""Finished runs are opened from Python, and a run directory from somebody else runs no code unasked."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import yaml

import pipelines
from pipelines import image_classify
from pipelines.core import functions
from pipelines.core.errors import UserError
from pipelines.core.files import read_json, write_json
from pipelines.core.run_dir import RunDir
from pipelines.engine.load import load_model

BUILDER = """
import pathlib
import keras
pathlib.Path("imported").touch()


def build(shape, classes):
    return keras.Sequential([keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(classes)])
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    options = {"epochs": 1, "data.limit": 60, "model.width": 4, "resamples": 20, "tensorboard.enabled": False}
    return image_classify.train(out=str(out), **{key.replace(".", "__"): value for key, value in options.items()})


def copied(finished, folder):
    import shutil

    return RunDir(shutil.copytree(finished.directory.path, folder / "copy"))


def command(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", "pipelines.image_classify", *arguments], cwd=cwd, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


@pytest.fixture
def in_repository(monkeypatch):
    import pathlib

    monkeypatch.setenv("PYTHONPATH", str(pathlib.Path(pipelines.__file__).parents[1]))


def test_a_finished_run_is_opened(finished, tmp_path):
    run = pipelines.load(copied(finished, tmp_path).path)
    images = np.zeros((2, 8, 8), np.uint8)
    assert run.metrics == read_json(finished.directory.metrics, "metrics")
    assert run.predict(*images) == finished.predict(*images)
    assert run.evaluate()["test"]["metrics"] == run.metrics["test"]["metrics"]
    assert run.explain().read_text(encoding="utf-8").startswith("<!doctype html>")


def test_an_unfinished_run_is_not_opened(finished, tmp_path):
    run = copied(finished, tmp_path)
    run.metrics.unlink()
    with pytest.raises(UserError, match="has not finished: continue it with"):
        pipelines.load(run.path)
    with pytest.raises(UserError, match=r"spec of the run not found"):
        pipelines.load(tmp_path)


@pytest.mark.slow
def test_the_modules_of_a_run_need_trust(finished, tmp_path, in_repository):
    """The run names a module that lies in the current folder, as in a downloaded archive."""
    run = copied(finished, tmp_path)
    (tmp_path / "evil_module.py").write_text(BUILDER)
    write_json(run.spec, {**run.read_spec(), "modules": ["evil_module"]})
    from PIL import Image

    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "zero.png")
    for verb in (("predict", str(run), "zero.png"), ("export", str(run)), ("explain", str(run), "zero.png")):
        done = command(*verb, cwd=tmp_path)
        assert done.returncode == 2, done.stderr
        assert "names the module 'evil_module'" in done.stderr.splitlines()[-1]
        assert "--trust_code" in done.stderr
        assert not (tmp_path / "imported").exists()
    done = command("predict", str(run), "zero.png", "--trust_code", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "imported").exists()


def test_the_data_function_of_a_run_needs_trust_but_one_on_the_command_line_does_not(finished, tmp_path, monkeypatch):
    run = copied(finished, tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "evil_data.py").write_text(
        "import numpy as np\ndef load():\n    return np.zeros((40, 8, 8), np.uint8), np.arange(40) % 10\n"
    )
    values = yaml.safe_load(run.config.read_text())
    values["data"]["source"] = "evil_data:load"
    run.config.write_text(yaml.safe_dump(values))
    with pytest.raises(SystemExit):
        image_classify.TASK.main(["evaluate", str(run)])
    assert "evil_data" not in sys.modules
    image_classify.TASK.main(["evaluate", str(run), "--data", "evil_data:load"])
    assert "evil_data" in sys.modules


def test_the_environment_variable_trusts(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "trusted_by_variable.py").write_text("")
    with functions.untrusted("run"), pytest.raises(UserError, match="PIPELINES_TRUST_CODE=1"):
        functions.import_module("trusted_by_variable", "model.builder")
    monkeypatch.setenv(functions.TRUST, "1")
    with functions.untrusted("run"):
        functions.import_module("trusted_by_variable", "model.builder")


def test_a_lambda_layer_is_refused(finished, tmp_path):
    """It holds Python code, which would run when the model is called."""
    run = copied(finished, tmp_path)
    inputs = keras.Input((8, 8, 1))
    layers = [keras.layers.Lambda(lambda x: x * 2), keras.layers.Flatten(), keras.layers.Dense(10)]
    outputs = inputs
    for layer in layers:
        outputs = layer(outputs)
    run.model.unlink()
    keras.Model(inputs, outputs).save(run.model)
    with pytest.raises(UserError, match="cannot be read"):
        load_model(run)
