"""Tasks as a user starts them."""

import contextlib
import io
import os
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from unittest import mock

import keras
import numpy as np

from pipelines.core.run_dir import RunDir
from pipelines.engine.load import load_model

# What a finished run leaves.
RUN_FILES = {
    "config.yaml", "environment.json", "spec.json", "split.csv", "model.keras", "checkpoints", "history.csv",
    "metrics.json", "predictions.csv", "figures", "report.html", "tensorboard",
}  # fmt: skip


TRUSTED = {
    "PIPELINES_TRUST_CODE": "1"
}  # the tests' own models; tests/pipelines/engine/test_load.py is about the refusal


def command(task, *argv):
    return [sys.executable, "-m", f"pipelines.{task}", *map(str, argv)]


def environment(**more):
    """This process's, such that the code under test is found from any folder."""
    return {**os.environ, **TRUSTED, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), **more}


def run_task(task, *argv, cwd, stdin=None, own_process=False, **variables):
    """A command in a process of its own; but what is done with a finished run is done in this one, which is quicker."""
    if argv[0] in ("evaluate", "explain", "export", "predict") and not (own_process or variables):
        return _run_here(task, list(map(str, argv)), cwd, stdin)
    return subprocess.run(
        command(task, *argv), cwd=cwd, input=stdin, capture_output=True, encoding="utf-8", check=False,
        env=environment(**variables),
    )  # fmt: skip


def _run_here(task, argv, cwd, stdin):
    out, err, code = io.StringIO(), io.StringIO(), 0
    given = io.TextIOWrapper(io.BytesIO((stdin or "").encode()), encoding="utf-8")
    before = os.getcwd()
    os.chdir(cwd)
    try:
        with (
            _rewritten_graphs(),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            mock.patch("sys.stdin", given),
            mock.patch.dict(os.environ, TRUSTED),
        ):
            import_module(f"pipelines.{task}").TASK.main(argv)
    except SystemExit as end:
        code = end.code or 0
    finally:
        os.chdir(before)
    return subprocess.CompletedProcess(argv, code, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def _rewritten_graphs():
    """TensorFlow rewrites graphs as in a process of its own, where the run was trained, so that all digits agree."""
    if keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf

    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


def check_killed_run(task, *options, cwd):
    """A run that is killed at a checkpoint and goes on ends with the weights of the one that was not."""
    options = [*options, "--run.deterministic", "true", "--fit.checkpoint_seconds", "0.2",
               "--tensorboard.enabled", "false"]  # fmt: skip
    done = run_task(task, *options, "--run.name", "whole", cwd=cwd)
    assert done.returncode == 0, done.stderr
    whole, torn = (Path(cwd, "runs", task, name) for name in ("whole", "torn"))
    process = subprocess.Popen(
        command(task, *options, "--run.name", "torn"), cwd=cwd, env=environment(), stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    while process.poll() is None and len(list((torn / "checkpoints" / "main").glob("*.npz"))) < 2:
        time.sleep(0.01)
    assert process.poll() is None, "the run ended before it could be killed"
    process.kill()
    process.wait()
    assert not (torn / "model.keras").exists()
    done = run_task(task, "--resume", torn, cwd=cwd)
    assert done.returncode == 0, done.stderr
    weights = [load_model(RunDir.open(run, task)).get_weights() for run in (whole, torn)]
    for a, b in zip(*weights, strict=True):
        np.testing.assert_array_equal(a, b)


def files_of(run):
    """The names in a run's directory, without that of its lock."""
    return {path.name for path in run.iterdir()} - {".lock"}
