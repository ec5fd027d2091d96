"""image_segment from the command line: a run, its verbs, and resuming."""

import csv
import io
import json
from functools import partial

import numpy as np
import pytest
from command_line import RUN_FILES, check_killed_run, files_of, run_task
from PIL import Image

from pipelines import image_segment
from pipelines.images.scenes import scenes

cli = partial(run_task, "image_segment")
QUICK = [
    "--epochs", "3", "--model.width", "4", "--model.depth", "2", "--model.stride", "4", "--resamples", "20",
    "--batch_size", "8", "--early_stopping.patience", "0",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """photos/images/0.png …, photos/masks/0.png …: composed scenes as files."""
    root = tmp_path_factory.mktemp("segment")
    for name in ("images", "masks"):
        (root / "photos" / name).mkdir(parents=True)
    for i, scene in enumerate(scenes("train", 40, seed=5, size=48)):
        Image.fromarray(scene.image).save(root / "photos" / "images" / f"{i}.png")
        Image.fromarray((scene.semantic > 0).astype(np.uint8)).save(root / "photos" / "masks" / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def trained(folder):
    done = cli("--data", "photos", "--data.classes", "[background, digit]", *QUICK, "--run.name", "one", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "runs" / "image_segment" / "one", done


def test_run_directory_is_whole(trained):
    run, done = trained
    assert files_of(run) == RUN_FILES
    metrics = json.loads((run / "metrics.json").read_text())["test"]
    assert metrics["classes"] == ["background", "digit"]
    assert {"mean_iou", "dice", "boundary_f1", "pixel_accuracy"} <= set(metrics["metrics"])
    assert {"confusion_matrix.png", "worst.png", "best.png", "reliability.png"} <= {
        path.name for path in (run / "figures").iterdir()
    }
    assert "Warning" not in done.stderr
    assert "mean IoU of" in done.stderr


def test_predict_writes_masks_and_fractions(trained, folder):
    run, _ = trained
    large = np.concatenate([scene.image for scene in scenes("test", 3, seed=1, size=48)], 1)
    Image.fromarray(large).save(folder / "large.png")
    (folder / "broken.png").write_bytes(b"no image")
    done = cli("predict", run, "large.png", "broken.png", "photos/images/0.png", "--files", "out", cwd=folder)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["input"] for row in rows] == ["large.png", "broken.png", "photos/images/0.png"]
    assert (rows[0]["height"], rows[0]["width"]) == ("48", "144")
    assert rows[1]["error"]
    assert not any(name.startswith("_") for name in rows[0])
    mask = np.asarray(Image.open(folder / "out" / "large.png"))
    assert mask.shape == (48, 144)
    assert float(rows[0]["fraction_digit"]) == pytest.approx((mask == 1).mean(), abs=1e-6)
    assert not (folder / "out" / "broken.png").exists()


def test_evaluate_and_explain(trained, folder):
    run, _ = trained
    done = cli("evaluate", run, cwd=folder)
    assert done.returncode == 0, done.stderr
    first, again = (
        json.loads((run / name).read_text())["test"]["metrics"] for name in ("metrics.json", "evaluation.json")
    )
    assert again["mean_iou"] == first["mean_iou"]
    done = cli("evaluate", run, "--data", "photos", cwd=folder)
    assert done.returncode == 0, done.stderr
    done = cli("explain", run, "photos/images/0.png", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert list((run / "figures").glob("explanations_*.png"))


@pytest.mark.slow
def test_export_answers_as_the_model(trained, folder):
    done = cli("export", trained[0], "--format", "onnx", "--out", "m.onnx", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert (folder / "m.onnx").exists()


@pytest.mark.slow
def test_a_torn_run_ends_with_the_same_weights(folder):
    check_killed_run("image_segment", "--data", "photos", *QUICK, cwd=folder)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--loss", "hinge"], "one of cross-entropy"),
        (["--fit.imbalance", "oversample"], "is not for pixels"),
        (["--data", "nowhere/"], "data.source not found"),
        (["--model.stride", "3"], "1, 2 or 4"),
        (["--data.classes", "[one]"], "at least two names"),
        (["--model", "kerashub:no_such_preset"], "use the builder unet"),
    ],
)
def test_bad_options_get_one_line(options, words, folder):
    source = [] if "--data" in options else ["--data", "photos"]
    done = cli(*source, *QUICK, *options, cwd=folder)
    assert done.returncode == 2
    assert words in done.stderr.splitlines()[-1]


def test_from_python(folder):
    def data():
        made = scenes("train", 30, seed=2, size=32)
        return np.stack([s.image for s in made]), np.stack([s.semantic > 0 for s in made]).astype(np.uint8)

    import sys
    from types import ModuleType

    module = ModuleType("scenes_of_mine")
    module.load = data
    sys.modules["scenes_of_mine"] = module
    run = image_segment.train(
        data="scenes_of_mine:load", epochs=1, model__width=4, model__depth=1, resamples=10, out=str(folder / "py"),
        tensorboard__enabled=False,
    )  # fmt: skip
    row = run.predict(Image.fromarray(np.zeros((32, 32, 3), np.uint8)))[0]
    assert (row["height"], row["width"]) == (32, 32)
