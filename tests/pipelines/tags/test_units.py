"""Offsets of entities that count something else than characters."""

import json

import numpy as np
import pytest

from pipelines.core.errors import UserError
from pipelines.tags import sources as tag_sources
from pipelines.tags import units
from pipelines.tags.config import TagsDataConfig

NAMES = ["Ada", "Grace", "Alan", "Edsger"]
TEXTS = [(f"😀é {name} came to Zürich", name) for name in NAMES]


def measured(text, unit):
    """The length of a text as JavaScript, a C program and Python give it."""
    sizes = {"UTF-16 units": len(text.encode("utf-16-le")) // 2, "UTF-8 bytes": len(text.encode()), "characters": 0}
    return sizes[unit] or len(text)


def load(path, rows, **options):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    config = TagsDataConfig(str(path), **options)
    return tag_sources.load(config, config.source)


def named(raw):
    return [s.tokens[begin:end] for s in raw.splits["all"] for begin, end, _ in s.spans]


@pytest.mark.parametrize("unit", list(units.UNITS))
def test_the_unit_of_offsets_is_found(tmp_path, unit):
    rows = []
    for text, name in TEXTS:
        at = [text.index(word) for word in (name, "Zürich")]
        places = [(a, a + len(word)) for a, word in zip(at, (name, "Zürich"), strict=True)]
        entities = [[measured(text[:a], unit), measured(text[:b], unit), "x"] for a, b in places]
        rows.append({"text": text, "entities": entities})
    raw = load(tmp_path / "d.jsonl", rows)
    assert not raw.skipped
    assert named(raw) == [word for name in NAMES for word in ([name], ["Zürich"])]
    assert any(f"count {unit}" in note and "'Ada'" in note for note in raw.notes) == (unit != "characters")


def test_offsets_that_fit_no_unit_are_shown(tmp_path):
    rows = [{"text": f"{name} came", "entities": [[1, len(name), "x"]]} for name in NAMES]
    (note,) = [note for note in load(tmp_path / "d.jsonl", rows).notes if "cut words" in note]
    assert "in 4 of 4 texts" in note
    assert "'da' in 'Ada came'" in note
    rows = [{"text": f"{name} came", "entities": [[0, len(name), "x"]]} for name in NAMES]
    assert not [note for note in load(tmp_path / "d.jsonl", rows).notes if "cut words" in note]


def test_scripts_without_spaces_are_not_cut():
    assert units.find([("a", "私は東京に住む", [(2, 4)])] * 3).note is None


def test_pairs_of_spacy_2(tmp_path):
    raw = load(tmp_path / "d.jsonl", [[f"{name} came.", {"entities": [[0, len(name), "x"]]}] for name in NAMES])
    assert not raw.skipped
    assert named(raw) == [[name] for name in NAMES]


def conllu(tmp_path, **options):
    lines = ["1\tAna\tB-x", "2-3\tal\t_", "2\ta\tO", "3\tel\tO", "3.1\tva\t_", ""]
    (tmp_path / "d.conll").write_text("\n".join(["# sent_id = 0", *lines, "# sent_id = 1", *lines]), encoding="utf-8")
    config = TagsDataConfig(str(tmp_path / "d.conll"), **options)
    return tag_sources.load(config, config.source)


def test_ranges_and_empty_nodes_of_conllu_are_skipped(tmp_path):
    raw = conllu(tmp_path, token_column=1)
    assert not raw.skipped
    assert [s.tokens for s in raw.splits["all"]] == [["Ana", "a", "el"]] * 2
    assert any("4 multiword ranges and empty nodes" in note for note in raw.notes)
    with pytest.raises(UserError, match=r"--data.token_column 1"):
        conllu(tmp_path)


def test_words_that_are_numbers_are_no_word_numbers(tmp_path):
    (tmp_path / "d.conll").write_text("1\tO\n3-4\tB-x\n\n7\tO\n", encoding="utf-8")
    config = TagsDataConfig(str(tmp_path / "d.conll"))
    assert [s.tokens for s in tag_sources.load(config, config.source).splits["all"]] == [["1", "3-4"], ["7"]]


def test_positions_are_those_of_encoded_prefixes():
    text = "a😀é\u0301ß𝄞"
    for unit in units.UNITS:
        place = units.positions(text, unit)
        assert [measured(text[:i], unit) if i else 0 for i in range(len(text) + 1)] == list(place)
        np.testing.assert_array_equal(list(place.values()), range(len(text) + 1))
