import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.data.split import folds, stratified


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=200), st.floats(0, 0.9), st.integers(0, 1000))
def test_each_class_gives_its_share(labels, fraction, seed):
    labels = np.array(labels)
    chosen = stratified(labels, fraction, seed=seed)
    for label in np.unique(labels):
        count, taken = (labels == label).sum(), chosen[labels == label].sum()
        assert taken < count
        least = 1 if fraction > 0 and count >= 3 else 0
        assert abs(taken - max(fraction * count, least)) <= 1


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 20)), min_size=1, max_size=150), st.integers(0, 99))
def test_groups_are_never_torn(rows, seed):
    labels, groups = (np.array(column) for column in zip(*rows, strict=True))
    chosen = stratified(labels, 0.3, seed=seed, groups=groups.tolist())
    assert not set(groups[chosen]) & set(groups[~chosen])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=200), st.floats(0, 0.9), st.integers(0, 1000))
def test_single_samples_are_the_first_of_each_class_in_seeded_order(labels, fraction, seed):
    labels = np.array(labels)
    chosen = stratified(labels, fraction, seed=seed)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        wanted = max(fraction * len(rows), 1 if fraction > 0 and len(rows) >= 3 else 0)
        number = min(int(wanted + 0.5), len(rows) - 1)
        order = np.random.default_rng([seed, int(label)]).permutation(len(rows))
        assert set(rows[order[:number]]) == set(rows[chosen[rows]])


@pytest.mark.parametrize("seed", range(20))
def test_a_large_group_does_not_leave_the_part_empty(seed):
    groups = np.repeat(["H1", "H2", "H3", "H4"], [1000, 120, 100, 80])
    chosen = stratified(np.zeros(1300, int), 0.2, seed=seed, groups=groups.tolist())
    assert set(groups[chosen]) == {"H2", "H3", "H4"}
    few = stratified(np.zeros(1300, int), 0.01, seed=seed, groups=groups.tolist())
    assert set(groups[few]) == {"H4"}


def test_seed_decides():
    labels = np.repeat([0, 1], 50)
    assert (stratified(labels, 0.3, seed=1) == stratified(labels, 0.3, seed=1)).all()
    assert (stratified(labels, 0.3, seed=1) != stratified(labels, 0.3, seed=2)).any()


def test_bad_fraction():
    with pytest.raises(ValueError, match="fraction"):
        stratified(np.zeros(3), 1.0, seed=0)


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 6), st.integers(0, 3), st.booleans())
def test_folds_are_even_and_keep_groups(number, seed, grouped):
    labels = np.arange(120) % 3
    groups = (np.arange(120) // 4).tolist() if grouped else None
    found = folds(labels, number, seed=seed, groups=groups)
    sizes = np.bincount(found, minlength=number)
    assert sizes.max() - sizes.min() <= (12 if grouped else 3)  # a class each may have one group more
    if groups:
        assert len({(g, f) for g, f in zip(groups, found.tolist(), strict=True)}) == len(set(groups))
    else:
        for label in range(3):
            of_class = np.bincount(found[labels == label], minlength=number)
            assert of_class.max() - of_class.min() <= 1
    np.testing.assert_array_equal(found, folds(labels, number, seed=seed, groups=groups))


def test_one_fold_is_none():
    with pytest.raises(ValueError, match="at least 2"):
        folds(np.zeros(4, int), 1, seed=0)
