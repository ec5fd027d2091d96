import keras
import numpy as np
import pytest

from callbacks import EvaluationWeights, evaluation_weights
from optimizers import registry

X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = X @ np.arange(4, dtype="float32")[:, None]


@pytest.mark.backend
@pytest.mark.parametrize(
    ("name", "ema"), [("schedule-free", None), ("ranger", None), ("momentum-sam", None), ("adamw", 0.9)]
)
def test_validation_is_that_of_the_weights_that_are_kept(name, ema):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile(registry.get(name, learning_rate=0.05, ema=ema), "mse")
    judged = []

    class Judge(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            kernel, bias = evaluation_weights(self.model)
            judged.append((logs["val_loss"], float(np.mean((X @ kernel + bias - Y) ** 2))))

    callbacks = [EvaluationWeights(), Judge()]
    model.fit(X, Y, validation_data=(X, Y), epochs=3, batch_size=8, verbose=0, callbacks=callbacks)
    for shown, expected in judged:
        assert shown == pytest.approx(expected, rel=1e-4)
    # `fit` ends with these weights in the model.
    assert model.evaluate(X, Y, verbose=0) == pytest.approx(judged[-1][1], rel=1e-4)


def test_training_goes_on_as_without_validation():
    weights = []
    for validation in ({}, {"validation_data": (X, Y), "callbacks": [EvaluationWeights()]}):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
        model.compile(registry.get("schedule-free", learning_rate=0.05), "mse")
        model.fit(X, Y, epochs=3, batch_size=8, shuffle=False, verbose=0, **validation)
        weights.append(model.get_weights())
    for a, b in zip(*weights, strict=True):
        np.testing.assert_array_equal(a, b)
