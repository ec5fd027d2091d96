"""Augmentation moves image and mask alike, and depends on its seed alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.segmentation.augment import augment_batch
from pipelines.segmentation.config import SegmentAugmentConfig


def marked(draw, side=16):
    """Images whose pixels hold the class number in their brightness."""
    masks = np.zeros((4, side, side), np.uint8)
    for mask in masks:
        top, left = draw.integers(0, side - 6, 2)
        mask[top : top + 6, left : left + 5] = draw.integers(1, 5)
    return np.repeat(masks[..., None] * 50, 3, -1), masks


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**30), flip=st.booleans(), turn=st.booleans(), scale=st.sampled_from([0.5, 0.8, 1.0]))
def test_image_and_mask_stay_together(seed, flip, turn, scale):
    images, masks = marked(np.random.default_rng(seed))
    config = SegmentAugmentConfig(flip=flip, turn=turn, scale=scale, colour=0.0)
    moved, numbers = (np.asarray(x) for x in augment_batch(images, masks, np.array([seed, 1], np.int32), config))
    assert moved.shape == images.shape
    assert set(np.unique(numbers)) <= set(np.unique(masks))
    seen = np.rint(moved[..., 0] / 50)
    whole = np.abs(moved[..., 0] - 50 * seen) < 1  # between two classes a pixel of the image is a mixture
    assert whole.mean() > 0.5
    assert (seen[whole] == numbers[whole]).mean() > (0.999 if scale == 1 else 0.97)
    if scale == 1:
        assert [np.bincount(m.ravel(), minlength=6).tolist() for m in numbers] == [
            np.bincount(m.ravel(), minlength=6).tolist() for m in masks
        ]
    again, same = (np.asarray(x) for x in augment_batch(images, masks, np.array([seed, 1], np.int32), config))
    np.testing.assert_array_equal(again, moved)
    np.testing.assert_array_equal(same, numbers)


def test_colours_change_and_stay_in_range():
    draw = np.random.default_rng(0)
    images, masks = draw.integers(0, 256, (4, 8, 8, 3), dtype=np.uint8), np.zeros((4, 8, 8), np.uint8)
    config = SegmentAugmentConfig(scale=1.0, colour=0.5)
    changed, numbers = (np.asarray(x) for x in augment_batch(images, masks, np.array([3, 1], np.int32), config))
    assert 0 <= changed.min() < changed.max() <= 255
    assert np.abs(changed - images).mean() > 5
    np.testing.assert_array_equal(numbers, masks)


@pytest.mark.parametrize("option", [{"scale": 0.0}, {"colour": 2.0}])
def test_bad_options(option):
    with pytest.raises(ValueError, match="augment"):
        SegmentAugmentConfig(**option)
