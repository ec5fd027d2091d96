"""Tasks as a user starts them."""

import contextlib
import io
import os
import subprocess
import sys
from importlib import import_module
from unittest import mock

# What a finished run leaves.
RUN_FILES = {
    "config.yaml", "environment.json", "spec.json", "split.csv", "model.keras", "checkpoints", "history.csv",
    "metrics.json", "predictions.csv", "figures", "report.html", "tensorboard",
}  # fmt: skip


def command(task, *argv):
    return [sys.executable, "-m", f"pipelines.{task}", *map(str, argv)]


def environment(**more):
    """This process's, such that the code under test is found from any folder."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), **more}


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
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), mock.patch("sys.stdin", given):
            import_module(f"pipelines.{task}").TASK.main(argv)
    except SystemExit as end:
        code = end.code or 0
    finally:
        os.chdir(before)
    return subprocess.CompletedProcess(argv, code, out.getvalue(), err.getvalue())


def files_of(run):
    """The names in a run's directory, without that of its lock."""
    return {path.name for path in run.iterdir()} - {".lock"}
