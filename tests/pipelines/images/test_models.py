import keras
import numpy as np
import pytest

from pipelines.core.errors import UserError
from pipelines.engine.fit import set_backbone_trainable
from pipelines.images import pretrained
from pipelines.images.convnets import convnet, stages_for
from pipelines.images.predict import views


@pytest.mark.parametrize(("side", "stages"), [(8, (1, 2)), (28, (2, 2)), (32, (2, 3)), (64, (2, 4)), (224, (4, 4))])
def test_stages_follow_the_size(side, stages):
    assert stages_for(side) == stages


@pytest.mark.parametrize("shape", [(4, 4, 1), (8, 8, 1), (28, 20, 3), (100, 100, 3)])
def test_convnet_gives_logits_and_survives_saving(tmp_path, shape):
    model = convnet(shape, 5, width=8, depth=2, dropout=0.1, stochastic_depth=0.2)
    images = np.random.default_rng(0).integers(0, 255, (2, *shape)).astype("float32")
    logits = np.array(model(images))
    assert logits.shape == (2, 5)
    model.save(tmp_path / "m.keras")
    np.testing.assert_array_equal(np.array(keras.models.load_model(tmp_path / "m.keras")(images)), logits)


def test_precision_of_the_logits():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        assert convnet((8, 8, 1), 3, width=8, depth=1).output.dtype == "float32"
    finally:
        keras.config.set_dtype_policy("float32")


PREPROCESSING = {
    "MobileNetV2": "mobilenet_v2",
    "VGG16": "vgg16",
    "DenseNet121": "densenet",
    "ResNet50": "resnet",
    "ResNet50V2": "resnet_v2",
    "EfficientNetV2B0": "efficientnet_v2",
    "MobileNetV3Small": "mobilenet_v3",
    "InceptionV3": "inception_v3",
    "Xception": "xception",
    "NASNetMobile": "nasnet",
    "ConvNeXtTiny": "convnext",
}


@pytest.mark.parametrize("name", PREPROCESSING)
def test_preprocessing_is_that_of_keras_applications(name):
    images = np.random.default_rng(0).integers(0, 256, (2, 5, 5, 3)).astype("float32")
    module = getattr(keras.applications, PREPROCESSING[name])
    layer = pretrained._application_preprocessing(name)
    np.testing.assert_allclose(np.array(layer(images)), module.preprocess_input(images.copy()), atol=1e-4)


def test_application_on_grey_pictures(tmp_path):
    model = pretrained.build("applications:MobileNetV2", (32, 32, 1), 4, weights="none", dropout=0.1)
    assert model(np.zeros((1, 32, 32, 1))).shape == (1, 4)
    set_backbone_trainable(model, False)
    assert len(model.trainable_weights) == 2
    model.save(tmp_path / "m.keras")
    keras.models.load_model(tmp_path / "m.keras")


@pytest.mark.parametrize("pretrained_weights", [True, False])
def test_batch_statistics_of_a_pretraining_stay(pretrained_weights):
    model = pretrained.build("applications:MobileNetV2", (32, 32, 3), 4, weights="none", dropout=0.0)
    if pretrained_weights:
        set_backbone_trainable(model, True)
        assert len(model.trainable_weights) > 50
    moving = [v for v in model.variables if "moving_" in v.path]
    before = [keras.ops.convert_to_numpy(v).copy() for v in moving]
    model(np.random.default_rng(0).uniform(0, 255, (4, 32, 32, 3)).astype("float32"), training=True)
    same = [np.array_equal(keras.ops.convert_to_numpy(v), old) for v, old in zip(moving, before, strict=True)]
    assert all(same) if pretrained_weights else not any(same)


def test_a_picture_too_small_for_the_model_is_told_how_to_grow():
    with pytest.raises(UserError, match=r"at least .*--data\.size"):
        pretrained.build("applications:InceptionV3", (32, 32, 3), 4, weights="none", dropout=0.0)


def test_kerashub_preset_from_a_folder(resnet_preset):
    folder, backbone = resnet_preset
    model = pretrained.build(f"kerashub:{folder}", (32, 32, 3), 4, weights="imagenet", dropout=0)
    inner = model.get_layer("backbone")
    for ours, theirs in zip(inner.get_weights(), backbone.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert model(np.zeros((1, 32, 32, 3))).shape == (1, 4)


@pytest.mark.parametrize(
    ("builder", "message"),
    [
        ("applications:ResNet51", "did you mean applications:ResNet50"),
        ("applications:VGG16", "could not be had|input"),
        ("kerashub:nothing_here", "could not be had"),
    ],
)
def test_models_that_cannot_be_had(builder, message, monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(keras.utils, "get_file", _no_network)
    monkeypatch.setattr("keras.src.utils.file_utils.get_file", _no_network)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match=message):
        pretrained.build(builder, (16, 16, 3), 4, weights="imagenet", dropout=0)


def _no_network(*args, **kwargs):
    raise OSError("no network")


def test_views_are_mirrored_and_shifted():
    images = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4, 1)
    assert [w for _, w in views(images, None)] == [1.0]
    got = list(views(images, {"flip": True, "shift": True}))
    assert [w for _, w in got] == [1, 0.5, 0.5, 0.5, 0.5] * 2
    np.testing.assert_array_equal(got[5][0], images[:, :, ::-1])
    np.testing.assert_array_equal(got[1][0][:, 1:], images[:, :-1])
