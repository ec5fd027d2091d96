"""tune: searched options, several processes, going on after a crash, and its errors."""

import csv
import json

import numpy as np
import pandas as pd
import pytest
import yaml

from pipelines import finance
from pipelines.core.errors import UserError

optuna = pytest.importorskip("optuna")

OPTIONS = ["--data", "t.csv", "--epochs", "4", "--batch_size", "32", "--members", "2", "--ensemble", "1",
           "--folds", "false", "--model.embedding", "none"]  # fmt: skip
SPACE = {
    "optimizer.learning_rate": {"low": 1e-4, "high": 0.1, "log": True},
    "width": {"choices": [4, 8]},
    "model.depth": {"low": 1, "high": 2},
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).normal(size=(200, 2))
    pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "target": (x[:, 0] > 0).astype(int)}).to_csv("t.csv", index=False)
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(SPACE))
    return tmp_path


def run(*argv):
    finance.TASK.main(["tune", *OPTIONS, *argv])


def rows(folder):
    return list(csv.DictReader((folder / "trials.csv").open()))


def test_tune_goes_on_and_its_best_trains(here, capsys):
    run("--trials", "3", "--space", "space.yaml")
    folder = here / "runs" / "finance" / "study"
    assert len(rows(folder)) == 3
    trial = opened(folder).ask()  # a process that dies in the middle of a trial
    trial.suggest_float("optimizer.learning_rate", 1e-4, 0.1, log=True)
    run("--trials", "6", "--space", "space.yaml")
    found = rows(folder)
    assert len(found) >= 6
    assert "fail" in {row["state"] for row in found}
    values = [float(row["val_log_loss"]) for row in found if row["state"] == "complete"]
    best = yaml.safe_load((folder / "best.yaml").read_text())
    chosen = min((row for row in found if row["state"] == "complete"), key=lambda row: float(row["val_log_loss"]))
    assert best["optimizer"]["learning_rate"] == pytest.approx(float(chosen["optimizer.learning_rate"]))
    assert best["model"]["width"] == int(chosen["model.width"])
    finance.TASK.main(["--config", str(folder / "best.yaml"), "--run.name", "best", "--resamples", "10"])
    history = list(csv.DictReader((here / "runs/finance/best/history.csv").open()))
    assert min(float(row["val_log_loss"]) for row in history) == pytest.approx(min(values), rel=1e-3)
    assert (folder / "report.html").exists()


@pytest.mark.slow
def test_several_processes(here):
    run("--trials", "5", "--processes", "2", "--space", "space.yaml")
    assert len(rows(here / "runs/finance/study")) >= 5


def opened(folder):
    backend = optuna.storages.journal.JournalFileBackend(str(folder / "study.log"))
    return optuna.load_study(study_name="study", storage=optuna.storages.JournalStorage(backend))


def test_hopeless_trials_are_cut_short(here, monkeypatch):
    """One that learns nothing is not trained to its end."""
    from pipelines.engine import tune

    monkeypatch.setattr(tune, "WARMUP_TRIALS", 1)
    (here / "space.yaml").write_text("optimizer.learning_rate: {low: 1.0e-7, high: 0.1, log: true}")
    folder = here / "runs/finance/study"
    argv = ["--space", "space.yaml", "--epochs", "8"]
    run("--trials", "1", *argv)
    assert json.loads((folder / "study.json").read_text())["monitor"] == "val_log_loss"
    opened(folder).enqueue_trial({"optimizer.learning_rate": 1e-7})
    run("--trials", "2", *argv)
    first, hopeless = opened(folder).get_trials()
    assert first.params["optimizer.learning_rate"] > 1e-6
    assert [first.state.name, hopeless.state.name] == ["COMPLETE", "PRUNED"]
    assert len(first.intermediate_values) == 8
    assert list(hopeless.intermediate_values) == [0, 1, 2]
    assert [row["state"] for row in rows(folder)] == ["complete", "pruned"]


def test_without_a_whole_trial_there_is_a_clear_line(here, monkeypatch):
    from pipelines.engine import tune

    def never(*args, **kwargs):
        raise UserError("cannot be")

    monkeypatch.setattr(tune, "run_trial", never)
    with pytest.raises(SystemExit):
        run("--trials", "2", "--study", "other")


@pytest.mark.parametrize(
    ("space", "anew"),
    [("model.ensemble: {choices: [1, 2]}", True), ("data.max_categories: {low: 2, high: 9}", True),
     ("width: {choices: [4, 8]}", False)],
)  # fmt: skip
def test_data_are_read_anew_where_the_search_changes_them(here, monkeypatch, space, anew):
    """The folds are dealt with the data, one for each copy of the ensemble."""
    from pipelines.engine import tune

    seen = []

    def trained(task, config, data, trial, *, anew):
        seen.append(anew)
        return 0.5

    monkeypatch.setattr(tune, "run_trial", trained)
    (here / "space.yaml").write_text(space)
    run("--trials", "2", "--space", "space.yaml")
    assert seen == [anew] * 2


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--trials", "0"], "at least 1"), (["--space", "nowhere.yaml"], "cannot be read"),
        (["--trials", "x"], "invalid int"),
        (["--space", "a.yaml"], "must be {low, high}"), (["--space", "b.yaml"], "unknown option --model.widht"),
        (["--space", "c.yaml"], "expected options"), (["--study", "taken"], "is not a study"),
        (["--epohcs", "3"], "did you mean"),
    ],
)  # fmt: skip
def test_errors(here, capsys, argv, words):
    (here / "a.yaml").write_text("width: {low: 3}")
    (here / "b.yaml").write_text("model.widht: {low: 3, high: 4}")
    (here / "c.yaml").write_text("[]")
    (here / "runs/finance/taken").mkdir(parents=True)
    with pytest.raises(SystemExit) as stop:
        run(*argv)
    assert stop.value.code == 2
    assert words in capsys.readouterr().err


def test_another_space_is_another_study(here, capsys):
    (here / "runs/finance/study").mkdir(parents=True)
    (here / "runs/finance/study/study.json").write_text(json.dumps({"space": {}}))
    with pytest.raises(SystemExit):
        run("--trials", "2")
    assert "began with another space" in capsys.readouterr().err
