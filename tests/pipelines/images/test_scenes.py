"""The composed scenes: exact, disjoint between the splits, the same for the same seed."""

import numpy as np
import pytest

from pipelines.images import scenes
from pipelines.images.scenes import CLASSES, HIDDEN, SIZE


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_boxes_and_masks_are_exact(split):
    made = scenes.scenes(split, 40, seed=3)
    assert {len(scene.labels) for scene in made} >= {2, 3, 4, 5}
    for scene in made:
        assert scene.image.shape == (SIZE, SIZE, 3)
        assert (scene.masks.sum(0) <= 1).all()  # a pixel belongs to one object
        for box, mask, label in zip(scene.boxes, scene.masks, scene.labels, strict=True):
            left, top, right, bottom = box.astype(int)
            inside = mask[top:bottom, left:right]
            assert inside.sum() == mask.sum() > 0
            assert inside[0].any()
            assert inside[-1].any()
            assert inside[:, 0].any()
            assert inside[:, -1].any()
            assert (scene.semantic[mask] == label + 1).all()
            assert 0 <= label < len(CLASSES)
        assert (scene.semantic == 0).sum() == (~scene.masks.any(0)).sum()


def test_the_same_seed_gives_the_same_scenes():
    first, again, other = (scenes.scenes("train", 3, seed=seed) for seed in (1, 1, 2))
    for a, b, c in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(a.image, b.image)
        np.testing.assert_array_equal(a.boxes, b.boxes)
        assert not np.array_equal(a.image, c.image)


def test_there_are_scenes_without_objects_and_objects_stay_visible():
    made = scenes.scenes("train", 200, seed=0)
    assert sum(not len(scene.labels) for scene in made) >= 3
    assert HIDDEN < 0.5
    assert min(mask.sum() for scene in made for mask in scene.masks) > 20


def test_the_splits_share_no_scans():
    seen = {}
    for split in ("train", "val", "test"):
        for scan in scenes._scans(split)[0]:
            # Some scans of the data set are equal; what counts is that each row goes to one split.
            seen.setdefault(split, []).append(scan.tobytes())
    assert sum(map(len, seen.values())) == 1797
    assert len(set(seen["train"]) & set(seen["test"])) <= 2


def test_fewer_digits_and_more_objects():
    made = scenes.scenes("test", 20, digits=3, objects=(4, 6), hidden=0.1)
    assert {int(label) for scene in made for label in scene.labels} == {0, 1, 2}
    assert all(len(scene.labels) <= 6 for scene in made)
