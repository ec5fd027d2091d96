import subprocess
import sys
import time

import pytest

from pipelines import image_classify
from pipelines.core import cli
from pipelines.core.errors import UserError

Config = image_classify.Config


def parse(*argv):
    return cli.parse_train(Config, "prog", "", ("train",), argv)


def test_defaults_and_dotted_options():
    config, resume = parse("--fit.epochs", "3", "--optimizer.settings.beta_1", "0.8", "--data.size=32")
    assert (config.fit.epochs, config.optimizer.settings, config.data.size, resume) == (3, {"beta_1": 0.8}, 32, None)
    assert config == Config(fit=config.fit, optimizer=config.optimizer, data=config.data)


@pytest.mark.parametrize(
    ("short", "long"),
    [
        (["--data", "photos"], ["--data.source", "photos"]),
        (["--epochs=4"], ["--fit.epochs=4"]),
        (["--optimizer", "lion"], ["--optimizer.name", "lion"]),
        (["--seed", "5"], ["--run.seed", "5"]),
        (["--model", "applications:VGG16"], ["--model.builder", "applications:VGG16"]),
    ],
)
def test_short_forms(short, long):
    assert parse(*short) == parse(*long)


def test_keywords_are_the_same_options():
    assert cli.from_keywords(Config, {"data": "photos", "epochs": 4}) == parse("--data", "photos", "--epochs", "4")[0]
    assert cli.from_keywords(Config, {"fit": {"epochs": 4}, "fit__ema": 0.9}).fit.ema == 0.9
    with pytest.raises(UserError, match=r"unknown option epoch; did you mean fit\.epochs"):
        cli.from_keywords(Config, {"epoch": 3})


def test_yaml_and_later_options(tmp_path):
    (tmp_path / "c.yaml").write_text("fit:\n  epochs: 7\n  ema: 0.5\n")
    config, _ = parse("--config", str(tmp_path / "c.yaml"), "--fit.epochs", "8")
    assert (config.fit.epochs, config.fit.ema) == (8, 0.5)


def test_printed_config_feeds_back(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        parse("--epochs", "9", "--optimizer", "lion", "--print_config")
    assert stop.value.code == 0
    text = capsys.readouterr().out
    (tmp_path / "c.yaml").write_text("".join(line for line in text.splitlines(True) if not line.startswith("resume")))
    assert parse("--config", str(tmp_path / "c.yaml")) == parse("--epochs", "9", "--optimizer", "lion")


@pytest.mark.parametrize("flag", ["--help", "--help_all"])
def test_help_teaches_and_imports_no_keras(flag):
    code = (
        f"import sys; sys.argv = ['x', '{flag}']\n"
        "from pipelines.image_classify import TASK\n"
        "try: TASK.main()\n"
        "except SystemExit: pass\n"
        "assert not {'keras', 'tensorflow', 'sklearn', 'matplotlib', 'pandas'} & set(sys.modules), 'slow import'\n"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    words, lines = " ".join(done.stdout.split()), done.stdout.splitlines()
    assert "Passes over the training set" in words
    assert "    python -m pipelines.image_classify --config configs/fashion_mnist.yaml" in lines
    assert "order, augmentation and dropout. (default: 0)" in words
    assert "\b" not in done.stdout
    if flag == "--help":  # two screens
        assert len(lines) <= 72
        assert any(line.startswith("  --epochs EPOCHS ") for line in lines)
        assert any(line.startswith("  --data SOURCE ") for line in lines)
        assert "--augment.cutmix" not in done.stdout
    else:
        assert "--augment.cutmix" in done.stdout
        assert any(line.startswith("  --run.seed SEED ") for line in lines)
        assert any(line.startswith("  --data SOURCE ") and line.endswith("Same as --data.source.") for line in lines)
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("pipelines.finance", "--optimzer", "adamw"), "unknown option --optimzer; did you mean --optimizer?"),
        (("pipelines.finance", "--epoch", "2"), "unknown option --epoch; did you mean --epochs?"),
        (("pipelines.finance", "tranin"), "unknown verb 'tranin'; did you mean train?"),
        (("pipelines.image_clasify",), "unknown task 'image_clasify'; did you mean image_classify?"),
    ],
)
def test_a_typo_gets_a_suggestion_in_one_line(arguments, line):
    done = subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert line in done.stderr


def test_module_lists_the_tasks():
    done = subprocess.run([sys.executable, "-m", "pipelines"], capture_output=True, text=True, check=True)
    assert "image_classify" in done.stdout
    done = subprocess.run([sys.executable, "-m", "pipelines", "docter"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
