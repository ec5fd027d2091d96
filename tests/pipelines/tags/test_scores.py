import numpy as np
import pytest

from pipelines.tags.scores import KINDS, kinds, score, tags_of


def drawn(generator, size):
    """Entities without overlap."""
    spans, position = [], 0
    while position < size:
        begin = position + int(generator.integers(0, 4))
        end = begin + int(generator.integers(1, 4))
        if end > size:
            break
        spans.append((begin, end, "xyz"[generator.integers(3)]))
        position = end
    return spans


def test_scores_are_those_of_seqeval_and_of_resampled_sentences():
    from seqeval.metrics import f1_score, precision_score
    from seqeval.scheme import IOB2

    generator = np.random.default_rng(0)
    sizes = generator.integers(1, 20, 60).tolist()
    true = [drawn(generator, n) for n in sizes]
    predicted = [true[i] if generator.random() < 0.5 else drawn(generator, n) for i, n in enumerate(sizes)]
    result = score(true, predicted, sizes, seed=0, resamples=400)

    def rows(chosen):
        return [[tags_of(part[i], sizes[i]) for i in chosen] for part in (true, predicted)]

    options = {"mode": "strict", "scheme": IOB2, "zero_division": 0}
    assert result.metrics["f1"].value == pytest.approx(f1_score(*rows(range(60)), **options))
    assert result.metrics["precision"].value == pytest.approx(precision_score(*rows(range(60)), **options))
    resampled = [f1_score(*rows(generator.integers(0, 60, 60)), **options) for _ in range(400)]
    assert result.metrics["f1"].low == pytest.approx(np.quantile(resampled, 0.025), abs=0.03)
    assert result.metrics["f1"].high == pytest.approx(np.quantile(resampled, 0.975), abs=0.03)
    assert [row.name for row in result.per_type] == ["x", "y", "z"]
    # Each wrong entity is in one error, an error has at most one of each side.
    wrong = [len(set(a) ^ set(b)) for a, b in zip(true, predicted, strict=True)]
    paired = sum(result.errors[kind] for kind in KINDS[:3])
    assert sum(wrong) == 2 * paired + result.errors["missed"] + result.errors["invented"]


@pytest.mark.parametrize(
    ("true", "predicted", "expected"),
    [
        ([(0, 2, "x")], [(0, 2, "x")], {}),
        ([(0, 2, "x")], [(0, 3, "x")], {"boundary": 1}),
        ([(0, 2, "x")], [(0, 2, "y")], {"type": 1}),
        ([(0, 2, "x")], [(1, 3, "y")], {"boundary and type": 1}),
        ([(0, 2, "x")], [], {"missed": 1}),
        ([], [(0, 2, "x")], {"invented": 1}),
        ([(0, 4, "x")], [(0, 1, "x"), (1, 4, "y")], {"boundary and type": 1, "invented": 1}),
        ([(0, 1, "x"), (1, 2, "x")], [(0, 2, "x")], {"boundary": 1, "missed": 1}),
    ],
)
def test_kinds_of_error(true, predicted, expected):
    assert +kinds(true, predicted) == expected


def test_nothing_to_find_and_nothing_found():
    result = score([[], []], [[], []], [3, 2], seed=0, resamples=10)
    assert result.metrics["f1"].value == 0
    assert result.per_type == []
