"""One table: every optimizer against its NumPy reference, and through what Keras does with optimizers."""

from functools import partial

import keras
import numpy as np
import pytest
from quadratics import SHAPES, SQUARE, STEPS, Problem, run, values

from optimizers import reference, registry
from optimizers.base import Optimizer

pytestmark = pytest.mark.backend

AdamW = partial(reference.adam, b1=0.0)

# name in the registry -> reference, learning rate, arguments
TABLE = {
    "sgd": (reference.sgd, 0.1, {}),
    "momentum": (reference.momentum, 0.05, {}),
    "nesterov": (reference.nesterov, 0.05, {}),
    "adagrad": (reference.adagrad, 0.05, {}),
    "adadelta": (reference.adadelta, 1.0, {}),
    "rmsprop": (reference.rmsprop, 0.01, {}),
    "adam": (reference.adam, 0.01, {}),
    "adamw": (reference.adam, 0.01, {}),
    "amsgrad": (reference.amsgrad, 0.01, {}),
    "adamax": (reference.adamax, 0.01, {}),
    "nadam": (reference.nadam, 0.01, {}),
    "ftrl": (reference.ftrl, 0.05, {}),
    "lion": (reference.lion, 0.01, {}),
    "lamb": (reference.lamb, 0.01, {}),
    "adafactor": (reference.adafactor, 0.05, {}),
    "muon": (reference.muon, 0.01, {"adam_weight_decay": 0.0}),
    "conv-muon": (reference.conv_muon, 0.01, {}),
    "adabelief": (reference.adabelief, 0.01, {}),
    "radam": (reference.radam, 0.01, {}),
    "adan": (reference.adan, 0.02, {}),
    "ademamix": (partial(reference.ademamix, steps=15, b3=0.99), 0.01, {"slow_steps": 15, "beta_3": 0.99}),
    "lars": (partial(reference.lars, weight_decay=0.01, trust=0.02), 0.1, {"weight_decay": 0.01}),
    "prodigy": (partial(reference.prodigy, d0=1e-2), 1.0, {"initial_distance": 1e-2}),
    "momentum-sam": (reference.momentum_sam, 0.02, {}),
    "shampoo": (partial(reference.shampoo, refresh=4), 0.01, {"refresh": 4}),
    "soap": (partial(reference.soap, refresh=4), 0.01, {"refresh": 4}),
    "schedule-free": (partial(reference.schedule_free, inner=AdamW), 0.01, {}),
    "cautious-adamw": (partial(reference.cautious, inner=reference.adam), 0.01, {}),
    "ranger": (
        partial(reference.lookahead, inner=partial(reference.centralized, inner=reference.radam)), 0.01, {},
    ),
}  # fmt: skip
OWN = [n for n, r in registry.RECORDS.items() if ":" in r.factory or r.wrap]
WHOLE = ("prodigy", "momentum-sam")  # their references take all weights at once


def shapes_for(name):
    return SQUARE if name in ("soap", "shampoo") else SHAPES


def run_reference(name, update, problem, lr, decay=0.0):
    weights = [w.astype("float64") for w in problem.starts]
    if name in WHOLE:
        state = {}
        for t in range(STEPS):
            weights = update(weights, problem.gradients(weights, t), state, t + 1, lr)
        return weights
    states = [{} for _ in weights]
    for t in range(STEPS):
        gradients = problem.gradients(weights, t)
        weights = [reference.decay(w, lr, decay) if w.ndim > 1 else w for w in weights]
        weights = [update(w, g, s, t + 1, lr) for w, g, s in zip(weights, gradients, states, strict=True)]
    return weights


def make(name, **settings):
    _, lr, extra = TABLE[name]
    return registry.get(name, **{"learning_rate": lr, "weight_decay": 0.0, **extra, **settings})


def test_the_table_is_complete():
    assert set(TABLE) == set(registry.names())


@pytest.mark.parametrize("name", TABLE)
def test_twenty_steps_are_those_of_the_reference(name):
    update, lr, _ = TABLE[name]
    problem = Problem(shapes_for(name))
    got = run(make(name), problem)
    for variable, expected in zip(got, run_reference(name, update, problem, lr), strict=True):
        np.testing.assert_allclose(values([variable])[0], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", [n for n in OWN if n not in ("lars", "schedule-free", "ranger", *WHOLE)])
def test_decoupled_decay(name):
    update, lr, _ = TABLE[name]
    problem = Problem(shapes_for(name))
    optimizer = make(name, weight_decay=0.1)
    variables = problem.variables()
    optimizer.exclude_from_weight_decay(var_list=[v for v in variables if len(v.shape) < 2])
    if name == "conv-muon":
        # Its decay is that of the kernels, and of matrices.
        optimizer.adam_weight_decay = 0.1
    got = run(optimizer, problem, variables)
    for variable, expected in zip(got, run_reference(name, update, problem, lr, 0.1), strict=True):
        np.testing.assert_allclose(values([variable])[0], expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("name", OWN)
def test_saved_in_the_middle_it_goes_on_bit_for_bit(name):
    problem = Problem(SHAPES)
    whole = values(run(make(name), problem))
    first = make(name)
    variables = run(first, problem, steps=STEPS // 2)
    store = {}
    first.save_own_variables(store)
    second = type(first).from_config(first.get_config())
    copies = [keras.Variable(v) for v in values(variables)]
    second.build(copies)
    second.load_own_variables(store)
    for a, b in zip(whole, values(run(second, problem, copies, first=STEPS // 2)), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", OWN)
def test_config_round_trip(name):
    first = make(name, clipnorm=1.5)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(first))
    assert again.get_config() == first.get_config()
    assert again.clipnorm == 1.5


@pytest.mark.parametrize("name", OWN)
def test_accumulated_gradients_are_one_step_with_their_mean(name):
    problem = Problem(shapes_for(name), steps=4)
    plain, accumulating = make(name), make(name, gradient_accumulation_steps=2)
    one, two = problem.variables(), problem.variables()
    for t in range(0, 4, 2):
        pair = [problem.noise[t], problem.noise[t + 1]]
        mean = [(a + b) / 2 for a, b in zip(*pair, strict=True)]
        plain.apply([keras.ops.convert_to_tensor(g.astype("float32")) for g in mean], one)
        for gradients in pair:
            accumulating.apply([keras.ops.convert_to_tensor(g.astype("float32")) for g in gradients], two)
    for a, b in zip(values(one), values(two), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", OWN)
def test_clipping_comes_before_the_update(name):
    draw = np.random.default_rng(0)
    problem = Problem(shapes_for(name))
    one, two = problem.variables(), problem.variables()
    a, b = make(name, clipnorm=1.0), make(name)
    for _ in range(3):
        gradients = [10 * draw.normal(size=s).astype("float32") for s in shapes_for(name)]
        clipped = [g / max(1.0, float(np.sqrt((g**2).sum()))) for g in gradients]
        a.apply([keras.ops.convert_to_tensor(g) for g in gradients], one)
        b.apply([keras.ops.convert_to_tensor(g.astype("float32")) for g in clipped], two)
    for x, y in zip(values(one), values(two), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", OWN)
def test_moving_average_of_the_weights(name):
    problem = Problem(SHAPES, steps=3)
    optimizer = make(name, ema=0.9)
    variables, expected = problem.variables(), None
    for t in range(3):
        run(optimizer, problem, variables, first=t, steps=t + 1)
        now = values(variables)
        expected = now if expected is None else [0.9 * a + 0.1 * b for a, b in zip(expected, now, strict=True)]
    optimizer.finalize_variable_values(variables)
    for got, average in zip(values(variables), expected, strict=True):
        np.testing.assert_allclose(got, average, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", OWN)
def test_compiled_and_eager_steps_agree(name):
    # Keras builds the optimizer while it traces the step: nothing of the building may end up in the step.
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(2, 3, 32, 4)).astype("float32")
    weights = []
    for eager in (True, False):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4), keras.layers.Dense(4)])
        model.compile(make(name), "mse", run_eagerly=eager)
        for batch in zip(x, y, strict=True):
            model.train_on_batch(*batch)
        weights.append(model.get_weights())
    for a, b in zip(*weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def network(seed=0):
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    return keras.Sequential(
        [keras.Input((3,)), layers.Embedding(10, 6), layers.Flatten(), layers.Dense(8, "relu"), layers.Dense(1)]
    )


TOKENS = np.random.default_rng(0).integers(0, 8, (64, 3))
SCORES = (TOKENS.sum(1, keepdims=True) / 10).astype("float32")


@pytest.mark.parametrize(
    ("name", "half"), [*((n, "mixed_float16") for n in OWN), *((n, "mixed_bfloat16") for n in ("prodigy", "soap"))]
)
def test_mixed_precision_and_sparse_gradients(name, half):
    # The embedding's gradients are sparse on TensorFlow. Learning is what counts: the last bits are half precision's.
    keras.config.set_dtype_policy(half)
    try:
        model = network()
    finally:
        keras.config.set_dtype_policy("float32")
    optimizer = registry.get(name, model=model)
    if half == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    model.compile(optimizer, "mse")
    first = model.evaluate(TOKENS, SCORES, verbose=0)
    model.fit(TOKENS, SCORES, epochs=25, batch_size=16, verbose=0)
    assert model.evaluate(TOKENS, SCORES, verbose=0) < first


@pytest.mark.parametrize("name", [n for n in OWN if hasattr(make(n), "evaluation_values")])
def test_fit_leaves_the_weights_that_are_to_be_judged(name):
    update, lr, _ = TABLE[name]
    problem = Problem(SHAPES)
    optimizer = make(name)
    variables = run(optimizer, problem)
    evaluated = values(optimizer.evaluation_values())
    optimizer.finalize_variable_values(variables)
    for got, expected in zip(values(variables), evaluated, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-6)
    if name == "ranger":
        return
    states = [{} for _ in problem.starts]
    weights = [w.astype("float64") for w in problem.starts]
    whole = {}
    for t in range(STEPS):
        gradients = problem.gradients(weights, t)
        if name in WHOLE:
            weights = update(weights, gradients, whole, t + 1, lr)
        else:
            weights = [update(w, g, s, t + 1, lr) for w, g, s in zip(weights, gradients, states, strict=True)]
    expected = whole["plain"] if name in WHOLE else [s["x"] for s in states]
    for got, want in zip(evaluated, expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["soap", "shampoo"])
def test_blocks_are_matrices_of_their_own(name):
    problem = Problem([(6, 4)])
    cut = make(name, block_size=3)
    got = values(run(cut, problem))[0]
    # Rows 0-2 and 3-5, columns 0-1 and 2-3.
    for rows in (slice(0, 3), slice(3, 6)):
        for columns in (slice(0, 2), slice(2, 4)):
            part = Problem([(6, 4)])
            for group in (part.starts, part.targets, part.curvatures, *part.noise):
                group[0] = group[0][rows, columns]
            alone = values(run(make(name), part))[0]
            np.testing.assert_allclose(got[rows, columns], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", OWN)
def test_bad_arguments(name):
    bad = {"adabelief": {"beta_1": 1.0}, "radam": {"beta_2": -0.1}, "adan": {"beta_3": 2.0}, "lars": {"momentum": 1.0},
           "ademamix": {"slow_steps": 0}, "prodigy": {"growth": 1.0}, "momentum-sam": {"rho": -1.0},
           "shampoo": {"graft": "adamm"}, "soap": {"refresh": 0}}.get(name)  # fmt: skip
    if bad is not None:
        with pytest.raises(ValueError, match=next(iter(bad))):
            registry.get(name, **bad)


def test_ours_say_what_they_are():
    for name in OWN:
        optimizer = make(name)
        while hasattr(optimizer, "inner"):
            optimizer = optimizer.inner
        if isinstance(optimizer, Optimizer):
            assert type(optimizer).__doc__
            assert "Reference" in type(optimizer).__doc__
