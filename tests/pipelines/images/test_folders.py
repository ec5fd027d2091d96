import os

import numpy as np
from PIL import Image

from pipelines.images.config import ImageDataConfig
from pipelines.images.load import load_images


def save(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8), value, np.uint8)).save(path)


def folder(root, classes=("cat", "dog")):
    for number, name in enumerate(classes):
        for i in range(10):
            save(root / name / f"{i}.png", 100 * number + i)
    return root


def load(root):
    return load_images(ImageDataConfig(source=str(root)), seed=0)


def test_hidden_files_and_folders_are_not_data(tmp_path):
    root = folder(tmp_path / "photos")
    for name in (".thumbnails", "@eaDir", ".ipynb_checkpoints", "__MACOSX"):
        save(root / name / "0.png", 1)
        save(root / "cat" / name / "0.png", 1)
    (root / "cat" / "._0.png").write_bytes(b"x")
    (root / "cat" / "Thumbs.db").write_bytes(b"x")
    data = load(root)
    assert data.classes == ("cat", "dog")
    assert sum(len(split.labels) for split in data.splits().values()) == 20
    assert not data.summary.skipped


def test_links_are_followed_once_and_loops_are_told(tmp_path):
    root = folder(tmp_path / "photos")
    for i in range(4):
        save(tmp_path / "more" / f"{i}.png", 50 + i)
    os.symlink(tmp_path / "more", root / "cat" / "more")
    os.symlink(root / "cat", root / "cat" / "again")
    data = load(root)
    assert sum(len(split.labels) for split in data.splits().values()) == 24
    assert any("read already" in note for note in data.summary.notes)


def test_classes_that_differ_in_case_alone_are_pointed_out(tmp_path):
    data = load(folder(tmp_path / "photos", ("cat", "Cat", "dog")))
    assert any("'Cat'" in note and "'cat'" in note for note in data.summary.notes)
