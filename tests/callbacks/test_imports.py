"""The package without what only some of it draws and writes with."""

import subprocess
import sys

import pytest

import callbacks

CODE = """
import sys
for name in ("tensorboard", "matplotlib", "rich.progress"):
    sys.modules[name] = None  # as if it were not installed
from callbacks import Checkpoint, EarlyStopping, EvaluationWeights, NanGuard, OverfitMonitor, find_learning_rate
import callbacks
assert set(callbacks.__all__) <= set(dir(callbacks))
try:
    callbacks.TensorBoard
except ImportError as error:
    assert "tensorboard" in str(error)
"""


@pytest.mark.slow
def test_training_needs_only_keras_and_numpy():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_all_names_are_there():
    for name in callbacks.__all__:
        assert getattr(callbacks, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = callbacks.Nothing
