"""The CRF against the enumeration of all sequences, and against the package pytorch-crf."""

import itertools

import keras
import numpy as np
import pytest
from keras import ops

from pipelines.layers import CRF, log_likelihood, marginals, viterbi
from pipelines.losses import CRFLoss

pytestmark = pytest.mark.backend

SIZE, LENGTHS = 4, (5, 1, 3, 4)
FORBIDDEN = [(0, 2), (3, 1), (SIZE, 2), (1, SIZE + 1)]
MASK = np.arange(max(LENGTHS)) < np.array(LENGTHS)[:, None]


def layer(seed=0, forbidden=FORBIDDEN):
    crf = CRF(SIZE, forbidden)
    crf.build((None, None, SIZE))
    crf.transitions.assign(np.random.default_rng(seed).normal(size=(SIZE + 2, SIZE)))
    return crf


def emissions(seed=1, scale=2.0):
    values = np.random.default_rng(seed).normal(size=(len(LENGTHS), max(LENGTHS), SIZE)) * scale
    return values.astype("float32")


def enumerated(crf, scores, length):
    """Each allowed sequence with its score, by the definition."""
    rows = ops.convert_to_numpy(crf.transitions.value)
    barred = set(map(tuple, crf.forbidden))
    for path in itertools.product(range(SIZE), repeat=length):
        steps = [(SIZE, path[0]), *itertools.pairwise(path), (path[-1], SIZE + 1)]
        if barred & set(steps):
            continue
        score = sum(scores[t, tag] for t, tag in enumerate(path)) + rows[SIZE, path[0]] + rows[SIZE + 1, path[-1]]
        yield path, score + sum(rows[i, j] for i, j in itertools.pairwise(path))


@pytest.mark.parametrize("seed", range(2))
def test_likelihood_decoding_and_marginals_are_those_of_enumeration(seed):
    crf, given = layer(seed), emissions(seed)
    output = crf(given)
    best = ops.convert_to_numpy(viterbi(output, MASK))
    shares = ops.convert_to_numpy(marginals(output, MASK))
    for row, length in enumerate(LENGTHS):
        paths = dict(enumerated(crf, given[row], length))
        total = np.logaddexp.reduce(list(paths.values()))
        assert tuple(best[row, :length]) == max(paths, key=paths.get)
        assert not best[row, length:].any()
        assert not shares[row, length:].any()
        for path in list(paths)[:: max(1, len(paths) // 7)]:
            tags = np.full((len(LENGTHS), max(LENGTHS)), -1)
            tags[row, :length] = path
            found = ops.convert_to_numpy(log_likelihood(output, tags, MASK))[row]
            assert found == pytest.approx(paths[path] - total, abs=2e-5)
        expected = np.zeros((length, SIZE))
        for path, score in paths.items():
            expected[range(length), path] += np.exp(score - total)
        np.testing.assert_allclose(shares[row, :length], expected, atol=2e-5)


def test_likelihood_and_decoding_are_those_of_pytorch_crf():
    torch = pytest.importorskip("torch")
    torchcrf = pytest.importorskip("torchcrf")
    crf, given = layer(forbidden=()), emissions()
    rows = ops.convert_to_numpy(crf.transitions.value)
    other = torchcrf.CRF(SIZE, batch_first=True)
    with torch.no_grad():
        other.transitions.copy_(torch.from_numpy(rows[:SIZE]))
        other.start_transitions.copy_(torch.from_numpy(rows[SIZE]))
        other.end_transitions.copy_(torch.from_numpy(rows[SIZE + 1]))
        tags = np.random.default_rng(2).integers(0, SIZE, MASK.shape)
        tensors = [torch.from_numpy(x) for x in (given, tags, MASK)]
        theirs = other(*tensors, reduction="none").numpy()
        paths = other.decode(tensors[0], tensors[2])
    output = crf(given)
    np.testing.assert_allclose(ops.convert_to_numpy(log_likelihood(output, tags, MASK)), theirs, atol=2e-5)
    ours = ops.convert_to_numpy(viterbi(output, MASK))
    assert [ours[i, :n].tolist() for i, n in enumerate(LENGTHS)] == paths


def test_huge_scores_stay_finite():
    output = layer()(emissions(scale=3000.0))
    assert np.isfinite(ops.convert_to_numpy(marginals(output, MASK))).all()
    tags = ops.convert_to_numpy(viterbi(output, MASK))
    likelihood = ops.convert_to_numpy(log_likelihood(output, tags, MASK))
    assert likelihood == pytest.approx(np.zeros(len(LENGTHS)), abs=0.1)


def test_the_gradient_is_what_was_there_less_what_was_expected():
    """Of the log-likelihood with respect to the scores; one step of SGD with rate 1 shows it."""
    given, tags = emissions()[:1, :4], np.array([[0, 1, 3, 3]])
    inputs = keras.Input((4,), dtype="int32")
    table = keras.layers.Embedding(4, SIZE)
    model = keras.Model(inputs, CRF(SIZE)(table(inputs)))
    table.embeddings.assign(given[0])
    x = np.arange(4)[None]
    expected = np.eye(SIZE)[tags] - ops.convert_to_numpy(marginals(model(x), np.ones((1, 4), bool)))
    model.compile(keras.optimizers.SGD(1.0), CRFLoss(), jit_compile=keras.backend.backend() == "jax")
    model.train_on_batch(x, tags)
    np.testing.assert_allclose(ops.convert_to_numpy(table.embeddings.value) - given[0], expected[0], atol=2e-5)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_it_learns_in_fit(policy, tmp_path):
    """Tags that only the order tells: 1 always follows 0, and 2 what else there is."""
    keras.utils.set_random_seed(0)
    tags = np.tile([0, 1, 2, 0, 1, 2], (64, 1)).astype("int32")
    x = np.random.default_rng(0).normal(size=(64, 6, 3)).astype("float32")
    x[..., 0] += 3 * (tags == 0)
    tags[:8, 4:] = -1
    inputs = keras.Input((None, 3))
    dense = keras.layers.Dense(3, dtype=keras.DTypePolicy(policy))(inputs)
    model = keras.Model(inputs, CRF(3, [(1, 1)], dtype="float32")(dense))
    model.compile(keras.optimizers.Adam(0.1), CRFLoss(), jit_compile=keras.backend.backend() == "jax")
    history = model.fit(x, tags, epochs=12, verbose=0).history["loss"]
    assert history[-1] < history[0] / 10
    found = ops.convert_to_numpy(viterbi(model(x), tags >= 0))
    assert (found == tags)[tags >= 0].mean() > 0.99
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(ops.convert_to_numpy(again(x)), ops.convert_to_numpy(model(x)), atol=1e-6)


@pytest.mark.parametrize("pair", [(0, 4), (5, 0), (4, 5), (-1, 0)])
def test_pairs_out_of_range_are_named(pair):
    with pytest.raises(ValueError, match="forbidden"):
        CRF(4, [pair])


def test_other_sizes_are_named():
    with pytest.raises(ValueError, match="CRF of 4 tags got scores of 3"):
        CRF(4)(np.zeros((1, 2, 3), "float32"))
