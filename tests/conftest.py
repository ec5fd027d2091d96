"""Shared by all tests: a quiet backend, a folder of small images and a model of KerasHub in another."""

import gc
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
if "PYTEST_XDIST_WORKER" in os.environ:
    # The workers share the cores: threads of one operation would wait for each other.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"):
        os.environ.setdefault(name, "1")

import numpy as np
import pytest
from PIL import Image

gc.set_threshold(50_000, 20, 100)  # graphs are many lasting objects, which else are looked through again and again


@pytest.fixture(autouse=True, scope="session")
def quick_tensorflow():
    """Graphs run as they are traced, since the tests compile a lot and compute little (runs in processes of their own
    keep TensorFlow's rewriting of graphs); and a bare `fit` of arrays reads them without tf.data's automatic tuning,
    whose thread can hold up the end of an epoch for half a minute, however few the batches."""
    import keras

    if keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf
    from keras.src.trainers.data_adapters.array_data_adapter import ArrayDataAdapter

    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    tuned, options = ArrayDataAdapter.get_tf_dataset, tf.data.Options()
    options.autotune.enabled = False
    ArrayDataAdapter.get_tf_dataset = lambda adapter: tuned(adapter).with_options(options)
    yield
    ArrayDataAdapter.get_tf_dataset = tuned


@pytest.fixture(autouse=True)
def full_precision():
    """A run in half precision sets it for the whole process: the tests after it must not inherit that."""
    yield
    keras = sys.modules.get("keras")
    if keras is not None and keras.config.dtype_policy().name != "float32":
        keras.config.set_dtype_policy("float32")


@pytest.fixture(autouse=True, scope="module")
def forgotten_graphs():
    """TensorFlow registers the gradient of each `tf.custom_gradient` for good, and with it the graph of each model that
    was trained: gigabytes by the end, were they not taken from its registry."""
    yield
    ops = sys.modules.get("tensorflow.python.framework.ops")
    registered = getattr(getattr(ops, "gradient_registry", None), "_registry", {})
    for name in [name for name in registered if name.startswith("CustomGradient-")]:
        del registered[name]


@pytest.fixture
def photos(tmp_path):
    """photos/{cat,dog}/0..9.png, 12 x 12 colour; cats are bright, dogs are dark."""
    generator = np.random.default_rng(0)
    for name, level in (("cat", 180), ("dog", 20)):
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True)
        for i in range(10):
            pixels = generator.integers(level, level + 60, (12, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{i}.png")
    return tmp_path / "photos"


@pytest.fixture
def resnet_preset(tmp_path):
    """A folder with a small ResNet of KerasHub and how it scales images; and the ResNet."""
    keras_hub = pytest.importorskip("keras_hub")
    backbone = keras_hub.models.ResNetBackbone(
        input_conv_filters=[64], input_conv_kernel_sizes=[3], stackwise_num_filters=[64, 128],
        stackwise_num_blocks=[1, 1], stackwise_num_strides=[1, 2], block_type="basic_block",
    )  # fmt: skip
    backbone.save_to_preset(tmp_path / "preset")
    keras_hub.layers.ResNetImageConverter(scale=1 / 255).save_to_preset(tmp_path / "preset")
    return tmp_path / "preset", backbone
