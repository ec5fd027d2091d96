import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter, ImageOps
from sklearn.datasets import load_sample_image

from pipelines.images import randaugment
from pipelines.images.augment import augment_batch, pad_and_crop, random_zoom
from pipelines.images.config import AugmentConfig
from pipelines.images.draws import Draws

PHOTO = load_sample_image("china.jpg")[100:132, 200:240]
PICTURES = np.random.default_rng(0).integers(0, 256, (64, 10, 12, 3), dtype=np.uint8)
LABELS = np.eye(64, dtype=np.float32)
WEIGHTS = np.ones(64, np.float32)


def augment(seed=(1, 2), weights=WEIGHTS, **options):
    outputs = augment_batch(PICTURES, LABELS, weights, np.array(seed, np.int32), AugmentConfig(**options))
    return [np.asarray(x) for x in outputs]


ALL = {"flip": True, "crop": 2, "zoom": 0.5, "randaugment": 2, "mixup": 0.2, "cutmix": 1.0, "erase": 0.5}


@pytest.mark.parametrize("options", [{k: v} for k, v in ALL.items()] + [ALL])
def test_the_seed_decides_and_values_stay_in_range(options):
    first, again, other = augment(**options), augment(**options), augment(seed=(1, 3), **options)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])
    assert first[0].shape == PICTURES.shape
    assert first[0].min() >= 0
    assert first[0].max() <= 255.001
    np.testing.assert_allclose(first[1].sum(1), 1, rtol=1e-5)


def test_nothing_is_done_unasked():
    images, labels, weights = augment()
    np.testing.assert_array_equal(images, PICTURES)
    np.testing.assert_array_equal(labels, LABELS)
    np.testing.assert_array_equal(weights, WEIGHTS)


def test_flip_mirrors_about_half():
    images, _, _ = augment(flip=True)
    kept = (images == PICTURES).all((1, 2, 3))
    mirrored = (images == PICTURES[:, :, ::-1]).all((1, 2, 3))
    assert (kept ^ mirrored).all()
    assert 15 < kept.sum() < 49


def test_crop_is_a_window_of_the_padded_picture():
    images = np.asarray(pad_and_crop(PICTURES, 2, Draws(np.array([0, 1], np.int32), 64)))
    padded = np.pad(PICTURES, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="reflect")
    found = {}
    for i in range(64):
        windows = [(r, c) for r in range(5) for c in range(5) if (padded[i, r : r + 10, c : c + 12] == images[i]).all()]
        assert len(windows) == 1
        found[windows[0]] = True
    assert len(found) > 10


def test_cutmix_labels_are_the_area():
    images, labels, _ = augment(cutmix=1.0)
    for i in range(64):
        own = (images[i] == PICTURES[i]).all(-1).mean()
        assert labels[i, i] == pytest.approx(own, abs=0.02)


def test_mixup_mixes_pictures_labels_and_weights_alike():
    weights = np.where(np.arange(64) % 2, 1, 3).astype(np.float32)
    images, labels, mixed = augment(mixup=1.0, weights=weights)
    np.testing.assert_allclose(mixed, (labels * mixed[:, None]).sum(1), rtol=1e-5)
    parts = labels * mixed[:, None] / weights[None]
    np.testing.assert_allclose(images, np.tensordot(parts, PICTURES.astype(np.float32), 1), atol=0.05)


def test_erase_blanks_one_rectangle():
    images, _, _ = augment(erase=1.0)
    for i in range(64):
        changed = (images[i] != PICTURES[i]).any(-1)
        rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
        box = changed[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert box.mean() > 0.9  # a pixel may by chance have had the mean before
        assert box.size <= 0.34 * changed.size


PIL_OPERATIONS = {
    "autocontrast": lambda p: ImageOps.autocontrast(p),
    "equalize": lambda p: ImageOps.equalize(p),
    "brightness": lambda p: ImageEnhance.Brightness(p).enhance(1.45),
    "contrast": lambda p: ImageEnhance.Contrast(p).enhance(1.45),
    "saturation": lambda p: ImageEnhance.Color(p).enhance(1.45),
    "sharpness": lambda p: ImageEnhance.Sharpness(p).enhance(1.45),
    "solarize": lambda p: ImageOps.solarize(p, 128),
    "posterize": lambda p: ImageOps.posterize(p, 6),
}


@pytest.mark.parametrize("name", PIL_OPERATIONS)
def test_colour_operations_are_those_of_pillow(name):
    expected = np.asarray(PIL_OPERATIONS[name](Image.fromarray(PHOTO)), np.float32)
    signed = np.array([0.5], np.float32)
    got = np.asarray(randaugment.recolour(name, PHOTO[None].astype(np.float32), signed, 0.5))[0]
    assert np.abs(got - expected).max() <= 2


def test_smooth_is_pillows():
    expected = np.asarray(Image.fromarray(PHOTO).filter(ImageFilter.SMOOTH), np.float32)
    assert np.abs(np.asarray(randaugment.smooth(PHOTO[None].astype(np.float32)))[0] - expected).max() <= 1


def test_grey_pictures_and_small_ones():
    grey = PICTURES[..., :1]
    for size in (10, 1):
        config = AugmentConfig(**{**ALL, "crop": 2})
        images, _, _ = augment_batch(grey[:, :size], LABELS, WEIGHTS, np.array([0, 1], np.int32), config)
        assert images.shape == grey[:, :size].shape


def test_zoom_keeps_at_least_its_share_of_the_area():
    # On a plane of row and column numbers the corners tell which part was cut.
    side, smallest = 41, 0.6
    rows, columns = np.meshgrid(np.arange(side), np.arange(side), indexing="ij")
    planes = np.repeat(np.stack([rows, columns], -1)[None].astype(np.float32), 500, 0)
    cut = np.asarray(random_zoom(planes, smallest, Draws(np.array([1, 2], np.int32), 500)))
    height, width = ((cut[:, -1, -1] - cut[:, 0, 0]) / (side - 1)).T
    area = height * width
    assert area.min() == pytest.approx(smallest, abs=0.01)
    assert area.max() == pytest.approx(1, abs=0.01)
    assert max(height.max(), width.max()) <= 1 + 1e-6
    assert (height / width).max() <= 4 / 3 + 1e-4


@pytest.mark.parametrize("option", ["crop", "zoom", "randaugment", "magnitude", "mixup", "cutmix", "erase"])
def test_bad_options(option):
    with pytest.raises(ValueError, match=rf"augment\.{option}"):
        AugmentConfig(**{option: -1})


def test_examples_for_the_report_are_what_the_network_sees():
    from pipelines.images.augment import augmented_examples

    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    np.testing.assert_array_equal(augmented_examples(images, AugmentConfig(), 0), images)
    flipped = augmented_examples(images, AugmentConfig(flip=True), 0)
    both = [np.array_equal(a, b) or np.array_equal(a, b[:, ::-1]) for a, b in zip(flipped, images, strict=True)]
    assert all(both)


def test_colours_vary_within_their_strength():
    images = np.full((16, 4, 4, 3), 100, np.uint8)
    from pipelines.images.augment import augmented_examples

    changed = augmented_examples(images, AugmentConfig(colour=0.2), 3)
    assert len(np.unique(changed)) > 4
    assert changed.min() >= 79
    assert changed.max() <= 121
