"""Runs of 0.1.0, made before the files moved into rooms, still predict what they predicted."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
from command_line import run_task

RUNS = Path(__file__).parents[1] / "runs_of_0.1.0"


@pytest.mark.parametrize("task", ["image_classify", "text_classify", "ner", "finance", "medical"])
def test_runs_of_0_1_0_still_predict(task, tmp_path):
    shutil.copytree(RUNS / task, tmp_path / "run")
    given = next((tmp_path / "run").glob("input.*"))
    done = run_task(task, "predict", ".", given.name, "--out", "got.csv", cwd=tmp_path / "run")
    assert done.returncode == 0, done.stderr
    got, expected = (pd.read_csv(tmp_path / "run" / name) for name in ("got.csv", "expected.csv"))
    assert len(got)
    numbers = expected.select_dtypes("float").columns
    pd.testing.assert_frame_equal(got[numbers], expected[numbers], atol=1e-4)
    words = ["input", *(name for name in ("label", "entities") if name in expected)]
    pd.testing.assert_frame_equal(got[words], expected[words])
