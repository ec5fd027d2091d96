"""Kill -9 at random points: the resumed run ends with the weights of the run that was never killed."""

import os
import random
import signal
import subprocess
import time
from functools import partial

import command_line
import keras
import numpy as np
import pytest

OPTIONS = [
    "--epochs", "8", "--batch_size", "16", "--model.width", "16", "--model.dropout", "0.2",
    "--model.stochastic_depth", "0.2", "--augment.crop", "1", "--augment.mixup", "0.2", "--augment.erase", "0.3",
    "--fit.ema", "0.9", "--early_stopping.patience", "6", "--deterministic", "true", "--resamples", "10",
    "--fit.checkpoint_seconds", "0.2", "--data.limit", "600",
]  # fmt: skip


command = partial(command_line.command, "image_classify")


def weights(run):
    return keras.models.load_model(run / "model.keras", compile=False).get_weights()


@pytest.mark.slow
def test_killed_runs_end_with_the_same_weights(tmp_path):
    out = ["--run.out", tmp_path]
    start = time.monotonic()
    done = subprocess.run(command(*OPTIONS, *out, "--run.name", "whole"), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    whole = tmp_path / "image_classify" / "whole"
    took = time.monotonic() - start
    seed = random.randrange(10**6)
    generator = random.Random(seed)
    torn = tmp_path / "image_classify" / "torn"
    argv = [*OPTIONS, *out, "--run.name", "torn"]
    kills = 0
    for _ in range(12):
        process = subprocess.Popen(command(*argv), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        while not torn.exists() and process.poll() is None:
            time.sleep(0.02)
        try:
            # The first three are killed at a random moment; then the run may end.
            process.wait(generator.uniform(0.1, took) if kills < 3 else None)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        _, errors = process.communicate()
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, errors
        argv = ["--resume", torn]
    assert process.returncode == 0
    for a, b in zip(weights(whole), weights(torn), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=f"seed {seed}, {kills} kills")
    history = [(p / "history.csv").read_text().splitlines() for p in (whole, torn)]
    assert [line.rsplit(",", 1)[0] for line in history[0]] == [line.rsplit(",", 1)[0] for line in history[1]]
