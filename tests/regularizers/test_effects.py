"""What each penalty is for, shown on a trained network."""

import keras
import numpy as np
import pytest
from keras import ops

import regularizers


def data():
    """200 samples, 10 inputs, 3 classes that depend on two of the inputs; a fifth of the labels is wrong."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(200, 10)).astype("float32")
    labels = (x[:, 0] > 0).astype(int) + (x[:, 1] > 0)
    labels = np.where(generator.random(200) < 0.2, generator.integers(0, 3, 200), labels)
    return x, np.eye(3, dtype="float32")[labels]


def trained(name=None, strength=None, *, dropout=0.0, epochs=40, **settings):
    keras.utils.set_random_seed(0)
    layers = keras.layers
    hidden = [layers.Dense(24, activation="relu"), layers.Dropout(dropout), layers.Dense(3)]
    model = keras.Sequential([keras.Input((10,)), *hidden])
    if name is not None:
        regularizers.apply(model, name, strength, **settings)
    model.compile(keras.optimizers.Adam(0.01), keras.losses.CategoricalCrossentropy(from_logits=True))
    x, y = data()
    model.fit(x, y, epochs=epochs, batch_size=50, verbose=0)
    return model


@pytest.fixture(scope="module")
def plain():
    return trained()


def first_kernel(model):
    return model.get_weights()[0]


def accuracy(model):
    x, y = data()
    return (model.predict(x, verbose=0).argmax(1) == y.argmax(1)).mean()


def log_probabilities(model):
    z = model.predict(data()[0], verbose=0).astype("float64")
    return z - np.log(np.exp(z).sum(1, keepdims=True))


def test_group_lasso_empties_whole_neurons(plain):
    model = trained("group-lasso", 8e-3)
    norms, before = (np.linalg.norm(first_kernel(m), axis=0) for m in (model, plain))
    assert (before < 0.1).sum() == 0
    # Without a proximal step the empty ones hover near zero: ten times below the smallest one of the plain network.
    assert (norms < 0.1 * before.min()).sum() >= 6
    assert norms.max() > 0.5
    assert accuracy(model) > 0.7


@pytest.mark.parametrize(
    ("name", "strength"), [("l1", 3e-3), ("elastic", 3e-3), ("hoyer", 0.05), ("hoyer-square", 1e-3)]
)
def test_sparse_penalties_leave_few_weights(plain, name, strength):
    def near_zero(model):
        w = np.abs(first_kernel(model))
        return (w < 0.05 * w.max()).mean()

    assert near_zero(trained(name, strength)) > near_zero(plain) + 0.25


@pytest.mark.parametrize("name", ["orthogonal", "srip"])
def test_orthogonal_filters(plain, name):
    def deviation(model):
        w = first_kernel(model)  # 10 inputs, 24 neurons
        return np.linalg.norm(w @ w.T - np.eye(10), 2)

    assert deviation(trained(name, 0.1)) < 0.2 * deviation(plain)


def test_spectral_norm_shrinks(plain):
    norms = [np.linalg.norm(first_kernel(m), 2) for m in (trained("spectral", 0.1), plain)]
    assert norms[0] < 0.6 * norms[1]


def test_features_decorrelate(plain):
    def correlation(model):
        w, b = model.get_weights()[:2]
        features = np.maximum(data()[0] @ w + b, 0)
        features = features[:, features.std(0) > 1e-3]
        table = np.corrcoef(features, rowvar=False)
        return np.abs(table[~np.eye(len(table), dtype=bool)]).mean()

    assert correlation(trained("decorrelation", 0.5)) < 0.75 * correlation(plain)


@pytest.mark.backend
def test_jacobian_shrinks(plain):
    def norm(model):
        w1, b1, w2, _ = model.get_weights()
        active = data()[0] @ w1 + b1 > 0
        return (np.einsum("ih,bh,hk->bik", w1, active, w2) ** 2).sum((1, 2)).mean()

    assert norm(trained("jacobian", 0.1)) < 0.3 * norm(plain)


@pytest.mark.backend
def test_gradient_of_the_loss_shrinks(plain):
    def norm(model):
        w1, b1, w2, _ = model.get_weights()
        x, y = data()
        errors = np.exp(log_probabilities(model)) - y
        return ((((errors @ w2.T) * (x @ w1 + b1 > 0)) @ w1.T) ** 2).sum(1).mean()

    assert norm(trained("input-gradient", 1.0)) < 0.5 * norm(plain)


@pytest.mark.backend
def test_predictions_are_less_confident(plain):
    def entropy(model):
        log_p = log_probabilities(model)
        return -(np.exp(log_p) * log_p).sum(1).mean()

    assert entropy(trained("confidence", 0.6)) > 1.4 * entropy(plain)


@pytest.mark.backend
def test_two_draws_of_dropout_agree():
    def disagreement(model):
        x = ops.convert_to_tensor(data()[0])
        p, q = (ops.convert_to_numpy(ops.softmax(model(x, training=True))).astype("float64") for _ in "ab")
        return ((p - q) * np.log((p + 1e-9) / (q + 1e-9))).sum(1).mean()

    assert disagreement(trained("r-drop", 2.0, dropout=0.5)) < 0.4 * disagreement(trained(dropout=0.5))


def test_l2_shrinks_what_is_trained(plain):
    assert (first_kernel(trained("l2", 0.01)) ** 2).sum() < 0.7 * (first_kernel(plain) ** 2).sum()


def test_elastic_net_shares_what_l1_gives_to_one():
    """Two equal inputs: L1 alone does not care how their weight is shared; with L2 both get the same half."""
    x = np.random.default_rng(0).normal(size=(100, 1)).astype("float32")

    def weights(name):
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False)])
        model.set_weights([np.array([[1.5], [0.1]])])
        regularizers.apply(model, name, 0.1)
        model.compile(keras.optimizers.SGD(0.2), "mse")
        steps = np.tile(x, (220, 1))  # all of the data in each of 220 steps
        model.fit(np.concatenate([steps, steps], axis=1), 2 * steps, batch_size=100, shuffle=False, verbose=0)
        return model.get_weights()[0][:, 0]

    elastic, l1 = weights("elastic"), weights("l1")
    assert elastic[0] == pytest.approx(elastic[1], abs=1e-3)
    assert l1[0] - l1[1] > 1
    # By hand: with s the sum of the two and v the mean square of x, 2 v (s - 2) + 0.1 + 0.1 s = 0.
    v = float((x**2).mean())
    assert elastic.sum() == pytest.approx((4 * v - 0.1) / (2 * v + 0.1), rel=1e-3)
