"""Augmentation moves image and mask alike, and depends on its seed alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.segmentation.augment import augment_batch
from pipelines.segmentation.config import SegmentAugmentConfig
from pipelines.segmentation.masks import IGNORED


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
    config = SegmentAugmentConfig(flip=flip, turn=turn, scale=scale, colour=0.0, rotate=0.0, shear=0.0)
    moved, numbers = (np.asarray(x) for x in augment_batch(images, masks, np.array([seed, 1], np.int32), config))
    assert moved.shape == images.shape
    assert set(np.unique(numbers)) <= {*np.unique(masks), IGNORED}
    seen = np.rint(moved[..., 0] / 50)
    # Between two classes a pixel of the image is a mixture.
    whole = (np.abs(moved[..., 0] - 50 * seen) < 1) & (numbers != IGNORED)
    assert whole.mean() > 0.2
    assert (seen[whole] == numbers[whole]).mean() > (0.999 if scale == 1 else 0.97)
    if scale == 1:
        assert [np.bincount(m.ravel(), minlength=6).tolist() for m in numbers] == [
            np.bincount(m.ravel(), minlength=6).tolist() for m in masks
        ]
    again, same = (np.asarray(x) for x in augment_batch(images, masks, np.array([seed, 1], np.int32), config))
    np.testing.assert_array_equal(again, moved)
    np.testing.assert_array_equal(same, numbers)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**30), rotate=st.sampled_from([0.0, 30.0]), shear=st.sampled_from([0.0, 0.3]))
def test_objects_turn_and_slant_with_their_masks(seed, rotate, shear):
    """An object's centre in the mask is where the image has it; what came in from outside is ignored."""
    rows, columns = np.mgrid[:32, :32]
    draw = np.random.default_rng(seed)
    masks = np.stack([np.hypot(rows - y, columns - x) < 6 for y, x in draw.integers(8, 24, (4, 2))]).astype(np.uint8)
    images = np.repeat(masks[..., None] * 200, 3, -1)
    config = SegmentAugmentConfig(rotate=rotate, shear=shear, scale=1.0, colour=0.0)
    moved, numbers = (np.asarray(x) for x in augment_batch(images, masks, np.array([seed, 2], np.int32), config))
    for image, mask in zip(moved[..., 0], numbers, strict=True):
        seen = image * (mask != IGNORED) / 200
        if seen.sum() < 20:
            continue
        for axis in (rows, columns):
            centre = (axis * (mask == 1)).sum() / (mask == 1).sum()
            assert (axis * seen).sum() / seen.sum() == pytest.approx(centre, abs=0.6)
        assert (mask == 1).sum() == pytest.approx(seen.sum(), rel=0.1, abs=4)


def test_colours_change_and_stay_in_range():
    draw = np.random.default_rng(0)
    images, masks = draw.integers(0, 256, (4, 8, 8, 3), dtype=np.uint8), np.zeros((4, 8, 8), np.uint8)
    config = SegmentAugmentConfig(scale=1.0, rotate=0.0, shear=0.0, colour=0.5)
    changed, numbers = (np.asarray(x) for x in augment_batch(images, masks, np.array([3, 1], np.int32), config))
    assert 0 <= changed.min() < changed.max() <= 255
    assert np.abs(changed - images).mean() > 5
    np.testing.assert_array_equal(numbers, masks)


@pytest.mark.parametrize("option", [{"scale": 0.0}, {"colour": 2.0}, {"rotate": 181.0}, {"shear": 0.6}])
def test_bad_options(option):
    with pytest.raises(ValueError, match="augment"):
        SegmentAugmentConfig(**option)
