import subprocess
import sys

import keras
import numpy as np
import pytest

from callbacks import EarlyStopping, EvaluationWeights, NanGuard, OverfitMonitor, Progress, TensorBoard

X = np.random.default_rng(0).normal(size=(24, 5)).astype("float32")
CALLBACKS = {
    "early stopping": lambda folder: EarlyStopping("val_loss", mode="min", patience=2),
    "warm-up": lambda folder: EarlyStopping("val_loss", mode="min", patience=2, warmup=2),
    "pq": lambda folder: EarlyStopping("val_loss", mode="min", criterion="pq", strip=1),
    "overfit": lambda folder: OverfitMonitor(),
    "guard": lambda folder: NanGuard(),
    "progress": lambda folder: Progress(),
    "weights": lambda folder: EvaluationWeights(),
    "tensorboard": lambda folder: TensorBoard(folder),
}


def fit(callback, **options):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(2)])
    model.compile(keras.optimizers.SGD(0.01), "mse")
    return model, model.fit(X, X[:, :2], epochs=4, verbose=0, callbacks=[callback], **options)


@pytest.mark.parametrize("name", CALLBACKS)
def test_epochs_without_validation_are_skipped(name, tmp_path):
    _, history = fit(CALLBACKS[name](tmp_path), validation_data=(X, X[:, :2]), validation_freq=2)
    assert len(history.history["loss"]) == 4
    assert len(history.history["val_loss"]) == 2


def test_the_best_validated_epoch_is_kept():
    stopping = EarlyStopping("val_loss", mode="min")
    _, history = fit(stopping, validation_data=(X, X[:, :2]), validation_freq=2)
    assert stopping.best_epoch == 3
    assert stopping.best == pytest.approx(min(history.history["val_loss"]))


def test_a_wrong_name_is_an_error_and_no_validation_a_warning():
    with pytest.raises(ValueError, match="no value 'val_acc'"):
        fit(EarlyStopping("val_acc", mode="max"), validation_data=(X, X[:, :2]), validation_freq=2)
    with pytest.warns(UserWarning, match="no epoch had a value 'val_loss'"):
        fit(EarlyStopping("val_loss", mode="min"))


def test_best_in_the_first_epoch_is_not_called_over_fitting():
    said = []
    monitor = OverfitMonitor(patience=2, say=said.append)
    monitor.on_train_begin()
    for epoch in range(4):
        monitor.on_epoch_end(epoch, {"loss": 0.5 / (epoch + 1), "val_loss": 1.0 + epoch})
    assert len(said) == 1
    assert "not over-fitting" in said[0]


def test_the_command_lists_the_callbacks():
    import callbacks

    done = subprocess.run([sys.executable, "-m", "callbacks"], capture_output=True, text=True, check=True)
    listed = {line.split()[0] for line in done.stdout.splitlines()}
    classes = {name for name in callbacks.__all__ if isinstance(getattr(callbacks, name), type)}
    assert listed == {name for name in classes if issubclass(getattr(callbacks, name), keras.callbacks.Callback)}
