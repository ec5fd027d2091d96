"""What `predict` of ner reads: which arguments are names, and the texts of files."""

import os
from pathlib import Path

import pytest

from pipelines.core.errors import UserError
from pipelines.tags import sources as tag_sources
from pipelines.tags.config import TagsDataConfig
from pipelines.tags.inputs import Entities, named, texts, to_columns

TEXTS = [
    "北京大学在北京。", "Berlin", "x" * 300, "Ada saw Rome. " * 30, "Berlin/Germany and all", "https://pku.edu.cn/北京",
    "京/" * 600, "a\0b", "[b-a] [x", "\ud83d", "京都.見",
]  # fmt: skip


@pytest.mark.parametrize("argument", TEXTS, ids=range(len(TEXTS)))
def test_an_argument_that_looks_like_no_name_is_a_text(tmp_path, monkeypatch, argument):
    monkeypatch.chdir(tmp_path)
    assert named([argument]) == [argument]


def test_an_argument_that_looks_like_a_name_is_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("Berlin", "my letter", "a.txt", "b.txt", "c.csv"):
        (tmp_path / name).write_text("text\nAda\n")
    assert named(["Berlin", "my letter", "*.txt", "./c.csv", "."]) == [
        Path(name) for name in ("Berlin", "my letter", "a.txt", "b.txt", "./c.csv", "a.txt", "b.txt")
    ]
    for name in ("", "Berlin.txt", "my letter.txt", "no/where", "x.conll", "x.csv", "eng.testa"):
        with pytest.raises(UserError, match="input not found"):
            named([name])


def test_files_in_columns_keep_their_words(tmp_path):
    """What is written of them has the words of the file, one for one, and train reads it."""
    text = "-DOCSTART- -X- O\n\n# id = 1\nAda's NNP B-p\n(x) X O\n\nRome NN\n\n# NN O\nis VB O\n" + "a X O\n" * 20
    (tmp_path / "a.conll").write_text(text)
    first, broken, last = texts([tmp_path / "a.conll"], 8)
    assert (first.text, list(first.sentences)) == ("Ada's (x)", [["Ada's", "(x)"]])
    assert broken == type(broken)(f"{tmp_path}/a.conll:7", error="line 7 has 2 columns, the others 3")
    assert [len(words) for words in last.sentences] == [8, 8, 6]
    found = [last.entity(last.ranges[0], (0, 2, "p"), 0.5)]
    row = {"input": last.name, "text": last.text, "entities": Entities(found, last.offsets)}
    written = "".join(to_columns(row))
    assert [line.split("\t") for line in written.split("\n")[:3]] == [["#", "B-p"], ["is", "I-p"], ["a", "O"]]
    (tmp_path / "b.conll").write_text(written)
    (sentence,) = tag_sources.load(TagsDataConfig(), str(tmp_path / "b.conll")).splits["all"]
    assert sentence.tokens == ["#", "is", *"a" * 20]
    (tmp_path / "c.tsv").write_text("1\tAda\n2\tran\n")
    (tmp_path / "words.bio").write_text("Ada\nran\n")
    assert [t.text for t in texts([tmp_path / "c.tsv", tmp_path / "words.bio"], 8, token_column=1)] == ["Ada ran"] * 2
    assert next(texts([tmp_path / "c.tsv"], 8, token_column=2)).error.startswith("has 2 columns a line")
    (tmp_path / "d.conll").write_bytes(b"\n\xff\n")
    assert [t.error for t in texts([tmp_path / "d.conll"], 8)] == ["holds no line of text in UTF-8"]


def test_what_cannot_be_read_is_a_row_that_says_why(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    (tmp_path / "a.csv").write_bytes(b"id,text\n1,Ada\n2,\n3,\xff\n4\n")
    (tmp_path / "b.csv").write_text("id,words\n1,Ada\n")
    (tmp_path / "c.jsonl").write_bytes(
        b'\xef\xbb\xbf"Ada"\r\n\r\n{"text": "\\ud83d"}\n\xff\n{"text": 3}\n' + b"[" * 100_000
    )
    parquet.write_table(pyarrow.table({"text": ["Ada", None]}), tmp_path / "d.parquet")
    (tmp_path / "e.txt").write_bytes(b"Ada\xff")
    odd = Path(os.fsdecode(bytes(tmp_path) + b"/\xff.txt"))
    odd.write_text("Ada")
    files = [tmp_path / name for name in ("a.csv", "b.csv", "c.jsonl", "d.parquet", "e.txt", "f.txt")]
    found = [(Path(t.name).name, t.text or t.error) for t in texts([*files, odd, "\ud83d", 3], 8)]
    assert found == [
        ("a.csv line 2", "Ada"), ("a.csv line 3", ""), ("a.csv line 4", r"not valid Unicode: character 0 is '\udcff'"),
        ("a.csv line 5", "expected 2 cells, got 1"),
        ("b.csv", "no column named text or sentence or review or content or document or body or message or comment or "
         "tweet (it has id, words)"),
        ("c.jsonl:1", "Ada"), ("c.jsonl:3", r"not valid Unicode: character 0 is '\ud83d'"), ("c.jsonl:4", "not UTF-8"),
        ("c.jsonl:5", "no text"), ("c.jsonl:6", found[9][1]), ("d.parquet row 0", "Ada"),
        ("d.parquet row 1", "not a text, but NoneType"), ("e.txt", "not UTF-8: byte 3 is 0xff"),
        ("f.txt", "No such file or directory"), (r"\udcff.txt", "Ada"),
        ("text", r"not valid Unicode: character 0 is '\ud83d'"), ("text", "not a text, but int"),
    ]  # fmt: skip
    assert found[9][1].startswith("no JSON")
