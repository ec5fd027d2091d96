"""Tasks in processes of their own, as a user starts them."""

import os
import subprocess
import sys

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


def run_task(task, *argv, cwd, stdin=None, **variables):
    return subprocess.run(
        command(task, *argv), cwd=cwd, input=stdin, capture_output=True, encoding="utf-8", check=False,
        env=environment(**variables),
    )  # fmt: skip


def files_of(run):
    """The names in a run's directory, without that of its lock."""
    return {path.name for path in run.iterdir()} - {".lock"}
