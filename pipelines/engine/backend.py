"""The backend: which one, how quiet, how seeded, how precise."""

from __future__ import annotations

import logging
import os
import platform
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from typing import Any

from pipelines.core.errors import UserError

PACKAGES = (
    "keras", "tensorflow", "jax", "torch", "keras-hub", "tensorflow-datasets", "numpy", "scikit-learn", "pandas",
    "pyarrow", "pillow", "matplotlib", "tensorboard", "onnx", "onnxruntime", "tf2onnx", "ai-edge-litert",
)  # fmt: skip
MODULES = {"tensorflow": "tensorflow", "jax": "jax", "torch": "torch"}


def select(backend: str | None) -> None:
    """Chooses the Keras backend; it counts only before keras is imported.

    Raises:
        UserError: Keras already runs on another one, or the package is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if backend is not None:
        if "keras" in sys.modules:
            import keras

            if keras.backend.backend() != backend:
                raise UserError(
                    f"run.backend is {backend}, but keras already runs on {keras.backend.backend()}: "
                    "set KERAS_BACKEND before importing keras"
                )
        os.environ["KERAS_BACKEND"] = backend
    chosen = os.environ.get("KERAS_BACKEND")
    if chosen is not None and chosen not in MODULES:
        raise UserError(f"KERAS_BACKEND must be one of {', '.join(MODULES)}, got {chosen!r}")
    try:
        with _native_messages_hidden():
            import keras
            import tensorflow as tf  # reads the data on every backend

            tf.config.list_physical_devices()
            tf.get_logger().addFilter(_is_no_false_alarm)
    except ImportError as error:
        extra = f"; install it with: pip install 'keras-task-pipelines[{chosen}]'" if chosen != "tensorflow" else ""
        raise UserError(f"Keras cannot use the backend {chosen!r}: {error}{extra}") from None
    if keras.backend.backend() != "tensorflow":
        _leave_devices_to_the_backend()


def _is_no_false_alarm(record: logging.LogRecord) -> bool:
    """TensorFlow takes the functions of several small models for one that is traced again and again."""
    return "triggered tf.function retracing" not in record.getMessage()


@contextmanager
def _native_messages_hidden() -> Iterator[None]:
    """TensorFlow's native code greets with a page about oneDNN and CUDA before it looks at any log level.

    Python's own errors still come through; a user who sets TF_CPP_MIN_LOG_LEVEL=0 sees everything.
    """
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "0":
        yield
        return
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _leave_devices_to_the_backend() -> None:
    """TensorFlow only reads data then, and must not take the memory of the devices."""
    import tensorflow as tf

    try:
        tf.config.set_visible_devices([], "GPU")
    except RuntimeError:
        warnings.warn("TensorFlow had already taken the GPUs; set KERAS_BACKEND before importing it", stacklevel=2)


def prepare(seed: int, deterministic: bool, precision: str) -> None:
    """Seeds everything that draws at random and sets the precision of new layers.

    With `deterministic`, operations give the same bits for the same input: the same machine and backend then train
    the same weights from the same seed.
    """
    import keras

    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    keras.config.set_dtype_policy(precision)
    if deterministic:
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            tf.config.experimental.enable_op_determinism()
        elif keras.backend.backend() == "torch":
            import torch

            torch.use_deterministic_algorithms(True)


def devices() -> list[str]:
    """Names of the accelerators of the backend, or its CPU."""
    import keras

    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        found = [device.name for device in tf.config.list_logical_devices("GPU")]
    elif backend == "jax":
        import jax

        found = [str(device) for device in jax.devices() if device.platform != "cpu"]
    else:
        import torch

        found = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return found or ["CPU"]


def use_jit(choice: str) -> bool:
    """Whether to compile with XLA.

    On a CPU, XLA halves the speed of TensorFlow's convolutions and recurrences (measured with Keras 3.15 on two
    cores), so TensorFlow compiles on accelerators only. JAX is always compiled; PyTorch is not.
    """
    import keras

    backend = keras.backend.backend()
    if choice == "auto":
        return backend == "jax" or (backend == "tensorflow" and devices() != ["CPU"])
    return choice == "on"


def versions() -> dict[str, str | None]:
    """Installed versions of the packages that matter; null where one is absent."""
    found: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found


def environment() -> dict[str, Any]:
    """Where this process runs: what a result depends on beside its configuration."""
    import keras

    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "backend": keras.backend.backend(),
        "devices": devices(),
        "versions": versions(),
        "git": _git_revision(),
    }


def _git_revision() -> str | None:
    """Revision of the working directory, with a mark when files have changed since."""
    try:
        command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
