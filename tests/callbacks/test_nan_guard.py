import math

import keras
import numpy as np
import pytest
from interruption import Interrupted, StopAfter

from callbacks import Checkpoint, DivergenceError, NanGuard
from callbacks.nan_guard import CutSchedule
from optimizers import registry, schedules
from pipelines.data.stream import Stream

X = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
Y = X @ np.arange(4, dtype="float32")[:, None]


class Poison(keras.callbacks.Callback):
    """Puts a weight that is not finite into the model before the given steps, counted over all epochs."""

    def __init__(self, *steps, value=math.nan):
        super().__init__()
        self.steps = steps
        self.value = value
        self.seen = 0

    def on_train_batch_begin(self, batch, logs=None):
        if self.seen in self.steps:
            kernel = self.model.trainable_variables[0]
            kernel.assign(np.full(kernel.shape, self.value, "float32"))
        self.seen += 1


def make(rate=0.01, wrap=()):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(1)])
    model.compile(registry.get("adamw", learning_rate=rate, wrap=wrap), "mse")
    return model


def fit(model, *callbacks, epochs=3, **options):
    options = {"batch_size": 16, "shuffle": False, "verbose": 0, **options}
    return model.fit(X, Y, epochs=epochs, callbacks=list(callbacks), **options)


def values(variables):
    return [np.array(keras.ops.convert_to_numpy(v)) for v in variables]


def test_another_model_goes_back_to_a_state_of_its_own():
    guard = NanGuard(retries=1, say=lambda line: None)
    first, second, expected = make(), make(), make()
    fit(first, guard, Poison(4))
    for model in (second, expected):
        model.set_weights([w + 1 for w in model.get_weights()])
    fit(second, guard, Poison(0), epochs=1)  # the second retry, but the first of this training
    optimizer = expected.optimizer
    optimizer.build(expected.trainable_variables)
    optimizer._iterations.assign(1)
    optimizer.learning_rate = 0.005
    expected.fit(X[16:], Y[16:], batch_size=16, shuffle=False, verbose=0)
    for a, b in zip(second.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


@pytest.mark.backend
@pytest.mark.parametrize("step", [4, 6, 7])
@pytest.mark.parametrize("kind", ["rate", "schedule"])
def test_goes_back_to_the_last_good_epoch_and_on_with_half_the_rate(step, kind):
    """The same as an epoch, then the batches after the broken one with half the rate."""
    rate = 0.01 if kind == "rate" else schedules.get("cosine", peak=0.01, steps=100)
    told = []
    model = make(rate, wrap=["monitored"])
    fit(model, NanGuard(say=told.append), Poison(step), epochs=2)
    expected = make(rate, wrap=["monitored"])
    fit(expected, epochs=1)
    optimizer = expected.optimizer
    for inner in (optimizer, optimizer.inner):
        inner._iterations.assign(step + 1)
    if kind == "rate":
        optimizer.learning_rate = 0.005
    else:
        optimizer._learning_rate = CutSchedule(optimizer._learning_rate, 0.5)
        expected.make_train_function(force=True)
    rest = slice(16 * (step - 3), None)
    if step < 7:
        expected.fit(X[rest], Y[rest], batch_size=16, shuffle=False, verbose=0)
    for a, b in zip(values(expected.variables), values(model.variables), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
    assert float(model.optimizer.learning_rate) == pytest.approx(float(expected.optimizer.learning_rate))
    assert int(model.optimizer.iterations) == 8
    assert len(told) == 1
    assert "1 of 3" in told[0]


@pytest.mark.backend
def test_losses_of_the_epoch_are_finite_after_it_and_training_learns_on():
    model = make()
    with pytest.warns(UserWarning, match="back to the last good state"):
        history = fit(model, NanGuard(), Poison(5), epochs=6)
    assert np.isfinite(history.history["loss"]).all()
    assert history.history["loss"][-1] < history.history["loss"][0]


@pytest.mark.backend
def test_weights_that_break_in_the_last_step_do_not_pass_the_epoch():
    class Break(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 3:
                kernel = self.model.trainable_variables[0]
                kernel.assign(np.full(kernel.shape, np.inf, "float32"))

    seen = []

    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(all(np.isfinite(w).all() for w in self.model.get_weights()))

    model = make()
    guard = NanGuard(retries=1, say=lambda line: None)
    fit(model, guard, Look(), Break(), epochs=1)
    assert seen == [True]
    assert guard.used == 1


@pytest.mark.backend
def test_a_limited_number_of_times():
    guard = NanGuard(retries=2, factor=0.1, say=lambda line: None)
    with pytest.raises(DivergenceError, match=r"loss is nan at a learning rate of 0.0001, after going back 2 times"):
        fit(make(0.01), guard, Poison(1, 5, 9))
    assert guard.used == 2


def test_a_rate_that_is_far_too_high_is_found():
    """Nothing is made up here: gradient descent that explodes, until the rate is low enough."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(1e4), "mse")
    guard = NanGuard(retries=10, factor=0.1, say=lambda line: None)
    history = fit(model, guard, epochs=120)
    assert 3 <= guard.used <= 10
    assert history.history["loss"][-1] < 0.1


def test_overflow_in_half_precision_is_left_to_the_loss_scaling():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    finally:
        keras.config.set_dtype_policy("float32")
    model.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.01), initial_scale=2.0**40), "mse")
    guard = NanGuard(retries=0)
    fit(model, guard)
    assert guard.used == 0


def run(folder, kind, stop=None, first=0):
    model = make(0.01 if kind == "rate" else schedules.get("cosine", peak=0.01, steps=12))
    stream = Stream(lambda i: (X[i], Y[i]), [((4,), "float32"), ((1,), "float32")], 64, batch_size=16, seed=1)
    model.evaluate(X[:16], Y[:16], verbose=0)
    guard = NanGuard(say=lambda line: None)
    checkpoint = Checkpoint(folder, track=[guard], stream=stream, every_steps=1)
    start = checkpoint.restore(model)
    poison = Poison(6)
    poison.seen = first
    callbacks = [guard, poison, checkpoint, *([StopAfter(stop)] if stop else [])]
    try:
        model.fit(stream.dataset, initial_epoch=start, epochs=3, callbacks=callbacks, verbose=0)
    except Interrupted:
        return None
    return model.get_weights(), float(model.optimizer.learning_rate), guard.used


@pytest.mark.backend
@pytest.mark.parametrize("kind", ["rate", "schedule"])
@pytest.mark.parametrize("stop", [5, 7, 8])
def test_resumed_training_ends_with_the_same_weights(tmp_path, kind, stop):
    """Interrupted before and after the step that broke, in the middle of the epoch and at its end."""
    whole = run(tmp_path / "whole", kind)
    run(tmp_path / "torn", kind, stop=stop)
    resumed = run(tmp_path / "torn", kind, first=stop)
    assert whole[1:] == resumed[1:]
    assert whole[2] == 1
    for a, b in zip(whole[0], resumed[0], strict=True):
        np.testing.assert_array_equal(a, b)


def test_cut_schedule_round_trip():
    cut = CutSchedule(schedules.get("cosine", peak=0.5, steps=10), 0.25)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(cut))
    assert float(again(3)) == float(cut(3)) == 0.25 * float(cut.schedule(3))


@pytest.mark.parametrize("options", [{"retries": -1}, {"factor": 0}, {"factor": 2}])
def test_bad_arguments(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        NanGuard(**options)
