"""Norms measured inside the step: the right ones, at no cost to the training's bits."""

import keras
import numpy as np
import pytest

from optimizers import registry
from optimizers.centralized import Centralized
from optimizers.monitored import Monitored

pytestmark = pytest.mark.backend

SHAPES = [(5,), (6, 4), (3, 2)]


def numpy(values):
    return [np.array(keras.ops.convert_to_numpy(v)) for v in values]


def steps(optimizer, number=5, seed=0):
    """Weights before and after each step, and the gradients."""
    draw = np.random.default_rng(seed)
    variables = [keras.Variable(draw.normal(size=s).astype("float32"), name=f"w{i}") for i, s in enumerate(SHAPES)]
    seen = []
    for _ in range(number):
        gradients = [draw.normal(size=s).astype("float32") for s in SHAPES]
        before = numpy(variables)
        optimizer.apply([keras.ops.convert_to_tensor(g) for g in gradients], variables)
        seen.append((before, gradients, numpy(variables)))
    return seen


def flat(norms):
    return {kind: list(values.values()) for kind, values in norms.items()}


@pytest.mark.parametrize(
    "settings", [{}, {"weight_decay": 0.3}, {"clipnorm": 0.1}, {"weight_decay": 0.1, "global_clipnorm": 0.1}]
)
def test_norms_are_those_of_the_last_measured_step(settings):
    optimizer = Monitored(keras.optimizers.Adam(0.1, **settings), every=3)
    before, gradients, after = steps(optimizer)[3]  # of the steps 0 and 3
    norms = flat(optimizer.norms())
    np.testing.assert_allclose(norms["gradient"], [np.linalg.norm(g) for g in gradients], rtol=1e-5)
    moved = [np.linalg.norm(a - b) for a, b in zip(after, before, strict=True)]
    np.testing.assert_allclose(norms["update"], moved, rtol=1e-4)
    np.testing.assert_allclose(norms["weight"], [np.linalg.norm(w) for w in after], rtol=1e-5)


@pytest.mark.parametrize("name", ["adamw", "schedule-free", "ranger", "cautious-adamw", "momentum-sam", "soap"])
def test_training_is_unchanged_to_the_last_bit(name):
    plain, watched = (registry.get(name, weight_decay=0.01), registry.get(name, weight_decay=0.01, wrap=["monitored"]))
    for (_, _, a), (_, _, b) in zip(steps(plain), steps(watched), strict=True):
        for one, two in zip(a, b, strict=True):
            np.testing.assert_array_equal(one, two)
    if hasattr(plain, "evaluation_values"):
        for one, two in zip(numpy(plain.evaluation_values()), numpy(watched.evaluation_values()), strict=True):
            np.testing.assert_array_equal(one, two)
    else:
        assert not hasattr(watched, "evaluation_values")


def test_within_other_wrappers_it_sees_what_they_give():
    inside = Monitored(keras.optimizers.SGD(0.1), every=1)
    _before, gradients, _ = steps(Centralized(inside))[-1]
    norms = flat(inside.norms())
    expected = [np.linalg.norm(g - (g.mean(0) if g.ndim > 1 else 0)) for g in gradients]
    np.testing.assert_allclose(norms["gradient"], expected, rtol=1e-4)
    np.testing.assert_allclose(norms["update"], 0.1 * np.array(expected), rtol=1e-4)


def test_accumulated_gradients_are_measured_as_their_mean():
    optimizer = Monitored(keras.optimizers.SGD(0.1, gradient_accumulation_steps=2), every=1)
    seen = steps(optimizer, 4)
    mean = [(a + b) / 2 for a, b in zip(seen[2][1], seen[3][1], strict=True)]
    np.testing.assert_allclose(flat(optimizer.norms())["gradient"], [np.linalg.norm(g) for g in mean], rtol=1e-5)


def network():
    keras.utils.set_random_seed(0)
    layers = keras.layers
    return keras.Sequential(
        [keras.Input((3,)), layers.Embedding(10, 6), layers.Flatten(), layers.Dense(8, "relu"), layers.Dense(1)]
    )


TOKENS = np.random.default_rng(0).integers(0, 8, (64, 3))
SCORES = (TOKENS.sum(1, keepdims=True) / 10).astype("float32")


@pytest.mark.parametrize("half", ["float32", "mixed_float16"])
def test_in_a_compiled_step_with_loss_scaling_and_sparse_gradients(half):
    keras.config.set_dtype_policy(half)
    try:
        model = network()
    finally:
        keras.config.set_dtype_policy("float32")
    optimizer = monitored = Monitored(keras.optimizers.Adam(0.01), every=1)
    if half == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    model.compile(optimizer, "mse")
    first = model.evaluate(TOKENS, SCORES, verbose=0)
    model.fit(TOKENS, SCORES, epochs=10, batch_size=16, verbose=0)
    before = model.get_weights()
    model.train_on_batch(TOKENS, SCORES)
    norms = monitored.norms()
    assert list(norms["update"]) == [v.path for v in model.trainable_variables]
    moved = [np.linalg.norm(a - b) for a, b in zip(model.get_weights(), before, strict=True)]
    np.testing.assert_allclose(list(norms["update"].values()), moved, rtol=1e-3)
    assert all(value > 0 for value in norms["gradient"].values())
    assert model.evaluate(TOKENS, SCORES, verbose=0) < first


def test_saved_model_goes_on_bit_for_bit(tmp_path):
    model = network()
    model.compile(Monitored(keras.optimizers.AdamW(0.01), every=2), "mse")
    model.fit(TOKENS, SCORES, epochs=1, batch_size=16, shuffle=False, verbose=0)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    assert again.optimizer.every == 2
    assert flat(again.optimizer.norms()) == flat(model.optimizer.norms())
    for one in (model, again):
        one.fit(TOKENS, SCORES, epochs=1, batch_size=16, shuffle=False, verbose=0)
    for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_bad_arguments():
    with pytest.raises(ValueError, match="every"):
        Monitored(keras.optimizers.SGD(), every=0)
    assert Monitored(keras.optimizers.SGD()).norms() == {}
