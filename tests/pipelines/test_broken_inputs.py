"""A table of broken inputs: each ends in one clear line and exit status 2, and nothing is written or changed."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from pipelines import image_classify
from pipelines.core.errors import UserError

# (options, words that the line must hold)
OPTIONS = [
    ("--fit.epochs 0", "fit.epochs"), ("--fit.epochs -3", "fit.epochs"), ("--fit.epochs x", "whole number"),
    ("--fit.epochs 1.5", "whole number"), ("--epochs=", "fit.epochs"), ("--fit.epochs", "expected"),
    ("--fit.epoch 3", "did you mean --fit.epochs"), ("--fit.epochss=3", "did you mean --fit.epochs"),
    ("--epoch 3", "did you mean --epochs"), ("--foo 1", "unknown option --foo"), ("extra", "unknown verb"),
    ("evalute x", "did you mean evaluate"), ("-x", "unknown option"), ("--fit.batch_size 0", "fit.batch_size"),
    ("--batch_size nan", "whole number"), ("--fit.label_smoothing 1", "label_smoothing"),
    ("--fit.label_smoothing -0.1", "label_smoothing"), ("--fit.ema 1", "fit.ema"), ("--fit.ema two", "a number"),
    ("--fit.precision float16", "mixed_float16"), ("--fit.jit maybe", "one of auto, on, off"),
    ("--fit.imbalance weight", "did you mean weights"), ("--fit.steps_per_execution -1", "steps_per_execution"),
    ("--fit.checkpoint_seconds 0", "checkpoint_seconds"), ("--optimizer adamm", "did you mean adam"),
    ("--optimizer.name nothing", "unknown optimizer"), ("--optimizer.learning_rate 0", "learning_rate"),
    ("--optimizer.learning_rate -1", "learning_rate"), ("--optimizer.learning_rate inf", "learning_rate"),
    ("--optimizer.learning_rate fast", "a number"), ("--learning_rate abc", "a number"),
    ("--optimizer.weight_decay -1", "weight_decay"), ("--optimizer.decays.kernel -1", "decays.kernel"),
    ("--optimizer.clipnorm 0", "clipnorm"),
    ("--optimizer.settings 3", "mapping"), ("--optimizer.settings.beta_9 0.9", "beta_9"),
    ("--optimizer.settings.momentum=big", "optimizer"), ("--schedule cosin", "did you mean cosine"),
    ("--schedule.warmup 1", "schedule.warmup"), ("--schedule.warmup -1", "schedule.warmup"),
    ("--warmup 0.1", "ambiguous"), ("--schedule.final 2", "schedule.final"),
    ("--schedule exponential --schedule.final 0", "exponential"), ("--regularizer l3", "regularizer.name"),
    ("--regularizer.strength -1", "regularizer.strength"), ("--early_stopping.patience -1", "patience"),
    ("--early_stopping.min_delta -1", "min_delta"), ("--early_stopping.warmup -2", "warmup"),
    ("--early_stopping.minutes 0", "minutes"), ("--tensorboard.every_steps -1", "every_steps"),
    ("--early_stopping.criterion gp", "criterion"), ("--early_stopping.threshold -1", "early_stopping.threshold"),
    ("--early_stopping.criterion up --early_stopping.threshold 1.5", "whole number"), ("--early_stopping.strip 0", "strip"),
    ("--early_stopping.smoothing 1", "smoothing"), ("--early_stopping.smoothing 0.5 --early_stopping.window 2", "window"),
    ("--tensorboard.profile [3]", "tensorboard.profile"), ("--tensorboard.embeddings -1", "embeddings"),
    ("--fit.nan_retries -1", "nan_retries"), ("--fit.overfit_patience -1", "overfit_patience"),
    ("--tensorboard.enabled perhaps", "true or false"), ("--run.seed -1", "run.seed"), ("--run.seed 2147483648", "run.seed"),
    ("--seed pi", "whole number"), ("--run.name a/b", "folder name"), ("--run.name ..", "folder name"),
    ("--run.name=", "folder name"), ("--name x", "ambiguous"), ("--run.backend theano", "one of tensorflow, jax, torch"),
    ("--run.resamples 1", "resamples"), ("--run.deterministic yess", "true or false"),
    ("--data.val_fraction 0", "val_fraction"), ("--data.val_fraction 1", "val_fraction"),
    ("--data.test_fraction 1.5", "test_fraction"), ("--data.size 2", "data.size"), ("--data.size 99999", "data.size"),
    ("--data.size large", "whole number"), ("--data.channels red", "one of auto, grey, rgb"),
    ("--data.resize squeeze", "one of crop, pad, stretch"), ("--data.max_broken -1", "max_broken"),
    ("--data.memory_gib -1", "memory_gib"), ("--data.limit 0", "data.limit"), ("--data=", "data.source"),
    ("--augment.crop -1", "augment.crop"), ("--augment.zoom 0", "augment.zoom"), ("--augment.zoom 2", "augment.zoom"),
    ("--augment.randaugment 11", "randaugment"), ("--augment.magnitude 11", "magnitude"),
    ("--augment.mixup -1", "mixup"), ("--augment.cutmix inf", "cutmix"), ("--augment.erase 2", "erase"),
    ("--augment.flip up", "true or false"), ("--model.width 0", "model.width"), ("--model.depth 0", "model.depth"),
    ("--model.dropout 1", "model.dropout"), ("--model.stochastic_depth 1", "stochastic_depth"),
    ("--model.weights coco", "model.weights"), ("--model.head_epochs -1", "head_epochs"),
    ("--model.finetune_rate 0", "finetune_rate"), ("--model resnet", "model.builder"), ("--model applications:", "builder"),
    ("--model applications:ResNet51", "did you mean applications:ResNet50"), ("--model nowhere:build", "no module"),
    ("--model mine:absent", "has no function"), ("--model mine:number", "no function"), ("--model mine:fails", "ZeroDivision"),
    ("--model mine:returns_text", "must return a Keras model"), ("--model mine:wrong_outputs", "logits"),
    ("--model broken_module:x", "importing"), ("--model kerashub:nowhere/at/all", "could not be had"),
    ("--run.init_from nowhere", "init_from not found"), ("--run.init_from text.txt", "init_from"),
    ("--run.init_from folder", "not a run directory"), ("--resume nowhere", "run directory not found"),
    ("--resume folder", "not a run directory"), ("--resume text.txt", "run directory not found"),
    ("--resume run --fit.epochs 3", "remove --fit.epochs"), ("--resume", "expected"), ("--resume other_task", "is a run of"),
    ("--resume damaged_spec", "spec"), ("--resume damaged_config", "config.yaml"), ("--resume list_config", "damaged"),
    ("--resume typo_config", "unknown option"), ("--resume value_config", "fit.epochs"),
    ("--resume changed_data", "data have changed"), ("--resume torn_checkpoints", "checkpoints"),
    ("--resume foreign_checkpoints", "checkpoint"), ("--config nowhere.yaml", "not found"), ("--config folder", "config"),
    ("--config", "expected"), ("--run.out text.txt", "cannot write"), ("--run.name taken --run.out taken_out", "never overwritten"),
]  # fmt: skip

YAMLS = [
    ("fit: [3", "YAML"), ("fit: 3", "fit"), ("fit:\n  epochss: 3", "did you mean fit.epochs"), ("fitt:\n  epochs: 3", "fitt"),
    ("fit:\n  epochs: many", "whole number"), ("fit:\n  epochs: 0", "fit.epochs"), ("fit:\n  epochs: [1, 2]", "fit.epochs"),
    ("- 1\n- 2", "config"), ("just text", "config"), ("fit: {epochs: 3", "YAML"), ("a: b: c", "YAML"), ("\tfit: 1", "YAML"),
    ("optimizer:\n  name: nothing", "unknown optimizer"), ("optimizer: adam", "optimizer"), ("data:\n  sourze: x", "sourze"),
    ("model:\n  width: wide", "whole number"), ("schedule:\n  name: zigzag", "one of"), ("run:\n  name: a/b", "folder name"),
    ("fit:\n  ema: null", "fit.ema"), ("tensorboard:\n  enabled: 3", "true or false"), ("\0", "config"),
]  # fmt: skip

X = np.random.default_rng(0).integers(0, 255, (20, 6, 6), dtype=np.uint8)
Y = np.arange(20) % 2
ARRAYS = [
    ({}, "expected arrays"), ({"a": X}, "expected arrays"), ({"x": X}, "expected arrays"), ({"x": X, "y": Y[:5]}, "labels of shape"),
    ({"x": X[0], "y": Y}, "images must be"), ({"x": X[..., None].repeat(5, -1), "y": Y}, "images must be"),
    ({"x": X[:0], "y": Y[:0]}, "empty"), ({"x": X, "y": Y * 0}, "only the class"), ({"x": X, "y": Y + 0.5}, "whole numbers"),
    ({"x": X, "y": np.full(20, np.nan)}, "whole numbers"), ({"x": X, "y": np.ones((20, 3))}, "one-hot"),
    ({"x": X - 300.0, "y": Y}, "images must be"), ({"x": X * np.nan, "y": Y}, "finite"), ({"x": X.astype("U3"), "y": Y}, "numbers"),
    ({"x": X + 1j, "y": Y}, "numbers"), ({"x": X, "y": np.arange(20)}, "at least two"), ({"x": X, "y": np.zeros((20, 2, 2))}, "labels"),
    ({"x_train": X, "y_train": Y, "x_test": X[:, :5], "y_test": Y}, "different shapes"), ({"x": X * 1e9, "y": Y}, "images must be"),
    ({"x_train": X, "y_train": Y, "x_test": X, "y_test": Y + 5}, "not in the training set"), ({"x": X.ravel(), "y": Y}, "images must be"),
    ({"x": X, "y": Y.astype(complex)}, "labels must be"),
]  # fmt: skip

FILES = [
    ("a.npz", b"", "a.npz"), ("a.npz", b"not a zip", "npz"), ("a.npz", b"PK\3\4 torn", "npz"), ("a.parquet", b"x", "must be .csv"),
    ("a.jpg", b"x", "must be .csv"), ("a", b"x", "must be .csv"), ("a.csv", b"", "CSV"), ("a.csv", b"\xff\xfe\x00", "CSV"),
    ("a.csv", b"one\n1\n", "column"), ("a.csv", b"path,other\na.png,1\n", "label"), ("a.csv", b"label,other\nx,1\n", "image"),
    ("a.csv", b"path,label\n", "no row"), ("a.csv", b"path,label\n,x\n", "no row"), ("a.csv", b"path,label\na.png,\n", "no row"),
    ("a.csv", b"path,label\n" + b"gone.png,x\n" * 20, "file not found"), ("a.csv", b"path,label,split\na.png,x,test\n", "train"),
    ("a.csv", b"path,label,split\n" + b"photos/cat/1.png,cat,trian\n" * 20, "broken|no row"),
    ("a.csv", b"path,label\nphotos/cat/1.png,cat\nphotos/cat/2.png,cat\n", "only the class"),
    ("a.csv", b"path,label\n" + b"".join(b"photos/cat/%d.png,c%d\n" % (i, i) for i in range(10)), "at least two"),
    ("a.csv", b"path,label\n" + b"text.txt,x\n" * 20, "not an image"), ("a.csv", b'path,label\n"a.png,x\nb.png,y\n', "CSV|column|no row|broken|class"),
    ("a.tsv", b"path\tlabel\n" + b"photos\tx\n" * 20, "folder, not an image"),
]  # fmt: skip

SOURCES = [
    ("nowhere", "not found"), ("./nowhere/at/all", "not found"), ("photos/nowhere", "not found"), ("keras:mnits", "unknown"),
    ("keras:", "unknown"), ("tfds:", "needs a name"), ("tfds:no_such_set_at_all", "could not be prepared"), ("samples", "not found"),
    ("sklearn:digits", "no module|no function"), ("mine:absent", "has no function"), ("mine:fails", "ZeroDivision"), ("mine:number", "no function"),
    ("mine:returns_text", "must return"), ("mine:returns_none", "must return"), ("mine:three", "must return"), ("mine:parts", "must return"),
    ("mine:lengths", "labels of shape"), ("nowhere:load", "no module"), ("broken_module:load", "importing"), ("mine.sub:load", "no module|importing"),
    ("folder", "no class folders"), ("loose", "no class folders"), ("one_class", "only the class"), ("empty_classes", "no class folders"),
    ("all_broken", "max_broken"), ("few", "at least two"), ("no_train", "class|training"), ("test_class", "not in the training set"),
]  # fmt: skip

VERBS = [
    ("predict", "arguments are required"), ("predict run", "arguments are required"), ("predict nowhere photos", "run directory not found"),
    ("predict folder photos", "not a run directory"), ("predict run nowhere.png", "input not found"), ("predict run folder", "no images"),
    ("predict run photos --format xml", "invalid choice"), ("predict run photos --out text.txt", "exists"), ("predict run photos --outt x", "unknown"),
    ("predict unfinished photos", "no model.keras"), ("predict damaged_model photos", "cannot be read"), ("predict run text.txt", "none of the inputs"),
    ("evaluate", "arguments are required"), ("evaluate nowhere", "not found"), ("evaluate run --data nowhere", "not found"),
    ("evaluate run --data other_classes.npz", "does not know"), ("evaluate unfinished", "no model.keras"), ("export", "arguments are required"),
    ("export run --format tflite", "invalid choice"), ("export nowhere", "not found"), ("export run --out text.txt", "exists"),
    ("export unfinished --format savedmodel", "no model.keras"), ("explain", "arguments are required"), ("explain run nowhere.png", "not found"),
    ("explain run text.txt", "not an image"), ("explain unfinished", "no model.keras"), ("predict other_task photos", "is a run of"),
    ("predict damaged_spec photos", "spec"), ("find-lr --resume run", "find-lr"), ("find-lr --foo 1", "unknown option --foo"),
]  # fmt: skip

MINE = """
import numpy as np
number = 3
x = np.zeros((20, 6, 6), "uint8")
def fails(*a): return 1 / 0
def returns_text(*a): return "text"
def returns_none(*a): return None
def three(*a): return 1, 2, 3
def parts(*a): return {"trian": (x, x)}
def lengths(*a): return x, np.zeros(3, int)
def wrong_outputs(shape, classes):
    import keras
    return keras.Sequential([keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(classes + 1)])
"""

TABLE = [(["train", *options.split(" ")], words, None) for options, words in OPTIONS]
TABLE += [(["--config", "c.yaml"], words, ("c.yaml", text.encode())) for text, words in YAMLS]
TABLE += [(["--data", "a.npz"], words, ("a.npz", arrays)) for arrays, words in ARRAYS]
TABLE += [(["--data", name], words, (name, content)) for name, content, words in FILES]
TABLE += [(["--data", source], words, None) for source, words in SOURCES]
TABLE += [(verb.split(" "), words, None) for verb, words in VERBS]


def test_the_table_is_long_enough():
    assert len(TABLE) >= 200


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder with a finished run and much that is broken."""
    from pathlib import Path

    here = tmp_path_factory.mktemp("world")
    before = os.getcwd()
    os.chdir(here)
    try:
        for name in ("cat", "dog"):
            for i in range(10):
                Path(f"photos/{name}").mkdir(parents=True, exist_ok=True)
                pixels = np.random.default_rng(i).integers(0, 255, (8, 8), dtype=np.uint8)
                Image.fromarray(pixels).save(f"photos/{name}/{i}.png")
        run = image_classify.train(data="photos", epochs=1, width=8, depth=1, resamples=10, out="made", batch_size=4)
        shutil.copytree(run.directory.path, "run")
        shutil.rmtree("made")
        Path("text.txt").write_text("text")
        Path("mine.py").write_text(MINE)
        Path("broken_module.py").write_text("def (")
        Path("taken_out/image_classify/taken").mkdir(parents=True)
        for folder in ("folder", "loose", "one_class/a", "empty_classes/a", "empty_classes/b", "all_broken/a", "all_broken/b",
                       "few/a", "few/b", "no_train/test/a", "no_train/val/b", "test_class/train", "test_class/test"):  # fmt: skip
            Path(folder).mkdir(parents=True)
        for i in range(5):
            shutil.copy(f"photos/cat/{i}.png", f"loose/{i}.png")
            shutil.copy(f"photos/cat/{i}.png", f"one_class/a/{i}.png")
            for name in "ab":
                Path(f"all_broken/{name}/{i}.png").write_bytes(b"x")
                Path(f"all_broken/{name}/{i}.jpg").write_bytes(b"x")
        Path("all_broken/a/extra.png").write_bytes(b"")
        shutil.copy("photos/cat/0.png", "few/a/0.png")
        shutil.copy("photos/dog/1.png", "few/b/0.png")
        shutil.copy("photos/cat/0.png", "no_train/test/a/0.png")
        for part, names in (("train", ("cat", "dog")), ("test", ("cat", "dog"))):
            for name in names:
                shutil.copytree(f"photos/{name}", f"test_class/{part}/{name}")
        shutil.copytree("photos/cat", "test_class/test/bird")
        np.savez("other_classes.npz", x=X, y=Y)
        unfinished = {"unfinished": None, "other_task": "spec.json", "damaged_spec": "spec.json", "damaged_config": "config.yaml",
                      "list_config": "config.yaml", "typo_config": "config.yaml", "value_config": "config.yaml",
                      "changed_data": "environment.json", "torn_checkpoints": None, "foreign_checkpoints": None,
                      "damaged_model": "model.keras"}  # fmt: skip
        for name in unfinished:
            shutil.copytree("run", name)
            Path(name, "metrics.json").unlink()
            if name != "damaged_model":
                Path(name, "model.keras").unlink()
        contents = {
            "other_task": json.dumps({"task": "ner"}),
            "damaged_spec": "{",
            "damaged_config": "a: [",
            "list_config": "- 1",
            "typo_config": "fitt: {}",
            "value_config": "fit: {epochs: 0}",
            "changed_data": json.dumps({"data": "other", "backend": "tensorflow"}),
            "damaged_model": "no zip",
        }
        for name, text in contents.items():
            Path(name, unfinished[name]).write_text(text)
        for path in Path("torn_checkpoints/checkpoints").rglob("*.npz"):
            path.write_bytes(path.read_bytes()[:100])
        for path in Path("foreign_checkpoints/checkpoints").rglob("*.npz"):
            with np.load(path) as stored:
                arrays = dict(stored)
            arrays["model/99999"] = np.zeros(3)
            with open(path, "wb") as file:
                np.savez(file, **arrays)
    finally:
        os.chdir(before)
    return here


def fingerprint(folder):
    """Everything but Python's caches and locks, by content."""
    return {
        str(path.relative_to(folder)): hashlib.md5(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in folder.rglob("*")
        if "__pycache__" not in path.parts and path.name != ".lock"
    }


def one_line(capsys, argv):
    with pytest.raises(SystemExit) as stop:
        image_classify.TASK.main(argv)
    out, err = capsys.readouterr()
    assert stop.value.code == 2, (stop.value.code, err)
    lines = [
        line for line in err.splitlines() if not line.startswith(("note: ", "skipped ", "warning: ", "run directory: "))
    ]
    lines = [line for line in lines if not re.match(r"[\d,]+ train, |checkpoint ", line)]
    assert out == "" or argv[0] == "predict"  # its rows say for each input why it cannot be read
    assert "Traceback" not in err
    assert len(lines) == 1, err
    assert lines[0].startswith("python -m pipelines.image_classify: error: ")
    return lines[0]


@pytest.mark.parametrize(("argv", "words", "file"), TABLE, ids=[f"{i}" for i in range(len(TABLE))])
def test_broken_input(world, monkeypatch, capsys, argv, words, file):
    monkeypatch.chdir(world)
    monkeypatch.syspath_prepend(str(world))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    if file is not None and isinstance(file[1], dict):
        np.savez(world / file[0], **file[1])
    elif file is not None:
        (world / file[0]).write_bytes(file[1])
    before = fingerprint(world)
    try:
        line = one_line(capsys, argv)
        assert re.search(words.lower(), line.lower()), line
        assert len(line) < 700, line
        assert fingerprint(world) == before
    finally:
        if file is not None:
            (world / file[0]).unlink()


@pytest.mark.slow
@pytest.mark.parametrize(
    "argv",
    [["--fit.epochs", "0"], ["--data", "nowhere"], ["--resume", "torn_checkpoints"], ["predict", "run", "text.txt"]],
)
def test_in_a_process_of_its_own(world, argv):
    command = [sys.executable, "-m", "pipelines.image_classify", *argv]
    done = subprocess.run(command, cwd=world, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "error: " in done.stderr.splitlines()[-1]


def test_python_gets_the_same_words(world, monkeypatch):
    monkeypatch.chdir(world)
    with pytest.raises(UserError, match=r"fit\.epochs must be at least 1"):
        image_classify.train(epochs=0)
    with pytest.raises(UserError, match="remove epochs"):
        image_classify.train(resume="run", epochs=3)
