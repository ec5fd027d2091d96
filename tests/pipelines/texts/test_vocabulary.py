import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.texts.vocabulary import Vocabulary, count_words, learn_subwords, word_vocabulary, wordpieces

CORPUS = ["low lower lowest", "new newer newest", "wide wider widest"] * 20
LEARNED = learn_subwords(CORPUS, 320, lowercase=True)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=40))
def test_every_text_has_tokens_that_lie_in_it_in_order(text):
    (encoded,) = LEARNED.encode([text])
    assert bool(encoded.ids) == bool(text)
    assert all(0 < i < len(LEARNED) for i in encoded.ids)
    assert all(0 <= a <= b <= len(text) for a, b in encoded.offsets)
    assert encoded.offsets == sorted(encoded.offsets)


@pytest.mark.parametrize(
    "text", ["naïve café", "שלום עולם", "日本語のテキスト", "👩‍👩‍👧 ok", "e\u0301te\u0301", "\0\x07", "a" * 5000]
)
def test_bytes_lose_nothing(text):
    """The tokens' bytes give back the text, whatever its script (after NFC and lower case)."""
    import unicodedata

    from tokenizers import decoders

    (encoded,) = LEARNED.encode([text])
    tokens = LEARNED.tokens()
    back = decoders.ByteLevel().decode([tokens[i] for i in encoded.ids])
    assert back.removeprefix(" ") == unicodedata.normalize("NFC", text).lower()


def test_offsets_are_of_the_raw_text():
    text = "Ünder LOWEST 日本"
    (encoded,) = LEARNED.encode([text])
    (start, end) = next(o for o in encoded.offsets if text[o[0] : o[1]].strip() == "LOWEST")
    assert text[start:end].strip() == "LOWEST"
    assert "".join(text[a:b] for a, b in encoded.offsets[-2:])[-1] == "本"


def test_frequent_words_become_whole_and_the_size_is_kept():
    (encoded,) = LEARNED.encode(["lowest"])
    assert len(encoded.ids) < len("lowest")
    assert len(LEARNED) <= 320
    assert LEARNED.tokens()[LEARNED.pad] == "[PAD]"


def test_the_same_texts_give_the_same_vocabulary_and_it_comes_back_from_json():
    again = learn_subwords(CORPUS, 320, lowercase=True)
    assert again.to_json() == LEARNED.to_json()
    back = Vocabulary.from_json(LEARNED.to_json())
    assert back.encode(["new low"]) == LEARNED.encode(["new low"])


def test_words():
    counts = count_words(["Don't stop, don’t!", "Stop."], lowercase=True)
    assert counts == {"don't": 1, "stop": 2, ",": 1, "don’t": 1, "!": 1, ".": 1}
    words = word_vocabulary(["stop", "."], lowercase=True)
    (encoded,) = words.encode(["STOP it."])
    assert encoded.ids == [2, 1, 3]
    assert encoded.offsets == [(0, 4), (5, 7), (7, 8)]


def test_wordpieces_need_their_special_tokens():
    with pytest.raises(ValueError, match=r"no \[CLS\]"):
        wordpieces(["[PAD]", "[UNK]", "[SEP]"], lowercase=True)
