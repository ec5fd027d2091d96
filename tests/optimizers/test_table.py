"""One table: every optimizer against its NumPy reference, and through what Keras does with optimizers."""

from functools import partial

import keras
import numpy as np
import pytest
from quadratics import SHAPES, STEPS, Problem, run, values
from table import DECAYED, OWN, TABLE, WHOLE, WHOLLY_OWN, make, run_reference, shapes_for

from optimizers import reference, registry
from optimizers.base import Optimizer
from optimizers.centralized import Centralized

pytestmark = pytest.mark.backend


def test_the_table_is_complete():
    assert set(TABLE) == set(registry.names())


@pytest.mark.parametrize("name", TABLE)
def test_twenty_steps_are_those_of_the_reference(name):
    update, lr, _ = TABLE[name]
    problem = Problem(shapes_for(name))
    got = run(make(name), problem)
    tolerance = 1e-4 if name == "prodigy" else 1e-5  # its rate is a ratio of sums over all weights, here in float32
    for variable, expected in zip(got, run_reference(name, update, problem, lr), strict=True):
        np.testing.assert_allclose(values([variable])[0], expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", DECAYED)
def test_decay_within_the_step(name):
    problem = Problem(SHAPES)
    got = values(run(make(name, weight_decay=0.1), problem))
    for value, expected in zip(got, run_reference(name, DECAYED[name], problem, TABLE[name][1]), strict=True):
        np.testing.assert_allclose(value, expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("name", [n for n in TABLE if n != "lars" and n not in DECAYED])
def test_decoupled_decay(name):
    update, lr, _ = TABLE[name]
    problem = Problem(shapes_for(name))
    optimizer = make(name, weight_decay=0.1)
    variables = problem.variables()
    optimizer.exclude_from_weight_decay(var_list=[v for v in variables if len(v.shape) < 2])
    if name.endswith("muon"):
        # Its decay is that of the kernels, and of matrices.
        optimizer.adam_weight_decay = 0.1
    got = run(optimizer, problem, variables)
    for variable, expected in zip(got, run_reference(name, update, problem, lr, 0.1), strict=True):
        np.testing.assert_allclose(values([variable])[0], expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("name", TABLE)
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


@pytest.mark.parametrize("name", TABLE)
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


@pytest.mark.parametrize("name", TABLE)
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


@pytest.mark.parametrize("name", TABLE)
def test_moving_average_of_the_weights(name):
    problem = Problem(SHAPES, steps=3)
    optimizer = make(name, ema=0.9)
    variables, expected = problem.variables(), None
    for t in range(3):
        run(optimizer, problem, variables, first=t, steps=t + 1)
        # Where training holds other weights than those that are judged, the latter count.
        now = values(optimizer.evaluation_values() if hasattr(optimizer, "evaluation_values") else variables)
        expected = now if expected is None else [0.9 * a + 0.1 * b for a, b in zip(expected, now, strict=True)]
    optimizer.finalize_variable_values(variables)
    for got, average in zip(values(variables), expected, strict=True):
        np.testing.assert_allclose(got, average, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", [n for n in OWN if hasattr(make(n), "evaluation_values")])
def test_an_average_does_not_overwrite_what_training_needs(name):
    with pytest.raises(ValueError, match="ema_overwrite_frequency"):
        run(make(name, ema=0.9, ema_overwrite_frequency=2), Problem(SHAPES), steps=1)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", WHOLLY_OWN)
def test_weights_in_half_precision(name, dtype):
    # Gradients of zero, as embeddings have, and small ones, whose squares vanish in float16.
    scale = np.array([0, 1e-4, 1e-2, 1], "float32")
    draw = np.random.default_rng(0)
    start, steps = draw.normal(size=(4, 4)), draw.normal(size=(12, 4, 4)) * scale[:, None]
    got = []
    for kind in ("float32", dtype):
        keras.config.set_dtype_policy(kind)
        variable = keras.Variable(start, dtype=kind, name="w")
        keras.config.set_dtype_policy("float32")
        optimizer = make(name, learning_rate=1.0 if name == "prodigy" else 0.05)
        for step in steps:
            optimizer.apply([keras.ops.cast(keras.ops.convert_to_tensor(step), kind)], [variable])
        got.append(np.array(keras.ops.convert_to_numpy(keras.ops.cast(variable, "float32"))))
    assert np.isfinite(got[1]).all()
    if name != "soap":  # whose axes within the null space are any
        np.testing.assert_allclose(got[1], got[0], atol=0.01 if dtype == "float16" else 0.1)


def test_rows_of_embeddings_stay_where_they_do_not_occur():
    gradient = np.zeros((4, 3), "float32")
    gradient[1] = 1
    table, kernel = (keras.Variable(np.zeros((4, 3), "float32"), name=name) for name in ("embeddings", "kernel"))
    Centralized(keras.optimizers.SGD(1.0)).apply([keras.ops.convert_to_tensor(gradient)] * 2, [table, kernel])
    got = values([table, kernel])
    np.testing.assert_allclose(got[0], -gradient)
    np.testing.assert_allclose(got[1], gradient.mean(0) - gradient)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="only TensorFlow's gradients are sparse")
@pytest.mark.parametrize("clip", [{}, {"clipnorm": 1.0}, {"global_clipnorm": 1.0}], ids=["", "clip", "global clip"])
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        *((name, {}) for name in OWN),
        ("muon", {"wrap": ["lookahead"]}),
        *(("adam", {"wrap": wrap}) for wrap in (["centralized"], ["cautious"], ["lookahead"], ["schedule-free"])),
        *(("adam", {"wrap": wrap}) for wrap in (["monitored", "lookahead"], ["cautious", "monitored"])),
        ("adam", {"rates": {"embeddings": 0.5}}),
    ],
)
def test_rows_that_occur_often_in_a_batch_count_once(name, settings, clip):
    # The oracle is the step with their sum, which is the gradient on JAX and PyTorch.
    tensorflow = pytest.importorskip("tensorflow")
    draw = np.random.default_rng(0)
    start = draw.normal(size=(4, 3)).astype("float32")
    one, two = (keras.Variable(start, name="embeddings") for _ in range(2))
    sparse, plain = (make(name, **settings, **clip) for _ in range(2))
    for rows in ([1, 3, 1, 1], [0, 1, 0, 3], [2, 2, 2, 3]):
        part = draw.normal(size=(4, 3)).astype("float32")
        whole = np.zeros((4, 3), "float32")
        np.add.at(whole, rows, part)
        sparse.apply([tensorflow.IndexedSlices(*map(tensorflow.constant, (part, rows, (4, 3))))], [one])
        plain.apply([keras.ops.convert_to_tensor(whole)], [two])
    np.testing.assert_allclose(*values([one, two]), rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="only TensorFlow's gradients are sparse")
def test_what_changes_nothing_leaves_them_to_keras():
    tensorflow = pytest.importorskip("tensorflow")
    one, two = (keras.Variable(np.ones((4, 3), "float32"), name="embeddings") for _ in range(2))
    gradient = tensorflow.IndexedSlices(tensorflow.ones((3, 3)), *map(tensorflow.constant, ([1, 3, 1], (4, 3))))
    make("adam", wrap=["monitored"]).apply([gradient], [one])
    make("adam").apply([gradient], [two])
    np.testing.assert_array_equal(*values([one, two]))


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
    ("name", "half"),
    [
        *((n, "mixed_float16") for n in (*OWN, "nesterov", "adamw")),
        *((n, "mixed_bfloat16") for n in ("prodigy", "soap")),
    ],
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


@pytest.mark.parametrize("graft", ["adam", "rmsprop", "sgd", "none"])
def test_shampoo_has_the_length_of_a_simpler_method(graft):
    problem = Problem(SHAPES)
    update = partial(reference.shampoo, refresh=4, graft=graft)
    got = values(run(make("shampoo", graft=graft), problem))
    for value, expected in zip(got, run_reference("shampoo", update, problem, 0.01), strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("shape", [(6, 4), (3, 7), (2, 3, 4)])
def test_soap_of_a_rectangular_matrix(shape):
    problem = Problem([shape])
    optimizer = make("soap")
    variables = run(optimizer, problem, steps=1)
    state, (weights,) = {}, [w.astype("float64") for w in problem.starts]
    for t in range(STEPS):
        (gradient,) = problem.gradients([weights], t)
        weights = reference.soap(weights, gradient, state, t + 1, 0.01, refresh=4)
        if t == 0:
            # Any basis of the null space of one gradient is as good as another.
            state["bases"] = tuple(b.astype("float64") for b in values(optimizer.blocks(variables[0])[0][1]["basis"]))
    got = values(run(optimizer, problem, variables, first=1))[0]
    np.testing.assert_allclose(got, weights, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["soap", "shampoo"])
def test_embeddings_are_taken_for_vectors(name):
    table, vector = Problem([(6, 4)]), Problem([(24,)])
    for here, there in zip((table.starts, *table.noise), (vector.starts, *vector.noise), strict=True):
        there[0] = here[0].reshape(24)
    vector.targets[0], vector.curvatures[0] = table.targets[0].reshape(24), table.curvatures[0].reshape(24)
    variables = [keras.Variable(table.starts[0], name="embeddings")]
    got = values(run(make(name), table, variables))[0]
    np.testing.assert_allclose(got.reshape(24), values(run(make(name), vector))[0], rtol=1e-6)


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
