"""A table of broken inputs: each ends in one clear line and exit status 2, and nothing is written."""

import json

import pytest
from PIL import Image

from pipelines import object_detect

IMAGES = [{"id": i, "file_name": f"{i}.png", "width": 40, "height": 30} for i in range(4)]
CATEGORIES = [{"id": 1, "name": "cat"}]


def coco(notes, images=IMAGES, categories=CATEGORIES):
    return json.dumps({"images": images, "annotations": notes, "categories": categories})


def note(image=0, category=1, box=(1, 2, 10, 12)):
    return {"image_id": image, "category_id": category, "bbox": list(box)}


# (files, options, words that the line must hold)
TABLE = [
    ({}, "--data nowhere", "data.source not found"),
    ({}, "--data .", "holds no annotations"),
    ({}, "--data sample --data.images nowhere", "data.images nowhere is not a folder"),
    ({"a.json": "{"}, "--data a.json", "cannot be read as JSON"),
    ({"a.json": "[1]"}, "--data a.json", "is no COCO file"),
    ({"a.json": coco([note()], [{"file_name": "0.png"}])}, "--data a.json", "lacks 'id'"),
    ({"a.json": coco([note(image=9)] * 11)}, "--data a.json", "image_id 9"),
    ({"a.json": coco([{"image_id": 0, "bbox": [1, 2]}] * 11)}, "--data a.json", "must be four numbers"),
    ({"a.json": coco([note(box=(1, 2, -3, 4))] * 11)}, "--data a.json", "negative width"),
    ({"a.json": coco([note()], [{"id": 0, "file_name": "gone.png"}])}, "--data a.json", "not found"),
    ({"a.json": coco([])}, "--data a.json", "has no boxes"),
    ({"a.json": coco([note(category=5)])}, "--data a.json", "no training image has a box"),
    ({"boxes.csv": "image,label\n0.png,cat\n"}, "--data boxes.csv", "must have columns"),
    ({"boxes.csv": "image,xmin,ymin,xmax,ymax,label\n0.png,a,b,c,d,cat\n"}, "--data boxes.csv --data.max_broken 0",
     "line 2"),
    ({"boxes.csv": "image,xmin,ymin,xmax,ymax,label\n"}, "--data boxes.csv", "no image with annotations"),
    ({"boxes.md": "x"}, "--data boxes.md", "a file must be COCO .json"),
    ({"a.xml": "<annotation><filename>0.png</filename><object/></annotation>"}, "--data . --data.max_broken 0",
     "no name or no bndbox"),
    ({"a.xml": "<annotation><filename>0.png</filename>"}, "--data . --data.max_broken 0", "a.xml"),
    ({"labels/0.txt": "0 .5 .5 .1 .1"}, "--data .", "classes.txt"),
    ({"data.yaml": "names: [a]\ntrain: images"}, "--data data.yaml", "is not found"),
    ({"data.yaml": "train: ."}, "--data data.yaml", "the list `names`"),
    ({"classes.txt": "a", "0.txt": "x y"}, "--data . --data.max_broken 0", "a class number and four fractions"),
    ({}, "--data sample --data.size 50", "data.size"),
    ({}, "--data.scenes 3", "data.scenes"),
    ({}, "--data.scenes 20 --data.size 96 --model.strides [64]", "multiple of the largest of model.strides"),
    ({}, "--model.strides [8,32]", "rising neighbours"),
    ({}, "--model.builder yolo", "model.builder"),
    ({}, "--model.nms_iou 0", "model.nms_iou"),
    ({}, "--model.confidence 1", "model.confidence"),
    ({}, "--augment.mosaic 2", "augment.mosaic"),
    ({}, "--augment.scale 1", "augment.scale"),
    ({}, "--data.scenes 20 --fit.imbalance weights", "not for detection"),
    ({"classes.txt": "a"}, "convert . 0.png --format coco", "exists"),
    ({}, "convert nowhere out --format coco", "data.source not found"),
    ({}, "convert nowhere out --format pdf", "invalid choice"),
]  # fmt: skip


@pytest.mark.parametrize(("files", "options", "words"), TABLE, ids=[f"{i}" for i in range(len(TABLE))])
def test_broken_input(tmp_path, monkeypatch, capsys, files, options, words):
    for i in range(4):
        Image.new("RGB", (40, 30), (i, 0, 0)).save(tmp_path / f"{i}.png")
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    before = {p.name for p in tmp_path.iterdir()}
    with pytest.raises(SystemExit) as end:
        object_detect.TASK.main(options.split())
    assert end.value.code == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("python -m pipelines.object_detect"), line
    assert words in line
    assert {p.name for p in tmp_path.iterdir()} == before
