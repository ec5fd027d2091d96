"""object_detect from the command line: train and every verb, on composed scenes and on files of a user."""

import csv
import io
import json
from functools import partial

import numpy as np
import pytest
from command_line import RUN_FILES, files_of, run_task
from PIL import Image

from pipelines.images import scenes

QUICK = [
    "--data.scenes", "40", "--model.width", "8", "--model.head", "16", "--model.strides", "[8, 16]", "--batch_size",
    "8", "--resamples", "20", "--optimizer", "adamw", "--optimizer.learning_rate", "0.01",
]  # fmt: skip

cli = partial(run_task, "object_detect")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """One run through the command line, used by most tests here."""
    folder = tmp_path_factory.mktemp("trained")
    done = cli(*QUICK, "--epochs", "4", "--run.name", "one", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "runs" / "object_detect" / "one", done


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Two scenes, a large image of six, and a file that is no image."""
    folder = tmp_path_factory.mktemp("images")
    made = [scene.image for scene in scenes.scenes("test", 6, seed=5)]
    for i, image in enumerate(made[:2]):
        Image.fromarray(image).save(folder / f"{i}.png")
    Image.fromarray(np.concatenate([np.concatenate(made[:3], 1), np.concatenate(made[3:], 1)])).save(folder / "2.png")
    (folder / "broken.png").write_bytes(b"x")
    return folder


def test_run_directory_scores_and_predictions(trained):
    run, done = trained
    assert files_of(run) == RUN_FILES
    metrics = json.loads((run / "metrics.json").read_text())
    assert {"map", "ap50", "ap75", "ar_100", "map_small"} <= set(metrics)
    assert metrics["test"]["samples"] == 20
    rows = list(csv.DictReader((run / "predictions.csv").open()))
    outcomes = {"right", "class", "localisation", "both", "duplicate", "background"}
    assert {row["outcome"] for row in rows if row["label"]} <= outcomes
    assert "composed" in done.stderr
    page = (run / "report.html").read_text()
    for words in ("TIDE", "AP50 gained", "Sizes of the training boxes", "images without objects"):
        assert words in page
    assert {"predictions.png", "worst_images.png", "box_sizes.png"} <= {p.name for p in (run / "figures").iterdir()}


def test_evaluate_repeats_the_scores(trained):
    run, _ = trained
    done = cli("evaluate", run, cwd=run)
    assert done.returncode == 0, done.stderr
    again, before = (json.loads((run / f"{name}.json").read_text()) for name in ("evaluation", "metrics"))
    assert again["test"] == before["test"]


def test_predict_writes_rows_coco_and_drawn_images(trained, images, tmp_path):
    run, _ = trained
    argv = ["--confidence", "0.02", "--files", tmp_path / "drawn"]
    done = cli("predict", run, images, *argv, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert rows[-1]["error"] == "not an image"
    assert {p.name for p in (tmp_path / "drawn").iterdir()} == {"0.png", "1.png", "2.png"}
    assert Image.open(tmp_path / "drawn" / "2.png").size == (288, 192)
    found = [row for row in rows if row["label"]]
    for row in found:
        left, top, right, bottom = (float(row[key]) for key in ("left", "top", "right", "bottom"))
        assert 0 <= left < right <= int(row["width"])
        assert 0 <= top < bottom <= int(row["height"])
    done = cli("predict", run, images, "--confidence", "0.02", "--format", "coco", cwd=tmp_path)
    content = json.loads(done.stdout)
    assert len(content["images"]) == 3
    assert len(content["annotations"]) == len(found)
    wrong = cli("predict", run, images, "--classes", "cat", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "no class 'cat'" in wrong.stderr
    high = cli("predict", run, images / "0.png", "--confidence", "0.9999", cwd=tmp_path)
    assert len(high.stdout.splitlines()) == 2  # an image without detections has a row


def test_explain_draws(trained, images):
    run, _ = trained
    done = cli("explain", run, images / "0.png", cwd=run)
    assert done.returncode == 0, done.stderr
    assert (run / "figures" / "explanations_1.html").exists()


def test_export_answers_as_the_model(trained, tmp_path):
    pytest.importorskip("onnxruntime")
    run, _ = trained
    done = cli("export", run, "--out", tmp_path / "model.onnx", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "they differ by at most" in done.stderr


def test_own_model_on_own_files_converted_between_formats(tmp_path):
    rows = ["image,xmin,ymin,xmax,ymax,label"]
    for i, scene in enumerate(scenes.scenes("train", 24, seed=1)):
        Image.fromarray(scene.image).save(tmp_path / f"{i}.png")
        rows += [f"{i}.png,{','.join(f'{x:g}' for x in box)},odd" for box in scene.boxes] or [f"{i}.png,,,,,"]
    (tmp_path / "boxes.csv").write_text("\n".join(rows))
    done = cli("convert", tmp_path / "boxes.csv", tmp_path / "made", "--format", "yolo", "--copy", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (tmp_path / "mine.py").write_text(
        "from pipelines.detection.models import detector\n"
        "def build(shape, classes, strides):\n"
        "    return detector(shape, classes, strides, width=8, head=8)\n"
    )
    argv = ["--data", tmp_path / "made", "--model.builder", "mine:build", "--epochs", "1", "--batch_size", "4",
            "--augment.turns", "true", "--model.strides", "[8]", "--optimizer", "adamw", "--resamples", "10",
            "--run.name", "own"]  # fmt: skip
    done = cli(*argv, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    spec = json.loads((tmp_path / "runs" / "object_detect" / "own" / "spec.json").read_text())
    assert spec["classes"] == ["odd"]
    assert spec["size"] == 96
