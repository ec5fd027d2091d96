"""Each penalty on weights and activations against NumPy: value, gradient, configuration, types, edges."""

import keras
import numpy as np
import pytest
from gradients import backend_gradient, central_differences

import regularizers
from regularizers.decorrelation import KERAS_DIVIDES

pytestmark = pytest.mark.backend


def columns(w):
    return w.reshape(-1, w.shape[-1])


def tall(w):
    return w if w.shape[0] >= w.shape[1] else w.T


def deviation(w):
    matrix = tall(columns(w))
    return matrix.T @ matrix - np.eye(matrix.shape[1])


def decov(h):
    covariance = np.cov(columns(h), rowvar=False, bias=True)
    return 0.5 * (np.linalg.norm(covariance) ** 2 - np.linalg.norm(np.diag(covariance)) ** 2)


# name -> (settings, the penalty in NumPy)
REFERENCES = {
    "l1": ({}, lambda w: np.abs(w).sum()),
    "l2": ({}, lambda w: (w**2).sum()),
    "elastic": ({}, lambda w: np.abs(w).sum() + (w**2).sum()),
    "group-lasso": ({}, lambda w: np.sqrt(len(columns(w))) * np.linalg.norm(columns(w), axis=0).sum()),
    "hoyer": ({}, lambda w: np.abs(w).sum() / np.linalg.norm(w)),
    "hoyer-square": ({}, lambda w: np.abs(w).sum() ** 2 / (w**2).sum()),
    "orthogonal": ({}, lambda w: np.linalg.norm(deviation(w)) ** 2),
    "srip": ({"iterations": 200}, lambda w: np.linalg.norm(deviation(w), 2)),
    "spectral": ({"iterations": 200}, lambda w: 0.5 * np.linalg.norm(columns(w), 2) ** 2),
    # Keras divides by the number of samples, where it does.
    "decorrelation": ({}, lambda h: decov(h) * (len(h) if KERAS_DIVIDES else 1)),
}


def kernel(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape) / np.sqrt(np.prod(shape[:-1]))


def test_every_penalty_has_a_reference():
    records = regularizers.registry.RECORDS.values()
    assert set(REFERENCES) == {r.name for r in records if r.kind in ("weights", "activity")}


@pytest.mark.parametrize("shape", [(7, 4), (3, 8), (3, 2, 2, 5)])
@pytest.mark.parametrize("name", REFERENCES)
def test_value_and_gradient(name, shape):
    settings, reference = REFERENCES[name]
    penalty = regularizers.get(name, 0.3, **settings)
    w = kernel(shape)
    # In rows that are fewer than the columns, W'W - 1 and WW' - 1 differ by a constant; the reference takes the latter.
    assert float(penalty(keras.ops.convert_to_tensor(w.astype("float32")))) == pytest.approx(
        0.3 * reference(w), rel=2e-5
    )
    expected = central_differences(lambda w: 0.3 * reference(w), w)
    np.testing.assert_allclose(backend_gradient(penalty, w), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", REFERENCES)
def test_configuration_goes_round(name):
    penalty = regularizers.get(name, 0.3, **REFERENCES[name][0])
    stored = keras.saving.serialize_keras_object(penalty)
    again = keras.saving.deserialize_keras_object(stored)
    assert type(again) is type(penalty)
    w = kernel((4, 3)).astype("float32")
    assert float(again(w)) == pytest.approx(float(penalty(w)), rel=1e-6)


@pytest.mark.parametrize("name", REFERENCES)
def test_zero_has_a_finite_value_and_slope(name):
    penalty = regularizers.get(name, 1.0)
    zero = np.zeros((4, 3))
    assert np.isfinite(float(penalty(keras.ops.convert_to_tensor(zero.astype("float32")))))
    assert np.isfinite(backend_gradient(penalty, zero)).all()


@pytest.mark.parametrize("name", sorted(set(REFERENCES) - {"l1", "l2", "elastic"}))
def test_half_precision_is_summed_in_float32(name):
    penalty = regularizers.get(name, 1.0)
    w = keras.ops.cast(kernel((300, 40)) * 20, "float16")
    value = penalty(w)
    assert keras.backend.standardize_dtype(value.dtype) == "float32"
    assert float(value) == pytest.approx(float(penalty(keras.ops.cast(w, "float32"))), rel=1e-4)


@pytest.mark.parametrize(("name", "slack"), [("spectral", 0.12), ("srip", 0.06)])
def test_default_iterations_come_near(name, slack):
    for seed in range(5):
        w = kernel((3, 3, 32, 64), seed)
        value = float(regularizers.get(name, 1.0)(keras.ops.convert_to_tensor(w.astype("float32"))))
        assert (1 - slack) * REFERENCES[name][1](w) <= value <= (1 + 1e-4) * REFERENCES[name][1](w)


def test_more_outputs_than_inputs_have_the_gradient_of_both_sides():
    w = kernel((3, 8))
    penalty = regularizers.SoftOrthogonal(1.0)
    other_side = central_differences(lambda w: np.linalg.norm(w.T @ w - np.eye(8)) ** 2, w)
    np.testing.assert_allclose(backend_gradient(penalty, w), other_side, rtol=1e-3, atol=1e-4)


def test_axis_names_the_groups():
    w = kernel((3, 3, 4, 2))
    tensor = keras.ops.convert_to_tensor(w.astype("float32"))
    inputs = np.sqrt(18) * np.linalg.norm(np.moveaxis(w, 2, 0).reshape(4, -1), axis=1).sum()
    assert float(regularizers.GroupLasso(1.0, axis=-2)(tensor)) == pytest.approx(inputs, rel=1e-5)
    depthwise = np.sqrt(9) * np.linalg.norm(w.reshape(9, 8), axis=0).sum()
    assert float(regularizers.GroupLasso(1.0, axis=(-2, -1))(tensor)) == pytest.approx(depthwise, rel=1e-5)
    norms = np.linalg.norm(columns(w), axis=0)
    grouped = norms.sum() ** 2 / (norms**2).sum()
    assert float(regularizers.HoyerSquare(1.0, groups=True)(tensor)) == pytest.approx(grouped, rel=1e-5)


def test_hoyer_does_not_see_the_scale_and_counts_weights():
    w = keras.ops.convert_to_tensor(kernel((20, 5)).astype("float32"))
    for penalty in (regularizers.Hoyer(1.0), regularizers.HoyerSquare(1.0)):
        assert float(penalty(w * 1000)) == pytest.approx(float(penalty(w)), rel=1e-5)
    assert float(regularizers.HoyerSquare(1.0)(keras.ops.ones((4, 5)))) == pytest.approx(20)
    assert float(regularizers.Hoyer(1.0)(keras.ops.eye(1))) == pytest.approx(1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: regularizers.GroupLasso(-1.0), "strength"),
        (lambda: regularizers.GroupLasso(float("nan")), "strength"),
        (lambda: regularizers.Decorrelation(-1.0), "strength"),
        (lambda: regularizers.SRIP(1.0, iterations=0), "iterations"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()
