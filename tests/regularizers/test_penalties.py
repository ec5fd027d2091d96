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


def test_regular_expression_chooses_kernels_by_path():
    model = make()
    (dense,) = regularizers.apply(model, "l2", 0.1, where=r"(^|/)dense[^/]*/kernel$")
    assert dense == model.layers[-1].kernel.path
    regularized = [w for w in model.trainable_variables if w.regularizer is not None]
    assert [w.path for w in regularized] == [dense]


def test_none_takes_the_default_of_the_record():
    model = make()
    regularizers.apply(model, "l2")
    expected = regularizers.record("l2").strength * sum((w**2).sum() for w in kernels(model))
    assert float(sum(model.losses)) == pytest.approx(expected, rel=1e-5)


def groups(w, outputs):
    """NumPy's group lasso, the axes of the outputs given."""
    matrix = np.moveaxis(w, outputs, range(-len(outputs), 0)).reshape(-1, np.prod([w.shape[a] for a in outputs]))
    return np.sqrt(len(matrix)) * np.linalg.norm(matrix, axis=0).sum()


@pytest.mark.filterwarnings("error:the penalty")
@pytest.mark.parametrize(
    ("layer", "shape", "outputs"),
    [
        (keras.layers.Dense(4), (5,), [(1,)]),
        (keras.layers.Conv2D(4, 3), (6, 6, 2), [(3,)]),
        (keras.layers.DepthwiseConv2D(3, depth_multiplier=2), (6, 6, 2), [(2, 3)]),
        (keras.layers.SeparableConv2D(4, 3), (6, 6, 2), [(2, 3), (3,)]),
        (keras.layers.Conv2DTranspose(4, 3), (6, 6, 2), [(2,)]),
        (keras.layers.EinsumDense("abc,cde->abde", (None, 2, 3)), (5, 4), [(1, 2)]),
        (keras.layers.EinsumDense("abcd,cde->abe", (None, 6)), (5, 2, 3), [(2,)]),
        (keras.layers.LSTM(3), (5, 2), [(1,), (1,)]),
        (keras.layers.Bidirectional(keras.layers.SimpleRNN(3)), (5, 2), [(1,)] * 4),
        (keras.layers.TimeDistributed(keras.layers.Dense(3)), (5, 2), [(1,)]),
    ],
)
def test_groups_are_the_outputs_of_each_kind_of_layer_and_survive_saving(tmp_path, layer, shape, outputs):
    model = keras.Sequential([keras.Input(shape), type(layer).from_config(layer.get_config())])
    assert len(regularizers.apply(model, "group-lasso", 0.1)) == len(outputs)
    weights = [w for w in model.get_weights() if w.ndim > 1]
    expected = 0.1 * sum(groups(w, axes) for w, axes in zip(weights, outputs, strict=True))
    assert float(sum(model.losses)) == pytest.approx(expected, rel=1e-5)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    assert float(sum(again.losses)) == pytest.approx(expected, rel=1e-5)


def attention(layer):
    inputs = keras.Input((5, 4))
    return keras.Model(inputs, layer(inputs, inputs))


def saved(model, folder):
    model.save(folder / "m.keras")
    return keras.models.load_model(folder / "m.keras")


def test_attention_heads_are_neurons(tmp_path):
    """The layer has one regularizer for four kernels with different axes: it is lost, which is said."""
    model = attention(keras.layers.MultiHeadAttention(2, 3))
    regularizers.apply(model, "l2", 0.1)
    with pytest.warns(UserWarning, match=r"4 of 4 places, such as .*kernel, is not saved.*apply it again"):
        assert len(regularizers.apply(model, "group-lasso", 0.1)) == 4
    axes = [(1, 2)] * 3 + [(2,)]
    weights = [w for w in model.get_weights() if w.ndim == 3]
    expected = 0.1 * sum(groups(w, a) for w, a in zip(weights, axes, strict=True))
    assert float(sum(model.losses)) == pytest.approx(expected, rel=1e-5)
    again = saved(model, tmp_path)
    assert again.losses == []
    with pytest.warns(UserWarning, match="is not saved"):
        regularizers.apply(again, "group-lasso", 0.1)
    assert float(sum(again.losses)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.filterwarnings("error:the penalty")
@pytest.mark.parametrize(
    "layer", [keras.layers.MultiHeadAttention(2, 3), keras.layers.GroupQueryAttention(3, 2, 1)], ids=["multi", "group"]
)
def test_attention_keeps_a_penalty_without_axes(tmp_path, layer):
    model = attention(type(layer).from_config(layer.get_config()))
    before = model.get_config()
    with regularizers.applied(model, "elastic", 0.1):
        pass
    assert model.get_config() == before
    assert len(regularizers.apply(model, "elastic", 0.1)) == 4
    expected = 0.1 * sum(np.abs(w).sum() + (w**2).sum() for w in model.get_weights() if w.ndim == 3)
    assert float(sum(saved(model, tmp_path).losses)) == pytest.approx(expected, rel=1e-5)


def test_what_other_layers_build_and_do_not_save_is_told():
    @keras.saving.register_keras_serializable(package="tests")
    class Block(keras.layers.Layer):
        def build(self, shape):
            self.inside = keras.layers.Dense(4)
            self.inside.build(shape)

        def call(self, x):
            return self.inside(x)

    model = keras.Sequential([keras.Input((4,)), Block(), keras.layers.Dense(3)])
    with pytest.warns(UserWarning, match="1 of 2 places"):
        regularizers.apply(model, "l2", 0.1)
    regularizer = model.layers[0].inside.kernel_regularizer
    assert isinstance(regularizer, keras.regularizers.L2)
    assert model.layers[0].inside.kernel.regularizer is regularizer


def test_an_own_axis_is_kept():
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(4)])
    regularizers.apply(model, "group-lasso", 0.1, axis=0)
    expected = 0.1 * groups(model.get_weights()[0], (0,))
    assert float(sum(model.losses)) == pytest.approx(expected, rel=1e-5)


def features_model():
    keras.utils.set_random_seed(0)
    layers = keras.layers
    body = keras.Sequential([keras.Input((6,)), layers.Dense(5, activation="tanh", name="hidden")], name="body")
    inputs = keras.Input((6,))
    x = layers.Dropout(0.5)(body(inputs))
    return keras.Model(inputs, layers.Softmax()(layers.Dense(3)(x)))


@pytest.mark.backend
def test_decorrelation_goes_on_the_features_and_survives_saving(tmp_path):
    model = features_model()
    (path,) = regularizers.apply(model, "decorrelation", 0.1)
    assert path.endswith("hidden")
    x = np.random.default_rng(0).normal(size=(20, 6)).astype("float32")
    hidden = np.tanh(x @ model.get_weights()[0])
    covariance = np.cov(hidden, rowvar=False, bias=True)
    expected = 0.05 * ((covariance**2).sum() - (np.diag(covariance) ** 2).sum())
    model.save(tmp_path / "m.keras")
    for each in (model, keras.models.load_model(tmp_path / "m.keras")):
        each.compile(loss=keras.losses.CategoricalCrossentropy(reduction="sum"))
        assert float(each.evaluate(x, np.zeros((20, 3)), batch_size=20, verbose=0)) == pytest.approx(expected, rel=1e-4)


def test_decorrelation_where_chooses_layers():
    model = keras.Sequential([keras.Input((6,)), *(keras.layers.Dense(4, name=f"d{i}") for i in range(3))])
    assert len(regularizers.apply(model, "decorrelation", 0.1, where=r"d[01]$")) == 2
    by_function = regularizers.apply(model, "decorrelation", 0.1, where=lambda layer: layer.name == "d2")
    assert len(by_function) == 1


def test_features_must_be_found():
    with pytest.raises(ValueError, match="say where"):
        regularizers.apply(keras.Sequential([keras.Input((6,)), keras.layers.Dense(4)]), "decorrelation", 0.1)


@pytest.mark.parametrize("name", ["group-lasso", "decorrelation", "jacobian", "confidence"])
def test_applied_leaves_the_model_as_it_was(name):
    model = features_model()
    mine = keras.regularizers.L1(0.5)
    model.layers[-2].kernel_regularizer = model.layers[-2].kernel.regularizer = mine
    config, variables = model.get_config(), len(model.variables)
    with regularizers.applied(model, name):
        assert len(model.variables) == variables + (name == "jacobian")
    assert model.get_config() == config
    assert model.layers[-2].kernel.regularizer is mine
    assert len(model.variables) == variables
    assert "compute_loss" not in vars(model)


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        (("l3", 0.1), {}, "unknown regularizer"),
        (("l2", -1.0), {}, "strength of l2"),
        (("drop-block", 0.1), {}, "drop-block is a layer"),
        (("label-smoothing", 0.1), {}, "label-smoothing is a loss"),
        (("l2", 0.1), {"where": "nowhere"}, "with this where"),
        (("l2", 0.1), {"where": "["}, "not a regular expression"),
        (("confidence", 0.1), {"where": "dense"}, "whole model"),
        ((keras.regularizers.L2(0.1), 0.1), {}, "has its own"),
        (("srip", 0.1), {"steps": 3}, "no setting 'steps'"),
    ],
)
def test_bad_arguments(arguments, settings, message):
    with pytest.raises(ValueError, match=message):
        regularizers.apply(make(), *arguments, **settings)


def test_unbuilt_model_is_an_error():
    with pytest.raises(ValueError, match="build the model"):
        regularizers.apply(keras.Sequential([keras.layers.Dense(1)]), "l2", 0.1)
