"""Penalties in the training step: one step of gradient descent against differences of an objective in NumPy."""

import keras
import numpy as np
import pytest
from gradients import central_differences
from keras import ops

import regularizers

pytestmark = pytest.mark.backend
STRENGTH = 0.7
STEP_PENALTIES = ["confidence", "jacobian", "input-gradient", "r-drop"]


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def network(outputs, noise=None, activation=None):
    """5 -> 4 tanh -> outputs, with biases that are not zero."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    parts = [layers.Dense(4, activation="tanh", bias_initializer="random_normal")]
    if noise is not None:
        parts.append(noise)
    parts.append(layers.Dense(outputs, bias_initializer="random_normal", activation=activation))
    return keras.Sequential([keras.Input((5,)), *parts])


def forward(parameters, x, mask=1.0):
    w1, b1, w2, b2 = parameters
    h = np.tanh(x @ w1 + b1)
    return h, (h * mask) @ w2 + b2


def batch(outputs, scale=1.0):
    generator = np.random.default_rng(1)
    x = generator.normal(size=(6, 5)) * scale
    y = np.eye(max(outputs, 2))[generator.integers(0, max(outputs, 2), 6)][:, :outputs]
    return x.astype("float32"), y.astype("float32"), generator.random(6).astype("float32")


def cross_entropy(z, y):
    return -(y * np.log(softmax(z))).sum(1)


def confidence(parameters, x, y, w):
    _, z = forward(parameters, x)
    p = softmax(z)
    return (w * (cross_entropy(z, y) + STRENGTH * (p * np.log(p)).sum(1))).mean()


def jacobian(parameters, x, y, w):
    """For one output, where a projection is the Jacobian itself."""
    h, z = forward(parameters, x)
    j = ((1 - h**2) * parameters[2][:, 0]) @ parameters[0].T
    squares = x.var() * (j**2).sum(1)
    return (w * ((z[:, 0] - y[:, 0]) ** 2 + STRENGTH / 2 * squares)).mean()


def input_gradient(parameters, x, y, w):
    h, z = forward(parameters, x)
    g = (((softmax(z) - y) @ parameters[2].T) * (1 - h**2)) @ parameters[0].T
    return (w * (cross_entropy(z, y) + STRENGTH / 2 * x.var() * (g**2).sum(1))).mean()


CASES = {
    "confidence": (3, "crossentropy", confidence),
    "jacobian": (1, "mse", jacobian),
    "input-gradient": (3, "crossentropy", input_gradient),
}


def loss_of(kind):
    return keras.losses.CategoricalCrossentropy(from_logits=True) if kind == "crossentropy" else "mse"


def one_step(model, penalty, loss, x, y, w):
    """(loss of the step, parameters before, their gradients by the step of plain gradient descent)."""
    regularizers.apply(model, penalty)
    model.compile(keras.optimizers.SGD(1.0), loss)
    before = [np.array(a, "float64") for a in model.get_weights()[:4]]
    value = float(model.train_on_batch(x, y, sample_weight=w))
    after = model.get_weights()[:4]
    return value, before, [b - a for b, a in zip(before, after, strict=True)]


@pytest.mark.parametrize("name", CASES)
def test_loss_and_gradient_of_a_step(name):
    outputs, kind, objective = CASES[name]
    x, y, w = batch(outputs, scale=3.0)
    value, before, gradients = one_step(network(outputs), regularizers.get(name, STRENGTH), loss_of(kind), x, y, w)
    assert value == pytest.approx(objective(before, x, y, w), rel=1e-4)
    for i, gradient in enumerate(gradients):

        def at(array, i=i):
            return objective([*before[:i], array, *before[i + 1 :]], x, y, w)

        np.testing.assert_allclose(gradient, central_differences(at, before[i]), rtol=2e-3, atol=2e-5)


@keras.saving.register_keras_serializable(package="test")
class Noise(keras.layers.Layer):
    """Multiplies with uniform numbers from a generator of its own; unlike dropout it can be drawn again outside."""

    def __init__(self, seed, **kwargs):
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs, training=None):
        if not training:
            return inputs
        return inputs * keras.random.uniform(ops.shape(inputs), 0.5, 1.5, seed=self.seed_generator)


def test_r_drop_step_is_that_of_the_paper_and_draws_anew_each_pass():
    x, y, w = batch(3)
    model = network(3, Noise(7))
    generator = keras.random.SeedGenerator(7)
    masks = [
        ops.convert_to_numpy(keras.random.uniform((6, 4), 0.5, 1.5, seed=generator)).astype("float64") for _ in "abcd"
    ]

    def objective(parameters, first, second):
        z = [forward(parameters, x, mask)[1] for mask in (first, second)]
        p, q = softmax(z[0]), softmax(z[1])
        apart = ((p * np.log(p / q)).sum(1) + (q * np.log(q / p)).sum(1)) / 2
        return (w * ((cross_entropy(z[0], y) + cross_entropy(z[1], y)) / 2 + STRENGTH * apart)).mean()

    value, before, gradients = one_step(model, regularizers.RDrop(STRENGTH), loss_of("crossentropy"), x, y, w)
    assert value == pytest.approx(objective(before, *masks[:2]), rel=1e-5)
    for i, gradient in enumerate(gradients):

        def at(array, i=i):
            return objective([*before[:i], array, *before[i + 1 :]], *masks[:2])

        np.testing.assert_allclose(gradient, central_differences(at, before[i]), rtol=1e-3, atol=1e-5)
    now = model.get_weights()[:4]
    model.reset_metrics()
    value = float(model.train_on_batch(x, y, sample_weight=w))
    assert value == pytest.approx(objective([np.array(a, "float64") for a in now], *masks[2:]), rel=1e-5)


def test_projections_estimate_the_norm_of_the_whole_jacobian():
    x, y, w = batch(3)
    model = network(3)
    h, z = forward([np.array(a, "float64") for a in model.get_weights()], x)
    w1, _, w2, _ = model.get_weights()
    j = np.einsum("ih,bh,hk->bik", w1, 1 - h**2, w2)
    expected = (w * (cross_entropy(z, y) + STRENGTH / 2 * (j**2).sum((1, 2)))).mean()
    penalty = regularizers.Jacobian(STRENGTH, projections=24, standardize=False, seed=0)
    value, _, _ = one_step(model, penalty, loss_of("crossentropy"), x, y, w)
    assert value == pytest.approx(expected, rel=0.05)


def test_each_step_draws_other_projections():
    x, y, w = batch(3)
    model = network(3)
    regularizers.apply(model, regularizers.Jacobian(1.0, seed=0))
    model.compile(keras.optimizers.SGD(0.0), loss_of("crossentropy"))
    values = set()
    for _ in range(4):
        model.reset_metrics()
        values.add(float(model.train_on_batch(x, y, sample_weight=w)))
    assert len(values) == 4


@pytest.mark.parametrize(
    ("activation", "outputs", "loss"),
    [
        ("softmax", 3, keras.losses.CategoricalCrossentropy()),
        ("sigmoid", 1, "binary_crossentropy"),
        (None, 1, keras.losses.BinaryCrossentropy(from_logits=True)),
        ("sigmoid", 3, "binary_crossentropy"),
        (None, 3, keras.losses.BinaryFocalCrossentropy(from_logits=True)),
    ],
)
def test_confidence_and_r_drop_see_what_the_outputs_are(activation, outputs, loss):
    x, y, w = batch(3)
    y = y[:, :outputs]
    models = [network(outputs, Noise(7), activation=activation) for _ in range(2)]
    generator = keras.random.SeedGenerator(7)
    masks = [
        ops.convert_to_numpy(keras.random.uniform((6, 4), 0.5, 1.5, seed=generator)).astype("float64") for _ in "ab"
    ]

    def probabilities(mask):
        """(6, classes), or (6, labels, 2)."""
        _, z = forward([np.array(a, "float64") for a in models[0].get_weights()], x, mask)
        return softmax(z) if activation == "softmax" else softmax(np.stack([0 * z, z], -1))

    p, q = probabilities(masks[0]), probabilities(masks[1])
    entropy, apart = -(p * np.log(p)).sum(-1), ((p - q) * np.log(p / q)).sum(-1) / 2
    if p.ndim == 3:
        entropy, apart = entropy.mean(1), apart.mean(1)
    plain = []
    for mask in masks:
        out = probabilities(mask)
        out = out[..., 1] if out.ndim == 3 else out
        of_probabilities = type(loss)() if isinstance(loss, keras.losses.Loss) else keras.losses.BinaryCrossentropy()
        plain.append(float(of_probabilities(y, out.astype("float32"), w)))
    value, _, _ = one_step(models[0], regularizers.Confidence(STRENGTH), loss, x, y, w)
    assert value == pytest.approx(plain[0] - STRENGTH * (w * entropy).mean(), rel=1e-4)
    value, _, _ = one_step(models[1], regularizers.RDrop(STRENGTH), loss, x, y, w)
    assert value == pytest.approx(np.mean(plain) + STRENGTH * (w * apart).mean(), rel=1e-4)


def test_evaluation_has_no_step_penalty_and_the_saved_model_is_plain(tmp_path):
    x, y, w = batch(3)
    model = network(3, keras.layers.Dropout(0.5))
    model.compile("sgd", loss_of("crossentropy"))
    plain, variables = float(model.evaluate(x, y, sample_weight=w, verbose=0)), len(model.variables)
    for name in STEP_PENALTIES:
        regularizers.apply(model, name)
    model.compile("sgd", loss_of("crossentropy"))
    assert float(model.evaluate(x, y, sample_weight=w, verbose=0)) == pytest.approx(plain, rel=1e-6)
    model.fit(x, y, sample_weight=w, verbose=0)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    assert type(again) is keras.Sequential
    assert len(again.variables) == variables
    assert "compute_loss" not in vars(again)
    np.testing.assert_allclose(again.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-5, atol=1e-6)


def test_penalties_add_up_and_one_of_the_same_class_is_replaced():
    x, y, w = batch(3)
    model = network(3)
    regularizers.apply(model, "l2", 0.1)
    regularizers.apply(model, "confidence", 100.0)
    regularizers.apply(model, "input-gradient", STRENGTH)
    value, before, _ = one_step(model, regularizers.Confidence(STRENGTH), loss_of("crossentropy"), x, y, w)
    _, z = forward(before, x)
    plain = (w * cross_entropy(z, y)).mean()
    expected = confidence(before, x, y, w) + input_gradient(before, x, y, w) - plain
    expected += 0.1 * sum((before[i] ** 2).sum() for i in (0, 2))
    assert value == pytest.approx(expected, rel=1e-4)


def test_batch_statistics_see_a_batch_once():
    x, y, w = batch(3, scale=2.0)
    moved = []
    for name in ("none", *STEP_PENALTIES):
        keras.utils.set_random_seed(0)
        norm = keras.layers.BatchNormalization(momentum=0.5)
        model = keras.Sequential([keras.Input((5,)), norm, keras.layers.Dropout(0.5), keras.layers.Dense(3)])
        if name != "none":
            regularizers.apply(model, name)
        model.compile("sgd", loss_of("crossentropy"))
        model.train_on_batch(x, y, sample_weight=w)
        moved.append(ops.convert_to_numpy(norm.moving_mean))
    for mean in moved:
        np.testing.assert_allclose(mean, x.mean(0) / 2, rtol=1e-5, atol=1e-6)


def test_gradients_reach_the_inputs_of_floating_point_alone():
    numbers, kinds = keras.Input((3,), name="numbers"), keras.Input((1,), dtype="int32", name="kinds")
    embedded = keras.layers.Flatten()(keras.layers.Embedding(4, 2)(kinds))
    joined = keras.layers.Concatenate()([numbers, embedded])
    model = keras.Model({"numbers": numbers, "kinds": kinds}, keras.layers.Dense(1)(joined))
    kernel = next(v for v in model.get_weights() if v.shape == (5, 1))
    x = {"numbers": np.eye(3, dtype="float32"), "kinds": np.array([[0], [1], [2]])}
    target = ops.convert_to_numpy(model(x))
    regularizers.apply(model, regularizers.Jacobian(2.0, standardize=False))
    model.compile("sgd", "mse")
    assert float(model.train_on_batch(x, target)) == pytest.approx((kernel[:3] ** 2).sum(), rel=1e-4)


def test_pictures_in_bytes_have_gradients_in_units_of_their_deviation():
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (8, 4, 4, 1), dtype="uint8")
    losses = []
    for x, scale in ((images, 1.0), (images.astype("float32") / 255, 255.0)):
        keras.utils.set_random_seed(0)
        layers = [keras.layers.Rescaling(scale / 255), keras.layers.Flatten(), keras.layers.Dense(1)]
        model = keras.Sequential([keras.Input((4, 4, 1)), *layers])
        regularizers.apply(model, "jacobian", 1.0)
        model.compile("sgd", "mse")
        losses.append(float(model.train_on_batch(x, np.zeros((8, 1)))))
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def tokens_model():
    layers = [keras.layers.Embedding(5, 3), keras.layers.GlobalAveragePooling1D(), keras.layers.Dense(2)]
    return keras.Sequential([keras.Input((4,), dtype="int32"), *layers])


def test_tokens_weights_and_masks_count_as_in_the_loss():
    generator = np.random.default_rng(0)
    logits = keras.Sequential([keras.Input((4,)), keras.layers.Reshape((2, 2))])
    x = generator.normal(size=(3, 4)).astype("float32")
    weights = generator.random((3, 2)).astype("float32")
    p = softmax(x.reshape(3, 2, 2).astype("float64"))
    y = np.array([[0, 1], [1, 1], [0, 0]])
    each = -np.log(np.take_along_axis(p, y[..., None], -1))[..., 0] + STRENGTH * (p * np.log(p)).sum(-1)
    regularizers.apply(logits, "confidence", STRENGTH)
    logits.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    value = float(logits.test_on_batch(x, y, sample_weight=weights))
    assert value == pytest.approx((weights * (each - STRENGTH * (p * np.log(p)).sum(-1))).mean(), rel=1e-4)
    batch = regularizers.step.Batch(logits, x, y, ops.convert_to_tensor(logits(x)), weights, None)
    penalty = float(regularizers.Confidence(STRENGTH).penalty(batch))
    assert penalty == pytest.approx((weights * STRENGTH * (p * np.log(p)).sum(-1)).mean(), rel=1e-4)


class OwnStep(keras.Model):
    def train_step(self, *args):
        raise NotImplementedError


class OldLoss(keras.Sequential):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
        raise NotImplementedError


def own_step():
    inputs = keras.Input((3,))
    return OwnStep(inputs, keras.layers.Dense(2)(inputs))


@pytest.mark.parametrize(
    ("make", "name", "message"),
    [
        (own_step, "confidence", "OwnStep has a train_step of its own"),
        (lambda: OldLoss([keras.Input((3,)), keras.layers.Dense(2)]), "confidence", "OldLoss must take the argument"),
        (lambda: network(3), "r-drop", "needs a model with dropout"),
    ],
)
def test_models_that_cannot_have_it(make, name, message):
    with pytest.raises(ValueError, match=message):
        regularizers.apply(make(), name)


def two_outputs():
    inputs = keras.Input((3,))
    return keras.Model(inputs, [keras.layers.Dense(2)(inputs), keras.layers.Dense(2)(inputs)])


@pytest.mark.parametrize(
    ("make", "name", "message"),
    [
        (two_outputs, "confidence", "one output, this one has 2"),
        (two_outputs, "jacobian", "one output, this one has 2"),
        (tokens_model, "jacobian", "floating point"),
        (lambda: network(3), "confidence", "confidence needs a classifier, but the model's loss is mse"),
        (lambda: network(3, keras.layers.Dropout(0.5)), "r-drop", "r-drop needs a classifier"),
    ],
)
def test_batches_that_cannot_have_it(make, name, message):
    model = make()
    regularizers.apply(model, name)
    model.compile("sgd", "mse")
    shapes = [tuple(2 if d is None else d for d in t.shape) for t in (*model.inputs, *model.outputs)]
    x, *y = [np.zeros(shape, "int32" if model.inputs[0].dtype == "int32" else "float32") for shape in shapes]
    with pytest.raises(ValueError, match=message):
        model.train_on_batch(x, y if len(y) > 1 else y[0])


@pytest.mark.parametrize(("arguments", "message"), [((-1.0,), "strength"), ((1.0, 0), "projections")])
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        regularizers.Jacobian(*arguments)


@pytest.mark.parametrize("name", STEP_PENALTIES)
def test_configuration_goes_round(name):
    penalty = regularizers.get(name, 0.3)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(penalty))
    assert type(again) is type(penalty)
    assert again.get_config() == penalty.get_config()


@pytest.mark.parametrize(
    ("name", "policy"), [("jacobian", "mixed_bfloat16"), *((name, "mixed_float16") for name in STEP_PENALTIES)]
)
def test_mixed_precision_and_compiled_steps(name, policy):
    keras.utils.set_random_seed(0)
    generator = np.random.default_rng(0)
    layers = keras.layers
    body = [layers.Conv2D(8, 3, dtype=policy), layers.BatchNormalization(dtype=policy), layers.ReLU(dtype=policy)]
    head = [layers.Flatten(dtype=policy), layers.Dropout(0.3, dtype=policy), layers.Dense(3, dtype="float32")]
    model = keras.Sequential([keras.Input((6, 6, 1)), layers.Rescaling(1 / 255, dtype=policy), *body, *head])
    optimizer = keras.optimizers.SGD(0.05)
    if policy == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=2.0**8)
    regularizers.apply(model, name)
    jit = keras.backend.backend() != "torch"
    model.compile(optimizer, loss_of("crossentropy"), jit_compile=jit)
    before = model.get_weights()
    x = generator.integers(0, 256, (16, 6, 6, 1), dtype="uint8")
    y = np.eye(3, dtype="float32")[generator.integers(0, 3, 16)]
    history = model.fit(x, y, sample_weight=np.ones(16), batch_size=8, epochs=3, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    assert all((a != b).any() for a, b in zip(before, model.get_weights(), strict=True))
