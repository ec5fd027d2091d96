"""Seeded splits: stratified by class, and never through a group."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np


def stratified(labels: np.ndarray, fraction: float, *, seed: int, groups: Sequence[object] | None = None) -> np.ndarray:
    """Chooses about `fraction` of each class.

    Whole groups are chosen, so that what belongs together (copies of an image, images of one patient) stays on one
    side; a group counts for the class of its first member, and one that is too large for what is still needed is
    skipped. A class keeps at least one group on the other side, and gives at least one as soon as it has three groups.

    Args:
        labels: (N,) integers.
        fraction: Fraction of the samples to choose, at least 0 and below 1.
        seed: Seed of the choice.
        groups: N keys; without them each sample is a group of its own.

    Returns:
        Boolean (N,), true where chosen.
    """
    if not 0 <= fraction < 1:
        raise ValueError(f"fraction must be at least 0 and below 1, got {fraction}")
    labels = np.asarray(labels)
    members: dict[object, list[int]] = {}
    for index, key in enumerate(groups if groups is not None else range(len(labels))):
        members.setdefault(key, []).append(index)
    by_class: dict[int, list[list[int]]] = {}
    for indices in members.values():
        by_class.setdefault(int(labels[indices[0]]), []).append(indices)
    chosen = np.zeros(len(labels), bool)
    for label in sorted(by_class):
        of_class = by_class[label]
        wanted = fraction * sum(map(len, of_class))
        if fraction > 0 and len(of_class) >= 3:
            wanted = max(wanted, 1.0, min(map(len, of_class)) / 2)
        order = [of_class[i] for i in np.random.default_rng([seed, label]).permutation(len(of_class))]
        taken, given = 0, 0
        for group in order:
            if given == len(order) - 1 or taken + 0.5 > wanted:
                break
            if taken + len(group) / 2 <= wanted:
                chosen[group] = True
                taken, given = taken + len(group), given + 1
    return chosen


def folds(labels: np.ndarray, number: int, *, seed: int, groups: Sequence[object] | None = None) -> np.ndarray:
    """Deals the samples of each class, or whole groups of them, to `number` folds of about the same size.

    Args:
        labels: (N,) integers.
        number: Folds, at least 2.
        seed: Seed of the order.
        groups: N keys of what must stay in one fold; without them each sample is a group of its own.

    Returns:
        int64 (N,): the fold of each sample.
    """
    if number < 2:
        raise ValueError(f"number must be at least 2, got {number}")
    keys = list(groups) if groups is not None else list(range(len(labels)))
    members: dict[object, list[int]] = {}
    for index in np.random.default_rng(seed).permutation(len(labels)):
        members.setdefault(keys[index], []).append(int(index))
    sizes = np.zeros((int(np.max(labels)) + 1, number), np.int64)
    found = np.zeros(len(labels), np.int64)
    # Large groups first; each goes where its class, and then all, has the fewest.
    for indices in sorted(members.values(), key=len, reverse=True):
        label = int(labels[indices[0]])
        fold = min(range(number), key=lambda k: (sizes[label, k], sizes[:, k].sum(), k))
        found[indices] = fold
        np.add.at(sizes, (labels[indices], fold), 1)
    return found


def cut(
    labels: Mapping[str, np.ndarray],
    keys: Mapping[str, Sequence[Hashable]],
    *,
    val_fraction: float,
    test_fraction: float,
    limit: int | None,
    seed: int,
    what: str,
    notes: list[str],
) -> dict[str, tuple[str, np.ndarray]]:
    """For each of train, val and test: the split of the source it comes from, and the numbers of its samples there.

    Args:
        labels: By split of the source (`train`, `val`, `test`, or `all`), integers to stratify by.
        keys: By split of the source, a key for each sample; samples with the same key stay together.
        val_fraction: Fraction of all samples for validation, where the source has no validation set.
        test_fraction: Fraction of all samples for the test, likewise.
        limit: Most training samples.
        seed: Seed of the choice.
        what: Plural of a sample, for the notes.
        notes: Gets a line for each split that is made.
    """

    def divide(among: np.ndarray, fraction: float, salt: int) -> tuple[np.ndarray, np.ndarray]:
        groups = [keys[origin][i] for i in among]
        chosen = stratified(labels[origin][among], fraction, seed=seed + salt, groups=groups)
        return among[~chosen], among[chosen]

    origin = "train" if "train" in labels else "all"
    rest = np.arange(len(labels[origin]))
    index: dict[str, tuple[str, np.ndarray]] = {}
    for split, fraction, salt in (("test", test_fraction, 1), ("val", val_fraction, 2)):
        if split in labels:
            index[split] = (split, np.arange(len(labels[split])))
            continue
        # The fraction is of all samples, also for the split that is made second.
        share = fraction * len(labels[origin]) / len(rest)
        rest, chosen = divide(rest, min(share, 0.9), salt)
        index[split] = (origin, chosen)
        name = "validation" if split == "val" else split
        notes.append(f"the {name} set is a random, stratified {fraction:.0%} of the {what} (seeded)")
    if limit is not None and limit < len(rest):
        _, rest = divide(rest, limit / len(rest), 3)
    return {"train": (origin, rest), "val": index["val"], "test": index["test"]}
