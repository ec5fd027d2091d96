import random

import numpy as np

from pipelines.data import duplicates as near_duplicates
from pipelines.data.duplicates import groups, normalized, pairs

WORDS = [f"w{i}" for i in range(2000)]


def triples(text):
    words = normalized(text).split()
    return {" ".join(words[i : i + 3]) for i in range(max(len(words) - 2, 1))}


def similarity(a, b):
    return len(triples(a) & triples(b)) / len(triples(a) | triples(b))


def test_pairs_are_those_of_all_comparisons():
    generator = random.Random(0)
    texts = []
    for _ in range(60):
        words = generator.choices(WORDS, k=40)
        texts.append(" ".join(words))
        for changes in (1, 3, 12):
            other = list(words)
            for _ in range(changes):
                other[generator.randrange(40)] = generator.choice(WORDS)
            texts.append(" ".join(other))
    expected = {
        (i, j): similarity(texts[i], texts[j])
        for i in range(len(texts)) for j in range(i + 1, len(texts))
        if similarity(texts[i], texts[j]) >= 0.7
    }  # fmt: skip
    found = {(i, j): value for i, j, value in pairs(texts, 0.7)}
    assert len(expected) > 60
    assert found.keys() <= expected.keys()
    assert len(found) >= 0.99 * len(expected)
    for pair, value in found.items():
        np.testing.assert_allclose(value, expected[pair])


def test_case_marks_and_white_space_do_not_count():
    assert [pair[:2] for pair in pairs(["It's   GOOD, really!", "its bad", "it s good really"], 1.0)] == [(0, 2)]


def test_a_crowd_is_chained_not_squared():
    links = pairs(["the same form letter"] * 300, 1.0)
    assert len(links) < 1000
    assert len(set(groups(300, links))) == 1


def test_a_megabyte_and_nothing():
    long = " ".join(random.Random(1).choices(WORDS, k=200_000))
    assert len(long) > 10**6
    assert [pair[:2] for pair in pairs([long, "😀", long[:-5], "😢", "😀 "], 0.9)] == [(0, 2), (1, 4)]


def test_groups():
    assert groups(5, [(0, 1, 1.0), (3, 4, 1.0), (1, 4, 1.0)]) == [0, 0, 2, 0, 0]
    assert near_duplicates.groups(2, []) == [0, 1]
