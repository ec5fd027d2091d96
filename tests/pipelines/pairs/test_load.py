import numpy as np
import pytest

from pipelines.core.errors import UserError
from pipelines.pairs import clean
from pipelines.pairs.config import PairsDataConfig
from pipelines.pairs.load import encoded, load_pairs, with_subwords
from pipelines.pairs.sample import cldr_pairs
from pipelines.pairs.subwords import Subwords, from_json

SAMPLE = list(cldr_pairs("en", "de", size=1500))
ENGLISH = [source for source, _ in SAMPLE if any(word in source for word in ("day,", "January", "May", "hours", "and"))]


def write(path, rows):
    path.write_text("".join(f"{source}\t{target}\n" for source, target in rows), encoding="utf-8")
    return path


def read(path, **options):
    return load_pairs(PairsDataConfig(str(path), **options), seed=0)


def test_sample_is_said_to_be_templates_and_tests_only_what_is_new():
    data = load_pairs(PairsDataConfig(limit=2000), seed=0)
    assert any("templates of CLDR" in note for note in data.summary.notes)
    sources = {split: {source for _, source, _ in data.read(split)} for split in ("train", "val", "test")}
    assert len(sources["train"]) == 2000
    assert not sources["train"] & sources["test"]
    assert not data.seen.any()
    assert ("Monday, August 27, 1951", "Montag, 27. August 1951") in cldr_pairs("en", "de")
    with pytest.raises(UserError, match="target_language 'xx'"):
        next(cldr_pairs("en", "xx"))


def test_what_is_dropped_is_counted_and_named(tmp_path):
    long = "Wort " * 2000
    bad = [
        ("The same three words", "The same three words"), ("A sentence of some length here", "Ein"),
        ("One two three four", "один два три четыре"), SAMPLE[0], ("A long one", long),
        tuple(" ".join(ENGLISH[i : i + 6]) for i in (0, 6)),
    ]  # fmt: skip
    rows = [*SAMPLE[:700], *bad]
    data = read(write(tmp_path / "a.tsv", rows))
    found = {reason: (count, list(names)) for reason, count, names in data.dropped}
    line = {reason: f"a.tsv line {701 + number}" for number, reason in enumerate(
        ["an untranslated copy", "an unusual ratio of lengths", "its target is in another script",
         "the same pair again", "more than 4000 characters", "its target reads like the other language"])}  # fmt: skip
    for reason, name in line.items():
        assert name in found[reason][1], reason
    assert sum(count for count, _ in found.values()) <= len(bad) + 3
    kept = read(tmp_path / "a.tsv", clean=False)
    assert sum(len(x) for x in kept.index.values()) == len(rows)
    assert kept.dropped == []


def test_names_and_proportions_of_usual_pairs_are_kept():
    judge = clean.Judge(SAMPLE, 3.0)
    reasons = [judge.reason(*pair) for pair in SAMPLE]
    assert sum(map(bool, reasons)) <= 0.005 * len(SAMPLE)
    assert judge.reason("Sudan", "Sudan") == ""
    other = clean.Judge(
        [(a, "".join(chr(0x410 + ord(c) % 32) if c.isalpha() else c for c in b)) for a, b in SAMPLE], 3.0
    )
    assert other.scripts == ["LATIN", "CYRILLIC"]
    assert other.reason("Monday", "Montag") == "its target is in another script"


def test_splits_of_the_source_are_kept_and_overlap_is_told(tmp_path):
    for name, rows in {"train": SAMPLE[:300], "valid": SAMPLE[300:330], "test": SAMPLE[290:310]}.items():
        write(tmp_path / f"{name}.tsv", rows)
    data = read(tmp_path)
    assert {split: len(numbers) for split, numbers in data.index.items()} == {"train": 300, "val": 30, "test": 20}
    assert data.seen.tolist() == [True] * 10 + [False] * 10
    assert "10 of 20 test sources are also in the training set" in data.summary.notes
    assert [(s, t) for _, s, t in data.read("test")] == SAMPLE[290:310]


def test_equal_sources_stay_together(tmp_path):
    rows = [(source, f"{target} {n}") for source, target in SAMPLE[:200] for n in range(3)]
    data = read(write(tmp_path / "a.tsv", rows))
    assert not data.seen.any()
    assert sum(map(len, data.index.values())) == 600


def test_broken_rows_beyond_the_limit_are_listed(tmp_path):
    path = write(tmp_path / "a.tsv", SAMPLE[:100])
    path.write_bytes(path.read_bytes() + "caf\xe9\tCafé\n".encode("latin-1") * 3)
    assert [reason[:25] for _, reason in read(path).summary.skipped] == ["its source is not valid U"] * 3
    with pytest.raises(UserError, match=r"3 rows .* a\.tsv line 101: its source is not valid Unicode"):
        read(path, max_broken=2)
    with pytest.raises(UserError, match="too few usable pairs"):
        read(write(tmp_path / "b.tsv", SAMPLE[:2]))
    with pytest.raises(UserError, match="no pair of a text"):
        read(write(tmp_path / "c.tsv", [("", ""), ("a", "")]))


def test_pieces_are_those_of_the_texts(tmp_path):
    data = read(write(tmp_path / "a.tsv", [*SAMPLE[:400], ("word " * 60, "Wort " * 60)]))
    subwords = Subwords.learn(lambda: data.texts("train"), 500)
    assert len(subwords) == 500
    for text in ("Monday,  two\tspaces ", "日本 🎉 ﬁ\u00a0x", "1,234.50 €"):
        assert from_json(subwords.to_json()).decode(subwords.encode([text])[0]) == text
    assert len(Subwords.learn(lambda: ["aa bb"] * 5, 5000)) < 400
    pieces = encoded(data, "train", subwords)
    for number, (_, source, target) in enumerate(data.read("train")):
        assert [subwords.decode(ids) for ids in pieces.pair(number)] == [source, target]
    cut = with_subwords(data, subwords, 60)
    long = max(pieces.lengths.max(1))
    assert long >= 60 > cut.encoded["train"].lengths.max()
    assert any("pieces and are dropped" in note for note in cut.summary.notes)
    assert [s for _, s, _ in cut.read("train")][3] == subwords.decode(cut.encoded["train"].pair(3)[0])
    with pytest.raises(UserError, match="max_length"):
        with_subwords(data, subwords, 2)


def test_texts_are_not_held_in_memory(tmp_path):
    data = read(write(tmp_path / "a.tsv", SAMPLE[:50]))
    assert data.store[3][1:] == SAMPLE[3]
    held = [value for value in vars(data.store).values() if isinstance(value, (list, dict, str))]
    assert held == []
    assert np.array_equal(data.index["test"], read(tmp_path / "a.tsv").index["test"])
