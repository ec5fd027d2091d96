"""What predict and explain read: texts, files, tables, standard input."""

import io
import re
from pathlib import Path

import pytest
from made_texts import ROWS, write_csv

from pipelines.core.errors import UserError
from pipelines.core.inputs import expand
from pipelines.texts import files as text_files


def stdin(monkeypatch, content):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))


def test_what_predict_takes(tmp_path, monkeypatch):
    write_csv(tmp_path / "d.csv", ROWS[:2])
    (tmp_path / "a.txt").write_text("one\ntwo")
    (tmp_path / "b.txt").write_bytes(b"\xff")
    (tmp_path / "c.jsonl").write_text('{"id": 1}\n{"text": "from JSON"}\n[]\n')
    stdin(monkeypatch, "\ufefffrom stdin\r\n".encode() + b"\xff\nlast")
    found = [
        (Path(item.name).name, item.reason or item.text)
        for item in text_files.given([str(tmp_path / "d.csv"), "A text.", str(tmp_path), "-", ""])
    ]
    assert found == [
        ("d.csv line 2", ROWS[0][0]), ("d.csv line 3", ROWS[1][0]), ("text", "A text."),
        ("a.txt", "one\ntwo"), ("b.txt", "not UTF-8: byte 0 is 0xff"), ("c.jsonl line 1", "not a text, but NoneType"),
        ("c.jsonl line 2", "from JSON"), ("c.jsonl line 3", "not a JSON object, but list"),
        ("d.csv line 2", ROWS[0][0]), ("d.csv line 3", ROWS[1][0]), ("standard input line 1", "from stdin"),
        ("standard input line 2", "not valid Unicode: character 0 is '\\udcff'"), ("standard input line 3", "last"),
        ("text", "empty text"),  # and not the current folder
    ]  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert [item.name for item in text_files.given(["*.txt"])] == ["a.txt", "b.txt"]
    for name in ("absent.txt", "absent*.csv"):
        with pytest.raises(UserError, match=re.escape(f"input not found: {name}")):
            list(text_files.given([name]))


def test_tables_without_texts_are_named(tmp_path):
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "numbers.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="no column named text"):
        list(text_files.given([str(tmp_path / "numbers.csv")]))
    first, second = text_files.given([str(tmp_path)])  # among texts, it is one of the rows that say why
    assert first.text == "one"
    assert second.name.endswith("numbers.csv")
    assert "no column named text" in second.reason


@pytest.mark.parametrize("text", ["x" * 300, "ж" * 140, "word/" * 100, "a?" * 200, "x" * 2000, "a\0b"])
def test_a_long_argument_is_a_text(text):
    ((name, found),) = [(item.name, item.text) for item in text_files.given([text])]
    assert (name, found) == ("text", text)
    with pytest.raises(UserError, match="input not found"):
        list(expand([text.replace("\0", "")], {".txt"}, "texts"))


def test_texts_to_explain_are_the_readable_ones(capsys):
    given = [text_files.Given("a", "one"), text_files.Given("b", None), text_files.Given("c", "\udcff"),
             text_files.Given("d", error="not UTF-8"), text_files.Given("e", "two"), text_files.Given("f", "three")]  # fmt: skip
    assert text_files.readable(given, 2) == ["one", "two"]
    said = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in said] == [
        "skipped b",
        "skipped c",
        "skipped d",
        "only the first 2 texts are taken",
    ]
    with pytest.raises(UserError, match="none of the inputs"):
        text_files.readable(given[1:4], 2)
