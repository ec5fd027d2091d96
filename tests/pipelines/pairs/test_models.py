import keras
import numpy as np
import pytest
from keras import ops

from pipelines.losses import TokenCrossEntropy
from pipelines.pairs.layers import rotate
from pipelines.pairs.models import Translator


def small(**options):
    keras.utils.set_random_seed(0)
    model = Translator(40, 16, 2, 32, 2, 1, dropout=0.0, **options)
    model.build()
    return model


PAIR = [
    np.array([[5, 6, 7, 3, 0, 0], [8, 9, 3, 0, 0, 0]], np.int32),
    np.array([[2, 11, 12, 13], [2, 14, 15, 0]], np.int32),
]


@pytest.mark.backend
def test_padding_and_later_pieces_change_nothing():
    model = small()
    whole = ops.convert_to_numpy(model(PAIR))
    short = ops.convert_to_numpy(model([PAIR[0][1:, :3], PAIR[1][1:, :3]]))
    np.testing.assert_allclose(whole[1:, :3], short, atol=1e-5)
    changed = PAIR[1].copy()
    changed[:, 3] = 20
    np.testing.assert_allclose(ops.convert_to_numpy(model([PAIR[0], changed]))[:, :3], whole[:, :3], atol=1e-5)


@pytest.mark.backend
def test_saved_and_loaded_it_says_the_same(tmp_path):
    for options in ({}, {"positions": "learned", "length": 12}):
        model = small(**options)
        model.save(tmp_path / "m.keras")
        again = keras.models.load_model(tmp_path / "m.keras")
        np.testing.assert_allclose(ops.convert_to_numpy(again(PAIR)), ops.convert_to_numpy(model(PAIR)), atol=1e-6)
        assert len(again.weights) == len(model.weights)


def test_turned_by_positions_only_their_distance_counts():
    generator = np.random.default_rng(0)
    query, key = (generator.normal(size=(1, 1, 1, 8)).astype(np.float32) for _ in range(2))

    def product(i, j):
        turned = [ops.convert_to_numpy(rotate(x, np.array([p]))) for x, p in ((query, i), (key, j))]
        return (turned[0] * turned[1]).sum()

    assert product(9, 4) == pytest.approx(product(105, 100), abs=1e-4)
    assert product(9, 4) != pytest.approx(product(9, 5), abs=1e-3)
    assert product(3, 3) == pytest.approx((query * key).sum(), abs=1e-5)


@pytest.mark.backend
def test_loss_is_the_mean_over_what_is_no_padding():
    generator = np.random.default_rng(1)
    logits = generator.normal(size=(2, 3, 5)).astype(np.float32)
    truth, weights = np.array([[1, 4, 0], [2, 0, 0]]), np.array([[1, 1, 0], [1, 0, 0]], np.float32)
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    target = np.eye(5)[truth] * 0.9 + 0.1 / 5
    expected = (-(target * log_p).sum(-1) * weights).sum() / weights.sum()
    loss = TokenCrossEntropy(0.1)
    assert float(loss(truth, logits, sample_weight=weights)) == pytest.approx(expected, rel=1e-5)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert again.label_smoothing == 0.1
    with pytest.raises(ValueError, match="label_smoothing"):
        TokenCrossEntropy(1.0)
