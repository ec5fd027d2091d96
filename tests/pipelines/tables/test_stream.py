"""Parquet files that are streamed: the same table as in memory, exact order, bounded memory, no file left behind."""

import gc
import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import finance
from pipelines.core.errors import UserError
from pipelines.tables import stream as table_stream
from pipelines.tables.config import TableDataConfig
from pipelines.tables.load import load_tables

N = 3000


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setattr(table_stream, "BLOCK", 256)
    monkeypatch.setattr(table_stream, "SAMPLE", 500)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    generator = np.random.default_rng(0)
    frame = pd.DataFrame({"x": generator.normal(size=N), "job": generator.choice(["a", "b", "c"], N)})
    frame["label"] = np.where(frame["x"] + generator.normal(size=N) > 0.5, "yes", "no")
    frame.loc[[7, 900], "label"] = None
    frame.to_parquet(tmp_path / "t.parquet", row_group_size=700)
    return tmp_path / "t.parquet"


def load(path, seed=0, **options):
    return load_tables(TableDataConfig(source=str(path), stream_rows=100, **options), {}, seed=seed)


def test_every_row_is_in_one_part_and_encoded_as_in_memory(path):
    data = load(path)
    frame = pd.read_parquet(path)
    rows = {part: np.array([int(name.split()[1]) for name in one.names]) for part, one in data.parts().items()}
    everything = np.concatenate(list(rows.values()))
    assert sorted(everything) == sorted(set(range(N)) - {7, 900})
    assert data.summary.skipped == [("row 7", "no label"), ("row 900", "no label")]
    assert len(rows["test"]) == pytest.approx(0.2 * N, rel=0.15)
    for part, one in data.parts().items():
        chosen = frame.iloc[rows[part]]
        np.testing.assert_array_equal(one.x[:], data.encoder.encode(chosen))
        np.testing.assert_array_equal(one.values, (chosen["label"] == "yes").to_numpy(int))
    assert len(data.train.frame) < 700
    again = load(path)
    np.testing.assert_array_equal(again.train.x[[5, 3]], data.train.x[[5, 3]])
    assert again.summary.fingerprint == data.summary.fingerprint


def test_the_file_goes_with_the_data(path, tmp_path):
    data = load(path)
    assert len(list(tmp_path.glob("rows-*"))) == 1
    del data
    gc.collect()
    assert not list(tmp_path.glob("rows-*"))
    with pytest.raises(UserError, match=r"more than data\.max_broken = 1"):
        load(path, max_broken=1)
    assert not list(tmp_path.glob("rows-*"))


def test_what_needs_all_rows_is_refused(path):
    with pytest.raises(UserError, match=r"data\.group_column needs all rows in memory"):
        load(path, group_column="job")


def test_options_that_are_wrong_are_said(path):
    with pytest.raises(UserError, match=r"data\.drop: there is no column 'jobb'"):
        load(path, drop=["jobb"])
    with pytest.raises(UserError, match="no column 'days'; it has x, job, label"):
        load(path, problem="survival", duration="days")
    with pytest.raises(UserError, match=r"no column is left"):
        load(path, drop=["job", "x"])


def test_numbers_leaks_and_nullable_columns(path):
    frame = pd.read_parquet(path)
    frame = frame.assign(
        y=2.0 * frame["x"],
        after=np.exp(frame["x"]),
        number=np.arange(N),
        count=pd.array([1, 2, pd.NA] * (N // 3), "Int64"),
    )
    frame.to_parquet(path)
    data = load(path, target="y", drop=["label"])
    assert data.target.problem == "number"
    np.testing.assert_allclose(data.train.values[:, 0], frame["y"].iloc[data.train.names[:].rows])
    assert any("after alone predicts y" in note for note in data.summary.notes)
    assert data.kinds["number"] == "identifier"
    assert not any(cell is pd.NA for cell in data.test.frame["count"])
    leaky = frame.assign(after=(frame["label"] == "yes") + 0.1 * frame["x"])
    leaky.to_parquet(path)
    assert any("after alone predicts label" in note for note in load(path).summary.notes)


def test_a_rare_class_is_in_the_sample(path):
    frame = pd.read_parquet(path)
    usual = load(path)
    training = usual.train.names[:].rows
    frame.loc[training[[5, 700]], "label"] = "perhaps"
    frame.to_parquet(path, row_group_size=700)
    data = load(path)
    assert data.target.classes == ["no", "perhaps", "yes"]
    assert data.summary.counts["train"]["perhaps"] == 2
    frame.loc[int(usual.test.names[0].split()[1]), "label"] = "never"
    frame.to_parquet(path)
    with pytest.raises(UserError, match="the class 'never', which the training part has not: leave its rows out"):
        load(path)


def test_copies_are_not_said_to_be_absent(path):
    from pipelines.engine.classes import classification

    data = load(path)
    assert data.summary.duplicates is None
    said = [
        block.text for block in classification.about(data.summary, data.target.classes).blocks if hasattr(block, "text")
    ]
    assert "Samples that occur in two splits were not searched." in said
    assert not any("No sample stands" in text for text in said)


def test_training_on_a_streamed_table(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = finance.train(data=str(path), stream_rows=1000, epochs=3, batch_size=64, members=4, width=16, resamples=20)
    assert run.metrics["test"]["binary"]["roc_auc"]["value"] > 0.7
    config = finance.TASK.config_of(run.directory.path)
    assert (config.model.ensemble, config.model.folds) == (1, False)
    assert set(pd.read_csv(run.directory.split)["part"]) == {"val", "test"}
    assert run.predict({"x": 3.0, "job": "a"})[0]["label"] == "yes"


@pytest.mark.slow
def test_memory_does_not_grow_with_the_rows(tmp_path):
    """Peak memory of loading 2 million rows is little above that of a tenth of them."""
    script = (
        "import resource, sys, json\n"
        "from pipelines.tables.config import TableDataConfig\n"
        "from pipelines.tables.load import load_tables\n"
        "from pipelines.tables import stream\n"
        "stream.HELD = stream.SAMPLE = 20_000\n"
        "data = load_tables(TableDataConfig(source=sys.argv[1], stream_rows=1000), {}, seed=0)\n"
        "for i in range(200): data.train.x[range(i, len(data.train), 5000)]\n"
        "print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))\n"
    )
    peaks = []
    for groups in (2, 20):
        path = tmp_path / f"{groups}.parquet"
        generator = np.random.default_rng(0)
        schema = pa.schema([*((f"x{i}", pa.float64()) for i in range(20)), ("label", pa.int64())])
        with pq.ParquetWriter(path, schema) as writer:
            for _ in range(groups):
                arrays = [pa.array(generator.normal(size=100_000)) for _ in range(20)]
                writer.write_table(pa.table([*arrays, pa.array(generator.integers(0, 2, 100_000))], schema=schema))
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        done = subprocess.run(
            [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True, env=env
        )
        peaks.append(json.loads(done.stdout))
    in_memory = 2_000_000 * 21 * 8 / 2**20
    assert peaks[1] - peaks[0] < 0.25 * in_memory, peaks
