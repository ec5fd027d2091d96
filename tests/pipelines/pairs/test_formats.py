import importlib.util
import io
import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from babel.messages import pofile

from pipelines.core.errors import UserError
from pipelines.pairs.config import PairsDataConfig
from pipelines.pairs.formats.files import pairs_of, parallel
from pipelines.pairs.formats.po import Catalog
from pipelines.pairs.formats.tmx import Memory
from pipelines.pairs.sources import load

CONFIG = PairsDataConfig()
PO = r"""# A comment.
msgid ""
msgstr ""
"Content-Type: text/plain; charset=UTF-8\n"
"Plural-Forms: nplurals=2; plural=(n != 1);\n"

#: a.py:1
msgctxt "menu"
msgid "Open"
msgstr "Öffnen"

#, python-format
msgid ""
"Two lines\n"
"with %s and a \"quote\""
msgstr ""

#: b.py:2
#, fuzzy, python-format
#| msgid "%d old file"
msgid "%d file"
msgid_plural "%d files"
msgstr[0] "%d Akte"
msgstr[1] ""

#~ msgid "Gone"
#~ msgstr "Weg"
"""
TMX = """<?xml version="1.0" encoding="UTF-8"?>
<tmx version="1.4"><header srclang="en"/><body>
<!-- kept -->
<tu tuid="1"><tuv xml:lang="en-US"><seg>One <bpt i="1">&lt;b&gt;</bpt>bold<ept i="1">&lt;/b&gt;</ept> word</seg></tuv>
  <tuv xml:lang="de-DE"><seg>Ein fettes Wort</seg></tuv></tu>
<tu><tuv xml:lang="EN"><seg>Ham &amp; eggs</seg></tuv></tu>
</body></tmx>
"""


def write(path, text):
    path.write_text(text, encoding="utf-8", newline="")
    return path


def texts(pairs):
    return [(pair.source, pair.target) for pair in pairs if not pair.fault]


def entries(catalog, strict=True):
    """What babel reads of a catalog."""
    found = pofile.read_po(io.StringIO(catalog), abort_invalid=strict)
    return {(m.context, m.id): (m.string, sorted(m.flags)) for m in found if m.id}


def test_po_is_read_as_babel_reads_it(tmp_path):
    catalog = Catalog.read(write(tmp_path / "a.po", PO))
    ours = {
        (e.context, (e.text, e.plural) if e.plural else e.text): tuple(e.translations.values()) if e.plural else
        e.translations[0]
        for e in catalog.entries if e.text and not e.obsolete
    }  # fmt: skip
    assert ours == {key: string for key, (string, _) in entries(PO).items()}
    assert [e.missing for e in catalog.entries] == [False, False, True, True, False]
    assert texts(pairs_of(tmp_path / "a.po", CONFIG)) == [("Open", "Öffnen")]


def test_po_is_written_with_new_translations_and_nothing_else_changed(tmp_path):
    catalog = Catalog.read(write(tmp_path / "a.po", PO))
    assert catalog.written({}) == PO
    new = {(2, 0): 'Zwei Zeilen\nmit %s und einem "Zitat"', (3, 0): "%d Datei", (3, 1): "%d Dateien"}
    text = catalog.written(new, doubtful=[2])
    found, before = entries(text), entries(PO)
    assert found[None, 'Two lines\nwith %s and a "quote"'] == (new[2, 0], ["fuzzy", "python-format"])
    assert found[None, ("%d file", "%d files")] == (("%d Datei", "%d Dateien"), ["python-format"])
    assert found["menu", "Open"] == before["menu", "Open"]
    kept = [line for line in PO.splitlines() if not line.startswith(("msgstr", "#,"))]
    assert [line for line in text.splitlines() if line in kept] == kept
    crlf = write(tmp_path / "b.po", PO.replace("\n", "\r\n"))
    assert Catalog.read(crlf).written({}) == PO.replace("\n", "\r\n")
    assert Catalog.read(crlf).written(new, [2]).replace("\r\n", "\n") == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('msgid "a\nmsgstr ""', "line 1"),
        ('msgid "a"\nmsgstr "b"c"', "line 2"),
        ("hello", "line 1"),
        ('msgstr "x"', "without a msgid"),
    ],
)
def test_broken_po_names_its_line(tmp_path, text, words):
    with pytest.raises(UserError, match=words):
        list(pairs_of(write(tmp_path / "a.po", text), CONFIG))


@pytest.mark.skipif(importlib.util.find_spec("django") is None, reason="Django's catalogs are not installed")
def test_catalogs_of_django_stay_as_they_are():
    root = Path(importlib.util.find_spec("django").origin).parent
    found = sorted(root.rglob("locale/*/LC_MESSAGES/django.po"))[::10]
    assert len(found) > 50
    for path in found:
        catalog = Catalog.read(path)
        text = path.read_bytes().decode("utf-8")
        assert catalog.written({}) == text
        expected = entries(text, strict=False)  # some have more plural forms than their header says
        assert {(e.context, (e.text, e.plural) if e.plural else e.text) for e in catalog.entries
                if e.text and not e.obsolete} == set(expected)  # fmt: skip
    catalog = Catalog.read(root / "contrib/admin/locale/de/LC_MESSAGES/django.po")
    every = {(n, form): "X" for n, e in enumerate(catalog.entries) if e.text and not e.obsolete for form in e.places}
    again = entries(catalog.written(every))
    assert {s for string, _ in again.values() for s in (string if isinstance(string, tuple) else [string])} == {"X"}


def test_tmx_is_read_and_written_back(tmp_path):
    path = write(tmp_path / "a.tmx", TMX)
    memory = Memory.read(path)
    assert [(unit.text("en"), unit.text("de"), unit.line) for unit in memory.units] == [
        ("One bold word", "Ein fettes Wort", 4), ("Ham & eggs", None, 6)
    ]  # fmt: skip
    written = memory.written({1: "Schinken & Ei <ä>"}, "de")
    added = '<tuv xml:lang="de"><seg>Schinken &amp; Ei &lt;ä&gt;</seg></tuv>'.encode()
    assert written.replace(added, b"") == TMX.encode()
    units = ET.fromstring(written).findall(".//tu")
    assert units[1].findall("tuv")[1].find("seg").text == "Schinken & Ei <ä>"
    assert Memory(written).units[1].text("de-AT") == "Schinken & Ei <ä>"
    assert texts(pairs_of(path, CONFIG))[0] == ("One bold word", "Ein fettes Wort")


@pytest.mark.parametrize(
    ("text", "words"),
    [("<tmx><body>", "line 1"), ("<html></html>", "XML file of html"),
     ('<!DOCTYPE t [<!ENTITY a "b">]><tmx>&a;</tmx>', "entities"), ("", "no element")],
)  # fmt: skip
def test_broken_tmx_is_named(tmp_path, text, words):
    with pytest.raises(UserError, match=words):
        list(pairs_of(write(tmp_path / "a.tmx", text), CONFIG))


def test_tables_with_and_without_names(tmp_path):
    pairs = [('A "quoted" word', 'Ein "Wort'), ("Two", "Zwei")]
    rows = "\n".join("\t".join(pair) for pair in pairs)
    assert texts(pairs_of(write(tmp_path / "a.tsv", rows), CONFIG)) == pairs
    assert texts(pairs_of(write(tmp_path / "b.tsv", f"de\ten\n{rows}"), CONFIG)) == [(b, a) for a, b in pairs]
    lines = "\n".join(json.dumps({"translation": dict(zip(("en", "de"), pair, strict=True))}) for pair in pairs)
    assert texts(pairs_of(write(tmp_path / "c.jsonl", lines), CONFIG)) == pairs
    csv = 'source,target,split\n"A ""quoted"" word","Ein ""Wort",train\nTwo,Zwei,test\n'
    found = list(pairs_of(write(tmp_path / "d.csv", csv), CONFIG))
    assert texts(found) == pairs
    assert [pair.split for pair in found] == ["train", "test"]
    with pytest.raises(UserError, match="source_column"):
        list(pairs_of(write(tmp_path / "e.csv", "a,b\n1,2\n"), CONFIG))
    (broken,) = (p for p in pairs_of(write(tmp_path / "f.tsv", "a\tb\nc\n"), CONFIG) if p.broken)
    assert (broken.name, broken.broken) == ("f.tsv line 2", "expected 2 cells, got 1")


def test_parallel_files_and_folders(tmp_path):
    for name, text in {"train.en": "One\nTwo\u2028half\n", "train.de": "Eins\nZwei\n", "valid.en": "Three\n",
                       "valid.de": "Drei\n", "readme.md": "x"}.items():  # fmt: skip
        write(tmp_path / name, text)
    assert texts(parallel(tmp_path / "train.en", tmp_path / "train.de")) == [("One", "Eins"), ("Two\u2028half", "Zwei")]
    raw = load(CONFIG, str(tmp_path))
    assert {split: len(list(pairs)) for split, pairs in raw.splits.items()} == {"train": 2, "val": 1}
    write(tmp_path / "valid.de", "Drei\nVier\n")
    with pytest.raises(UserError, match=r"1 lines, but .* has 2"):
        list(load(CONFIG, str(tmp_path)).splits["val"])
    (tmp_path / "latin.en").write_bytes("caf\xe9\n".encode("latin-1"))
    write(tmp_path / "latin.de", "Café\n")
    (pair,) = parallel(tmp_path / "latin.en", tmp_path / "latin.de")
    assert "its source is not valid Unicode" in pair.fault
