import keras
import numpy as np
import pytest

import regularizers


def make():
    keras.utils.set_random_seed(0)
    layers = keras.layers
    inner = keras.Sequential([keras.Input((6, 6, 2)), layers.Conv2D(3, 3), layers.BatchNormalization()])
    return keras.Sequential(
        [keras.Input((6, 6, 2)), inner, layers.DepthwiseConv2D(2), layers.Flatten(), layers.Dense(4)]
    )


def kernels(model):
    return [w for w in model.get_weights() if w.ndim > 1]


@pytest.mark.backend
@pytest.mark.parametrize(
    ("name", "penalty"),
    [
        ("l1", lambda w: np.abs(w).sum()),
        ("l2", lambda w: (w**2).sum()),
        ("elastic", lambda w: np.abs(w).sum() + (w**2).sum()),
    ],
)
def test_penalty_is_that_of_the_kernels_alone(name, penalty):
    model = make()
    assert len(regularizers.apply(model, name, 0.1)) == 3
    assert float(sum(model.losses)) == pytest.approx(0.1 * sum(penalty(w) for w in kernels(model)), rel=1e-5)


def test_survives_saving(tmp_path):
    model = make()
    regularizers.apply(model, "l2", 0.1)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    assert float(sum(again.losses)) == pytest.approx(float(sum(model.losses)), rel=1e-6)


def test_where_chooses_layers():
    model = make()
    paths = regularizers.apply(model, "l2", 0.1, where=lambda layer: isinstance(layer, keras.layers.Dense))
    assert len(paths) == 1


def test_l2_shrinks_what_is_trained():
    x = np.random.default_rng(0).normal(size=(64, 6, 6, 2)).astype("float32")
    y = np.zeros(64, "int32")
    norms = []
    for strength in (0, 0.1):
        model = make()
        regularizers.apply(model, "l2", strength)
        model.compile(keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        model.fit(x, y, epochs=15, verbose=0)
        norms.append(sum((w**2).sum() for w in kernels(model)))
    assert norms[1] < 0.9 * norms[0]


@pytest.mark.parametrize("arguments", [("l3", 0.1), ("l2", -1.0), ("l2", None)])
def test_bad_arguments(arguments):
    with pytest.raises(ValueError, match=r"regularizer|strength"):
        regularizers.apply(make(), *arguments)


def test_unbuilt_model_is_an_error():
    with pytest.raises(ValueError, match="build the model"):
        regularizers.apply(keras.Sequential([keras.layers.Dense(1)]), "l2", 0.1)


@pytest.mark.backend
def test_stochastic_depth_drops_rows_and_keeps_the_mean():
    layer = regularizers.StochasticDepth(0.25, seed=0)
    out = keras.ops.convert_to_numpy(layer(np.ones((4000, 3), "float32"), training=True))
    assert set(np.unique(out.round(5))) == {0.0, np.float32(1 / 0.75).round(5)}
    assert (out.min(1) == out.max(1)).all()
    assert out.mean() == pytest.approx(1, abs=0.04)
    np.testing.assert_array_equal(layer(np.ones((5, 3), "float32"), training=False), np.ones((5, 3)))
    assert regularizers.StochasticDepth.from_config(layer.get_config()).rate == 0.25
    with pytest.raises(ValueError, match="rate"):
        regularizers.StochasticDepth(1.0)
