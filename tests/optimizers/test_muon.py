import keras
import numpy as np
import pytest

from optimizers import registry
from optimizers.muon import ConvMuon


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


@pytest.mark.parametrize("name", ["muon", "conv-muon"])
def test_the_output_of_a_given_model_is_left_to_adam(name):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8), keras.layers.Dense(8), keras.layers.Dense(1)])
    optimizer = registry.get(name, model=model)
    left = [optimizer._should_use_adamw(layer.kernel) for layer in model.layers]
    assert left == [False, False, True]
    assert not registry.get(name, model=model, exclude_layers=[])._should_use_adamw(model.layers[-1].kernel)
