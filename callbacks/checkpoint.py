"""Checkpoints from which training continues as if it had never stopped."""

from __future__ import annotations

import json
import math
import os
import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np

from callbacks.checkpoint_file import FORMAT, newest_first, pack, plain, read, unpack, write_whole
from callbacks.state import (
    check_training,
    global_random_state,
    optimizer_variables,
    set_global_random_state,
    training_begins,
)
from callbacks.weights import all_variables, to_array


class Seekable(Protocol):
    """Training data that can start anywhere, such as in the middle of an epoch."""

    def seek(self, epoch: int, step: int) -> None:
        """The next pass over the data is epoch `epoch`, from its batch `step` on."""


class Stateful(Protocol):
    """A callback with a state that a resumed run must find again."""

    def get_state(self) -> dict[str, Any]:
        """Nested dictionaries and lists of JSON values and NumPy arrays."""

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes back what `get_state` gave; called before `fit`."""


class CheckpointError(ValueError):
    """A checkpoint that does not fit the model, of which no copy can be read, or that is of another training."""


class _RestOfEpochDone:
    """Truth that ends the loop over a resumed epoch's batches without ending the training."""


class Checkpoint(keras.callbacks.Callback):
    """Writes everything that training depends on, so that a killed process loses time and nothing else.

    Each checkpoint is one file with the weights, the states of the random generators, the optimizer's slots and
    step, the running metrics and the state of every tracked callback. It is written aside, flushed to the disk and
    renamed, and its checksums are verified when it is read: a damaged file is skipped for the one before it.

    Keras's `BackupAndRestore` starts the interrupted epoch again and forgets the callbacks' state. With this one, data
    whose order follows from the epoch and the step (`stream`) and deterministic operations, the final weights are
    those of the run that was never interrupted, bit for bit.

    ```python
    checkpoint = Checkpoint("run/checkpoints", track=[early_stopping], stream=stream)
    start = checkpoint.restore(model)
    model.fit(stream.dataset, initial_epoch=start, epochs=20, callbacks=[early_stopping, checkpoint])
    ```

    With arrays in the place of a stream, a resumed run begins with the epoch in which it was interrupted; it is exact
    with `shuffle=False`, and else but for the order of the samples, which Keras draws anew:

    ```python
    checkpoint = Checkpoint("run/checkpoints")
    start = checkpoint.restore(model)
    model.fit(x, y, initial_epoch=start, epochs=20, callbacks=[checkpoint])
    ```

    Put it last in the list of callbacks: it keeps what the ones before it have decided. Only an
    `EvaluationWeights(swap_on_epoch=True)`, and what is to see its weights, come after it.

    Args:
        directory: Folder of the checkpoints, made when the first is written. One training has one folder.
        track: Callbacks with `get_state` and `set_state`.
        stream: Data with `seek(epoch, step)`. Without it a resumed epoch starts at its first batch.
        every_steps: Also write in the middle of an epoch, after so many steps.
        every_seconds: Also write in the middle of an epoch, when the last checkpoint is older.
        keep: Number of newest checkpoints that stay.

    Raises:
        ValueError: An argument is out of its range.
        CheckpointError: At the beginning of an epoch, when the folder holds checkpoints of later steps, which are of
            another training than this one.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        track: Sequence[Stateful] = (),
        stream: Seekable | None = None,
        every_steps: int | None = None,
        every_seconds: float | None = None,
        keep: int = 2,
    ) -> None:
        super().__init__()
        if keep < 1:
            raise ValueError(f"keep must be at least 1, got {keep}")
        if (every_steps or every_seconds) and stream is None:
            raise ValueError("checkpoints within an epoch need a stream that can seek to the middle of it")
        self.directory = Path(directory)
        self.track = list(track)
        self.stream = stream
        self.every_steps = every_steps
        self.every_seconds = every_seconds
        self.keep = keep
        self.finished = False
        self.messages: list[str] = []
        self._epoch = 0
        self._start_step = 0
        self._first_step = 0
        self._metrics: list[np.ndarray] | None = None
        self._random: list[np.ndarray] | None = None
        self._resumed_at: tuple[int, int] | None = None
        self._last_write = time.monotonic()
        self._last_step = 0

    def restore(self, model: keras.Model) -> int:
        """Takes the newest readable checkpoint into the compiled model and the tracked callbacks.

        Sets `finished` when training had already come to its end (early stopping included): then call `fit` with
        `epochs` equal to the returned number, so that it does nothing but finalize the weights. `messages` tells what
        was skipped.

        Returns:
            The `initial_epoch` for `fit`; 0 without a checkpoint.

        Raises:
            CheckpointError: The checkpoint belongs to another model or optimizer, or no file could be read.
        """
        if not getattr(model, "compiled", False) or model.optimizer is None:
            raise ValueError("compile the model before restoring a checkpoint")
        self.messages.clear()
        loaded = self._load_newest()
        if loaded is None:
            return 0
        path, meta, arrays = loaded
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        # All is known to fit before anything is changed.
        pairs = _fitting(all_variables(model), arrays["model"], meta["model"], path, "model")
        pairs += _fitting(optimizer_variables(model), arrays["optimizer"], meta["optimizer"], path, "optimizer")
        if len(meta["callbacks"]) != len(self.track):
            raise CheckpointError(
                f"{path} holds the state of {len(meta['callbacks'])} callbacks, but {len(self.track)} are tracked"
            )
        for variable, array in pairs:
            variable.assign(array)
        for callback, state in zip(self.track, meta["callbacks"], strict=True):
            callback.set_state(unpack(state, arrays["state"]))
        self._random = arrays["random"]
        self.finished = bool(meta["finished"])
        self._start_step = int(meta["step"])
        self._resumed_at = (int(meta["epoch"]), self._start_step)
        self._metrics = arrays["metrics"] if self._start_step else None
        return int(meta["epoch"])

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        training_begins(self.model)

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        resumed = self._resumed_at is not None and self._resumed_at[0] == epoch
        self._first_step = self._start_step if resumed else 0
        self._epoch, self._last_step, self._last_write = epoch, self._first_step, time.monotonic()
        if not resumed:
            self._check_newest(epoch)
        if self.stream is not None:
            self.stream.seek(epoch, self._first_step)
        if resumed and self._metrics is not None:
            variables = self.model.metrics_variables
            # Metrics that are not built yet have no variables: the epoch's training metrics then cover its rest.
            if len(variables) == len(self._metrics):
                for variable, array in zip(variables, self._metrics, strict=True):
                    variable.assign(array)
        self._metrics = self._resumed_at = None
        if not self._first_step:
            self._restore_global_random_state()

    def on_train_batch_begin(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        # In the middle of an epoch the generators must be put back after the data loader has drawn from them.
        self._restore_global_random_state()

    def _check_newest(self, epoch: int) -> None:
        """What is written next must be the newest: else it is not what `restore` takes, and the first to be deleted."""
        newest = next(iter(newest_first(self.directory)), None)
        if newest is not None and newest[0] > (epoch, 0):
            raise CheckpointError(
                f"training is at the beginning of epoch {epoch + 1}, but {newest[1]} is of another one that came "
                "further: call restore before fit and pass the epoch that it returns, or take another folder"
            )

    def _restore_global_random_state(self) -> None:
        if self._random is not None:
            set_global_random_state(self._random)
            self._random = None

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        step = self._first_step + batch + 1
        if step >= (self.params.get("steps") or math.inf):
            # The end of the epoch is kept after validation. Keras would ask for as many batches as in a whole epoch,
            # and TensorFlow would run parts of the step before it finds that there is no more data.
            if self._first_step and not self.model.stop_training:
                self.model.stop_training = _RestOfEpochDone()
            # Data loaders draw from PyTorch's generators between the epochs, not equally often after a resume.
            self._random = global_random_state()
            return
        by_steps = self.every_steps is not None and step - self._last_step >= self.every_steps
        age = time.monotonic() - self._last_write
        if by_steps or (self.every_seconds is not None and age >= self.every_seconds):
            self._write(self._epoch, step, finished=False)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        self._restore_global_random_state()
        if isinstance(self.model.stop_training, _RestOfEpochDone):
            self.model.stop_training = False
        stopped = bool(self.model.stop_training)
        last = epoch + 1 >= self.params.get("epochs", epoch + 2)
        self._write(epoch + 1, 0, finished=stopped or last)

    def _write(self, epoch: int, step: int, *, finished: bool) -> None:
        model = self.model
        check_training(model)
        state_arrays: list[np.ndarray] = []
        groups = {
            "model": all_variables(model),
            "optimizer": optimizer_variables(model),
            "metrics": list(model.metrics_variables) if step else [],
        }
        meta = {
            "format": FORMAT,
            "backend": keras.backend.backend(),
            "keras": keras.__version__,
            "epoch": epoch,
            "step": step,
            "finished": finished,
            "callbacks": [pack(callback.get_state(), state_arrays) for callback in self.track],
        }
        entries: dict[str, np.ndarray] = {}
        for group, variables in groups.items():
            meta[group] = [[v.path, str(v.dtype), list(v.shape)] for v in variables]
            entries |= {f"{group}/{i:05d}": plain(to_array(v)) for i, v in enumerate(variables)}
        entries |= {f"random/{i:05d}": state for i, state in enumerate(global_random_state())}
        entries |= {f"state/{i:05d}": array for i, array in enumerate(state_arrays)}
        entries["meta"] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
        write_whole(self.directory / f"epoch-{epoch:05d}-step-{step:07d}.npz", entries)
        self._last_write, self._last_step = time.monotonic(), step
        found = newest_first(self.directory)
        # Those beyond this one could not be read when training went back before them.
        void = [path for place, path in found if place > (epoch, step)]
        unfinished = self.directory.glob(".epoch-*")  # a killed process has left them
        for old in [*void, *(path for _, path in found[len(void) + self.keep :]), *unfinished]:
            old.unlink(missing_ok=True)

    def _load_newest(self) -> tuple[Path, dict[str, Any], dict[str, list[np.ndarray]]] | None:
        paths = [path for _, path in newest_first(self.directory)]
        for path in paths:
            try:
                meta, arrays = read(path)
            except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
                self.messages.append(f"checkpoint {path} cannot be read ({error}); trying the one before it")
                continue
            return path, meta, arrays
        if paths:
            raise CheckpointError(f"none of the {len(paths)} checkpoints in {self.directory} can be read")
        return None


def _fitting(
    variables: list[keras.Variable], arrays: list[np.ndarray], meta: list[list[Any]], path: Path, what: str
) -> list[tuple[keras.Variable, np.ndarray]]:
    """Each variable with its array, or an error."""
    if len(variables) != len(arrays):
        raise CheckpointError(
            f"{path} holds {len(arrays)} variables of the {what}, but the {what} has {len(variables)}: "
            "it was made with another configuration"
        )
    pairs = []
    for variable, array, (name, dtype, shape) in zip(variables, arrays, meta, strict=True):
        if list(variable.shape) != shape or str(variable.dtype) != dtype:
            raise CheckpointError(
                f"{path}: {name} has shape {tuple(shape)} and type {dtype}, the {what}'s {variable.path} has "
                f"{tuple(variable.shape)} and {variable.dtype}"
            )
        if dtype == "bfloat16":
            import ml_dtypes

            array = array.view(ml_dtypes.bfloat16)
        pairs.append((variable, array))
    return pairs
