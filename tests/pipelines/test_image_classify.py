import csv
import io
import json
import shutil
from functools import partial

import keras
import numpy as np
import pytest
from command_line import RUN_FILES, files_of, run_task

from pipelines import image_classify
from pipelines.engine.task import EXPORTS
from pipelines.images.load import load_images

QUICK = ["--epochs", "4", "--model.width", "16", "--model.depth", "1", "--resamples", "50"]


cli = partial(run_task, "image_classify")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """One run through the command line, used by all the tests here."""
    folder = tmp_path_factory.mktemp("trained")
    done = cli(
        *QUICK,
        "--run.name",
        "one",
        "--model.tta",
        "true",
        "--fit.ema",
        "0.9",
        "--tensorboard.norms",
        "true",
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    return folder / "runs" / "image_classify" / "one", done


def test_run_directory_is_whole(trained):
    run, done = trained
    assert files_of(run) == RUN_FILES
    assert "accuracy" in done.stdout
    for word in ("report.html", "model.keras", "tensorboard --logdir"):
        assert word in done.stdout
    assert "oneDNN" not in done.stderr
    assert "Warning" not in done.stderr


def test_tensorboard_shows_values_and_pictures(trained):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logs = {}
    for part in ("train", "validation", "test"):
        logs[part] = EventAccumulator(str(trained[0] / "tensorboard" / part))
        logs[part].Reload()
    assert len(logs["train"].Scalars("epoch_loss")) == len(logs["validation"].Scalars("epoch_accuracy")) == 4
    assert {"confusion_matrix", "reliability", "most_confident_errors"} <= set(logs["test"].Tags()["images"])
    assert "epochs: 4" in logs["train"].Tensors("config")[0].tensor_proto.string_val[0].decode()


def test_scores_are_those_of_the_predictions(trained):
    run, _ = trained
    rows = list(csv.DictReader((run / "predictions.csv").open()))
    scores = json.loads((run / "metrics.json").read_text())["test"]["metrics"]["accuracy"]
    right = np.mean([row["label"] == row["predicted"] for row in rows])
    assert scores["value"] == pytest.approx(right)
    assert scores["low"] <= right <= scores["high"]
    assert right > 0.8
    assert len(list(csv.DictReader((run / "history.csv").open()))) == 4


def test_predict_gives_what_the_test_gave(trained, tmp_path):
    from PIL import Image

    run, _ = trained
    data = load_images(image_classify.ImageDataConfig(), seed=0)
    for i in range(12):
        Image.fromarray(data.test.images.read(np.array([i]))[0, ..., 0]).save(tmp_path / f"{i:02}.png")
    (tmp_path / "broken.png").write_bytes(b"x")
    done = cli("predict", run, tmp_path, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    before = list(csv.DictReader((run / "predictions.csv").open()))[:12]
    assert [row["label"] for row in rows[:12]] == [row["predicted"] for row in before]
    confidences = [float(row["confidence"]) for row in rows[:12]]
    assert confidences == pytest.approx([float(row["confidence"]) for row in before], abs=2e-5)
    assert rows[12]["error"] == "not an image"
    out = tmp_path / "p.jsonl"
    again = cli("predict", run, tmp_path / "0*.png", "--out", out, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["label"] for line in lines] == [row["label"] for row in rows[:10]]
    kept = out.read_bytes()
    assert cli("predict", run, tmp_path, "--out", out, cwd=tmp_path).returncode == 2
    assert out.read_bytes() == kept


def test_predict_reads_paths_from_stdin(trained, photos):
    run, _ = trained
    names = "\n".join(str(photos / "cat" / f"{i}.png") for i in range(3))
    done = cli("predict", run, "-", cwd=photos, stdin=names)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 4


def test_evaluate_repeats_the_scores(trained):
    run, _ = trained
    done = cli("evaluate", run, cwd=run)
    assert done.returncode == 0, done.stderr
    again, first = (json.loads((run / name).read_text())["test"] for name in ("evaluation.json", "metrics.json"))
    assert first.pop("uncalibrated")["expected_calibration_error"] >= 0  # known while the model is calibrated
    assert again == first


def test_evaluate_on_other_data(trained, tmp_path):
    run, _ = trained
    data = load_images(image_classify.ImageDataConfig(), seed=0)
    images = data.test.images.read(np.arange(50))
    np.savez(tmp_path / "new.npz", x=images, y=data.test.labels[:50])
    done = cli("evaluate", run, "--data", tmp_path / "new.npz", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads((run / "evaluation-new.npz.json").read_text())["test"]["samples"] == 50


def test_explain_draws(trained):
    run, _ = trained
    done = cli("explain", run, cwd=run)
    assert done.returncode == 0, done.stderr
    assert (run / "figures" / "explanations_1.png").read_bytes().startswith(b"\x89PNG")


def test_tensorboard_has_what_its_tabs_show(trained):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata

    run, _ = trained
    found = {}
    for part in ("train", "validation", "test", "hparams"):
        found[part] = EventAccumulator(str(run / "tensorboard" / part))
        found[part].Reload()
    train, test, hparams = found["train"], found["test"], found["hparams"]
    norms = [tag for tag in train.Tags()["scalars"] if tag.startswith("update_norm/")]
    assert "update_norm/all" in norms
    assert len(norms) > 3
    assert all(event.value > 0 for tag in norms for event in train.Scalars(tag))
    assert {"learning_rate", "epoch_gap", "epoch_loss"} <= set(train.Tags()["scalars"])
    assert train.Tags()["graph"]
    assert {"confusion_matrix", "reliability", "roc", "most_confident_right"} <= set(test.Tags()["images"])
    assert [tag for tag in test.Tags()["tensors"] if tag.endswith("/pr_curves")] == [
        f"{k}/pr_curves" for k in range(10)
    ]
    content = hparams.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
    settings = metadata.parse_session_start_info_plugin_data(content).hparams
    assert settings["fit.epochs"].number_value == 4
    assert settings["optimizer.name"].string_value == "nesterov"
    scores = json.loads((run / "metrics.json").read_text())["test"]["metrics"]
    for name, score in scores.items():
        assert hparams.Scalars(f"test/{name}")[0].value == pytest.approx(score["value"], rel=1e-6)
    lines = (run / "tensorboard" / "validation" / "features.tsv").read_text().splitlines()
    assert len(lines) == len((run / "tensorboard" / "validation" / "metadata.tsv").read_text().splitlines()) - 1 > 100


def test_divergence_ends_with_one_line(tmp_path):
    argv = ["--optimizer", "sgd", "--optimizer.learning_rate", "1e30", "--fit.nan_retries", "1", "--data.limit", "400"]
    done = cli(*QUICK, *argv, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("python -m pipelines.image_classify: error: training diverged")
    assert "back to the last good state, with a learning rate of" in done.stderr


def test_find_lr_draws_and_names_the_option(tmp_path):
    done = cli("find-lr", *QUICK[2:], "--data.limit", "600", "--run.name", "x", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    option, rate = done.stdout.split()
    assert option == "--optimizer.learning_rate"
    assert 1e-3 < float(rate) < 10  # the tuned rate of this task is 0.1
    assert (tmp_path / "runs" / "image_classify" / "find-lr_x.png").read_bytes().startswith(b"\x89PNG")
    assert [p.name for p in (tmp_path / "runs" / "image_classify").iterdir()] == ["find-lr_x.png"]


@pytest.mark.parametrize("kind", EXPORTS)
def test_export_answers_as_the_model(trained, tmp_path, kind):
    if kind != "savedmodel":
        pytest.importorskip({"onnx": "onnxruntime", "litert": "ai_edge_litert"}[kind])
    run, _ = trained
    done = cli("export", run, "--format", kind, "--out", tmp_path / "exported", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "they differ by at most" in done.stderr, done.stderr
    assert (tmp_path / "exported").exists()


def test_resume_of_a_complete_run_changes_nothing(trained):
    run, _ = trained
    before = (run / "model.keras").read_bytes()
    done = cli("--resume", run, cwd=run)
    assert done.returncode == 0
    assert "complete" in done.stderr
    assert (run / "model.keras").read_bytes() == before


def test_init_from_starts_from_the_weights(trained, tmp_path):
    run, _ = trained
    warm = cli(*QUICK[:1], "1", *QUICK[2:], "--init_from", run, "--optimizer.learning_rate", "1e-6", cwd=tmp_path)
    assert warm.returncode == 0, warm.stderr
    (new,) = (tmp_path / "runs" / "image_classify").iterdir()
    scores = [json.loads((r / "metrics.json").read_text())["test"]["metrics"]["accuracy"]["value"] for r in (new, run)]
    assert scores[0] == pytest.approx(scores[1], abs=0.05)


@pytest.mark.backend
def test_python_end_to_end(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = image_classify.train(
        data=str(photos), epochs=6, batch_size=4, width=8, depth=1, flip=True, mixup=0.2, imbalance="oversample",
        resamples=20, backend=keras.backend.backend(), regularizer={"name": "l2"}, patience=5, ema=0.5,
    )  # fmt: skip
    assert run.metrics["test"]["metrics"]["accuracy"]["value"] == 1
    (row,) = run.predict(photos / "dog" / "3.png")
    assert row["label"] == "dog"
    assert (tmp_path / run.directory.path / "report.html").exists()


@pytest.mark.parametrize("imbalance", ["weights", "effective-number", "focal"])
def test_imbalance_options_train(photos, tmp_path, monkeypatch, imbalance):
    monkeypatch.chdir(tmp_path)
    for i in range(6):
        (photos / "cat" / f"{i}.png").unlink()
    run = image_classify.train(
        data=str(photos), epochs=12, batch_size=4, width=8, depth=1, resamples=10, imbalance=imbalance
    )
    assert run.metrics["test"]["metrics"]["balanced_accuracy"]["value"] == 1


def test_own_model_and_loader(photos, tmp_path):
    (tmp_path / "mine.py").write_text(
        "import keras, numpy as np\n"
        "@keras.saving.register_keras_serializable('mine')\n"
        "class Half(keras.layers.Layer):\n"
        "    def call(self, x): return x / 255\n"
        "def build(shape, classes):\n"
        "    layers = [keras.Input(shape), Half(), keras.layers.Flatten(), keras.layers.Dense(classes)]\n"
        "    return keras.Sequential(layers)\n"
        "def load():\n"
        "    x = np.random.default_rng(0).integers(0, 255, (60, 6, 6), dtype='uint8')\n"
        "    return x, (x.mean((1, 2)) > 127).astype(int)\n"
    )
    done = cli(*QUICK[:2], "--data", "mine:load", "--model.builder", "mine:build", "--run.name", "own", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    again = cli("predict", "runs/image_classify/own", photos / "cat" / "1.png", cwd=tmp_path, own_process=True)
    assert again.returncode == 0, again.stderr


def test_two_phase_fine_tuning(photos, resnet_preset, tmp_path, monkeypatch):
    done = cli(
        "--data", photos, "--model.builder", f"kerashub:{resnet_preset[0]}", "--model.head_epochs", "2",
        "--epochs", "2", "--batch_size", "4", "--resamples", "10", "--run.name", "fine", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    run = tmp_path / "runs" / "image_classify" / "fine"
    rows = list(csv.DictReader((run / "history.csv").open()))
    assert [row["phase"] for row in rows] == ["head", "head", "all", "all"]
    assert float(rows[2]["learning_rate"]) < float(rows[0]["learning_rate"])
    shutil.rmtree(tmp_path / "preset")
    assert cli("predict", run, photos / "cat", cwd=tmp_path).returncode == 0
