import keras
import numpy as np
import pytest
from keras import ops

from pipelines.pairs.decoding.search import NONE, Search, compile_for, searcher
from pipelines.pairs.decoding.standalone import beam_search, repeats
from pipelines.pairs.models import Translator

SIZE, LENGTH = 30, 12


def random_model(seed, sharpness=4.0, **options):
    keras.utils.set_random_seed(seed)
    model = Translator(SIZE, 16, 2, 32, 1, 1, dropout=0.1, **options)
    model.build()
    generator = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        if "kernel" in variable.path or "embeddings" in variable.path:
            variable.assign(generator.normal(0, sharpness / np.sqrt(variable.shape[0]), variable.shape))
    return model


def sources(seed, rows=5, length=7):
    ids = np.random.default_rng(seed).integers(4, SIZE, (rows, length)).astype(np.int32)
    ids[0, 4:] = 0
    ids[1:2, 6:] = 0
    return ids


def forward(model):
    """From sources and targets to logits; compiled once for each shape."""
    return compile_for(model, lambda source, target: model([source, target], training=False))


def reference(run, source, options, limit):
    """The plain search over whole recomputations of one source."""
    rows = [[]]

    def advance(last, origins):
        nonlocal rows
        rows = [[*rows[origin], token] for origin, token in zip(origins, last, strict=True)]
        target = np.zeros((options.beam, LENGTH), np.int32)
        for place, row in enumerate(rows):
            target[place, : len(row)] = row
        logits = run(np.repeat(source[None], options.beam, axis=0), target)
        return ops.convert_to_numpy(logits)[: len(rows), len(rows[0]) - 1]

    values = {
        "beam": options.beam, "alpha": options.alpha, "wanted": options.wanted, "repetition": options.repetition,
        "begin": 2, "end": options.end, "never": list(options.never),
    }  # fmt: skip
    return beam_search(advance, values, limit)


@pytest.mark.backend
@pytest.mark.parametrize(("beam", "alpha", "wanted"), [(1, 1.0, 1), (3, 0.6, 3)])
def test_search_is_that_of_a_plain_implementation(beam, alpha, wanted):
    options = Search(beam=beam, alpha=alpha, wanted=wanted, repetition=8)
    limits = np.array([12, 3, 9, 1, 12], np.int32)
    model = random_model(beam)
    run, search = forward(model), searcher(model, options, LENGTH)
    for seed in range(3):
        source = sources(seed)
        tokens, scores, _ = search(source, limits)
        for row in range(len(source)):
            found = reference(run, source[row], options, int(limits[row]))
            for rank, (score, pieces, _) in enumerate(found[:wanted]):
                assert scores[row, rank] == pytest.approx(score, abs=1e-4)
                assert tokens[row, rank, : len(pieces)].tolist() == pieces
                assert not tokens[row, rank, len(pieces) :].any()


@pytest.mark.backend
@pytest.mark.parametrize(
    "options", [{"positions": "learned", "length": 20}, {"positions": "sinusoidal", "norm": "post"}]
)
def test_kept_keys_and_values_change_nothing(options):
    model, source = random_model(3, 3.0, **options), sources(3)
    limits = np.full(len(source), LENGTH)
    kept = searcher(model, Search(4), LENGTH)(source, limits)
    anew = searcher(model, Search(4), LENGTH, cached=False)(source, limits)
    np.testing.assert_array_equal(kept[0], anew[0])
    np.testing.assert_allclose(kept[1], anew[1], rtol=1e-4)


def test_a_translation_does_not_depend_on_its_neighbours():
    model, source = random_model(4), sources(4)
    search = searcher(model, Search(3, wanted=3), LENGTH)
    limits = np.full(len(source), LENGTH)
    tokens, scores, _ = search(source, limits)
    for order in ([4, 3, 2, 1, 0], [2, 2, 2, 2, 2], [1, 0, 0, 3, 3]):
        again, values, _ = search(source[order], limits)
        np.testing.assert_array_equal(again, tokens[order])
        np.testing.assert_allclose(values, scores[order], rtol=1e-5)


def test_greedy_follows_the_likeliest_piece():
    model, source = random_model(5), sources(5)
    tokens, _, _ = searcher(model, Search(1, repetition=0), LENGTH)(source, np.full(len(source), LENGTH))
    run = forward(model)
    for row in range(len(source)):
        target = np.zeros((1, LENGTH), np.int32)
        target[0, 0], said = 2, []
        while not said or (said[-1] != 3 and len(said) < LENGTH):
            logits = np.array(ops.convert_to_numpy(run(source[row : row + 1], target)))[0, len(said)]
            logits[:3] = NONE
            said.append(3 if len(said) == LENGTH - 1 else int(logits.argmax()))
            target[0, len(said) : len(said) + 1] = said[-1]
        assert tokens[row, 0, : len(said)].tolist() == said


class Stuttering(keras.Model):
    """Says piece 7 for ever, and piece 9 where it may not."""

    begin, pad = 2, 0

    def call(self, inputs):
        source, target = inputs
        logits = np.full(SIZE, -20.0, np.float32)
        logits[[7, 9]] = 5.0, 2.0
        return (
            ops.ones_like(ops.cast(target, "float32"))[..., None] * logits
            + 0 * ops.cast(source, "float32")[:, :1, None]
        )


def test_endless_repetition_is_stopped_and_marked():
    model, source = Stuttering(), sources(0, rows=1)
    search = {places: searcher(model, Search(2, repetition=places), 24, cached=False) for places in (8, 0)}
    tokens, _, changed = search[8](source, np.array([24]))
    assert tokens[0, 0, :8].tolist() == [7] * 8
    assert tokens[0, 0, 8] == 9
    assert changed[0, 0]
    assert not repeats(tokens[0, 0, :-1].tolist(), 8)
    tokens, _, changed = search[0](source, np.array([24]))
    assert tokens[0, 0].tolist() == [7] * 23 + [3]
    assert not changed[0, 0]


def test_repeats_counts_places():
    assert repeats([5, 1, 2, 1, 2, 1, 2, 1, 2, 1], 8)
    assert not repeats([5, 1, 2, 1, 2, 1, 2, 1, 2], 8)
    assert not repeats([1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 1, 2, 3, 4, 5], 8)
