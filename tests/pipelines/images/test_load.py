import gzip
import shutil
import struct

import numpy as np
import pytest
from PIL import Image

from pipelines.core.errors import UserError
from pipelines.images import sources as image_sources
from pipelines.images.config import ImageDataConfig
from pipelines.images.load import ImageFiles, ImageSpec, load_images


def load(source, seed=0, **options):
    return load_images(ImageDataConfig(source=str(source), **options), seed=seed)


def sizes(data):
    return {name: len(split.labels) for name, split in data.splits().items()}


def test_sample_is_the_digits():
    data = load("sample")
    assert sizes(data) == {
        "train": 1259,
        "val": 269,
        "test": 269,
    }
    assert data.spec.shape == (8, 8, 1)
    assert data.classes == tuple("0123456789")
    from sklearn.datasets import load_digits

    everything = np.concatenate([p.images.read(np.arange(len(p.labels))) for p in data.splits().values()])
    assert sorted(map(bytes, everything)) == sorted(map(bytes, np.rint(load_digits().images * 255 / 16).astype("u1")))


def test_class_folders(photos):
    data = load(photos)
    assert data.classes == ("cat", "dog")
    assert data.spec.shape == (12, 12, 3)
    for split in data.splits().values():
        images = split.images.read(np.arange(len(split.labels)))
        assert ((images.mean((1, 2, 3)) < 100) == split.labels).all()
    names = [row["sample"] for row in data.assignment()]
    assert len(set(names)) == len(names) == 20


def test_named_parts_are_respected(photos, tmp_path):
    root = tmp_path / "parted"
    for split, numbers in (("train", range(6)), ("valid", range(6, 8)), ("test", range(8, 10))):
        for name in ("cat", "dog"):
            (root / split / name).mkdir(parents=True)
            for i in numbers:
                shutil.copy(photos / name / f"{i}.png", root / split / name)
    data = load(root)
    assert sizes(data) == {"train": 12, "val": 4, "test": 4}
    assert set(data.test.images.names) == {f"test/{n}/{i}.png" for n in ("cat", "dog") for i in (8, 9)}


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_csv_with_groups(photos, tmp_path, separator):
    rows = [separator.join(("File", "Class", "patient"))]
    rows += [separator.join((f"photos\\{n}\\{i}.png", n, f"p{i // 2}")) for n in ("cat", "dog") for i in range(10)]
    path = tmp_path / "list.csv"
    path.write_text("\ufeff" + "\n".join(rows), encoding="utf-8")
    data = load(path, group_column="patient", test_fraction=0.3)
    patients = {
        split: {int(name.split("/")[-1][0]) // 2 for name in data.splits()[split].images.names}
        for split in data.splits()
    }
    assert not patients["train"] & patients["test"]
    assert not patients["train"] & patients["val"]


@pytest.mark.parametrize("labels", [[0, 1] * 10, ["a", "b"] * 10, np.eye(2)[[0, 1] * 10], [[0], [1]] * 10])
def test_npz(tmp_path, labels):
    images = np.random.default_rng(0).random((20, 6, 5))
    np.savez(tmp_path / "d.npz", x=images, y=labels)
    data = load(tmp_path / "d.npz")
    assert data.spec.shape == (6, 5, 1)
    assert len(data.classes) == 2
    np.testing.assert_array_equal(
        np.sort(np.concatenate([p.images.read(np.arange(len(p.labels))).ravel() for p in data.splits().values()])),
        np.sort(np.rint(images * 255).astype("u1").ravel()),
    )


def test_function(tmp_path, monkeypatch):
    (tmp_path / "loader_of_test.py").write_text(
        "import numpy as np\n"
        "def load():\n"
        "    x = np.arange(40, dtype='uint8').reshape(40, 1, 1).repeat(4, 1).repeat(4, 2)\n"
        "    return (x[:30], [i % 2 for i in range(30)]), (x[30:], [i % 2 for i in range(10)])\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    data = load("loader_of_test:load")
    assert len(data.test.labels) == 10
    assert len(data.train.labels) + len(data.val.labels) == 30


def write_idx(path, array):
    head = b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(gzip.compress(head + array.tobytes()))


def test_fashion_mnist_from_idx_files(tmp_path, monkeypatch):
    generator = np.random.default_rng(0)
    for stem, count in (("train", 60), ("t10k", 20)):
        images = generator.integers(0, 255, (count, 28, 28), dtype=np.uint8)
        write_idx(tmp_path / f"{stem}-images-idx3-ubyte.gz", images)
        write_idx(tmp_path / f"{stem}-labels-idx1-ubyte.gz", (np.arange(count) % 10).astype(np.uint8))
    monkeypatch.setattr(image_sources, "DEBIAN_FASHION", tmp_path)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "none"))
    data = load("fashion_mnist")
    assert len(data.test.labels) == 20
    assert data.classes[9] == "Ankle boot"
    np.testing.assert_array_equal(data.test.images.read(np.array([19]))[0, ..., 0], images[19])


@pytest.mark.parametrize(
    "content",
    [b"junk", gzip.compress(b"\0\0\x09\1"), gzip.compress(b"\0\0\x08\1\0\0\0\5ab")],
    ids=["no gzip", "other numbers", "too short"],  # without the time of compression
)
def test_damaged_idx(tmp_path, content):
    (tmp_path / "x.gz").write_bytes(content)
    with pytest.raises(UserError, match=r"x\.gz"):
        image_sources.read_idx(tmp_path / "x.gz")


def test_broken_pictures_are_named_and_skipped(photos):
    (photos / "cat" / "3.png").write_bytes(b"no image")
    (photos / "dog" / "4.png").write_bytes((photos / "dog" / "4.png").read_bytes()[:60])
    data = load(photos, max_broken=2)
    assert {name for name, _ in data.summary.skipped} == {"cat/3.png", "dog/4.png"}
    assert sum(len(split.labels) for split in data.splits().values()) == 18
    with pytest.raises(UserError, match=r"max_broken = 1.*cat/3\.png: not an image"):
        load(photos, max_broken=1)


def test_copies_stay_in_one_part_and_copies_across_given_parts_are_reported(photos, tmp_path):
    for i in range(8):
        shutil.copy(photos / "cat" / "0.png", photos / "cat" / f"copy{i}.png")
    data = load(photos, test_fraction=0.3)
    assert data.summary.duplicates == []
    root = tmp_path / "parted"
    for split in ("train", "test"):
        shutil.copytree(photos, root / split)
    (root / "train" / "dog" / "9.png").unlink()
    assert len(load(root).summary.duplicates) == 27


def test_large_sets_stay_on_disk(photos):
    kept, streamed = load(photos), load(photos, memory_gib=0)
    assert isinstance(streamed.train.images, ImageFiles)
    indices = np.array([3, 0, 5])
    np.testing.assert_array_equal(kept.train.images.read(indices), streamed.train.images.read(indices))
    assert kept.summary.fingerprint == streamed.summary.fingerprint


def test_limit_and_seed(photos):
    assert len(load(photos, limit=6).train.labels) == 6
    assert load(photos, seed=1).summary.fingerprint != load(photos, seed=2).summary.fingerprint
    assert load(photos, seed=1).summary.fingerprint == load(photos, seed=1).summary.fingerprint


def test_spec_reads_raw_pictures_as_in_training(photos):
    data = load(photos, size=8, channels="grey")
    spec = ImageSpec(**data.spec.to_json())
    name = data.test.images.names[0]
    np.testing.assert_array_equal(spec.read(photos / name), data.test.images.read(np.array([0]))[0])
    assert spec.read(Image.open(photos / name)).shape == (8, 8, 1)


def test_hidden_and_foreign_files_are_left_alone(photos):
    (photos / "cat" / "Thumbs.db").write_bytes(b"x")
    (photos / "cat" / ".hidden.png").write_bytes(b"x")
    (photos / "cat" / "notes.txt").write_text("x")
    (photos / "empty").mkdir()
    data = load(photos)
    assert data.summary.skipped == []
    assert any("1 files in cat" in note for note in data.summary.notes)
    assert any("empty" in note for note in data.summary.notes)
    assert data.classes == ("cat", "dog")


def test_classes_are_sorted_as_people_do(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.random.default_rng(0).random((60, 4, 4)), y=[2, 10, 1] * 20)
    assert load(tmp_path / "d.npz").classes == ("1", "2", "10")
