import re
import subprocess
import sys

import keras
import pytest

import regularizers
from regularizers.registry import KINDS, RECORDS


def test_every_name_gives_its_class_with_its_default():
    for record in RECORDS.values():
        settings = {"layer": keras.layers.Dense(2)} if record.name == "drop-connect" else {}
        made = regularizers.get(record.name, **settings)
        config = made.get_config()
        for argument in record.fills:
            assert float(config[argument]) == pytest.approx(record.strength)
        assert record.kind in KINDS
        assert record.description.endswith(".")
    assert set(regularizers.names()) < set(RECORDS)


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        (("group-laso",), {}, "did you mean group-lasso"),
        (("l3",), {}, "unknown regularizer 'l3'"),
        (("l2", -1.0), {}, "strength of l2"),
        (("l2", float("nan")), {}, "strength of l2"),
        (("l2", float("inf")), {}, "strength of l2"),
        (("srip",), {"iteration": 3}, "srip has no setting 'iteration': expected one of axis, iterations"),
        (("drop-block", 1.0), {}, "rate"),
    ],
)
def test_bad_names_and_settings(arguments, settings, message):
    with pytest.raises(ValueError, match=message):
        regularizers.get(*arguments, **settings)


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_names_need_no_keras_and_the_list_shows_all():
    command = [sys.executable, "-X", "importtime", "-m", "regularizers"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert not re.search(r"\| +keras$", done.stderr, re.MULTILINE)
    assert all(name in done.stdout for name in RECORDS)


@pytest.mark.slow
@pytest.mark.parametrize(
    "imports", ["import keras, regularizers", "import regularizers; regularizers.register(); import keras"]
)
def test_a_new_process_loads_a_regularized_model(tmp_path, imports):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(2)])
    regularizers.apply(model, "group-lasso", 0.1)
    model.save(tmp_path / "m.keras")
    done = python(f"{imports}; print(sum(map(float, keras.models.load_model({str(tmp_path / 'm.keras')!r}).losses)))")
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split()[-1]) == pytest.approx(sum(map(float, model.losses)), rel=1e-5)


def test_unknown_attribute():
    with pytest.raises(AttributeError, match="Dropp"):
        _ = regularizers.Dropp
