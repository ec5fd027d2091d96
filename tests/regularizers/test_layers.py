"""Layers and losses that regularize."""

import keras
import numpy as np
import pytest
from gradients import backend_gradient, central_differences
from keras import ops

import regularizers

pytestmark = pytest.mark.backend


def test_stochastic_depth_drops_rows_and_keeps_the_mean():
    layer = regularizers.StochasticDepth(0.25, seed=0)
    out = ops.convert_to_numpy(layer(np.ones((4000, 3), "float32"), training=True))
    assert set(np.unique(out.round(5))) == {0.0, np.float32(1 / 0.75).round(5)}
    assert (out.min(1) == out.max(1)).all()
    assert out.mean() == pytest.approx(1, abs=0.04)
    np.testing.assert_array_equal(layer(np.ones((5, 3), "float32"), training=False), np.ones((5, 3)))
    assert regularizers.StochasticDepth.from_config(layer.get_config()).rate == 0.25
    with pytest.raises(ValueError, match="rate"):
        regularizers.StochasticDepth(1.0)


def covered(zeros, block):
    """Which pixels of (H, W) lie in a block x block square of zeros."""
    height, width = zeros.shape
    inside = np.zeros_like(zeros)
    for i in range(height - block + 1):
        for j in range(width - block + 1):
            if zeros[i : i + block, j : j + block].all():
                inside[i : i + block, j : j + block] = True
    return inside


def test_drop_block_drops_whole_squares_of_each_channel():
    layer = regularizers.DropBlock(0.2, block_size=3, data_format="channels_last", seed=1)
    out = ops.convert_to_numpy(layer(np.ones((8, 12, 10, 4), "float32"), training=True))
    kept = np.unique(out[out > 0])
    np.testing.assert_allclose(kept, kept[0], rtol=1e-6)
    assert out.mean() == pytest.approx(1, rel=1e-5)
    for image in out:
        for channel in range(4):
            zeros = image[..., channel] == 0
            np.testing.assert_array_equal(covered(zeros, 3), zeros)
    assert any((image[..., 0] != image[..., 1]).any() for image in out)


def test_drop_block_drops_about_its_rate():
    for rate, low, high in ((0.05, 0.045, 0.055), (0.2, 0.16, 0.2)):  # squares overlap: the share is a little smaller
        layer = regularizers.DropBlock(rate, block_size=5, data_format="channels_last", seed=0)
        out = ops.convert_to_numpy(layer(np.ones((64, 24, 24, 16), "float32"), training=True))
        assert low <= (out == 0).mean() <= high
    # A single pixel is plain dropout.
    layer = regularizers.DropBlock(0.3, block_size=1, data_format="channels_last", seed=0)
    out = ops.convert_to_numpy(layer(np.ones((16, 24, 24, 8), "float32"), training=True))
    assert (out == 0).mean() == pytest.approx(0.3, abs=0.01)


def test_drop_block_on_a_small_map_and_at_inference():
    layer = regularizers.DropBlock(0.5, block_size=7, data_format="channels_last", seed=0)
    out = ops.convert_to_numpy(layer(np.ones((200, 4, 4, 2), "float32"), training=True))
    assert (out.min((1, 2)) == out.max((1, 2))).all()
    assert (out == 0).mean() == pytest.approx(0.5, abs=0.07)
    x = np.random.default_rng(0).normal(size=(2, 9, 9, 1)).astype("float32")
    np.testing.assert_array_equal(ops.convert_to_numpy(layer(x, training=False)), x)
    assert regularizers.DropBlock.from_config(layer.get_config()).get_config() == layer.get_config()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((1.0,), "rate"), ((-0.1,), "rate"), ((0.1, 0), "block_size"), ((0.1, 3, "last"), "data_format")],
)
def test_drop_block_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        regularizers.DropBlock(*arguments)


def test_drop_block_trains_on_pictures_of_any_size():
    layers = keras.layers
    stages = [layers.Conv2D(4, 3), regularizers.DropBlock(0.2, 3, "channels_last"), layers.GlobalAveragePooling2D()]
    model = keras.Sequential([keras.Input((None, None, 1)), *stages, layers.Dense(2)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    loss = model.train_on_batch(np.ones((4, 11, 9, 1), "float32"), np.zeros(4))
    assert np.isfinite(loss)


def test_drop_connect_drops_weights_for_the_batch_and_keeps_the_rest():
    layer = regularizers.DropConnect(keras.layers.Dense(50, bias_initializer="ones"), 0.4, seed=0)
    x = np.eye(40, dtype="float32")  # the output is the kernel plus one
    layer(x)
    kernel = ops.convert_to_numpy(layer.layer.kernel)
    ratio = (ops.convert_to_numpy(layer(x, training=True)) - 1) / kernel
    dropped = np.abs(ratio) < 1e-3
    assert dropped.mean() == pytest.approx(0.4, abs=0.04)
    np.testing.assert_allclose(ratio[~dropped], 1 / 0.6, rtol=1e-2)
    np.testing.assert_allclose(ops.convert_to_numpy(layer(x, training=False)), kernel + 1, rtol=1e-5)
    np.testing.assert_array_equal(ops.convert_to_numpy(layer.layer.kernel), kernel)
    again = ops.convert_to_numpy(layer(x, training=True))
    assert ((np.abs((again - 1) / kernel) < 1e-3) != dropped).any()


@pytest.mark.parametrize(
    ("inner", "shape", "kernels"),
    [
        (lambda: keras.layers.Dense(3, activity_regularizer=keras.regularizers.L2(0.1)), (4,), ("kernel",)),
        (lambda: keras.layers.Conv2D(3, 3), (6, 6, 2), ("kernel",)),
        (lambda: keras.layers.LSTM(3), (5, 2), ("recurrent_kernel",)),
    ],
)
def test_drop_connect_trains_saves_and_loads(tmp_path, inner, shape, kernels):
    wrapped = regularizers.DropConnect(inner(), 0.5, kernels, seed=0)
    model = keras.Sequential([keras.Input(shape), wrapped, keras.layers.Flatten(), keras.layers.Dense(2)])
    model.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    x = np.random.default_rng(0).normal(size=(16, *shape)).astype("float32")
    before = model.get_weights()
    model.fit(x, np.arange(16) % 2, epochs=2, verbose=0)
    assert all((a != b).any() for a, b in zip(before, model.get_weights(), strict=True) if a.dtype == "float32")
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(again.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-5, atol=1e-6)


def test_drop_connect_gradient_is_that_of_the_weights_that_stay():
    layer = regularizers.DropConnect(keras.layers.Dense(30, use_bias=False), 0.5, seed=0)
    model = keras.Sequential([keras.Input((20,)), layer])
    model.compile(keras.optimizers.SGD(1.0), keras.losses.MeanSquaredError(reduction="sum"))
    kernel = ops.convert_to_numpy(layer.layer.kernel)
    model.train_on_batch(np.ones((1, 20), "float32"), np.zeros((1, 30)))
    moved = ops.convert_to_numpy(layer.layer.kernel) != kernel
    assert 0.4 < moved.mean() < 0.6


def test_drop_connect_bad_arguments():
    with pytest.raises(ValueError, match="rate"):
        regularizers.DropConnect(keras.layers.Dense(3), 1.0)
    with pytest.raises(ValueError, match="no variable kernel to drop weights from: it has beta, gamma, moving"):
        regularizers.DropConnect(keras.layers.BatchNormalization(name="bn"), 0.5, ("kernel",)).build((None, 3))


def cross_entropy(logits, target):
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    return -(target * log_p).sum(-1)


@pytest.mark.parametrize("form", ["numbers", "column", "one-hot"])
def test_label_smoothing_takes_labels_of_every_form(form):
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(6, 5, 4)).astype("float32")
    labels = generator.integers(0, 4, (6, 5))
    one_hot = np.eye(4)[labels]
    given = {"numbers": labels, "column": labels[..., None], "one-hot": one_hot.astype("float32")}[form]
    weights = generator.random((6, 5)).astype("float32")
    expected = (cross_entropy(logits, one_hot * 0.8 + 0.05) * weights).mean()
    assert float(regularizers.LabelSmoothing(0.2)(given, logits, weights)) == pytest.approx(expected, rel=1e-5)
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    by_probabilities = regularizers.LabelSmoothing(0.2, from_logits=False)(given, p, weights)
    assert float(by_probabilities) == pytest.approx(expected, rel=1e-4)


def test_label_smoothing_agrees_with_keras_and_goes_round():
    generator = np.random.default_rng(0)
    logits, labels = generator.normal(size=(9, 4)).astype("float32"), np.eye(4)[generator.integers(0, 4, 9)]
    ours = regularizers.LabelSmoothing(0.1)
    theirs = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    assert float(ours(labels, logits)) == pytest.approx(float(theirs(labels, logits)), rel=1e-6)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(ours))
    assert again.get_config() == ours.get_config()
    with pytest.raises(ValueError, match="smoothing"):
        regularizers.LabelSmoothing(1.0)


def test_r_drop_loss_is_that_of_the_paper():
    generator = np.random.default_rng(0)
    pair = generator.normal(size=(7, 2, 3)).astype("float32")
    target = np.eye(3)[generator.integers(0, 3, 7)]
    weights = generator.random(7).astype("float32")

    def r_drop(pair):
        p, q = (np.exp(z) / np.exp(z).sum(-1, keepdims=True) for z in (pair[:, 0], pair[:, 1]))
        divergence = ((p * np.log(p / q)).sum(-1) + (q * np.log(q / p)).sum(-1)) / 2
        return (cross_entropy(pair[:, 0], target) + cross_entropy(pair[:, 1], target)) / 2 + 0.7 * divergence

    each = r_drop(pair)
    loss = regularizers.RDropLoss(keras.losses.CategoricalCrossentropy(from_logits=True), 0.7)
    assert float(loss(target, pair, weights)) == pytest.approx((each * weights).mean(), rel=1e-5)
    gradient = backend_gradient(lambda z: loss(target, z), pair)
    np.testing.assert_allclose(gradient, central_differences(lambda z: r_drop(z).mean(), pair), rtol=1e-3, atol=1e-5)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert float(again(target, pair, weights)) == pytest.approx((each * weights).mean(), rel=1e-5)
    with pytest.raises(ValueError, match="strength"):
        regularizers.RDropLoss(keras.losses.MeanSquaredError(), -1.0)


@pytest.mark.parametrize("from_logits", [True, False])
def test_gradient_of_label_smoothing(from_logits):
    generator = np.random.default_rng(3)
    outputs, labels = generator.normal(size=(5, 4)), generator.integers(0, 4, 5)
    target = 0.8 * np.eye(4)[labels] + 0.2 / 4

    def reference(z):
        p = np.exp(z) / np.exp(z).sum(1, keepdims=True) if from_logits else z
        return -(target * np.log(p)).sum(1).mean()

    loss = regularizers.LabelSmoothing(0.2, from_logits)
    at = outputs if from_logits else np.exp(outputs) / np.exp(outputs).sum(1, keepdims=True)
    gradient = backend_gradient(lambda z: loss(labels, z), at)
    np.testing.assert_allclose(gradient, central_differences(reference, at), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("shape", [(6, 1), (6,)])
def test_label_smoothing_needs_classes(shape):
    """A softmax over one column is always 1: the loss would be 0 whatever the model says."""
    with pytest.raises(ValueError, match=r"at least two classes.*BinaryCrossentropy"):
        regularizers.LabelSmoothing(0.1)(np.ones(6), np.zeros(shape, "float32"))
