"""Augmentation: the boxes move as the pixels do."""

import numpy as np
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.detection.augment import augment_batch, first, mosaics, move, random_maps
from pipelines.detection.config import DetectionAugmentConfig
from pipelines.images.draws import Draws

SIZE = 64
COLOURS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0]], np.float32)


def batch(draw, number=4):
    """Images with a rectangle each, whose colour is that of its class."""
    images, truth = np.zeros((number, SIZE, SIZE, 3), np.float32), np.zeros((number, 3, 5), np.float32)
    truth[..., 4] = -1
    for i in range(number):
        left, top = draw.integers(4, 34, 2)
        right, bottom = left + draw.integers(14, 26), top + draw.integers(14, 26)
        images[i, top:bottom, left:right] = COLOURS[i % 4]
        truth[i, 0] = left, top, right, bottom, i % 4
    return images, truth


def tight(image, label):
    """The box around the pixels of a class's colour, each edge at half intensity."""
    mask = np.abs(image - COLOURS[label]).max(-1) < 127
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1) if len(rows) else None


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.booleans(), st.booleans(), st.sampled_from([0.0, 0.3]), st.sampled_from([0.0, 0.15]))
def test_boxes_stay_around_their_objects(seed, flip, turns, scale, shift):
    images, truth = batch(np.random.default_rng(seed))
    config = DetectionAugmentConfig(flip=flip, turns=turns, scale=scale, shift=shift, colour=0.0, mosaic=0.0)
    moved, boxes = (np.asarray(x) for x in augment_batch(tf.constant(images), tf.constant(truth), [seed, 1], config))
    for image, rows in zip(moved, boxes, strict=True):
        for *box, label in rows[rows[:, 4] >= 0]:
            found = tight(image, int(label))
            assert found is not None
            np.testing.assert_allclose(box, found, atol=1.01)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_boxes_of_a_mosaic_are_full_of_their_objects(seed):
    images, truth = batch(np.random.default_rng(seed))
    config = DetectionAugmentConfig(flip=True, turns=True, scale=0.2, shift=0.1)
    draw = Draws(tf.constant([seed, 2]), tf.constant(4))
    whole, boxes = (np.asarray(x) for x in mosaics(tf.constant(images), tf.constant(truth), draw, config))
    assert boxes.shape == (4, 12, 5)
    for image, rows in zip(whole, boxes, strict=True):
        for *box, label in rows[rows[:, 4] >= 0]:
            mask = np.abs(image - COLOURS[int(label)]).max(-1) < 127
            left, top, right, bottom = (round(x) for x in box)
            assert mask[top + 1 : bottom - 1, left + 1 : right - 1].mean() > 0.95


def test_a_mirror_image_by_hand():
    images = np.zeros((1, SIZE, SIZE, 3), np.float32)
    images[0, 10:20, 0:8] = 255
    maps = tf.constant([[[-1.0, 0.0, SIZE], [0.0, 1.0, 0.0]]])
    truth = tf.constant([[[0.0, 10.0, 8.0, 20.0, 2.0]]])
    moved, boxes = move(tf.constant(images), truth, maps, (0.0, 0.0, SIZE, SIZE))
    np.testing.assert_array_equal(np.asarray(moved), images[:, :, ::-1])
    np.testing.assert_array_equal(np.asarray(boxes)[0, 0], [56, 10, 64, 20, 2])


def test_boxes_that_leave_the_view_are_padding():
    truth = tf.constant([[[0.0, 0.0, 20.0, 20.0, 1.0], [30.0, 30.0, 50.0, 50.0, 3.0]]])
    maps = tf.constant([[[1.0, 0.0, -18.0], [0.0, 1.0, 0.0]]])
    _, boxes = move(tf.zeros((1, SIZE, SIZE, 3)), truth, maps, (0.0, 0.0, SIZE, SIZE))
    assert np.asarray(boxes)[0, :, 4].tolist() == [-1, 3]
    np.testing.assert_array_equal(np.asarray(first(boxes, 1))[0, 0], [12, 30, 32, 50, 3])


def test_the_same_seed_gives_the_same_batch():
    images, truth = batch(np.random.default_rng(0))
    config = DetectionAugmentConfig(turns=True, mosaic=0.5)
    one, same, other = (augment_batch(tf.constant(images), tf.constant(truth), [s, 0], config) for s in (1, 1, 2))
    np.testing.assert_array_equal(one[0], same[0])
    np.testing.assert_array_equal(one[1], same[1])
    assert not np.array_equal(one[0], other[0])


def test_maps_keep_the_middle_without_shift():
    draw = Draws(tf.constant([3, 4]), tf.constant(50))
    maps = np.asarray(random_maps(draw, SIZE, DetectionAugmentConfig(turns=True, shift=0.0)))
    middle = maps[:, :, :2] @ np.array([32.0, 32.0]) + maps[:, :, 2]
    np.testing.assert_allclose(middle, 32, atol=1e-4)
