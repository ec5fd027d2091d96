"""Formats of boxes: what is read, what is named in the report, and that all formats hold the same."""

import json
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipelines.core.errors import UserError
from pipelines.detection import annotations, sources
from pipelines.detection.annotations import annotated
from pipelines.detection.config import DetectionDataConfig
from pipelines.detection.convert import FORMATS, convert
from pipelines.detection.load import load_detection, scan_sizes
from pipelines.images.decode import open_image

CSV = (
    "image,label,xmin,ymin,xmax,ymax,split\na.png,cat,1,2,30,40,train\na.png,dog,5,5,20,20,train\n"
    "b.png,,,,,,train\nsub/c.png,cat,3.5,3,9,9,test\n"
)
XML = """<annotation><filename>{name}</filename><size><width>80</width><height>60</height></size>
<object><name>cat</name>
<difficult>{difficult}</difficult><bndbox><xmin>11</xmin><ymin>21</ymin><xmax>40</xmax><ymax>45</ymax></bndbox></object>
</annotation>"""


def photo(path, width=80, height=60):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), (90, 120, 30)).save(path)


def read(source):
    raw = sources.load(DetectionDataConfig(str(source)), str(source))
    scan_sizes(raw)
    return raw


def coco(path, images, notes, categories=((7, "cat"), (90, "dog"))):
    content = {
        "images": [{"id": i, "file_name": name, "width": w, "height": h} for i, name, w, h in images],
        "annotations": [
            {"id": n, "image_id": i, "category_id": c, "bbox": box, **more}
            for n, (i, c, box, more) in enumerate(notes)
        ],
        "categories": [{"id": number, "name": name} for number, name in categories],
    }  # fmt: skip
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def folder(tmp_path):
    for name in ("a.png", "b.png", "sub/c.png"):
        photo(tmp_path / "images" / name)
    return tmp_path


def test_coco_with_sparse_ids_crowds_and_negatives(folder):
    images = [(11, "a.png", 80, 60), (5, "b.png", 80, 60), (6, "sub/c.png", 80, 60)]
    notes = [(11, 90, [10, 20, 30, 25], {}), (11, 7, [0, 0, 80, 60], {"iscrowd": 1}), (5, 7, [1.5, 2, 3, 4], {})]
    raw = read(coco(folder / "boxes.json", images, notes))
    assert raw.ids == {"cat": 7, "dog": 90}
    a, b, c = raw.splits["all"]
    np.testing.assert_array_equal(a.boxes, [[10, 20, 40, 45], [0, 0, 80, 60]])
    assert a.labels == ["dog", "cat"]
    assert a.ignored.tolist() == [False, True]
    np.testing.assert_array_equal(b.boxes, [[1.5, 2, 4.5, 6]])
    assert len(c.boxes) == 0
    assert not raw.problems


def test_coco_splits_by_the_names_of_the_files(folder):
    (folder / "annotations").mkdir()
    for split, name in (("train2017", "a.png"), ("val2017", "b.png")):
        coco(folder / "annotations" / f"instances_{split}.json", [(1, name, 80, 60)], [(1, 7, [1, 1, 5, 5], {})])
    found = {name: [i.name for i in items] for name, items in read(folder).splits.items()}
    assert found == {"train": ["a.png"], "val": ["b.png"]}


def test_voc_with_image_sets_counts_from_one(tmp_path):
    for stem, difficult in (("a", 0), ("b", 1)):
        photo(tmp_path / "JPEGImages" / f"{stem}.jpg")
        (tmp_path / "Annotations").mkdir(exist_ok=True)
        (tmp_path / "Annotations" / f"{stem}.xml").write_text(XML.format(name=f"{stem}.jpg", difficult=difficult))
    lists = tmp_path / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\n")
    (lists / "val.txt").write_text("b\n")
    (lists / "cat_train.txt").write_text("a 1\n")
    raw = read(tmp_path)
    (a,), (b,) = raw.splits["train"], raw.splits["val"]
    np.testing.assert_array_equal(a.boxes, [[10, 20, 40, 45]])
    assert (a.ignored.tolist(), b.ignored.tolist()) == ([False], [True])


def test_voc_beside_the_images_counts_from_zero(tmp_path):
    for split in ("train", "test"):
        photo(tmp_path / split / f"{split}.jpg")
        (tmp_path / split / f"{split}.xml").write_text(XML.format(name="moved.jpg", difficult=0))
    photo(tmp_path / "train" / "alone.jpg")
    raw = read(tmp_path)
    np.testing.assert_array_equal(raw.splits["test"][0].boxes, [[11, 21, 40, 45]])
    assert "1 images in train have no XML" in raw.notes[0]


def test_yolo_with_yaml_polygons_and_negatives(tmp_path):
    for split in ("train", "valid"):
        for name in ("a", "b"):
            photo(tmp_path / split / "images" / f"{name}.jpg")
        (tmp_path / split / "labels").mkdir()
        (tmp_path / split / "labels" / "a.txt").write_text("1 0.5 0.5 0.5 0.5\n0 0.1 0.1 0.3 0.1 0.3 0.2\n")
    (tmp_path / "data.yaml").write_text("train: ../train/images\nval: ../valid/images\nnames: [cat, dog]\n")
    raw = read(tmp_path)
    a, b = raw.splits["train"]
    np.testing.assert_allclose(a.boxes, [[20, 15, 60, 45], [8, 6, 24, 12]])
    assert a.labels == ["dog", "cat"]
    assert len(b.boxes) == 0
    assert len(raw.splits["val"]) == 2


def test_csv_with_and_without_header_and_split_column(folder):
    (folder / "boxes.csv").write_text(CSV)
    raw = read(folder / "boxes.csv")
    assert {name: len(items) for name, items in raw.splits.items()} == {"train": 2, "test": 1}
    assert raw.splits["train"][0].labels == ["cat", "dog"]
    assert len(raw.splits["train"][1].boxes) == 0
    (folder / "plain.csv").write_text("a.png,1,2,30,40,cat\nb.png,1,2,3,4,cat\n")
    assert [item.labels for item in read(folder / "plain.csv").splits["all"]] == [["cat"], ["cat"]]


def test_wrong_boxes_are_named_and_the_images_stay(folder):
    rows = ["-5,2,30,40,cat", "40,30,10,20,cat", "10,10,10,20,cat", "1,2,9,9,cat", "1,2,9,9,cat", "100,5,120,9,cat"]
    (folder / "boxes.csv").write_text("image,xmin,ymin,xmax,ymax,label\n" + "".join(f"a.png,{r}\n" for r in rows))
    raw = read(folder / "boxes.csv")
    (item,) = raw.splits["all"]
    np.testing.assert_array_equal(item.boxes, [[0, 2, 30, 40], [10, 20, 40, 30], [1, 2, 9, 9]])
    told = " ".join(problem for _, problem in raw.problems)
    for words in ("clipped", "swapped corners", "is empty", "occurs twice", "lies outside"):
        assert words in told


def test_boxes_of_unknown_classes_are_named(folder):
    notes = [(1, 7, [1, 1, 5, 5], {}), (1, 4, [2, 2, 5, 5], {})]
    raw = read(coco(folder / "boxes.json", [(1, "a.png", 80, 60)], notes))
    annotations.drop_unknown(raw, raw.classes)
    assert raw.splits["all"][0].labels == ["cat"]
    assert raw.problems == [("a.png", "1 boxes of the unknown class 'category_id 4': dropped")]


@pytest.mark.parametrize("orientation", [1, 3, 5, 6, 7, 8])
def test_boxes_on_the_stored_pixels_of_a_turned_photo_follow_it(tmp_path, orientation):
    """The box surrounds a rectangle in the file; after reading it must do so in the upright photo."""
    pixels = np.zeros((40, 64, 3), np.uint8)
    pixels[10:20, 30:50] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    path = coco(tmp_path / "x.json", [(1, "a.png", 64, 40)], [(1, 7, [30, 10, 20, 10], {})])
    (item,) = read(path).splits["all"]
    if orientation < 5:  # the size does not tell the stored from the upright photo: the boxes are of the upright one
        np.testing.assert_array_equal(item.boxes, [[30, 10, 50, 20]])
        return
    upright = np.asarray(open_image(tmp_path / "a.png"))[..., 0] > 128
    rows, columns = np.flatnonzero(upright.any(1)), np.flatnonzero(upright.any(0))
    np.testing.assert_array_equal(item.boxes, [[columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(*[st.floats(-50, 150) for _ in range(4)]), max_size=8))
def test_cleaned_boxes_lie_in_the_image(boxes):
    item = annotated(None, "x", boxes, ["a"] * len(boxes))
    problems = []
    annotations.clean(item, 80, 60, problems)
    assert (item.boxes[:, 2:] > item.boxes[:, :2]).all()
    assert (item.boxes >= 0).all()
    assert (item.boxes <= [80, 60, 80, 60]).all()
    assert len(item.boxes) == len(item.labels) == len(item.ignored)
    assert len(problems) >= len(boxes) - len(item.boxes)


@pytest.mark.parametrize("kind", FORMATS)
def test_conversion_keeps_boxes_splits_and_negatives(folder, tmp_path_factory, kind):
    (folder / "boxes.csv").write_text(CSV)
    target = tmp_path_factory.mktemp("out") / "made"
    convert(str(folder / "boxes.csv"), target, kind, copy=True)
    before, after = read(folder / "boxes.csv"), read(target)
    assert {s: len(i) for s, i in after.splits.items()} == {s: len(i) for s, i in before.splits.items()}
    for split, items in before.splits.items():
        for one, other in zip(items, after.splits[split], strict=True):
            assert one.labels == other.labels
            np.testing.assert_allclose(one.boxes, other.boxes, atol=1e-3)
    with pytest.raises(UserError, match="exists"):
        convert(str(folder / "boxes.csv"), target, kind)


def test_a_hundred_thousand_boxes_load_in_seconds(tmp_path):
    draw = np.random.default_rng(0)
    images = [(i, f"{i}.png", 80, 60) for i in range(200)]
    for number, name, *size in images:
        photo(tmp_path / name, *size)
        Image.fromarray(np.full((60, 80, 3), number, np.uint8)).save(tmp_path / name)
    corners = np.add(draw.uniform(0, 30, (100_000, 4)).round(3), [0, 0, 1, 1])
    notes = [(i % 200, 7, box, {}) for i, box in enumerate(corners.tolist())]
    path = coco(tmp_path / "many.json", images, notes)
    start = time.process_time()
    data = load_detection(DetectionDataConfig(str(path)), seed=0)
    assert sum(len(k) for of in data.splits().values() for k in of.labels) == 100_000
    assert time.process_time() - start < 20
    assert {split: len(of) for split, of in data.splits().items()} == {"train": 140, "val": 30, "test": 30}


def test_a_function_of_the_user(tmp_path, monkeypatch):
    (tmp_path / "my_boxes.py").write_text(
        "import numpy as np\n"
        "def load():\n"
        "    row = (np.zeros((40, 50, 3), np.uint8), [[1, 2, 30, 35]], ['cat'])\n"
        "    return {'train': [row] * 4, 'test': [row]}\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    raw = read("my_boxes:load")
    assert raw.splits["test"][0].labels == ["cat"]
    np.testing.assert_array_equal(raw.splits["test"][0].boxes, [[1, 2, 30, 35]])
