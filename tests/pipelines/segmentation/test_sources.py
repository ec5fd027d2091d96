"""Masks in the formats that users have, each with what can be wrong in it."""

import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from pipelines.core.errors import UserError
from pipelines.segmentation.config import SegmentDataConfig
from pipelines.segmentation.load import load_segments, load_test_segments
from pipelines.segmentation.masks import IGNORED, Encoding, parse_colour

SIDE = 24
COLOURS = {"sky": (70, 130, 180), "road": (128, 64, 128), "tree": (107, 142, 35)}


def photo(draw, size=(SIDE, SIDE)):
    return Image.fromarray(draw.integers(0, 256, (*size, 3), dtype=np.uint8))


def numbers(draw, classes=3):
    mask = np.zeros((SIDE, SIDE), np.uint8)
    for k in range(1, classes):
        top, left = draw.integers(0, SIDE - 8, 2)
        mask[top : top + 8, left : left + 8] = k
    return mask


@pytest.fixture
def folder(tmp_path):
    """FOLDER/images/0.jpg, FOLDER/masks/0.png …: twelve pairs of index masks."""
    draw = np.random.default_rng(0)
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    for i in range(12):
        photo(draw).save(tmp_path / "images" / f"{i}.jpg")
        Image.fromarray(numbers(draw)).save(tmp_path / "masks" / f"{i}.png")
    return tmp_path


def load(source, **options):
    return load_segments(SegmentDataConfig(source=str(source), **options), seed=0)


def every_mask(data):
    found = {}
    for samples in (data.train, data.val, data.test):
        masks = samples.read(np.arange(len(samples)))[1]
        found |= dict(zip(samples.names, masks, strict=True))
    return found


def test_folders_are_matched_by_name(folder):
    data = load(folder)
    assert data.classes == ("background", "class_1", "class_2")
    assert sum(map(len, (data.train, data.val, data.test))) == 12
    for name, mask in every_mask(data).items():
        stored = np.asarray(Image.open(folder / "masks" / name.replace("images/", "").replace(".jpg", ".png")))
        np.testing.assert_array_equal(mask, stored)
    assert any("name them with --data.classes" in note for note in data.summary.notes)
    assert load(folder, classes=["ground", "car", "tree"]).classes == ("ground", "car", "tree")


def test_images_without_masks_and_of_another_size_are_named(folder):
    (folder / "masks" / "3.png").unlink()
    photo(np.random.default_rng(1), (SIDE, SIDE + 5)).save(folder / "images" / "4.jpg")
    Image.fromarray(np.full((SIDE, SIDE), 7, np.uint8)).save(folder / "masks" / "5.png")
    (folder / "images" / "6.jpg").write_bytes(b"broken")
    data = load(folder, classes=["a", "b", "c"])
    reasons = dict(data.summary.skipped)
    assert reasons["images/3.jpg"] == "no mask 3.* in masks/"
    assert reasons["images/4.jpg"] == "the image is 24 x 29, its mask 24 x 24 pixels"
    assert reasons["images/5.jpg"] == "mask: mask value 7 is no class: expected 0, 1, 2"
    assert reasons["images/6.jpg"] == "not a picture" or reasons["images/6.jpg"] == "not an image"
    with pytest.raises(UserError, match=r"more than data.max_broken = 1 images or masks .* are broken, among them"):
        load(folder, classes=["a", "b", "c"], max_broken=1)


def test_ignored_pixels_and_binary_masks(folder):
    mask = numbers(np.random.default_rng(0))
    mask[0] = 255
    Image.fromarray(mask).save(folder / "masks" / "0.png")
    data = load(folder)
    assert len(data.classes) == 3
    assert (every_mask(data)["images/0.jpg"][0] == IGNORED).all()
    for path in (folder / "masks").iterdir():
        Image.fromarray(((np.asarray(Image.open(path)) == 1) * 255).astype(np.uint8)).save(path)
    data = load(folder)
    assert data.classes == ("background", "foreground")
    assert set(np.unique(np.stack(list(every_mask(data).values())))) == {0, 1}


@pytest.mark.parametrize("given", [True, False])
def test_colour_masks(folder, given):
    """With JPEG damage only the palette helps: its nearest colour is taken."""
    table = np.array(list(COLOURS.values()), np.uint8)
    truth = {}
    for path in list((folder / "masks").iterdir()):
        stored = np.asarray(Image.open(path))
        truth[path.stem] = stored
        path.unlink()
        Image.fromarray(table[stored]).save(path.with_suffix(".png"))
    palette = {name: "#{:02x}{:02x}{:02x}".format(*colour) for name, colour in COLOURS.items()}
    data = load(folder, palette=palette if given else {})
    masks = every_mask(data)
    if given:
        assert data.classes == ("sky", "road", "tree")
        for name, mask in masks.items():
            np.testing.assert_array_equal(mask, truth[name.split("/")[1].split(".")[0]])
        for path in list((folder / "masks").iterdir()):
            Image.open(path).save(path.with_suffix(".jpg"), quality=90)
            path.unlink()
        damaged = every_mask(load(folder, palette=palette, nearest_colour=True))
        right = [(mask == truth[name.split("/")[1].split(".")[0]]).mean() for name, mask in damaged.items()]
        assert np.mean(right) > 0.95
    else:  # by frequency: the background first
        assert data.classes[0] == "#4682b4"
        assert any("by frequency" in note for note in data.summary.notes)


def test_palettes_that_differ_are_told_by_colour(folder):
    for number, path in enumerate(sorted((folder / "masks").iterdir())):
        stored = np.asarray(Image.open(path))
        order = [0, 1, 2] if number % 2 else [2, 0, 1]  # the same class has another entry in every other file
        image = Image.fromarray(np.array(order, np.uint8)[stored], "P")
        table = np.zeros((256, 3), np.uint8)
        table[order] = list(COLOURS.values())
        image.putpalette(table.tobytes())
        image.save(path)
    data = load(folder)
    assert any("palettes of the masks differ" in note for note in data.summary.notes)
    assert data.classes[0] == "#4682b4"
    assert (np.stack(list(every_mask(data).values())) == 0).mean() > 0.5


def test_photos_taken_on_their_side(folder):
    image = photo(np.random.default_rng(2), (SIDE, SIDE + 8))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter: upright it is 32 x 24
    image.save(folder / "images" / "0.jpg", exif=exif)
    upright = np.zeros((SIDE + 8, SIDE), np.uint8)
    upright[:4] = 1
    Image.fromarray(upright).save(folder / "masks" / "0.png")
    data = load(folder, size=SIDE)
    assert not data.summary.skipped
    assert (every_mask(data)["images/0.jpg"][:3] == 1).all()


def test_splits_of_the_user_and_lists_of_paths(folder, tmp_path):
    lines = ["image,mask,split"]
    lines += [f"images/{i}.jpg,masks/{i}.png,{'test' if i > 9 else 'valid' if i > 7 else 'train'}" for i in range(12)]
    (folder / "list.csv").write_text("\n".join([*lines, "images/0.jpg,,train"]))
    data = load(folder / "list.csv")
    assert [len(s) for s in (data.train, data.val, data.test)] == [8, 2, 2]
    assert data.summary.skipped == [("list.csv line 14", "no image, no mask, or an unknown split")]


def test_coco_polygons_and_rle(folder):
    square = [4, 4, 14, 4, 14, 14, 4, 14]
    bow = [2, 2, 20, 20, 20, 2, 2, 20]  # crosses itself
    region = np.zeros((SIDE, SIDE), np.uint8)
    region[16:22, 3:9] = 1
    rle = coco.encode(np.asfortranarray(region))
    images = [{"id": i, "file_name": f"{i}.jpg", "height": SIDE, "width": SIDE} for i in range(12)]
    annotations = [
        {"image_id": 0, "category_id": 7, "segmentation": [square], "iscrowd": 0},
        {"image_id": 0, "category_id": 3, "segmentation": {**rle, "counts": rle["counts"].decode()}, "iscrowd": 1},
        {"image_id": 1, "category_id": 3, "segmentation": [bow]},
        {"image_id": 2, "category_id": 99, "segmentation": [square]},
        {"image_id": 2, "category_id": 3, "segmentation": [[1, 1, 2, 2]]},
        {"image_id": 4, "category_id": 3, "segmentation": [[0, 0, 8, 0, 8, 8, 0, 8], [8, 0, 16, 0, 16, 8, 8, 8]]},
    ]
    categories = [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "instances.json").write_text(json.dumps(content))
    data = load(folder / "instances.json")
    assert data.classes == ("background", "cat", "dog")
    masks = every_mask(data)
    assert (masks["0.jpg"][5:13, 5:13] == 2).all()
    np.testing.assert_array_equal(masks["0.jpg"] == IGNORED, region.astype(bool))  # a crowd
    assert 0 < (masks["1.jpg"] == 1).sum() < 300
    assert (masks["4.jpg"][:8, :16] == 1).all()  # two parts that touch
    assert not masks["3.jpg"].any()  # an image without an annotation is background, not an error
    assert any("2 annotations have no segmentation" in note for note in data.summary.notes)
    assert any("1 annotations are of crowds" in note for note in data.summary.notes)
    for split in ("train", "valid", "test"):  # as Roboflow exports them
        (folder / "by_split" / split).mkdir(parents=True)
        (folder / "by_split" / split / "_annotations.coco.json").write_text(json.dumps(content))
        for i in range(12):
            Image.open(folder / "images" / f"{i}.jpg").save(folder / "by_split" / split / f"{i}.jpg")
    data = load(folder / "by_split")
    assert [len(s) for s in (data.train, data.val, data.test)] == [12, 12, 12]
    assert data.classes == ("background", "cat", "dog")


def test_damaged_binary_masks_are_named(folder):
    truth = {}
    for path in list((folder / "masks").iterdir()):
        shape = Image.fromarray(((np.asarray(Image.open(path)) == 1) * 255).astype(np.uint8)).resize((96, 96))
        truth[path.stem] = np.asarray(shape) > 127
        shape.save(folder / "masks" / f"{path.stem}.jpg", quality=85)
        path.unlink()
        Image.open(folder / "images" / f"{path.stem}.jpg").resize((96, 96)).save(folder / "images" / f"{path.stem}.jpg")
    with pytest.raises(UserError, match=r"all but 0, 255 rare: anti-aliased or JPEG-damaged .*nearest_colour"):
        load(folder)
    data = load(folder, nearest_colour=True)
    assert data.classes == ("background", "foreground")
    for name, mask in every_mask(data).items():
        assert (mask == truth[name.split("/")[1].split(".")[0]]).mean() > 0.99


def test_masks_drawn_on_the_stored_pixels_turn_with_their_image(folder):
    image = photo(np.random.default_rng(2), (SIDE, SIDE + 8))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(folder / "images" / "0.jpg", exif=exif)
    stored = np.zeros((SIDE, SIDE + 8), np.uint8)
    stored[:, :4] = 1  # the left of the stored image is the top of the upright one
    Image.fromarray(stored).save(folder / "masks" / "0.png")
    data = load(folder, size=SIDE)
    assert not data.summary.skipped
    mask = every_mask(data)["images/0.jpg"]
    assert (mask[:3] == 1).all()
    assert (mask[4:] == 0).all()


def test_images_of_16_bits_and_many_channels(folder):
    draw = np.random.default_rng(3)
    stored = {}
    for path in list((folder / "images").iterdir()):
        path.unlink()
        stored[path.stem] = draw.integers(0, 4096, (SIDE, SIDE, 6)).astype(np.uint16)
        np.save(path.with_suffix(".npy"), stored[path.stem])
    data = load(folder, white=4095.0)
    assert data.spec.shape == (SIDE, SIDE, 6)
    images = data.train.read(np.arange(1))[0]
    assert images.dtype == np.float32
    name = data.train.names[0].split("/")[1].split(".")[0]
    np.testing.assert_allclose(images[0], stored[name] * 255.0 / 4095, rtol=1e-5)
    for path in list((folder / "images").iterdir()):
        Image.fromarray(stored[path.stem][..., 0] * 16).save(path.with_suffix(".png"))
        path.unlink()
    data = load(folder)
    name = data.train.names[0].split("/")[1].split(".")[0]
    assert data.spec.shape == (SIDE, SIDE, 1)
    np.testing.assert_allclose(
        data.train.read(np.arange(1))[0][0, ..., 0], stored[name][..., 0] * 16.0 * 255 / 65535, rtol=1e-4
    )


def test_groups_stay_together_and_columns_are_chosen(folder):
    lines = ["photo,drawn,place"] + [f"images/{i}.jpg,masks/{i}.png,{i // 3}" for i in range(12)]
    (folder / "list.csv").write_text("\n".join(lines))
    options = {"image_column": "photo", "mask_column": "drawn", "group_column": "place"}
    data = load(folder / "list.csv", **options, test_fraction=0.25, val_fraction=0.25)
    splits = (data.train, data.val, data.test)
    places = [{int(name.split("/")[1].split(".")[0]) // 3 for name in s.names} for s in splits]
    assert sum(map(len, places)) == 4
    with pytest.raises(UserError, match=r"data.group_column 'plaze' is not a column"):
        load(folder / "list.csv", **{**options, "group_column": "plaze"})


def test_evaluation_reads_masks_as_training_did(folder):
    data = load(folder)
    spec = {
        "image": data.spec.to_json(), "classes": list(data.classes), "windows": data.windows,
        "masks": {"values": {"0": 0, "1": 1, "2": 2}, "colours": False, "nearest": False, "ignore": 255},
    }  # fmt: skip
    only = sorted((folder / "masks").iterdir())[:3]
    for path in (folder / "masks").iterdir():
        if path not in only:
            path.unlink()
            (folder / "images" / f"{path.stem}.jpg").unlink()
    for path in only:  # class 1 does not occur: 2 must not become 1
        Image.fromarray(np.where(np.asarray(Image.open(path)) == 1, 0, 2).astype(np.uint8)).save(path)
    test = load_test_segments(SegmentDataConfig(source=str(folder)), spec)
    assert set(np.unique(test.test.read(np.arange(3))[1])) == {0, 2}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: (f / "masks").rename(f / "other"), "expected the folders images/ and masks/"),
        (lambda f: (f / "instances.json").write_text("{"), None),
    ],
)
def test_errors_are_one_line(folder, change, message):
    change(folder)
    source = folder if message else folder / "instances.json"
    with pytest.raises(UserError, match=message or "is not COCO JSON"):
        load(source)


def test_colours_are_parsed():
    assert parse_colour("#804080") == parse_colour("128,64,128") == 0x804080
    assert parse_colour("red") == 0xFF0000
    with pytest.raises(UserError, match="is no colour"):
        parse_colour("reddish")
    assert Encoding({0: 0, 5: 1}).encode(np.array([[0, 5], [255, 0]])).tolist() == [[0, 1], [IGNORED, 0]]
