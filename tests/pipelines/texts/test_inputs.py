import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.texts import inputs as text_inputs
from pipelines.texts.inputs import COUNT, MULTIPLE, NgramInput, TokenInput, spans
from pipelines.texts.ngram_evidence import evidence
from pipelines.texts.vocabulary import WORD, learn_subwords, wordpieces

CORPUS = ["A good film", "a GOOD  book", "bad film", "Straße İstanbul 日本 😀", "good film again"]


def runs(text, words=2, low=2, high=5, within=True):
    """The n-grams that `NgramInput` should see, as strings, with their occurrences."""
    import re

    lower = "".join(c.lower() if len(c.lower()) == 1 else c for c in text)
    found = re.findall(WORD, lower)
    result = Counter(("w", *found[i : i + n]) for n in range(1, words + 1) for i in range(len(found) - n + 1))
    spaced = re.sub(r"\s+", " ", f" {lower} ")
    pieces = (spaced[i : i + n] for n in range(low, high + 1) for i in range(len(spaced) - n + 1))
    result.update(("c", piece) for piece in pieces if not within or " " not in piece[1:-1])
    return result


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(max_size=30), min_size=1, max_size=4))
def test_every_ngram_has_a_number_of_its_own_and_is_counted(texts):
    """Equal n-grams share a number and different ones do not: the counts are those of strings."""
    reader = NgramInput.learn(texts, size=10**6, least=1)
    expected = [runs(text) for text in texts]
    every = set().union(*expected)
    assert len(reader.known) == len(every)
    assert reader.known_words == sum(kind == "w" for kind, *_ in every)
    windows = reader.windows(texts)
    numbers = [ids % COUNT for ids in windows.ids]
    for ids, of_text in zip(windows.ids, expected, strict=True):
        assert sorted(ids // COUNT + 1) == sorted(of_text.values())
    for i in range(len(texts)):
        for j in range(i):
            assert len(np.intersect1d(numbers[i], numbers[j])) == len(expected[i].keys() & expected[j].keys())


def test_more_occurrences_than_can_be_counted():
    reader = NgramInput.learn(["so"], size=100, least=1)
    (ids,) = reader.windows(["so " * 1000]).ids
    assert ids.max() < 2**31
    assert set(ids // COUNT + 1) == {128}


def test_runs_of_0_1_0_are_read_as_they_were():
    value = {"known": NgramInput.learn(CORPUS, size=10**6, least=1).to_json()["known"]}
    old = text_inputs.from_json({**value, "kind": "ngrams", "words": 3, "low": 3, "high": 6, "length": 128,
                                 "overlap": 0.25})  # fmt: skip
    assert not old.weighted
    learned = NgramInput.learn(CORPUS, size=10**6, least=1, words=3, low=3, high=6, weighted=False)
    expected = [runs(text, 3, 3, 6, within=False) for text in CORPUS]
    assert [len(ids) for ids in learned.windows(CORPUS).ids] == [len(of_text) for of_text in expected]
    assert max(ids.max() for ids in learned.windows(CORPUS).ids) == len(set().union(*expected))


def test_rare_ngrams_are_not_known_and_the_most_frequent_are_kept():
    every = [runs(text) for text in CORPUS]
    counts = Counter(run for of_text in every for run in of_text)
    assert len(NgramInput.learn(CORPUS, size=10**6).known) == sum(c >= 2 for c in counts.values())
    assert len(NgramInput.learn(CORPUS, size=7).known) == 7
    known = NgramInput.learn(CORPUS, size=sum(c >= 3 for c in counts.values()))
    assert len(known.windows(["good film"]).ids[0]) == sum(counts[run] >= 3 for run in runs("good film"))


def test_learning_in_blocks_is_the_same(monkeypatch):
    whole = NgramInput.learn(CORPUS, size=100).known
    monkeypatch.setattr(text_inputs, "LEARN_BLOCK", 2)
    np.testing.assert_array_equal(NgramInput.learn(CORPUS, size=100).known, whole)


def test_places_are_of_the_raw_text():
    text = "So  GOOD a\nfilm"
    reader = NgramInput.learn([text, text], size=1000)
    windows = reader.windows([text], places=True)
    shown = {text[a:b].lower() for _, a, b in windows.places[0]}
    assert {"so", "good", "good a", "a\nfilm", "fil", "  g"} <= shown
    assert len(set(windows.places[0][:, 0])) == len(windows.ids[0])


@pytest.mark.parametrize("reader", [
    NgramInput.learn(CORPUS, size=500, length=3),
    TokenInput(learn_subwords(CORPUS, 300, lowercase=True), 8),
    TokenInput(wordpieces(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "good"], lowercase=True), 8, 0.5),
], ids=["ngrams", "subwords", "wordpieces"])  # fmt: skip
def test_readers_come_back_from_json_and_read_anything(reader):
    again = text_inputs.from_json(json.loads(json.dumps(reader.to_json())))
    texts = [*CORPUS, "", " ", "\0", "שלום עולם", "👩‍👩‍👧‍👦", "x" * 10000, "good film " * 500]
    ours, theirs = reader.windows(texts), again.windows(texts)
    np.testing.assert_array_equal(ours.owner, theirs.owner)
    assert set(ours.owner) == set(range(len(texts)))  # none is lost
    for a, b in zip(ours.ids, theirs.ids, strict=True):
        np.testing.assert_array_equal(a, b)
    assert ours.read(range(len(ours.ids))).shape[1] % MULTIPLE == 0
    np.testing.assert_allclose(np.bincount(ours.owner, ours.share), 1, rtol=1e-5)


def test_windows_of_tokens():
    reader = TokenInput(wordpieces(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefgh"], lowercase=True), 6, 0.5)
    windows = reader.windows(["a b c d e f g", "h"], places=True)
    assert [ids.tolist() for ids in windows.ids] == [
        [2, 4, 5, 6, 7, 3],
        [2, 6, 7, 8, 9, 3],
        [2, 7, 8, 9, 10, 3],
        [2, 11, 3],
    ]
    assert windows.owner.tolist() == [0, 0, 0, 1]
    assert windows.places[1].tolist() == [[1, 4, 5], [2, 6, 7], [3, 8, 9], [4, 10, 11]]
    assert windows.read([0, 3])[1, :5].tolist() == [2, 11, 3, 0, 0]


@given(st.integers(0, 300), st.integers(1, 50), st.floats(0, 0.9))
def test_spans_cover_everything(size, length, overlap):
    found = spans(size, length, overlap)
    assert set().union(*(range(a, b) for a, b in found)) == set(range(size))
    assert all(b - a == length for a, b in found) or found == [(0, size)]


def test_evidence_is_naive_bayes():
    from sklearn.naive_bayes import MultinomialNB

    reader = NgramInput.learn(CORPUS, size=500, least=1)
    windows = reader.windows(CORPUS)
    labels = np.array([1, 1, 0, 0, 1])
    rarity, ratios = evidence(windows, np.eye(2)[labels], len(reader.known))
    table = np.zeros((5, len(reader.known)))
    for row, ids in zip(table, windows.ids, strict=True):
        row[ids % COUNT - 1] = 1
    bayes = MultinomialNB(alpha=0.5).fit(table, labels)
    np.testing.assert_allclose(ratios[1:, 1], bayes.feature_log_prob_[1] - bayes.feature_log_prob_[0], rtol=1e-4)
    np.testing.assert_allclose(ratios[1:, 0], -ratios[1:, 1], rtol=1e-4)
    from sklearn.feature_extraction.text import TfidfTransformer

    np.testing.assert_allclose(rarity[1:], TfidfTransformer().fit(table).idf_, rtol=1e-6)
    assert not ratios[0].any()
