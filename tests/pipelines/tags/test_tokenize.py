import itertools
import random
import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.tags.tokenize import pieces, sentences, words

TEXTS = {
    "Don't go to McDonald's, they're @home #fun :)": ["Do", "n't", "go", "to", "McDonald", "'s", ",", "they", "'re", "@home", "#fun", ":)"],
    "see https://x.y/a?b. It cost 1,000.5 in the U.S. - AT&T!!": ["see", "https://x.y/a?b", ".", "It", "cost", "1,000.5", "in", "the", "U.S.", "-", "AT&T", "!!"],
    "👩‍👩‍👧 🇩🇪 ❤️👍🏽": ["👩‍👩‍👧", "🇩🇪", "❤️", "👍🏽"],
    "北京大学は東京": ["北", "京", "大", "学", "は", "東", "京"],
    "مرحبا بالعالم، يا أحمد": ["مرحبا", "بالعالم", "،", "يا", "أحمد"],
    "שָׁלוֹם עולם": ["שָׁלוֹם", "עולם"],
    "नमस्ते दुनिया": ["नमस्ते", "दुनिया"],
    unicodedata.normalize("NFD", "Zoë Müller"): [unicodedata.normalize("NFD", w) for w in ("Zoë", "Müller")],
    "to: a.b+c@mail-1.x.org, 北京@x.y": ["to", ":", "a.b+c@mail-1.x.org", ",", "北京@x.y"],
    "A" * 64 + "@x.y": ["A" * 64 + "@x.y"],
    "A" * 65 + "@x.y": ["A" * 65, "@x", ".", "y"],
    "": [],
    " \n\t\u3000 ": [],
}  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_words_of_many_scripts(text):
    assert [text[start:end] for start, end in words(text)] == TEXTS[text]


@settings(max_examples=300, deadline=None)
@given(st.text(), st.sets(st.integers(0, 40)))
def test_every_character_but_space_is_in_one_word(text, cuts):
    found = words(text, cuts)
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(found))
    covered = {i for start, end in found for i in range(start, end)}
    assert all(i in covered or text[i].isspace() for i in range(len(text)))
    assert not any(start < cut < end for start, end in found for cut in cuts)
    ranges = sentences(text, found)
    assert [i for r in ranges for i in r] == list(range(len(found)))


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_an_empty_line_ends_a_sentence(line_end):
    text = line_end.join(["one", "of two", "", "two"])
    assert [len(r) for r in sentences(text, words(text))] == [3, 1]


def test_sentences_end_where_they_end():
    text = 'He left. "Yes!" She said no... maybe.\nnot a new one\n\na new one。次の文'
    offsets = words(text)
    found = [text[offsets[r.start][0] : offsets[r.stop - 1][1]] for r in sentences(text, offsets)]
    assert found == ["He left.", '"Yes!"', "She said no... maybe.\nnot a new one", "a new one。", "次の文"]


def test_pieces_never_cut_an_entity():
    generator = random.Random(0)
    for _ in range(200):
        size, limit = generator.randrange(1, 60), generator.randrange(4, 12)
        spans, position = [], 0
        while position < size - 4:
            begin = position + generator.randrange(3)
            spans.append((begin, begin + generator.randrange(1, 4), "x"))
            position = spans[-1][1]
        cut = list(pieces(size, limit, spans))
        assert [i for begin, end in cut for i in range(begin, end)] == list(range(size))
        assert all(0 < end - begin <= limit for begin, end in cut)
        assert not any(start < end < stop for _, end in cut[:-1] for start, stop, _ in spans)


@pytest.mark.parametrize("unit", ["京", "a.b+", "a.b@", "1,", "a-", "www.)", ":dx", "a's", "京1.", "é\u200d"])
def test_runs_without_spaces_take_as_long_as_they_are(unit):
    def seconds(size):
        text = (unit * size)[:size]
        start = time.perf_counter()
        sentences(text, words(text))
        return time.perf_counter() - start

    short, long = (min(seconds(size) for _ in range(3)) for size in (20_000, 80_000))
    assert long < 9 * short + 0.3  # quadratic would be 16 times as long, and seconds


def test_a_megabyte_takes_seconds():
    text = "Ada Lovelace wrote to Müller 👍🏽 in 1843. " * 25_000
    offsets = words(text)
    assert len(offsets) == 9 * 25_000
    assert len(sentences(text, offsets)) == 25_000
