"""Images of any size: by windows at the model's scale, or resized and back."""

import keras
import numpy as np
import pytest
from PIL import Image

from pipelines.layers import DepthToSpace, SpaceToDepth
from pipelines.segmentation import models
from pipelines.segmentation.predict import by_windows, of_source, starts, write_mask
from pipelines.segmentation.read import SegmentSpec

pytestmark = pytest.mark.backend


def threshold_model(side=16):
    """Class 1 where the red channel is above 127: what a window says does not depend on its place."""
    inputs = keras.Input((side, side, 3))
    x = keras.layers.Conv2D(2, 1, name="logits")(inputs)
    model = keras.Model(inputs, x)
    kernel = np.zeros((1, 1, 3, 2), "float32")
    kernel[0, 0, 0, 1] = 1
    model.get_layer("logits").set_weights([kernel, np.array([0, -127.5], "float32")])
    return model


READ = SegmentSpec(16, 16, 3)
SPEC = {"image": READ.to_json(), "windows": True, "overlap": 0.25, "classes": ["a", "b", "c"]}


@pytest.mark.parametrize(("size", "window", "overlap"), [(100, 16, 0.25), (16, 16, 0.5), (17, 16, 0.0), (5, 16, 0.2)])
def test_windows_cover_a_side(size, window, overlap):
    places = starts(size, window, overlap)
    covered = np.zeros(max(size, window), int)
    for place in places:
        covered[place : place + window] += 1
    assert covered.min() >= 1
    gaps = np.diff(places)
    assert (gaps <= np.ceil(window * (1 - overlap))).all()


@pytest.mark.parametrize("size", [(16, 16), (50, 37), (9, 40)])
def test_a_large_image_is_cut_into_windows_and_blended(size):
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    mask, confidence = by_windows(threshold_model(), pixels, READ, 0.25)
    np.testing.assert_array_equal(mask, pixels[..., 0] > 127)
    sure = 1 / (1 + np.exp(-np.abs(pixels[..., 0] - 127.5)))  # of each pixel: the model sees no other
    assert confidence == pytest.approx(sure.mean(), abs=1e-5)
    whole, again = of_source(threshold_model(), SPEC, Image.fromarray(pixels))
    np.testing.assert_array_equal(whole, mask)
    assert again == pytest.approx(confidence)


def test_an_image_of_another_scale_is_resized_and_back():
    pixels = np.zeros((64, 32, 3), np.uint8)
    pixels[:32] = 255
    mask, _ = of_source(threshold_model(), {**SPEC, "windows": False}, Image.fromarray(pixels))
    assert mask.shape == (64, 32)
    np.testing.assert_array_equal(mask[:30], 1)
    np.testing.assert_array_equal(mask[34:], 0)


def test_masks_are_written_with_a_palette(tmp_path):
    mask = np.array([[0, 1], [2, 1]], np.uint8)
    Image.new("RGB", (2, 2), (200, 200, 200)).save(tmp_path / "a.b.png")
    write_mask(mask, str(tmp_path / "a.b.png"), SPEC, tmp_path / "masks")
    drawn = np.asarray(Image.open(tmp_path / "masks" / "a.b_overlay.png"))
    assert (drawn[0, 0] == 200).all()  # background
    assert (drawn[0, 1] != 200).any()
    image = Image.open(tmp_path / "masks" / "a.b.png")
    assert image.mode == "P"
    np.testing.assert_array_equal(np.asarray(image), mask)
    assert len({image.convert("RGB").getpixel((x, y)) for x, y in ((0, 0), (1, 0), (0, 1))}) == 3


def test_depth_to_space_is_the_inverse():
    x = np.random.default_rng(0).normal(size=(2, 4, 6, 3)).astype("float32")
    deep = SpaceToDepth(2)(x)
    assert tuple(deep.shape) == (2, 2, 3, 12)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(DepthToSpace(2)(deep)), x)


@pytest.mark.parametrize("options", [{}, {"stride": 1, "depth": 2}, {"stride": 4, "depth": 1}])
def test_unet_keeps_odd_sizes_and_is_saved(options, tmp_path):
    model = models.unet((21, 30, 1), 4, width=4, **options)
    images = np.random.default_rng(0).integers(0, 255, (2, 21, 30, 1)).astype("float32")
    logits = keras.ops.convert_to_numpy(model(images, training=False))
    assert logits.shape == (2, 21, 30, 4)
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(loaded(images, training=False)), logits)
