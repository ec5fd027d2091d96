import re
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from optimizers import registry
from optimizers.per_layer import PerLayer, layerwise_rates
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


@pytest.mark.backend
@pytest.mark.parametrize("name", ["adamw", "muon", "lars", "radam"])
def test_decays_of_layers(name):
    model = make()
    options = {"trust": 1.0} if name == "lars" else {}
    optimizer = registry.get(
        name, learning_rate=0.1, weight_decay=0.5, model=model, decays={"first": 0.0, "second": 2.0}, **options
    )
    optimizer.build(model.trainable_variables)
    before = [np.array(w) for w in model.get_weights()]
    optimizer.apply([keras.ops.zeros(v.shape) for v in model.trainable_variables], model.trainable_variables)
    # Muon leaves the last matrix to Adam, without decay; LARS divides the gradient, here the decay, by its norm.
    kept = {"lars": (1, 0.9, 0.9), "muon": (1, 0.8, 1)}.get(name, (1, 0.8, 0.95))
    for old, new, factor in zip(before, model.get_weights(), [x for k in kept for x in (k, 1)], strict=True):
        np.testing.assert_allclose(new, old * factor, rtol=1e-5)


def test_patterns_name_models_within_the_model_and_frozen_layers():
    model = small_bert()
    optimizer = registry.get("adamw", model=model, rates={"backbone": 0.1}, decays={"backbone/.*layer_0/": 0.0})
    optimizer.build(model.trainable_variables)
    for path, factor, decay in optimizer.found:
        assert factor == (1.0 if path.startswith("logits") else 0.1)
        assert decay == (0.0 if "layer_0" in path else None)
    model.get_layer("backbone").trainable = False
    registry.get("adamw", model=model, rates={"backbone": 0.1, "logits": 0.5}).build(model.trainable_variables)
    with pytest.raises(ValueError, match="'spine' matches no variable"):
        registry.get("adamw", model=model, rates={"spine": 0.1})


def factors(model, decay=0.5):
    """The one factor of each trainable variable, by its path."""
    rates = layerwise_rates(model, decay)
    found = {v.path: [rate for pattern, rate in rates.items() if re.search(pattern, v.path)] for v in model.variables}
    return {path: rate for path, (rate,) in ((p, r) for p, r in found.items() if r)}


def small_bert():
    """A classifier around a functional model around KerasHub's, as the text pipeline makes it."""
    keras_hub = pytest.importorskip("keras_hub")
    from pipelines.texts import models as text_models

    inner = keras_hub.models.BertBackbone(10, 2, 2, 8, 16, max_sequence_length=16)
    names = ("token_ids", "padding_mask", "segment_ids")
    plain = keras.Model([inner.input[name] for name in names], inner.output["sequence_output"])
    ids = keras.Input((None,), dtype="int32")
    backbone = keras.Model(ids, plain([ids, keras.ops.ones_like(ids), keras.ops.zeros_like(ids)]), name="backbone")
    return text_models.pretrained(SimpleNamespace(model=backbone, vocabulary=SimpleNamespace(pad=0)), 2)


def convnet(nested):
    layers = keras.layers
    body = [
        layers.Conv2D(4, 3, name="stem"), layers.BatchNormalization(name="stem_norm"), layers.ReLU(),
        keras.Sequential([layers.Conv2D(4, 3, name="conv_1"), layers.BatchNormalization(name="norm_1")]),
        layers.Conv2D(4, 3, name="conv_2"), layers.GlobalAveragePooling2D(),
    ]  # fmt: skip
    body = [keras.Sequential([keras.Input((16, 16, 3)), *body], name="backbone")] if nested else body
    return keras.Sequential([keras.Input((16, 16, 3)), *body, layers.Dense(2, name="logits")])


def flat_transformer():
    layers = keras.layers
    ids = keras.Input((6,), dtype="int32")
    x = layers.LayerNormalization(name="first_norm")(layers.Embedding(10, 8, name="tokens")(ids))
    x = layers.Dense(8, name="conv_1")(layers.MultiHeadAttention(2, 4, name="stem")(x, x))
    x = layers.Dense(8, name="conv_2")(layers.GlobalAveragePooling1D()(x))
    return keras.Model(ids, layers.Dense(2, name="logits")(x))


@pytest.mark.parametrize(
    ("build", "order"),
    [
        (small_bert, ["embeddings?(_layer_norm)?/", "transformer_layer_0/", "transformer_layer_1/", "logits/"]),
        (lambda: convnet(True), ["stem(_norm)?/", "(conv|norm)_1/", "conv_2/", "logits/"]),
        (lambda: convnet(False), ["stem(_norm)?/", "(conv|norm)_1/", "conv_2/", "logits/"]),
        (flat_transformer, ["(tokens|first_norm)/", "stem/", "conv_1/", "conv_2/", "logits/"]),
    ],
)
def test_layers_count_from_the_output_to_the_embeddings(build, order):
    # By hand, as in BEiT: each block half of the next, the embeddings together below the first.
    model = build()
    found = factors(model)
    assert set(found) == {v.path for v in model.trainable_variables}
    for path, factor in found.items():
        (place,) = [i for i, pattern in enumerate(order) if re.search(pattern, path)]
        assert factor == 0.5 ** (len(order) - 1 - place), path


def test_layerwise_decay_falls_towards_the_first_layer():
    model = make()
    changes = step(registry.get("sgd", learning_rate=0.1, layer_decay=0.5, model=model), model)
    for change, rate in zip(changes, (0.025, 0.025, 0.05, 0.05, 0.1, 0.1), strict=True):
        np.testing.assert_allclose(change, -rate, atol=1e-7)


def test_frozen_layers_are_passed_over():
    model = make()
    model.layers[-2].trainable = False
    assert list(factors(model).values()) == [0.5, 0.5, 1, 1]
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
        ({"wrap": ["schedule-free", "cautious"]}, "outermost"), ({"decays": {"first": -1}}, "negative"),
        ({"layer_decay": 0.0, "model": keras.Sequential()}, "above 0"),
    ],
)  # fmt: skip
def test_what_cannot_be_put_together(options, words):
    with pytest.raises(ValueError, match=words):
        registry.get("sgd", **options)


def test_a_pattern_without_a_variable_and_an_optimizer_of_all_at_once():
    with pytest.raises(ValueError, match="Lookahead around PerLayer"):
        PerLayer(registry.get("sgd", wrap=["lookahead"]))
    with pytest.raises(ValueError, match="matches no variable"):
        registry.get("sgd", rates={"frist": 0.5}).build(make().trainable_variables)
    with pytest.raises(ValueError, match="one rate for all"):
        registry.get("prodigy", rates={"first": 0.5})
