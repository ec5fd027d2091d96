"""How text_classify weighs windows, texts and classes in training, and calibrates."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from made_texts import rows
from sklearn.metrics import log_loss

from pipelines import text_classify
from pipelines.core import cli as cli_options
from pipelines.data.summary import DataSummary
from pipelines.engine import fit
from pipelines.engine.calibration import calibrate
from pipelines.texts.inputs import COUNT, NgramInput
from pipelines.texts.load import Part, TextParts
from pipelines.texts.predict import logits_of, probabilities


def parts(train, val, kind="none", length=8, **options):
    """Options and data of (text, number of the class) pairs, read as n-grams in windows of so many words."""
    config = cli_options.from_keywords(
        text_classify.Config, {"imbalance": kind, "batch_size": 8, "length": length, **options}
    )
    both = [Part([t for t, _ in p], np.array([y for _, y in p]), [str(i) for i in range(len(p))]) for p in (train, val)]
    summary = DataSummary({}, [], [], "", [])
    reader = NgramInput.learn(both[0].texts, size=2**16, length=length, overlap=0.0)
    return config, TextParts(both[0], both[1], both[1], ("a", "b"), False, summary, [], reader)


def fitted(config, data, epochs):
    model = text_classify.build_model(config, data)
    stream, _ = text_classify.batches(config, data)
    fit.compile_model(model, config, text_classify.objective(config, data), steps=epochs * stream.steps_per_epoch)
    model.fit(stream.dataset, epochs=epochs, verbose=0)
    return model


def test_windows_of_a_class_are_drawn_as_often_as_those_of_another():
    """Ten windows a text in one class, one in the other, which is also three times as frequent; one text is longer."""
    long, short = " ".join(["word"] * 80), "a short text"
    train = [(long, 0)] * 2 + [(f"{long} {long}", 0)] + [(short, 1)] * 9
    stream, _ = text_classify.batches(*parts(train, train, "oversample"))
    drawn = np.zeros(2)
    for epoch in range(60):
        stream.seek(epoch, 0)
        for _, goal, weights in stream.dataset:
            assert (weights.numpy() == 1).all()
            drawn += goal.numpy().sum(0)
    assert drawn.sum() >= 60 * 40
    np.testing.assert_allclose(drawn / drawn.sum(), 0.5, atol=0.04)


def test_texts_of_validation_count_alike_whatever_their_length():
    long = " ".join(["word"] * 160)
    config, data = parts([(long, 0), ("short", 1)], [(long, 1), ("one", 0), ("two", 0), ("three", 0)])
    _, validation = text_classify.batches(config, data)
    ids = keras.Input((None,), dtype="int32")
    pooled = keras.layers.GlobalMaxPooling1D()(keras.layers.Embedding(1001, 2)(ids % COUNT))
    model = keras.Model(
        ids, keras.layers.Dense(2, "linear", True, "zeros", keras.initializers.Constant([1, 0]))(pooled)
    )
    fit.compile_model(model, config, text_classify.objective(config, data), steps=1)
    assert model.evaluate(validation, verbose=0, return_dict=True)["accuracy"] == pytest.approx(0.75)


@pytest.mark.parametrize("several", [False, True])
def test_calibration_lowers_the_log_loss(several):
    """A model that is far too sure of itself: one text in five has the other label."""
    noisy = [(text, int((label == "good") != (i % 5 == 0))) for i, (text, label) in enumerate(rows(160))]
    config, data = parts(noisy[80:], noisy[:80], length=128)
    if several:
        train, val = (replace(part, labels=np.eye(2, dtype=np.float32)[part.labels]) for part in (data.train, data.val))
        data = replace(data, several=True, train=train, val=val)
    model = fitted(config, data, 4)
    assert calibrate(model, 0.02)
    before = probabilities(logits_of(model, data.reader, data.val.texts), several)
    model, _ = text_classify.finish(config, data, model)
    after = probabilities(logits_of(model, data.reader, data.val.texts), several)
    np.testing.assert_array_equal(before > 0.5, after > 0.5)
    truth = data.val.labels if several else np.eye(2)[data.val.labels]
    losses = [log_loss(truth.ravel(), chances.ravel()) for chances in (before, after)]
    assert losses[1] < losses[0]


@pytest.mark.parametrize("kind", ["weights", "effective-number", "focal", "oversample"])
def test_a_rare_class_is_learned(kind):
    pairs = [(text, int(label == "good")) for text, label in rows(480)]
    rare = [pair for i, pair in enumerate(pairs[60:]) if pair[1] or i % 8 == 1]
    config, data = parts(rare, pairs[:60], kind, learning_rate=1e-2, length=128)
    model = fitted(config, data, 4)
    _, validation = text_classify.batches(config, data)
    assert model.evaluate(validation, verbose=0, return_dict=True)["accuracy"] > 0.96
