import pytest

from pipelines.tags import report as entities
from pipelines.tags.baselines import Dictionary
from pipelines.tags.files import Sentence
from pipelines.tags.scores import lead


def sentence(text, *spans):
    offsets, position = [], 0
    for word in text.split():
        offsets.append((position, position + len(word)))
        position += len(word) + 1
    return Sentence(text, tuple(offsets), spans, "s")


TRAIN = [
    sentence("New York beat Jordan", (0, 2, "town"), (3, 4, "person")),
    sentence("in New York City and Jordan", (1, 4, "town"), (5, 6, "land")),
    sentence("York lies here", (0, 1, "town")),
    sentence("New York beat York", (0, 2, "town"), (3, 4, "town")),
]


def test_the_dictionary_takes_the_longest_known_entity_of_one_type():
    dictionary = Dictionary.learn(TRAIN)
    assert dictionary.types == {("New", "York"): "town", ("New", "York", "City"): "town", ("York",): "town"}
    texts = ["New York City saw New York", "Jordan york", "", "York New", "to New York York"]
    found = dictionary([text.split() for text in texts])
    assert found == [[(0, 3, "town"), (4, 6, "town")], [], [], [(0, 1, "town")], [(1, 3, "town"), (3, 4, "town")]]
    assert Dictionary.learn([])([["York"]]) == [[]]


def test_the_lead_is_the_difference_of_the_scores_by_hand():
    true = [[(0, 1, "x")], [(0, 2, "y")], [(1, 2, "x")], []]
    ours = [[(0, 1, "x")], [(0, 2, "y")], [], []]  # 2 of 2 right, 2 of 3 found: F1 0.8
    theirs = [[(0, 1, "x")], [(0, 1, "y")], [], [(0, 1, "x")]]  # 1 of 3 right, 1 of 3 found: F1 1/3
    ahead = lead(true, ours, theirs, seed=0, resamples=200)
    assert ahead.value == pytest.approx(0.8 - 1 / 3)
    assert 0 <= ahead.low < ahead.value < ahead.high <= 1
    same = lead(true, ours, ours, seed=0, resamples=50)
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_the_report_sets_the_dictionary_beside_the_model():
    from pipelines.data.summary import DataSummary

    test = [sentence("New York City", (0, 3, "town")), sentence("York and Oslo", (0, 1, "town"), (2, 3, "town"))]
    found = [[((0, 3, "town"), 0.9)], [((0, 1, "town"), 0.8), ((2, 3, "town"), 0.7)]]
    summary = DataSummary({"test": {"sentences": 2, "words": 6, "town": 3}}, [], [], "", [])
    spans = Dictionary.learn(TRAIN)([s.tokens for s in test])
    result = entities.assess(test, found, summary, spans, seed=0, resamples=20)
    scores = result.metrics["baselines"]["dictionary"]
    # It finds 2 of 3 and nothing wrong.
    assert [scores[name]["value"] for name in ("precision", "recall", "f1")] == pytest.approx([1, 2 / 3, 0.8])
    assert scores["lead"]["value"] == pytest.approx(0.2)
    assert result.sections[1].title == "Baseline"
    without = entities.assess(test, found, summary, None, seed=0, resamples=20)
    assert "baselines" not in without.metrics
    assert [s.title for s in without.sections] == ["Test scores", "Predictions", "Data"]
