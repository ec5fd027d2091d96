"""medical from Python: classes, numbers and times, with what clinical reports need."""

import json

import numpy as np
import pandas as pd
import pytest

from pipelines import medical

SMALL = {"batch_size": 64, "members": 4, "width": 16, "ensemble": 2, "resamples": 20, "learning_rate": 0.01}


@pytest.fixture(scope="module")
def patients():
    generator = np.random.default_rng(0)
    n = 500
    frame = pd.DataFrame(
        {
            "sex": generator.choice(["F", "M"], n),
            "age": generator.integers(20, 90, n),
            "marker": generator.normal(size=n),
            "patient": np.arange(n) // 2,
        }
    )
    hazard = np.exp(0.05 * (frame["age"] - 55) + frame["marker"])
    time, seen = generator.exponential(10 / hazard), generator.uniform(2, 30, n)
    frame["days"] = np.minimum(time, seen).round(2) + 0.01
    frame["died"] = (time <= seen).astype(int)
    frame.loc[generator.integers(0, n, 30), "marker"] = np.nan
    return frame


def test_default_data_and_report(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = medical.train(epochs=12, **SMALL)
    assert run.metrics["test"]["binary"]["roc_auc"]["value"] > 0.95
    report = run.directory.report.read_text()
    for words in (
        "no medical device",
        "Decision curve",
        "Missing values",
        "No value is missing",
        "Beside a linear model",
    ):
        assert words in report, words
    assert "sensitivity at 0.95 specificity" in report


def test_groups_subgroups_and_missingness(patients, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = medical.train(data=patients.drop(columns="days"), target="died", group_column="patient", epochs=10, **SMALL)
    report = run.directory.report.read_text()
    for words in ("By subgroup", "sex: F", "age: up to", "marker", "1 where missing"):
        assert words in report, words
    split = pd.read_csv(run.directory.split)
    groups = split["sample"].str.split().str[1].astype(int) // 2
    assert (split.assign(group=groups).groupby("group")["part"].nunique() == 1).all()
    assert "whole groups of the same patient" in report
    rows = split[split["part"] != "test"].assign(group=groups)
    assert (rows.groupby("group")["fold"].nunique() == 1).all()


def test_survival(patients, tmp_path, monkeypatch):
    """As good as Cox's model on data that it made, by lifelines."""
    lifelines = pytest.importorskip("lifelines")
    monkeypatch.chdir(tmp_path)
    frame = patients.drop(columns="patient")
    run = medical.train(data=frame, target="died", duration="days", epochs=30, **SMALL)
    c = run.metrics["test"]["metrics"]["c_index"]["value"]
    split = pd.read_csv(run.directory.split)
    index = split["sample"].str.split().str[1].astype(int)
    known, new = (frame.iloc[index[mask]] for mask in (split["part"] != "test", split["part"] == "test"))
    plain = known.assign(sex=known["sex"] == "F", marker=known["marker"].fillna(0)).astype(float)
    cox = lifelines.CoxPHFitter().fit(plain, "days", "died")
    theirs = cox.score(
        new.assign(sex=new["sex"] == "F", marker=new["marker"].fillna(0)).astype(float), "concordance_index"
    )
    assert c > theirs - 0.04
    assert run.metrics["linear"]["c_index"]["value"] == pytest.approx(theirs, abs=0.02)
    assert "By subgroup" in run.directory.report.read_text()
    assert len(run.metrics["cross_validation"]["c_index"]["folds"]) == 2
    predictions = pd.read_csv(run.directory.predictions)
    from lifelines.utils import concordance_index

    assert c == pytest.approx(
        concordance_index(predictions["time"], -predictions["risk"], predictions["event"]), abs=1e-4
    )
    (row,) = run.predict({"sex": "F", "age": 80, "marker": 1.0})
    curve = [value for name, value in row.items() if name.startswith("s_")]
    assert curve == sorted(curve, reverse=True)
    assert row["median"] < run.predict({"sex": "F", "age": 40, "marker": -0.5})[0]["median"]
    pd.DataFrame([{"sex": "F", "age": 88, "marker": 0.0}]).to_csv("old.csv", index=False)
    medical.TASK.main(["explain", str(run.directory.path), "old.csv"])
    assert (run.directory.figures / "row_0_1.png").exists()


@pytest.mark.backend
def test_numbers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = medical.train(data="sklearn:diabetes", epochs=25, **SMALL)
    assert run.metrics["test"]["metrics"]["r2"]["value"] > 0.25
    assert run.metrics["test"]["metrics"]["coverage"]["value"] > 0.75
    frame = pd.DataFrame({"x": np.arange(300) % 17, "y": np.arange(300) % 5})
    frame = frame.assign(a=frame["x"] * 2.0 + frame["y"], b=-1.0 * frame["y"])
    two = medical.train(data=frame, target="a,b", epochs=40, **SMALL)
    assert two.metrics["test"]["metrics"]["r2_a"]["value"] > 0.8
    (row,) = two.predict({"x": 3, "y": 2})
    assert row["a_low"] < 8 < row["a_high"]


def test_several_classes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = medical.train(data="sklearn:wine", epochs=25, **SMALL)
    assert run.metrics["test"]["metrics"]["accuracy"]["value"] > 0.85
    assert run.metrics["conformal"]["coverage"]["value"] > 0.75
    assert run.metrics["linear"]["accuracy"]["value"] > 0.85


def test_explain(patients, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    patients.drop(columns=["days", "patient"]).to_csv("p.csv", index=False)
    run = medical.train(data="p.csv", target="died", epochs=15, **SMALL)
    medical.TASK.main(["explain", str(run.directory.path)])
    assert {"importance_1.png", "shares_1.png", "dependence_1.png"} <= {p.name for p in run.directory.figures.iterdir()}
    medical.TASK.main(["explain", str(run.directory.path), "p.csv"])
    assert (run.directory.figures / "row_0_2.png").exists()
    from pipelines.tables import explain as table_explain
    from pipelines.tables.encode import Encoder

    spec = json.loads(run.directory.spec.read_text())
    encoder = Encoder.from_json(spec["encoder"])
    data = medical.TASK.load_data(medical.TASK.config_of(run.directory.path))
    mean, _ = table_explain.permutation_importance(run.model, spec, encoder, data.test, seed=0, repeats=5)
    order = [encoder.columns[i].name for i in np.argsort(-mean)]
    assert order[-1] == "sex"  # which the made hazard does not hold
    _, means = table_explain.partial_dependence(run.model, spec, encoder, data.test.frame, "age")
    assert means[-1] > means[0] + 0.1
    shares = encoder.by_column(
        table_explain.integrated_gradients_of_rows(run.model, data.test.x[:5], np.ones(5, int), steps=128)
    )
    got = table_explain.answers(run.model, np.concatenate([data.test.x[:5], np.zeros_like(data.test.x[:1])]))
    odds = got[:, 1] - got[:, 0]
    np.testing.assert_allclose(shares.sum(1), odds[:5] - odds[5], atol=0.1)
