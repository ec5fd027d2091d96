import keras
import numpy as np
import pytest
from keras import ops

from pipelines.tags import models as taggers
from pipelines.tags.config import TaggerConfig
from pipelines.tags.explain import explained, word_attributions
from pipelines.tags.files import Sentence
from pipelines.tags.load import Tags
from pipelines.tags.word_features import WordEncoder, learn_features

TAGS = Tags(["x", "y"], "bio")
TOKENS = ["Zoë", "👍🏽", "met", "Ada", "in", "Rome", "!"]
ENCODER = WordEncoder(["ada", "met"], learn_features([TOKENS, ["Ada"]], 500, least=1))


def tagger(**options):
    keras.utils.set_random_seed(0)
    config = TaggerConfig(**{"width": 8, "embedding": 8, **options})
    made = taggers.tagger(
        config, len(TAGS.names), TAGS.forbidden(), words=len(ENCODER.words) + 2, features=len(ENCODER.features) + 1
    )
    # Weights of their first scale would say next to nothing.
    generator = np.random.default_rng(0)
    for layer in made.layers:
        if isinstance(layer, (keras.layers.Embedding, taggers.Bag)):
            layer.set_weights([generator.normal(0, 0.5, w.shape).astype("f4") for w in layer.get_weights()])
    return made


def scores(model):
    """What the network gives each word before the CRF."""
    return ops.convert_to_numpy(model(ENCODER(TOKENS)[None], training=False))[0, len(TAGS.names) + 2 :]


@pytest.mark.parametrize(
    "options", [{}, pytest.param({"builder": "transformer"}, marks=pytest.mark.backend), {"hand_features": False}]
)
def test_attributions_add_up_to_the_difference_of_the_scores(options):
    model = tagger(**options)
    goals = np.random.default_rng(1).normal(size=(3, len(TOKENS), len(TAGS.names)))
    values = word_attributions(model, ENCODER, TOKENS, goals)
    full = scores(model)
    for layer in model.layers:  # no word says anything: each is embedded as the padding
        if isinstance(layer, keras.layers.Embedding):
            layer.set_weights([np.repeat(w[:1], len(w), axis=0) for w in layer.get_weights()])
        elif isinstance(layer, taggers.Bag):
            layer.set_weights([np.zeros_like(w) for w in layer.get_weights()])
    expected = ((full - scores(model)) * goals).sum((1, 2))
    assert values.shape == (3, len(TOKENS))
    np.testing.assert_allclose(values.sum(1), expected, atol=0.02 * np.abs(expected).max())


@pytest.mark.backend
def test_a_word_that_decides_alone_has_all_the_credit():
    rows = keras.Input((None, ENCODER.width), dtype="int32")
    table = keras.layers.Embedding(len(ENCODER.words) + 2, len(TAGS.names))
    inner = keras.Model(rows, keras.layers.Activation("relu")(table(rows[..., 0])))
    table.set_weights([np.array([[0, 0, 0, 0, 0]] * 2 + [[0, 9, 0, 0, 0]] + [[0] * 5], "f4")])  # "ada" is x
    whole = keras.Input((None, ENCODER.width), dtype="int32")
    model = keras.Model(whole, taggers.CRF(len(TAGS.names), TAGS.forbidden(), name="crf")(inner(whole)))
    offsets = ((0, 3), (4, 7), (8, 11))
    block = explained(model, ENCODER, TAGS, [Sentence("met Ada met", offsets, (), "here")] * 3, most=2)
    assert len(block.texts) == 2
    lead, marks = block.texts[0]
    assert lead.startswith("here, Ada (x, 1.00")
    assert [(m.text, m.label, bool(m.colour)) for m in marks] == [
        ("met ", "", False), ("Ada", "x", True), (" met", "", False),
    ]  # fmt: skip


def test_models_without_embeddings_are_refused():
    rows = keras.Input((None, 4), dtype="int32")
    inner = keras.Model(rows, keras.layers.Dense(5)(rows))
    whole = keras.Input((None, 4), dtype="int32")
    model = keras.Model(whole, taggers.CRF(5, name="crf")(inner(whole)))
    with pytest.raises(ValueError, match="no embeddings"):
        word_attributions(model, ENCODER, TOKENS, np.zeros((1, 7, 5)))
