"""`--regularizer NAME` in a pipeline: reachable, resumed exactly, and nothing of it in the saved model."""

import keras
import numpy as np
import pytest

from pipelines import image_classify
from pipelines.core.errors import UserError
from pipelines.engine.config import RegularizerConfig

QUICK = {
    "data.limit": 60, "batch_size": 16, "width": 8, "depth": 1, "resamples": 10, "deterministic": True,
    "tensorboard.enabled": False,
}  # fmt: skip


def train(out, name, **options):
    options = {**QUICK, "out": str(out), "epochs": 2, **options}
    short = {key.replace(".", "__"): value for key, value in options.items()}
    return image_classify.train(
        backend=keras.backend.backend(), regularizer={"name": name} if isinstance(name, str) else name, **short
    )


def saved(run):
    return keras.models.load_model(run.directory.model, compile=False)


@pytest.mark.backend
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ({"name": "group-lasso", "strength": 1e-3}, {}),
        ("decorrelation", {}),
        ("jacobian", {"precision": "mixed_bfloat16"}),
        ("r-drop", {"model.dropout": 0.2, "imbalance": "weights"}),
    ],
)
def test_trains_and_saves_the_plain_model(tmp_path, name, options):
    run = train(tmp_path, name, **options)
    model = saved(run)
    assert not model.losses
    assert len(model.variables) == len(run.model.variables)
    assert "compute_loss" not in vars(run.model)
    config = model.get_config()
    assert all(layer["config"].get("activity_regularizer") is None for layer in config["layers"])
    assert all(layer["config"].get("kernel_regularizer") is None for layer in config["layers"])


class Killed(BaseException):
    pass


@pytest.mark.slow
def test_resume_is_exact(tmp_path, monkeypatch):
    options = {"model.dropout": 0.2, "epochs": 4}
    whole = train(tmp_path / "whole", "jacobian", **options)

    def kill(self, epoch, logs=None):
        if epoch == 2:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("callbacks.EarlyStopping.on_epoch_begin", kill, raising=False)
        with pytest.raises(Killed):
            train(tmp_path / "torn", "jacobian", **options)
    (torn,) = (tmp_path / "torn" / "image_classify").iterdir()
    resumed = image_classify.train(resume=str(torn))
    for a, b in zip(saved(whole).get_weights(), saved(resumed).get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    other = train(tmp_path / "other", "none", **options)
    assert any((a != b).any() for a, b in zip(saved(whole).get_weights(), saved(other).get_weights(), strict=True))


def test_a_model_without_dropout_is_known_before_anything_is_written(tmp_path):
    with pytest.raises(UserError, match="regularizer r-drop: r-drop needs a model with dropout"):
        train(tmp_path, "r-drop")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "group-laso"}, "regularizer.name: unknown regularizer 'group-laso'; did you mean group-lasso"),
        ({"name": "drop-block"}, "regularizer.name: drop-block is a layer"),
        ({"name": "l2", "strength": -1.0}, "regularizer.strength must be zero or a positive number"),
        ({"name": "l2", "strength": float("inf")}, "regularizer.strength"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        RegularizerConfig(**options)
