import subprocess
import sys

import keras
import numpy as np
import pytest

from optimizers import registry

LOAD = "import sys, keras, optimizers; print(type(keras.models.load_model(sys.argv[1]).optimizer).__name__)"


@pytest.mark.parametrize(
    ("name", "wrap", "expected"),
    [
        ("schedule-free", (), "ScheduleFree"), ("adamw", ("cautious",), "Cautious"), ("soap", (), "SparingSOAP"),
        ("adamw", ("centralized", "lookahead"), "Lookahead"),
    ],
)  # fmt: skip
def test_one_import_loads_saved_models(name, wrap, expected, tmp_path):
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(2)])
    model.compile(registry.get(name, learning_rate=1e-3, model=model, wrap=wrap), "mse")
    x = np.ones((8, 5), "float32")
    model.fit(x, x[:, :2], verbose=0)
    model.save(tmp_path / "model.keras")
    arguments = [sys.executable, "-c", LOAD, str(tmp_path / "model.keras")]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == expected, done.stderr[-500:]


def test_without_keras_the_import_stays_cheap():
    code = "import sys, optimizers; print('keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
