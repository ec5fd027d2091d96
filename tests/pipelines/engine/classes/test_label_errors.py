import numpy as np
import pytest

from pipelines.engine.classes.label_errors import suspects


def noisy(seed, number=600, classes=3, wrong=60):
    """Chances that know the true class fairly well, and labels of which `wrong` were changed."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, classes, number)
    logits = generator.normal(0, 1, (number, classes)) + 3 * np.eye(classes)[truth]
    chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = truth.copy()
    changed = generator.choice(number, wrong, replace=False)
    labels[changed] = (truth[changed] + generator.integers(1, classes, wrong)) % classes
    return labels, chances, changed, truth


def test_changed_labels_come_first():
    labels, chances, changed, truth = noisy(0)
    found = suspects(labels, chances)
    assert np.isin(found.indices[:30], changed).mean() > 0.95
    assert np.isin(changed, found.indices).mean() > 0.8
    assert (found.suggested[:30] == truth[found.indices[:30]]).mean() > 0.95
    assert (np.diff(found.margins) >= 0).all()


@pytest.mark.parametrize("seed", range(3))
def test_the_same_as_cleanlab(seed):
    count = pytest.importorskip("cleanlab.count")
    filters = pytest.importorskip("cleanlab.filter")
    labels, chances, _, _ = noisy(seed)
    found = suspects(labels, chances)
    joint = count.compute_confident_joint(labels, chances, calibrate=False)
    np.testing.assert_array_equal(found.joint, joint)
    theirs = filters.find_label_issues(labels, chances, filter_by="confident_learning")
    assert set(np.flatnonzero(theirs)) >= set(found.indices[found.margins < 0])
    assert set(np.flatnonzero(theirs)) <= set(found.indices)


def test_classes_without_samples_and_no_suspects():
    found = suspects(np.array([0, 0, 2]), np.array([[0.9, 0.1, 0.0], [0.8, 0.1, 0.1], [0.1, 0.0, 0.9]]))
    assert not len(found.indices)
    assert found.joint.sum() == 2
    with pytest.raises(ValueError, match="expected labels"):
        suspects(np.array([0]), np.zeros((2, 2)))
