import math

import keras
import numpy as np
import pytest

from callbacks import EarlyStopping


def follow(stopping, values):
    """Feeds the values of a metric, one an epoch; the weight of epoch i is i. Returns the epochs run."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.stop_training = False
    stopping.set_model(model)
    stopping.on_train_begin()
    for epoch, value in enumerate(values):
        model.set_weights([np.full((1, 1), epoch)])
        stopping.on_epoch_end(epoch, {"val_loss": value})
        if model.stop_training:
            break
    stopping.on_train_end()
    return epoch + 1, float(model.get_weights()[0][0, 0])


@pytest.mark.parametrize(
    ("options", "values", "epochs", "kept"),
    [
        ({}, [3, 1, 2, 2], 4, 1),
        ({"patience": 2}, [3, 1, 2, 2, 0], 4, 1),
        ({"patience": 2, "min_delta": 0.5}, [3, 2.8, 2.7, 0], 3, 0),
        ({"warmup": 2, "patience": 1}, [0, 0, 3, 4], 4, 2),
        ({"patience": 2}, [math.nan, 2, math.nan, math.nan], 4, 1),
        ({}, [math.nan, math.nan], 2, 1),
        ({"seconds": 1e-9}, [3, 2], 1, 0),
    ],
)
def test_stops_and_keeps_the_best(options, values, epochs, kept):
    assert follow(EarlyStopping("val_loss", mode="min", **options), values) == (epochs, kept)


def test_max_is_the_other_direction():
    assert follow(EarlyStopping("val_loss", mode="max"), [1, 3, 2]) == (3, 1)


def test_missing_value_is_named():
    with pytest.raises(ValueError, match=r"no value 'val_auc'.*val_loss"):
        follow(EarlyStopping("val_auc", mode="max"), [1])


@pytest.mark.parametrize("options", [{"mode": "auto"}, {"patience": 0}, {"min_delta": -1}, {"warmup": -1}])
def test_bad_arguments(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        EarlyStopping("loss", **{"mode": "min", **options})


@pytest.mark.backend
def test_average_weights_are_what_is_kept():
    x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.5, use_ema=True, ema_momentum=0.9), "mse")
    stopping = EarlyStopping("loss", mode="max")  # the first epoch is the best
    averages = []

    class Note(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            moving = self.model.optimizer._model_variables_moving_average
            averages.append([np.array(keras.ops.convert_to_numpy(v)) for v in moving])

    model.fit(x, x[:, :1] * 3, epochs=3, callbacks=[Note(), stopping], verbose=0)
    assert stopping.best_epoch == 0
    for kept, average in zip(model.get_weights(), averages[0], strict=True):
        np.testing.assert_array_equal(kept, average)
