"""The run directory: everything that a run was made with, and what it made."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipelines.core.errors import UserError
from pipelines.core.files import read_json, write_json, write_text


class RunDir:
    """Paths of the files of one run. `metrics.json` is written last: where it is, the run is complete."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.config = self.path / "config.yaml"
        self.environment = self.path / "environment.json"
        self.spec = self.path / "spec.json"
        self.split = self.path / "split.csv"
        self.model = self.path / "model.keras"
        self.checkpoints = self.path / "checkpoints"
        self.history = self.path / "history.csv"
        self.metrics = self.path / "metrics.json"
        self.predictions = self.path / "predictions.csv"
        self.figures = self.path / "figures"
        self.report = self.path / "report.html"
        self.tensorboard = self.path / "tensorboard"

    def __str__(self) -> str:
        return str(self.path)

    @property
    def complete(self) -> bool:
        """Whether the run has finished."""
        return self.metrics.exists()

    @classmethod
    def create(
        cls,
        root: str | os.PathLike[str],
        task: str,
        name: str | None,
        *,
        texts: Mapping[str, str],
        values: Mapping[str, Any],
    ) -> RunDir:
        """Makes the directory of a new run with its first files, all at once.

        Args:
            root: Folder of all runs.
            task: Name of the task.
            name: Name of the run; without one date and time, with a number where that is taken.
            texts: Contents of text files by name.
            values: Contents of JSON files by name.

        Raises:
            UserError: The name is taken, or nothing can be written there.
        """
        folder = Path(root) / task
        chosen = name or time.strftime("%Y-%m-%d_%H-%M-%S")
        aside = folder / f".{chosen}.{os.getpid()}"
        try:
            aside.mkdir(parents=True)
            for file, text in texts.items():
                write_text(aside / file, text)
            for file, value in values.items():
                write_json(aside / file, value)
            for path in _candidates(folder, chosen, numbered=name is None):
                if not path.exists():
                    aside.rename(path)
                    return cls(path)
        except OSError as error:
            raise UserError(f"cannot write the run directory {folder / chosen}: {error.strerror or error}") from None
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        raise UserError(
            f"run.name {chosen!r} is taken: {folder / chosen} exists and is never overwritten; "
            "choose another name, or continue it with --resume"
        )

    @classmethod
    def open(cls, path: str | os.PathLike[str], task: str) -> RunDir:
        """An existing run of this task.

        Raises:
            UserError: There is none, or it belongs to another task.
        """
        run = cls(path)
        if not run.path.is_dir():
            raise UserError(f"run directory not found: {path}")
        if not run.spec.exists() or not run.config.exists():
            raise UserError(f"{path} is not a run directory: it has no config.yaml and spec.json")
        spec = run.read_spec()
        if spec.get("task") != task:
            raise UserError(f"{path} is a run of the task {spec.get('task')!r}, not of {task!r}")
        return run

    def read_spec(self) -> dict[str, Any]:
        """What `predict` needs beside the model."""
        spec = read_json(self.spec, "spec of the run")
        if not isinstance(spec, dict):
            raise UserError(f"spec of the run {self.spec} is damaged: expected an object")
        return spec

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps a second process from writing into the same run; a killed process leaves no lock behind."""
        try:
            import fcntl
        except ImportError:  # Windows has no such lock
            yield
            return
        with open(self.path / ".lock", "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise UserError(f"{self.path} is in use by another process") from None
            yield


def _candidates(folder: Path, name: str, *, numbered: bool) -> Iterator[Path]:
    yield folder / name
    if numbered:
        for number in range(2, 1000):
            yield folder / f"{name}_{number}"
