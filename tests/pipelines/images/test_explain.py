import keras
import numpy as np
import pytest

from pipelines.images.convnets import convnet
from pipelines.images.explain import grad_cam, integrated_gradients


@pytest.mark.backend
def test_integrated_gradients_are_complete():
    keras.utils.set_random_seed(0)
    model = convnet((8, 8, 1), 3, width=8, depth=1)
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 1), dtype=np.uint8)
    classes = np.array([0, 2])
    maps = integrated_gradients(model, images, classes, steps=64)
    logits = keras.ops.convert_to_numpy(model(images.astype("float32"), training=False))
    black = keras.ops.convert_to_numpy(model(np.zeros_like(images, "float32"), training=False))
    expected = (logits - black)[np.arange(2), classes]
    np.testing.assert_allclose(maps.sum((1, 2)), expected, rtol=0.03, atol=0.01)


@pytest.mark.backend
@pytest.mark.filterwarnings("error:The structure of")
def test_grad_cam_finds_the_evidence():
    inputs = keras.Input((16, 16, 1))
    x = keras.layers.Conv2D(1, 3, padding="same", kernel_initializer="ones")(inputs)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Dense(2, kernel_initializer="ones")(x))
    images = np.zeros((1, 16, 16, 1), np.uint8)
    images[0, 2:5, 10:13] = 255
    heat = grad_cam(model, images, np.array([1]))
    assert np.unravel_index(heat[0].argmax(), (16, 16)) == (3, 11)
    assert heat[0, 10:].max() == 0


def test_models_without_feature_maps_are_refused():
    model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="Grad-CAM"):
        grad_cam(model, np.zeros((1, 4, 4, 1), np.uint8), np.array([0]))
