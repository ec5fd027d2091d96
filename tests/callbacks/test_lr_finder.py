import itertools

import keras
import numpy as np
import pytest

from callbacks import LearningRateFinder, find_learning_rate
from callbacks.lr_finder import steepest, valley
from optimizers import registry, schedules

X = np.random.default_rng(0).normal(size=(160, 6)).astype("float32")
Y = X @ np.arange(6, dtype="float32")[:, None]


def make(optimizer):
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential([keras.Input((6,)), layers.Dense(8), layers.BatchNormalization(), layers.Dropout(0.2),
                              layers.Dense(1)])  # fmt: skip
    model.compile(optimizer, "mse")
    return model


def everything(model):
    optimizer = model.optimizer
    variables = [*model.variables, *optimizer.variables, *getattr(optimizer, "inner_optimizer", optimizer).variables]
    return [np.array(keras.ops.convert_to_numpy(v)) for v in variables]


OPTIMIZERS = {
    "rate": lambda: keras.optimizers.Adam(0.01),
    "schedule": lambda: registry.get("adamw", learning_rate=schedules.get("one-cycle", peak=0.01, steps=30)),
    "wrapped": lambda: registry.get("ranger", wrap=["monitored"]),
    "scaled": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.01)),
    "average": lambda: keras.optimizers.SGD(0.01, use_ema=True),
}


@pytest.mark.backend
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_all_is_afterwards_as_it_was(name):
    searched, plain = make(OPTIMIZERS[name]()), make(OPTIMIZERS[name]())
    for model in (searched, plain):
        keras.utils.set_random_seed(1)
        model.fit(X, Y, batch_size=16, shuffle=False, verbose=0)
        if name == "average":  # Keras's moving average leaves JAX with arrays that a second `fit` cannot take
            model.set_weights(model.get_weights())
    before = everything(searched)
    kept = searched.optimizer.learning_rate
    found = find_learning_rate(searched, X, Y, batch_size=16, steps=40, lowest=1e-4, highest=1e3)
    assert len(found.rates) > 10
    for a, b in zip(before, everything(searched), strict=True):
        np.testing.assert_array_equal(a, b)
    assert float(searched.optimizer.learning_rate) == float(kept)
    for model in (searched, plain):
        keras.utils.set_random_seed(2)
        model.fit(X, Y, batch_size=16, shuffle=False, verbose=0)
    for a, b in zip(everything(plain), everything(searched), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.backend
def test_rates_rise_evenly_and_losses_are_those_of_the_steps():
    """The loss of each step against gradient descent in NumPy."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(1, use_bias=False)])
    model.compile(keras.optimizers.SGD(123.0), "mse", metrics=["mae"])
    weights = model.get_weights()[0].astype("float64")
    found = find_learning_rate(model, X, Y, batch_size=32, shuffle=False, lowest=1e-3, highest=0.1, steps=20)
    rates = np.geomspace(1e-3, 0.1, 20)
    assert found.rates == pytest.approx(rates, rel=1e-4)
    for step, rate in enumerate(rates):
        x, y = (part[step % 5 * 32 :][:32] for part in (X, Y))
        error = x @ weights - y
        assert found.losses[step] == pytest.approx(float((error**2).mean()), rel=1e-3)
        weights -= rate * 2 * x.T @ error / 32
    smooth, state = [], 0.0
    for t, loss in enumerate(found.losses, start=1):
        state = 0.9 * state + 0.1 * loss
        smooth.append(state / (1 - 0.9**t))
    assert found.smoothed == pytest.approx(smooth)


def test_quadratic_has_its_known_limit():
    """Gradient descent on mse diverges above 2 / (largest eigenvalue): the suggestion lies below that."""
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(1, use_bias=False)])
    model.compile(keras.optimizers.SGD(1.0), "mse")
    found = find_learning_rate(model, X, Y, batch_size=160, lowest=1e-5, highest=100)
    limit = 2 / np.linalg.eigvalsh(2 * X.T @ X / 160).max()
    assert limit / 100 < found.suggestion < limit
    assert limit / 100 < found.careful < limit
    assert len(found.rates) < 100  # it ended when the loss exploded
    figure = found.figure()
    assert f"{found.suggestion:.2g}" in figure.axes[0].get_legend().get_texts()[2].get_text()


def test_careful_is_never_above_the_suggestion():
    """The loss falls most at once, and then on and on, ever less: the middle of its way down lies behind that fall."""
    found = LearningRateFinder(steps=100)
    found.rates = np.geomspace(1e-6, 1, 100).tolist()
    found.smoothed = [1.0] * 40 + np.linspace(0.9, 0.5, 5).tolist() + np.linspace(0.49, 0.4, 50).tolist() + [9.0] * 5
    assert found.rates[valley(found.smoothed)] > found.suggestion
    assert found.careful == found.suggestion


def brute_valley(losses):
    """The longest falling subsequence by trying all, for short ones; the first of the longest by its end."""
    best = None
    for mask in range(1, 2 ** len(losses)):
        chosen = [i for i in range(len(losses)) if mask >> i & 1]
        falling = all(losses[a] > losses[b] for a, b in itertools.pairwise(chosen))
        if falling and (best is None or (len(chosen), -chosen[-1]) > (len(best), -best[-1])):
            best = chosen
    end, start = best[-1], best[-1] - len(best)
    third = (end - start) / 3
    return max(start + int(third) + int(third / 2), 0)


@pytest.mark.parametrize("seed", range(5))
def test_valley_and_steepest(seed):
    losses = np.random.default_rng(seed).normal(size=11)
    assert valley(losses.tolist()) == brute_valley(losses)
    curve = np.cumsum(np.random.default_rng(seed).normal(size=60))
    rates = np.geomspace(1, 100, 60)
    lowest = max(int(curve.argmin()), 6)
    slopes = {i: (curve[i + 3] - curve[i - 3]) / np.log(rates[i + 3] / rates[i - 3]) for i in range(3, lowest - 2)}
    assert steepest(rates, curve) == min(slopes, key=slopes.get)


def test_diverging_at_once_is_told():
    model = make(keras.optimizers.SGD(0.1))
    with pytest.raises(ValueError, match="begin lower than"):
        find_learning_rate(model, X, Y, batch_size=16, lowest=1e4, highest=1e6).suggestion  # noqa: B018


def test_interrupted_search_puts_all_back():
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 5:
                raise KeyboardInterrupt

    model = make(keras.optimizers.Adam(0.01))
    before = model.get_weights()
    with pytest.raises(KeyboardInterrupt):
        find_learning_rate(model, X, Y, batch_size=16, callbacks=[Stop()])
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.01)


@pytest.mark.parametrize("options", [{"lowest": 0}, {"lowest": 2, "highest": 1}, {"steps": 3}, {"smoothing": 1},
                                     {"diverged": 1}])  # fmt: skip
def test_bad_arguments(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        LearningRateFinder(**options)
