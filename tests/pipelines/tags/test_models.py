import itertools

import keras
import numpy as np
import pytest
from keras import ops

from pipelines.layers import viterbi
from pipelines.losses import CRFLoss
from pipelines.tags import models as taggers
from pipelines.tags.config import TaggerConfig
from pipelines.tags.load import SubwordEncoder, Tags, padded
from pipelines.tags.predict import EntityF1, tag
from pipelines.tags.scores import score
from pipelines.tags.word_features import WordEncoder, learn_features
from pipelines.texts.vocabulary import wordpieces

TAGS = Tags(["x", "y"], "bio")
SENTENCES = [["Ada", "met", "Bob", "Lee"], ["no", "one"], ["Zoë", "👍🏽", "in", "Rome", "and", "Oslo", "!"]]
SMALL = {"width": 8, "embedding": 8}


def model(encoder, **options):
    keras.utils.set_random_seed(0)
    config = TaggerConfig(**{**SMALL, **options})
    return taggers.tagger(
        config, len(TAGS.names), TAGS.forbidden(), words=len(encoder.words) + 2, features=len(encoder.features) + 1
    )


@pytest.mark.backend
@pytest.mark.parametrize("options", [{}, {"builder": "transformer", "depth": 2}, {"hand_features": False}])
def test_padding_changes_nothing_and_no_rule_is_broken(options, tmp_path):
    encoder = WordEncoder(["ada", "met"], learn_features(SENTENCES, 500, least=1))
    network = model(encoder, **options)
    alone = [ops.convert_to_numpy(network(encoder(s)[None])) for s in SENTENCES]
    together = ops.convert_to_numpy(network(padded([encoder(s) for s in SENTENCES])))
    for one, row, tokens in zip(alone, together, SENTENCES, strict=True):
        np.testing.assert_allclose(one[0], row[: len(TAGS.names) + 2 + len(tokens)], atol=1e-5)
    network.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(
        ops.convert_to_numpy(again(padded([encoder(s) for s in SENTENCES]))), together, atol=1e-5
    )
    generator = np.random.default_rng(0)
    noise = together.copy()
    noise[:, len(TAGS.names) + 2 :] = generator.normal(size=noise[:, len(TAGS.names) + 2 :].shape) * 10
    names = TAGS.names
    for path in ops.convert_to_numpy(viterbi(noise, np.ones((3, 16), bool))):
        for before, after in zip([0, *path], path, strict=False):
            assert names[after][0] != "I" or names[before][2:] == names[after][2:]


@pytest.mark.backend
@pytest.mark.parametrize("scheme", ["bio", "bioes"])
def test_the_watched_score_is_that_of_seqeval(scheme):
    tags = Tags(["x", "y"], scheme)
    generator = np.random.default_rng(0)
    sizes = [9, 4, 1, 12, 7, 12]
    metric = EntityF1(tags.names)
    true, predicted = [], []
    y, scores = np.full((6, 12), -1), np.zeros((6, len(tags.names) + 2 + 12, len(tags.names)), "float32")
    for i, size in enumerate(sizes):
        pair = []
        for _ in range(2):
            edges = sorted(generator.choice(size + 1, min(size + 1, 5), replace=False))
            pair.append([(int(a), int(b), "xy"[generator.integers(2)]) for a, b in itertools.pairwise(edges)])
        if i % 2:
            pair[1] = pair[0][:1] + [p for p in pair[1] if not pair[0] or p[0] >= pair[0][0][1]]
        true.append(pair[0])
        predicted.append(pair[1])
        y[i, :size] = tags.encode(pair[0], size)
        scores[i, range(len(tags.names) + 2, len(tags.names) + 2 + size), tags.encode(pair[1], size)] = 5
    metric.update_state(y[:2], scores[:2])
    metric.update_state(y[2:], scores[2:])
    expected = score(true, predicted, sizes, seed=0, resamples=10).metrics["f1"].value
    assert 0 < expected < 1
    assert float(metric.result()) == pytest.approx(expected)
    assert EntityF1.from_config(metric.get_config()).names == tags.names


@pytest.mark.backend
def test_a_tagger_learns_and_finds_the_places_again():
    encoder = WordEncoder(["ada", "met"], learn_features(SENTENCES, 500, least=1))
    network = model(encoder, dropout=0.0, word_dropout=0.0, feature_dropout=0.0)
    spans = [[(0, 1, "x"), (2, 4, "x")], [], [(0, 1, "x"), (3, 4, "y"), (5, 6, "y")]]
    x = padded([encoder(s) for s in SENTENCES])
    y = padded([np.array(TAGS.encode(s, len(t)), "int32") for s, t in zip(spans, SENTENCES, strict=True)], -1)
    network.compile(
        keras.optimizers.Adam(0.02),
        CRFLoss(),
        metrics=[EntityF1(TAGS.names)],
        jit_compile=keras.backend.backend() == "jax",
    )
    history = network.fit(x, y, epochs=20, verbose=0).history
    assert history["entity_f1"][-1] == 1
    found = tag(network, encoder, TAGS, [*SENTENCES, []], batch_size=2)
    assert [[place for place, _ in entities] for entities in found] == [*spans, []]
    assert all(0.5 < confidence <= 1.0001 for entities in found for _, confidence in entities)


def test_recall_shifts_the_optimum():
    """With one word and equal costs the loss is least where tag 0 has lost by `recall`."""
    loss, plain = CRFLoss(2.0), CRFLoss()
    scores = np.zeros((1, 6, 3), "float32")
    scores[0, 5] = [1, 3, -50]
    favoured = scores.copy()
    favoured[0, 5, 0] += 2
    assert float(loss(np.array([[1]]), scores)) == pytest.approx(float(plain(np.array([[1]]), favoured)))
    assert float(loss(np.array([[0]]), scores)) == pytest.approx(float(plain(np.array([[0]]), scores)))
    with pytest.raises(ValueError, match="recall"):
        CRFLoss(-1)


def test_subwords_meet_their_words():
    pieces = wordpieces(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "ada", "lo", "##ve", "##la", "##ce"], lowercase=True)
    encoder = SubwordEncoder(WordEncoder([], []), pieces, 512)
    rows = encoder(["Ada", "Lovelace", "\u200b", "Ada"])
    ids, firsts = rows[:, -2].tolist(), rows[:4, -1].tolist()
    assert ids[:6] == [2, 4, 5, 6, 7, 8]
    assert [ids[i] for i in (firsts[0], firsts[1], firsts[3])] == [4, 5, 4]
    assert ids[firsts[3] + 1] == 3
    batch = padded([rows, rows[:5]], encoder.padding)
    assert batch.shape == (2, 16, encoder.width)
    assert not batch[1, 5:].any()


def test_all_words_of_a_long_sentence_stay():
    pieces = wordpieces(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "##b", "c"], lowercase=True)
    encoder = SubwordEncoder(WordEncoder([], []), pieces, 20)
    assert encoder.most_words == 14  # batches are padded to 16
    for words, of_each in ((2, 5), (3, 4), (4, 3), (6, 2), (8, 1), (14, 1)):
        rows = encoder(["abbbbbbb"] * words)
        assert padded([rows], encoder.padding).shape[1] <= 20
        assert rows[:words, -1].tolist() == [1 + of_each * i for i in range(words)]
        assert rows[rows[:words, -1], -2].tolist() == [4] * words
    # What short words leave goes to the long ones.
    assert encoder(["abbbbb", "c", "c", "c", "abbbbb"])[:5, -1].tolist() == [1, 6, 7, 8, 9]
    with pytest.raises(ValueError, match="a sentence has 15 words, but 14 fit"):
        encoder(["c"] * 15)
