import keras
import numpy as np
import pytest

from optimizers import registry
from optimizers.per_layer import layerwise_rates
from optimizers.wrapper import Wrapper


def make():
    keras.utils.set_random_seed(0)
    layers = keras.layers
    return keras.Sequential(
        [keras.Input((4,)), layers.Dense(4, name="first"), layers.Dense(4, name="second"), layers.Dense(2, name="last")]
    )


def step(optimizer, model):
    """The change of each kernel by one step with gradients of one."""
    before = [np.array(v) for v in model.trainable_variables]
    optimizer.apply([keras.ops.ones(v.shape) for v in model.trainable_variables], model.trainable_variables)
    after = [keras.ops.convert_to_numpy(v) for v in model.trainable_variables]
    return [a - b for a, b in zip(after, before, strict=True)]


@pytest.mark.backend
def test_rates_of_layers():
    model = make()
    changes = step(registry.get("sgd", learning_rate=0.1, rates={"first": 0.0, "second/kernel": 0.5}), model)
    for change, rate in zip(changes, (0, 0, 0.05, 0.1, 0.1, 0.1), strict=True):
        np.testing.assert_allclose(change, -rate, atol=1e-7)


def test_a_frozen_layer_has_no_decay_and_the_others_keep_theirs():
    model = make()
    before = [np.array(w) for w in model.get_weights()]
    optimizer = registry.get(
        "adamw", learning_rate=0.1, weight_decay=0.5, model=model, rates={"first": 0, "second": 0.5}
    )
    optimizer.build(model.trainable_variables)
    optimizer.apply([keras.ops.zeros(v.shape) for v in model.trainable_variables], model.trainable_variables)
    for old, new, kept in zip(before, model.get_weights(), (1, 1, 0.975, 1, 0.95, 1), strict=True):
        np.testing.assert_allclose(new, old * kept, rtol=1e-5)


def test_layerwise_decay_falls_towards_the_first_layer():
    model = make()
    assert list(layerwise_rates(model, 0.5).values()) == [0.25, 0.25, 0.5, 0.5, 1, 1]
    changes = step(registry.get("sgd", learning_rate=0.1, layer_decay=0.5, model=model), model)
    for change, rate in zip(changes, (0.025, 0.025, 0.05, 0.05, 0.1, 0.1), strict=True):
        np.testing.assert_allclose(change, -rate, atol=1e-7)


def test_frozen_layers_are_passed_over():
    model = make()
    model.layers[-2].trainable = False
    assert list(layerwise_rates(model, 0.5).values()) == [0.5, 0.5, 1, 1]
    optimizer = registry.get("sgd", learning_rate=0.1, layer_decay=0.5, model=model)
    optimizer.build(model.trainable_variables)


def test_its_configuration_survives():
    optimizer = registry.get(
        "adamw", rates={"first": 0.5}, wrap=["cautious", "lookahead"], gradient_accumulation_steps=2
    )
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(optimizer))
    assert again.get_config() == optimizer.get_config()
    assert again.gradient_accumulation_steps == 2
    inner = again.inner.inner
    assert isinstance(inner, Wrapper)
    assert inner.rates == {"first": 0.5}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rates": {"first": -1}}, "negative"), ({"rates": {"(": 1}}, "regular expression"),
        ({"layer_decay": 0.5}, "needs the model"), ({"wrap": ["nothing"]}, "unknown wrapper"),
        ({"wrap": ["schedule-free", "cautious"]}, "outermost"),
    ],
)  # fmt: skip
def test_what_cannot_be_put_together(options, words):
    with pytest.raises(ValueError, match=words):
        registry.get("sgd", **options)


def test_a_pattern_without_a_variable_and_an_optimizer_of_all_at_once():
    with pytest.raises(ValueError, match="matches no variable"):
        registry.get("sgd", rates={"frist": 0.5}).build(make().trainable_variables)
    with pytest.raises(ValueError, match="one rate for all"):
        registry.get("prodigy", rates={"first": 0.5})
