import keras
import numpy as np
import pytest
from keras import ops

from pipelines.engine.calibration import calibrate
from pipelines.texts import models as text_models
from pipelines.texts.builders import ngram_model
from pipelines.texts.explain import character_scores, token_attributions
from pipelines.texts.inputs import COUNT, NgramInput, TokenInput
from pipelines.texts.layers import Affine, MaskedPooling, NgramTerms, Positions, TfidfTerms, TokenDropout, TokenMask
from pipelines.texts.ngram_evidence import evidence
from pipelines.texts.predict import logits_of, predict_raw, probabilities
from pipelines.texts.vocabulary import learn_subwords, word_vocabulary

TEXTS = ["a good film", "a bad book", "good good film", "bad film bad"] * 5
GOAL = np.eye(2, dtype=np.float32)[[1, 0, 1, 0] * 5]
VECTORS = np.random.default_rng(0).normal(0, 1, (10, 5)).astype("f4")
IDS = np.array([[3, 4, 5, 0, 0], [6, 7, 8, 9, 2], [1, 0, 0, 0, 0]], np.int32)


def numpy(x):
    return np.asarray(ops.convert_to_numpy(x))


def models():
    return {
        "cnn": lambda: text_models.cnn(10, 3, width=8, filters=4, token_dropout=0.2),
        "transformer": lambda: text_models.transformer(10, 3, width=8, depth=2, heads=2, length=8, token_dropout=0.2),
        "vectors": lambda: text_models.transformer(10, 3, width=8, heads=2, length=8, vectors=VECTORS),
    }


@pytest.mark.backend
@pytest.mark.parametrize("name", [*models(), "ngrams"])
def test_models_learn_ignore_padding_and_come_back(name, tmp_path):
    keras.utils.set_random_seed(0)
    if name == "ngrams":
        reader = NgramInput.learn(TEXTS, size=1000)
        model = ngram_model(reader, TEXTS, np.eye(3, dtype="f4")[[1, 0, 2, 0] * 5], steps=400)
        ids = reader.windows(TEXTS[:3]).read(range(3))
    else:
        model, ids = models()[name](), IDS
    outputs = numpy(model(ids, training=False))
    assert outputs.shape == (3, 3)
    longer = np.pad(ids, ((0, 0), (0, 3)))
    np.testing.assert_allclose(numpy(model(longer, training=False)), outputs, atol=1e-5)
    model.compile("adam", keras.losses.CategoricalCrossentropy(from_logits=True))
    model.optimizer.learning_rate = 0.02
    goal = np.eye(3, dtype="f4")
    losses = [float(model.train_on_batch(ids, goal)) for _ in range(40)]
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", compile=False)
    np.testing.assert_allclose(numpy(again(ids, training=False)), numpy(model(ids, training=False)), atol=1e-6)
    assert np.isfinite(numpy(model(0 * ids, training=False))).all()  # a text without tokens


@pytest.mark.backend
def test_ngrams_are_a_linear_model():
    """The logits are those of TF-IDF rows of scikit-learn times the weights."""
    from sklearn.feature_extraction.text import TfidfTransformer

    reader = NgramInput.learn(TEXTS, size=1000)
    model = ngram_model(reader, TEXTS, GOAL, steps=400)
    layer, last = model.get_layer("embedding"), model.get_layer("logits")
    generator = np.random.default_rng(0)
    weights = generator.normal(0, 1, layer.embeddings.shape).astype("f4")
    layer.embeddings.assign(weights)
    last.bias.assign([0.5, -0.25])
    windows = reader.windows(TEXTS[:4])
    counts = np.zeros((len(TEXTS), len(reader.known)))
    for row, ids in zip(counts, reader.windows(TEXTS).ids, strict=True):
        row[ids % COUNT - 1] = ids // COUNT + 1
    idf = TfidfTransformer(sublinear_tf=True)
    words = idf.fit_transform(counts[:, : reader.known_words]).toarray()
    characters = idf.fit_transform(counts[:, reader.known_words :]).toarray()
    rows = np.concatenate([words, 0.7 * characters], axis=1)[:4]
    expected = rows @ (weights * numpy(layer.factors))[1:] + [0.5, -0.25]
    np.testing.assert_allclose(numpy(model(windows.read(range(4)))), expected, rtol=1e-4, atol=1e-5)
    assert len(model.trainable_variables) == 2


@pytest.mark.backend
def test_pooling():
    states = np.arange(24, dtype="f4").reshape(2, 3, 4) - 12
    mask = np.array([[1, 1, 0], [0, 0, 0]], "f4")
    for mode, expected in (
        ("mean", states[0, :2].mean(0)),
        ("sum", states[0, :2].sum(0)),
        ("max", states[0, :2].max(0)),
    ):
        pooled = numpy(MaskedPooling(mode)([states, mask]))
        np.testing.assert_allclose(pooled[0], expected)
        np.testing.assert_allclose(pooled[1], 0)
    with pytest.raises(ValueError, match="mode must be"):
        MaskedPooling("median")


@pytest.mark.backend
def test_token_dropout_drops_its_part_and_never_all():
    layer = TokenDropout(0.9, seed=1)
    mask = np.ones((2000, 5), "f4")
    mask[:, 3:] = 0
    kept = numpy(layer(mask, training=True))
    assert kept.sum(1).min() == 1
    assert not kept[:, 3:].any()
    # One of three is always kept, each of the others with a chance of 0.1 unless it was the highest itself.
    assert kept[:, :3].mean() == pytest.approx(1 - (0.9 - 0.9**3 / 3), abs=0.02)
    np.testing.assert_array_equal(numpy(layer(mask)), mask)
    with pytest.raises(ValueError, match="rate"):
        TokenDropout(1.0)


@pytest.mark.parametrize(
    "layer",
    [
        TokenMask(3),
        MaskedPooling("max"),
        NgramTerms(5, 2),
        TfidfTerms(5, 2, 3, 0.5),
        TokenDropout(0.25, 7),
        Positions(9),
        Affine(),
    ],
)
def test_layers_come_back_from_their_config(layer):
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()


@pytest.mark.backend
@pytest.mark.parametrize("name", [*models(), "ngrams"])
def test_attributions_add_up_to_the_difference_of_the_logits(name):
    keras.utils.set_random_seed(1)
    if name == "ngrams":
        reader = NgramInput.learn(TEXTS, size=1000)
        model = ngram_model(reader, TEXTS, GOAL, steps=400)
        table = model.get_layer("embedding").embeddings
        table.assign(np.random.default_rng(0).normal(0, 1, table.shape))
        ids = reader.windows(TEXTS[:3]).read(range(3))
    else:
        model, ids = models()[name](), IDS
    from pipelines.texts.explain import split

    embed, answer = split(model)
    ids = ops.convert_to_tensor(ids)
    zero = numpy(answer(embed(0 * ids), ids))
    logits = numpy(model(ids, training=False))
    labels = np.array([0, 1, 1])
    parts = token_attributions(model, numpy(ids), labels, steps=64)
    assert parts.shape == ids.shape
    rows = np.arange(3)
    np.testing.assert_allclose(
        parts.sum(1), (logits - zero)[rows, labels], atol=0.03 * np.abs(logits - zero).max() + 1e-4
    )
    assert np.abs(parts[numpy(ids) == 0]).max(initial=0) < 1e-5


def test_attributions_of_a_pretrained_encoder(tmp_path):
    import keras_hub

    from pipelines.texts import backbones

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "good", "bad", "film", "book"]
    keras.utils.set_random_seed(0)
    inner = keras_hub.models.BertBackbone(len(words), 1, 2, 8, 16, max_sequence_length=16)
    inner.save_to_preset(str(tmp_path))
    keras_hub.models.BertTokenizer(vocabulary=words, lowercase=True).save_to_preset(str(tmp_path))
    backbone = backbones.load(str(tmp_path))
    model = text_models.pretrained(backbone, 2, dropout=0.0)
    reader = TokenInput(backbone.vocabulary, 16)
    ids = ops.convert_to_tensor(reader.windows(TEXTS[:2]).read(range(2)))
    from pipelines.texts.explain import split

    embed, answer = split(model)
    np.testing.assert_allclose(numpy(answer(embed(ids), ids)), numpy(model(ids)), atol=1e-5)
    parts = token_attributions(model, numpy(ids), np.array([0, 1]), steps=64)
    gap = numpy(model(ids)) - numpy(answer(embed(0 * ids), ids))
    np.testing.assert_allclose(parts.sum(1), gap[[0, 1], [0, 1]], atol=0.05 * np.abs(gap).max() + 1e-3)
    scores = character_scores(model, reader, ["A good film"], [1])[0]
    assert scores[1] == scores[6] == 0  # the spaces
    assert len(scores) == 11


def test_character_scores_find_the_words_that_count():
    reader = NgramInput.learn(TEXTS, size=1000)
    model = ngram_model(reader, TEXTS, GOAL, steps=400)
    windows = reader.windows(TEXTS)
    _, ratios = evidence(windows, GOAL[windows.owner], len(reader.known))
    model.get_layer("embedding").embeddings.assign(ratios)  # naive Bayes alone
    text = "a good book"
    (scores,) = character_scores(model, reader, [text], [1])
    assert scores[2:6].sum() > 0 > scores[7:].sum()
    difference = logits_of(model, reader, [text])[0, 1] - float(numpy(model.get_layer("logits").bias)[1])
    np.testing.assert_allclose(scores.sum(), difference, rtol=1e-4)


def test_a_model_without_embeddings_is_not_explained():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="no layer named embedding"):
        token_attributions(model, np.zeros((1, 4), "i4"), np.array([0]))


def test_long_texts_are_the_mean_of_their_windows_and_the_order_is_kept():
    keras.utils.set_random_seed(0)
    reader = TokenInput(word_vocabulary(["a", "good", "bad", "film"], lowercase=True), 8, 0.5)
    model = text_models.cnn(6, 2, width=8, filters=4)
    texts = ["good film", "bad " * 20, "a", "good bad film " * 7, "", "film"]
    logits = logits_of(model, reader, texts)
    for i, text in enumerate(texts):
        windows = reader.windows([text])
        answers = numpy(model(windows.read(range(len(windows.ids)))))
        weights = np.maximum([len(ids) for ids in windows.ids], 1)
        np.testing.assert_allclose(logits[i], np.average(answers, axis=0, weights=weights), atol=1e-5)


def test_what_is_no_text_gets_its_reason():
    reader = TokenInput(learn_subwords(TEXTS, 300, lowercase=True), 16)
    model = text_models.cnn(len(reader.vocabulary), 2, width=8, filters=4)
    rows = list(predict_raw(model, reader, False, ["good", " ", 3, "\ud800", "x" * 1_000_000, "שלום 😀"]))
    assert [r if isinstance(r, str) else "" for _, r in rows] == [
        "", "empty text", "not a text, but int", r"not valid Unicode: character 0 is '\ud800'", "", "",
    ]  # fmt: skip
    assert rows[0][1].sum() == pytest.approx(1)


@pytest.mark.parametrize("name", ["cnn", "ngrams"])
def test_calibration_divides_the_logits(name):
    if name == "cnn":
        model, ids = models()["cnn"](), IDS
    else:
        reader = NgramInput.learn(TEXTS, size=1000)
        model, ids = ngram_model(reader, TEXTS, GOAL, steps=400), reader.windows(TEXTS[:3]).read(range(3))
    model.get_layer("logits").bias.assign(np.arange(model.output_shape[-1], dtype="f4"))
    before = numpy(model(ids))
    assert calibrate(model, 2.0)
    np.testing.assert_allclose(numpy(model(ids)), before / 2, rtol=1e-5)
    assert not calibrate(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]), 2.0)


def test_probabilities():
    np.testing.assert_allclose(probabilities(np.array([[0.0, np.log(3)]]), False), [[0.25, 0.75]])
    np.testing.assert_allclose(probabilities(np.array([[0.0, np.log(3)]]), True), [[0.5, 0.75]])
