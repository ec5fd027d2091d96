from collections import Counter

import numpy as np
import pytest

from pipelines.pairs.load import Encoded
from pipelines.pairs.pieces import BEGIN, END, PAD
from pipelines.pairs.stream import PairStream, boundaries, padded, rows_of, validation


def some(number=203, seed=0):
    generator = np.random.default_rng(seed)
    lengths = generator.integers(1, 30, (number, 2))
    starts = np.concatenate([[0], lengths.ravel().cumsum()[:-1]]).reshape(-1, 2)
    # The first piece of a source is the pair's number.
    ids = generator.integers(4, 100, lengths.sum()).astype(np.int32)
    ids[starts[:, 0]] = 1000 + np.arange(number)
    return Encoded(ids, starts, lengths)


def batches(stream):
    return [
        [np.asarray(x) for x in (source, before, after, weights)] for (source, before), after, weights in stream.dataset
    ]


def test_boundaries_waste_least():
    lengths = np.array([4] * 50 + [8] * 30 + [12, 24, 24, 40])
    assert boundaries(lengths, 10) == [4, 8, 12, 24, 40]
    assert boundaries(lengths, 2) == [8, 40]
    assert boundaries(lengths, 1) == [40]

    def waste(ends):
        return sum(min(end for end in ends if end >= length) for length in lengths)

    options = [(a, b, 40) for a in (4, 8, 12, 24) for b in (8, 12, 24) if a < b]
    assert waste(boundaries(lengths, 3)) == min(map(waste, options))


def test_an_epoch_has_each_pair_once_in_batches_of_few_shapes():
    pairs = some()
    ends = boundaries(pairs.lengths.max(1) + 1, 3)
    stream = PairStream(pairs, ends, tokens=256, seed=1)
    seen, shapes = Counter(), set()
    for epoch in range(2):
        stream.seek(epoch)
        found = batches(stream)
        assert len(found) == stream.steps_per_epoch
        numbers = [int(row[0]) - 1000 for source, *_ in found for row in source]
        assert len(numbers) == len(set(numbers)) > len(pairs) - rows_of(ends[-1], 256)
        seen.update(numbers)
        shapes |= {source.shape for source, *_ in found}
        assert all(source.size <= 256 for source, *_ in found)
    assert len(seen) == len(pairs)
    assert len(shapes) <= 6
    source, before, after, weights = found[0]
    for row in range(len(source)):
        text, translation = (x.tolist() for x in pairs.pair(int(source[row][0]) - 1000))
        assert source[row][: len(text) + 1].tolist() == [*text, END]
        assert before[row][: len(translation) + 1].tolist() == [BEGIN, *translation]
        assert after[row][: len(translation) + 1].tolist() == [*translation, END]
        assert weights[row].sum() == len(translation) + 1
        assert not source[row][len(text) + 1 :].any()
        assert PAD == 0


def test_order_is_a_function_of_seed_epoch_and_step():
    pairs = some()
    ends = boundaries(pairs.lengths.max(1) + 1, 3)
    one, two = (PairStream(pairs, ends, tokens=256, seed=1) for _ in range(2))
    one.seek(3)
    whole = batches(one)
    two.seek(3, 4)
    for a, b in zip(whole[4:], batches(two), strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)
    one.seek(4)
    assert any(not np.array_equal(a[0], b[0]) for a, b in zip(whole, batches(one), strict=True))
    with pytest.raises(ValueError, match="step"):
        one.seek(0, one.steps_per_epoch + 1)


def test_few_pairs_are_one_batch():
    pairs = some(3)
    stream = PairStream(pairs, boundaries(pairs.lengths.max(1) + 1, 6), tokens=100_000, seed=0)
    assert sum(len(source) for source, *_ in batches(stream)) == 3


def test_validation_has_each_pair_once_also_longer_ones():
    pairs = some(50, seed=2)
    found = [
        [np.asarray(x) for x in (source, weights)] for (source, _), _, weights in validation(pairs, [8, 16], tokens=128)
    ]
    assert sorted(int(row[0]) - 1000 for source, _ in found for row in source) == list(range(50))
    assert sum(weights.sum() for _, weights in found) == (pairs.lengths[:, 1] + 1).sum()
    assert padded(pairs, np.array([0]), 40)[0].shape == (1, 40)
