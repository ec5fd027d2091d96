import keras
import numpy as np
import pytest

from optimizers import registry
from optimizers.muon import ConvMuon, output_kernels


@pytest.mark.backend
@pytest.mark.parametrize("shape", [(16, 8), (3, 3, 8, 16), (1, 1, 32, 4)])
def test_the_step_is_the_nearest_orthogonal_matrix(shape):
    generator = np.random.default_rng(0)
    variable = keras.Variable(np.zeros(shape, "float32"), name="kernel")
    # No momentum, many iterations: the singular values of the update come near one.
    optimizer = ConvMuon(1.0, weight_decay=None, momentum=0.0, nesterov=False, rms_rate=None, ns_steps=5)
    optimizer.build([variable])
    gradient = generator.normal(size=shape).astype("float32")
    optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
    step = -keras.ops.convert_to_numpy(variable).reshape(-1, shape[-1])
    u, _, vt = np.linalg.svd(gradient.reshape(-1, shape[-1]), full_matrices=False)
    singular = np.linalg.svd(step, compute_uv=False)
    assert singular.min() > 0.6
    assert singular.max() < 1.3
    # The quintic iteration keeps the singular vectors.
    aligned = u.T @ step @ vt.T
    assert np.abs(aligned - np.diag(np.diag(aligned))).max() < 1e-4


def test_vectors_and_the_last_layer_are_left_to_adam():
    optimizer = ConvMuon()
    kernel = keras.layers.Dense(3, name="logits")
    kernel.build((None, 4))
    assert optimizer._should_use_adamw(kernel.kernel)
    assert optimizer._should_use_adamw(keras.Variable(np.zeros(3)))
    assert not optimizer._should_use_adamw(keras.Variable(np.zeros((3, 3, 2, 2))))


@pytest.mark.backend
def test_kernels_are_matrices_from_inputs_to_outputs():
    attention = keras.layers.MultiHeadAttention(2, 3, name="attention")
    attention.build((None, 5, 8), (None, 5, 8))
    optimizer = ConvMuon(1.0, weight_decay=None, momentum=0.0, nesterov=False, rms_rate=None)
    variables = attention.trainable_variables
    before = [keras.ops.convert_to_numpy(v) for v in variables]
    optimizer.build(variables)
    generator = np.random.default_rng(0)
    gradients = [generator.normal(size=v.shape).astype("float32") for v in variables]
    optimizer.apply([keras.ops.convert_to_tensor(g) for g in gradients], variables)
    shapes = {"query": (8, 6), "key": (8, 6), "value": (8, 6), "attention_output": (6, 8)}
    seen = set()
    for variable, old in zip(variables, before, strict=True):
        owner = variable.path.split("/")[-2]
        if variable.name == "kernel":
            step = (keras.ops.convert_to_numpy(variable) - old).reshape(shapes[owner])
            singular = np.linalg.svd(step, compute_uv=False)
            assert singular.min() > 0.6, variable.path
            assert singular.max() < 1.3, variable.path
            seen.add(owner)
    assert seen == set(shapes)


@pytest.mark.parametrize("name", ["muon", "conv-muon"])
def test_the_outputs_of_a_given_model_are_left_to_adam(name):
    x = keras.Input((4,))
    hidden = keras.layers.Dense(8, name="hidden")
    shared = keras.layers.Activation("relu")(hidden(x))
    heads = [keras.layers.Dense(3, name=f"head_{i}") for i in range(2)]
    model = keras.Model(x, [keras.layers.Softmax()(head(shared)) for head in heads])
    optimizer = registry.get(name, model=model)
    assert [optimizer._should_use_adamw(layer.kernel) for layer in (hidden, *heads)] == [False, True, True]
    assert not registry.get(name, model=model, exclude_layers=[])._should_use_adamw(heads[0].kernel)


@pytest.mark.parametrize("outer", [True, False])
def test_the_output_of_other_models(outer):
    flat = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(4, 3), keras.layers.Conv2D(2, 3)])
    model = keras.Sequential([keras.Input((8, 8, 1)), flat]) if outer else flat
    assert output_kernels(model) == [flat.layers[-1].kernel.path]


def test_the_output_of_a_subclass():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.one, self.two = keras.layers.Dense(3), keras.layers.Dense(2)

        def call(self, x):
            return self.two(self.one(x))

    model = Own()
    model(np.zeros((1, 4), "float32"))
    assert output_kernels(model) == [model.two.kernel.path]
