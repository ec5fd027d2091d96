import subprocess
import sys

import keras
import numpy as np
import pytest

from optimizers import registry

X = np.random.default_rng(0).normal(size=(64, 6)).astype("float32")
Y = X @ np.arange(6, dtype="float32")[:, None] / 6


def model():
    keras.utils.set_random_seed(0)
    layers = keras.layers
    return keras.Sequential([keras.Input((6,)), layers.Dense(8, "relu"), layers.LayerNormalization(), layers.Dense(1)])


@pytest.mark.backend
@pytest.mark.parametrize("name", registry.names())
def test_every_optimizer_learns_with_its_defaults(name):
    net = model()
    net.compile(registry.get(name, model=net), "mse")
    first = net.evaluate(X, Y, verbose=0)
    net.fit(X, Y, epochs=15, batch_size=16, verbose=0)
    assert net.evaluate(X, Y, verbose=0) < first


@pytest.mark.parametrize("name", registry.names())
def test_config_round_trip(name):
    optimizer = registry.get(name, learning_rate=0.01)
    again = type(optimizer).from_config(optimizer.get_config())
    assert again.get_config() == optimizer.get_config()


@pytest.mark.parametrize("name", registry.names())
def test_the_slots_of_a_record_are_what_the_optimizer_keeps(name):
    optimizer = registry.get(name)
    optimizer.build([keras.Variable(np.zeros((32, 32), "float32"), name="kernel")])
    kept = sum(int(np.prod(v.shape)) for v in optimizer.variables) / 32**2
    matrices = 4 if name in ("shampoo", "soap") else 0  # two for each side, as large as the kernel
    assert kept == pytest.approx(registry.record(name).slots + matrices, abs=0.1)


def test_decay_spares_vectors():
    net = model()
    optimizer = registry.get("adamw", learning_rate=0.1, weight_decay=0.5, model=net)
    before = [np.array(w) for w in net.get_weights()]
    optimizer.build(net.trainable_variables)
    zeros = [keras.ops.zeros_like(v) for v in net.trainable_variables]
    optimizer.apply(zeros, net.trainable_variables)
    for old, new in zip(before, net.get_weights(), strict=True):
        np.testing.assert_allclose(new, old * (0.95 if old.ndim > 1 else 1), rtol=1e-6)


@pytest.mark.backend
@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((name, {}) for name in ("adamw", "nesterov", "muon", "conv-muon", "radam", "soap", "lars", "prodigy")),
        *((name, {}) for name in ("momentum-sam", "schedule-free", "cautious-adamw", "ranger", "adafactor")),
        ("adamw", {"rates": {"dense": 0.5}, "decays": {"kernel": 0.2}}),
        ("adamw", {"wrap": ["monitored"], "layer_decay": 0.5}),
    ],
)
def test_vectors_are_spared_also_after_loading(tmp_path, name, options):
    net = model()
    options |= {"initial_distance": 0.1} if name == "prodigy" else {}
    options |= {"adam_weight_decay": 0.5} if name.endswith("muon") else {}
    net.compile(registry.get(name, weight_decay=0.5, learning_rate=0.1, model=net, **options), "mse")
    net.set_weights([w + 0.5 for w in net.get_weights()])
    started = net.get_weights()

    def step(of, gradients):
        of.optimizer.apply([keras.ops.convert_to_tensor(g) for g in gradients], of.trainable_variables)
        return of.get_weights()

    # Without a gradient nothing but decay moves a weight.
    still = [np.zeros(v.shape, "float32") for v in net.trainable_variables]
    step(net, still)
    step(net, still)
    net.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    assert type(again.optimizer) is type(net.optimizer)
    for old, new in zip(started, step(again, still), strict=True):
        assert (old.ndim > 1) == (not np.allclose(old, new, rtol=1e-5))
    step(net, still)
    draw = np.random.default_rng(0)
    noise = [draw.normal(size=v.shape).astype("float32") for v in net.trainable_variables]
    for a, b in zip(step(net, noise), step(again, noise), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.backend
def test_a_group_of_vectors_alone_has_no_decay():
    net = model()
    optimizer = registry.get("adamw", learning_rate=0.1, model=net, rates={"bias": 0.5})
    optimizer.build(net.trainable_variables)
    optimizer.apply([keras.ops.zeros(v.shape) for v in net.trainable_variables], net.trainable_variables)


def test_sparing_optimizers_are_as_quick():
    # PyTorch's Adam updates all weights in one call.
    assert isinstance(registry.get("adamw", model=model()), type(registry.get("adamw")))


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("adamm", {}, "did you mean adam"),
        ("adam", {"beta1": 0.9}, "did you mean beta_1"),
        ("sgd", {"zzz": 1}, "it has"),
    ],
)
def test_unknown_names_are_explained(name, settings, message):
    with pytest.raises(ValueError, match=message):
        registry.get(name, **settings)


def test_listing_imports_no_keras():
    code = "import runpy, sys; runpy.run_module('optimizers', run_name='__main__'); assert 'keras' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert all(name in done.stdout for name in registry.names())
