"""Encoders of keras.applications and models of KerasHub, with random weights and from local presets."""

import keras
import numpy as np
import pytest

from pipelines.core.errors import UserError
from pipelines.engine.calibration import calibrate
from pipelines.engine.fit import BACKBONE
from pipelines.segmentation import pretrained

hub = pytest.importorskip("keras_hub")


def build(builder, shape=(64, 64, 3), weights="none"):
    return pretrained.build(builder, shape, 5, weights=weights, width=8, dropout=0.1)


def logits_of(model, images):
    return keras.ops.convert_to_numpy(model(images, training=False))


def check(model, tmp_path, shape=(64, 64, 3)):
    """It gives a logit for each class and pixel, is saved, can be calibrated and has a backbone to freeze."""
    images = np.random.default_rng(0).integers(0, 255, (2, *shape)).astype("float32")
    logits = logits_of(model, images)
    assert logits.shape == (2, *shape[:2], 5)
    assert np.ptp(logits) > 0
    model.save(tmp_path / "m.keras")
    np.testing.assert_allclose(logits_of(keras.models.load_model(tmp_path / "m.keras"), images), logits, atol=1e-5)
    assert calibrate(model, 2.0)
    np.testing.assert_allclose(logits_of(model, images), logits / 2, atol=1e-5)
    assert model.get_layer(BACKBONE).weights


@pytest.mark.parametrize(("name", "shape"), [("MobileNetV2", (64, 64, 3)), ("ResNet50V2", (64, 96, 1))])
def test_encoders_of_applications(name, shape, tmp_path):
    check(build(f"applications:{name}", shape), tmp_path, shape)


def test_segformer_of_a_local_preset(tmp_path):
    """Its size is part of the preset: other images are resized to it, and the logits back."""
    encoder = hub.models.MiTBackbone(
        layerwise_num_heads=[1, 2], layerwise_sr_ratios=[4, 2], max_drop_path_rate=0.1, layerwise_patch_sizes=[7, 3],
        layerwise_strides=[4, 2], image_shape=(96, 96, 3), hidden_dims=[8, 16], num_layers=2,
        layerwise_depths=[1, 1],
    )  # fmt: skip
    backbone = hub.models.SegFormerBackbone(image_encoder=encoder, projection_filters=16)
    backbone.save_to_preset(tmp_path / "preset")
    model = build(f"kerashub:{tmp_path / 'preset'}", weights="pretrained")
    kept = model.get_layer(BACKBONE).get_weights()
    for ours, theirs in zip(kept, backbone.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    check(model, tmp_path)


def test_deeplab_of_a_local_preset(tmp_path):
    encoder = hub.models.ResNetBackbone(
        input_conv_filters=[64], input_conv_kernel_sizes=[7], stackwise_num_filters=[64, 64, 64, 64],
        stackwise_num_blocks=[1, 1, 1, 1], stackwise_num_strides=[1, 2, 2, 2], block_type="basic_block",
        image_shape=(64, 64, 3),
    )  # fmt: skip
    backbone = hub.models.DeepLabV3Backbone(
        image_encoder=encoder, low_level_feature_key="P2", spatial_pyramid_pooling_key="P5", dilation_rates=[2, 4],
        upsampling_size=8, image_shape=(64, 64, 3),
    )  # fmt: skip
    backbone.save_to_preset(tmp_path / "preset")
    check(build(f"kerashub:{tmp_path / 'preset'}", weights="pretrained"), tmp_path)


def test_a_classifier_of_kerashub_gets_a_decoder(resnet_preset, tmp_path):
    model = build(f"kerashub:{resnet_preset[0]}", weights="pretrained")
    assert any(isinstance(layer, keras.layers.Concatenate) for layer in model.layers)
    check(model, tmp_path)


@pytest.mark.parametrize(
    ("builder", "shape", "words"),
    [
        ("applications:ResNet51", (64, 64, 3), "did you mean applications:ResNet50"),
        ("kerashub:nowhere/at/all", (64, 64, 3), "could not be had"),
        ("applications:MobileNetV2", (64, 64, 6), "needs grey or colour images, not 6 channels"),
    ],
)
def test_errors_are_one_line(builder, shape, words, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match=words):
        build(builder, shape)
