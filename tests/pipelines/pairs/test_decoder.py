import numpy as np
import pytest
import sacrebleu

from pipelines.pairs.config import DecodeConfig
from pipelines.pairs.decoding import check, segment
from pipelines.pairs.decoding.decoder import Decoder
from pipelines.pairs.scores import Scores


def words(text):
    return len(text.split())


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("One two. Three four! (Five.) Six?", ["One two.", "Three four!", "(Five.)", "Six?"]),
        ("See Fig. 3 and e.g. Dr. Who. Then go.", ["See Fig. 3 and e.g. Dr. Who.", "Then go."]),
        ("Version 1.2 is out. it stays", ["Version 1.2 is out. it stays"]),
        ("Öl ist da. Äpfel auch.", ["Öl ist da.", "Äpfel auch."]),
        ("これは本です。それはペンです。", ["これは本です。", "それはペンです。"]),
        ("no end", ["no end"]),
    ],
)
def test_sentences(line, expected):
    parts = list(segment.sentences(line))
    assert [part.text for part in parts if not part.kept] == expected
    assert "".join(part.text for part in parts) == line


@pytest.mark.parametrize(
    "text",
    [
        "  A short one.\n\n\tAnother. And more of it. \r\nLast",
        "word " * 2000,
        "x" * 10_000,
        "a, b; c " * 300,
        " ",
        "\n",
    ],
)
def test_parts_joined_are_the_text_and_none_is_too_long(text):
    def size(part):
        return len(part) if " " not in part.strip() else 2 * words(part)

    parts = segment.parts(text, size, 10, 20)
    assert "".join(part.text for part in parts) == text
    assert all(size(part.text) <= 20 for part in parts if not part.kept)
    assert all(not part.text.strip() for part in parts if part.kept)


def test_sentences_come_together_as_far_as_is_usual():
    parts = segment.parts("Aa bb cc. Dd ee ff. Gg hh ii. Jj kk ll.", words, 7, 20)
    assert [part.text for part in parts if not part.kept] == ["Aa bb cc. Dd ee ff.", "Gg hh ii. Jj kk ll."]


@pytest.mark.parametrize(
    ("source", "translation", "expected"),
    [
        ("25,809.03 rubles", "25.809,03 Rubel", []),
        ("7 files", "8 Dateien", ["digits differ"]),
        ("%(n)d of %s, 100% sure", "%(n)d von %s, 100% sicher", []),
        ("%s files", "Dateien", ["placeholders differ"]),
        ("Hello {name}, {0} <b>new</b> &amp; ${x}", "Hallo {name}, {0} <b>neu</b> &amp; ${x}", []),
        ("Hello {name}", "Hallo {Name}", ["placeholders differ"]),
        ("a <b>bold</b> word", "ein fettes Wort", ["placeholders differ"]),
        ("see https://a.org/x?y=1.", "siehe https://a.org/x?y=1.", []),
        ("see https://a.org", "siehe https://b.org", ["addresses differ"]),
        ("mail me@a.org", "Mail an mich", ["addresses differ"]),
        ("Word", "", ["empty"]),
        ("50 % done", "50 % fertig", []),
    ],
)
def test_warnings(source, translation, expected):
    assert check.warnings(source, translation) == expected


class Echo:
    """Subwords that are characters, and a decoder that says what it is given, in capitals."""

    def encode(self, texts, side=0):
        return [[ord(c) for c in text] for text in texts]


class Loud(Decoder):
    def search(self, ids):
        from pipelines.pairs.decoding.decoder import Hypothesis

        return [[Hypothesis("".join(map(chr, row)).upper(), -1.0), Hypothesis("?", -2.0)] for row in ids]


def test_long_texts_are_joined_with_all_that_stood_between():
    decoder = Loud(None, Echo(), DecodeConfig(beam=2, best=2), usual=30, most=41)
    text = "  One sentence here. And another one of them.\n\n\tlast line \n"
    (found,) = decoder.translate([text])
    assert found.best[0].text == text.upper()
    assert len(found.best) == 1
    one, white = decoder.translate([" a word ", "  "])
    assert [hypothesis.text for hypothesis in one.best] == [" A WORD ", " ? "]
    assert white.best[0].text == "  "
    (long,) = decoder.translate(["y" * 10_000])
    assert long.best[0].text == "Y" * 10_000


def test_scores_of_a_part_are_those_of_sacrebleu():
    generator = np.random.default_rng(0)
    vocabulary = ["the", "a", "cat", "dog", "sat", "lay", "on", "under", "mat", "rug", "today", "."]
    wanted = [" ".join(generator.choice(vocabulary, 8)) for _ in range(40)]
    found = [" ".join(w if generator.random() < 0.7 else "x" for w in text.split()) for text in wanted]
    scores = Scores(found, wanted, "de")
    for rows in (np.arange(40), np.array([3, 3, 7, 21])):
        texts, references = [found[i] for i in rows], [[wanted[i] for i in rows]]
        value = scores.of(rows)
        assert value["bleu"] == pytest.approx(sacrebleu.corpus_bleu(texts, references).score)
        assert value["chrf"] == pytest.approx(sacrebleu.corpus_chrf(texts, references).score)
    assert scores.sentences()[5] == pytest.approx(sacrebleu.sentence_chrf(found[5], [wanted[5]]).score)
    estimates = scores.estimates(seed=0, resamples=50)
    assert estimates["bleu"].low < estimates["bleu"].value < estimates["bleu"].high
    assert "nrefs:1" in scores.signatures["bleu"]
    assert "tok:zh" in Scores(["你好"], ["你好"], "zh").signatures["bleu"]
