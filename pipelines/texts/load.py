"""Texts with a class each, or several labels: reading, checking, splitting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.data import summary as summaries

if TYPE_CHECKING:
    import numpy as np

    from pipelines.texts.config import TextDataConfig
    from pipelines.texts.sources import Raw


@dataclass(frozen=True, eq=False)
class Part:
    """One part.

    Args:
        texts: N texts.
        labels: int64 (N,) numbers of the classes, or, where a text may have several labels, float32 (N, K) of 0 and 1.
        names: N names for reports.
    """

    texts: list[str]
    labels: np.ndarray
    names: list[str]


@dataclass(frozen=True, eq=False)
class TextParts:
    """Texts ready for training and testing.

    Args:
        train, val, test: The parts.
        classes: K names.
        several: Whether a text may have any number of labels.
        summary: What the report says about the data.
        similar: Near-duplicates in different parts, as (part, number, part, number, similarity).
        reader: How the model reads a text; none until it is learned from the training part.
    """

    train: Part
    val: Part
    test: Part
    classes: tuple[str, ...]
    several: bool
    summary: summaries.DataSummary
    similar: list[tuple[str, int, str, int, float]]
    reader: Any = None

    def parts(self) -> dict[str, Part]:
        return {"train": self.train, "val": self.val, "test": self.test}

    def assignment(self) -> list[dict[str, str]]:
        """Which text is in which part, a row each."""
        return [
            {"part": name, "sample": part.names[i], "label": self.label(part.labels[i])}
            for name, part in self.parts().items()
            for i in range(len(part.texts))
        ]

    def label(self, value: Any) -> str:
        """A number, or a row of 0 and 1, in words."""
        if self.several:
            return ", ".join(name for name, on in zip(self.classes, value, strict=True) if on) or "none"
        return self.classes[int(value)]

    def describe(self) -> str:
        """One sentence."""
        sizes = ", ".join(f"{len(part.texts):,} {name}" for name, part in self.parts().items())
        kind = "labels, any number a text" if self.several else "classes"
        return f"{sizes} texts with {len(self.classes)} {kind}."


def load_texts(config: TextDataConfig, *, seed: int) -> TextParts:
    """Reads, checks and splits the texts of a source.

    Args:
        config: Options.
        seed: Seed of the split.

    Raises:
        UserError: The source cannot be used.
    """
    from pipelines.core.errors import UserError
    from pipelines.data import duplicates as near_duplicates
    from pipelines.data import sources, split
    from pipelines.data.labels import alike, natural

    raw = _load(config)
    named = {x for p in raw.splits.values() for label in p.labels for x in (label if raw.several else [label])}
    classes = raw.classes or tuple(sorted(named, key=natural))
    sources.check_classes(raw, classes, config.source, "texts", fewest=1 if raw.several else 2)
    labels = {name: numbers(part.labels, classes, raw.several) for name, part in raw.splits.items()}
    notes = list(raw.notes)
    everything = [(name, i) for name, part in raw.splits.items() for i in range(len(part.texts))]
    texts = [raw.splits[name].texts[i] for name, i in everything]
    links = near_duplicates.pairs(texts, config.near_duplicates or 1.0)
    keys = _keys(raw, everything, near_duplicates.groups(len(texts), links), notes)
    strata = {name: _strata(value, labels) for name, value in labels.items()}
    index = split.cut(
        strata, keys, val_fraction=config.val_fraction, test_fraction=config.test_fraction, limit=config.limit,
        seed=seed, what="texts", notes=notes,
    )  # fmt: skip
    parts: dict[str, Part] = {}
    for part, (origin, chosen) in index.items():
        if not len(chosen):
            raise UserError(f"data.source {config.source}: the {part} part is empty; there are too few texts")
        of = raw.splits[origin]
        parts[part] = Part([of.texts[i] for i in chosen], labels[origin][chosen], [of.names[i] for i in chosen])
    trained = counts_of(parts["train"], classes)
    absent = [name for name in classes if counts_of(parts["test"], classes)[name] and not trained[name]]
    if absent:
        raise UserError(f"class {absent[0]!r} is in the test part, but not in the training part")
    notes += alike(classes, "labels" if raw.several else "classes")
    for name, meaning in (("val", "validation"), ("test", "test")):
        counts = counts_of(parts[name], classes)
        if missing := [of_class for of_class in classes if trained[of_class] and not counts[of_class]]:
            notes.append(f"no text of the {meaning} set has {_listed(missing)}: scores there say nothing about it")
    place = {(origin, int(i)): (part, n) for part, (origin, chosen) in index.items() for n, i in enumerate(chosen)}
    similar = [
        (*place[everything[i]], *place[everything[j]], similarity)
        for i, j, similarity in links
        if everything[i] in place and everything[j] in place and place[everything[i]][0] != place[everything[j]][0]
    ]
    return _finished(parts, classes, raw, notes, similar)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return f"the class {shown}" if len(names) == 1 else f"the classes {shown}"


def _finished(
    parts: Mapping[str, Part], classes: tuple[str, ...], raw: Raw, notes: list[str], similar: list[Any]
) -> TextParts:
    from pipelines.data.duplicates import normalized

    hashes = {name: [summaries.digest(t.encode()) for t in part.texts] for name, part in parts.items()}
    same = {name: [summaries.digest(normalized(t).encode()) for t in part.texts] for name, part in parts.items()}
    summary = summaries.DataSummary(
        {name: counts_of(part, classes) for name, part in parts.items()},
        raw.skipped,
        summaries.duplicates(same, {name: part.names for name, part in parts.items()}),
        summaries.fingerprint(hashes, {name: part.labels for name, part in parts.items()}),
        notes,
    )
    return TextParts(parts["train"], parts["val"], parts["test"], classes, raw.several, summary, similar)


def load_test_texts(config: TextDataConfig, spec: Mapping[str, Any]) -> TextParts:
    """All texts of a source as the test part of a trained model.

    Raises:
        UserError: The source cannot be used, or has a class that the model does not know.
    """
    from pipelines.core.errors import UserError

    raw = _load(config)
    chosen = [raw.splits["test"]] if "test" in raw.splits else list(raw.splits.values())
    texts, names = [t for p in chosen for t in p.texts], [n for p in chosen for n in p.names]
    labels = [label for p in chosen for label in p.labels]
    classes, several = tuple(spec["classes"]), bool(spec["several"])
    if several and not raw.several:
        labels, raw.several = [[label] for label in labels], True
    if raw.several and not several:
        raise UserError(f"data {config.source} has several labels a text, but the model gives one")
    unknown = sorted({x for label in labels for x in (label if several else [label])} - set(classes))
    if unknown:
        raise UserError(f"data {config.source} has the class {unknown[0]!r}, which the model does not know")
    if not texts:
        raise UserError(f"data {config.source} has no usable text")
    part = Part(texts, numbers(labels, classes, several), names)
    summary = summaries.DataSummary({"test": counts_of(part, classes)}, raw.skipped, [], "", raw.notes)
    return TextParts(part, part, part, classes, several, summary, [])


def numbers(labels: Sequence[Any], classes: Sequence[str], several: bool) -> np.ndarray:
    """Labels in words as `Part.labels`."""
    import numpy as np

    number = {name: i for i, name in enumerate(classes)}
    if not several:
        return np.array([number[label] for label in labels], np.int64)
    table = np.zeros((len(labels), len(classes)), np.float32)
    for row, of_text in zip(table, labels, strict=True):
        row[[number[label] for label in of_text]] = 1
    return table


def counts_of(part: Part, classes: Sequence[str]) -> dict[str, int]:
    """Texts by class."""
    import numpy as np

    if part.labels.ndim == 2:
        counts = part.labels.sum(0).astype(int)
    else:
        counts = np.bincount(part.labels, minlength=len(classes))
    return dict(zip(classes, counts.tolist(), strict=True))


def _strata(labels: np.ndarray, every: Mapping[str, np.ndarray]) -> np.ndarray:
    """What to stratify by: the class, or the rarest label of a text (K where it has none)."""
    import numpy as np

    if labels.ndim == 1:
        return labels
    counts = sum(table.sum(0) for table in every.values())
    rarity = np.where(labels > 0, -counts, -np.inf)
    return np.where(labels.any(1), rarity.argmax(1), labels.shape[1])


def _keys(raw: Raw, everything: list[tuple[str, int]], linked: list[int], notes: list[str]) -> dict[str, list[Any]]:
    keys: dict[str, list[Any]] = {name: list(part.groups or []) for name, part in raw.splits.items()}
    for (name, _), group in zip(everything, linked, strict=True):
        if raw.splits[name].groups is None:
            keys[name].append(group)
    origin = "train" if "train" in raw.splits else "all"
    copies = len(keys[origin]) - len(set(keys[origin]))
    if copies and raw.splits[origin].groups is None and {"val", "test"} - set(raw.splits):
        notes.append(f"{copies} texts are nearly the same as others and stay in one part with them")
    return keys


def _load(config: TextDataConfig) -> Raw:
    from pipelines.data import sources
    from pipelines.texts import sources as text_sources

    raw = text_sources.load(config, config.source)
    sources.check_broken(
        raw, config.max_broken,
        f"{len(raw.skipped)} texts or rows of {config.source} are broken, more than data.max_broken = "
        f"{config.max_broken}",
    )  # fmt: skip
    return raw
