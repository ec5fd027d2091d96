import keras
import numpy as np
import pytest

from callbacks import Checkpoint, EarlyStopping, EvaluationWeights, NanGuard, evaluation_weights
from optimizers import registry

X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = X @ np.arange(4, dtype="float32")[:, None]
AVERAGING = [("schedule-free", None), ("ranger", None), ("momentum-sam", None), ("adamw", 0.9)]


def make(name, ema=None, deep=False):
    keras.utils.set_random_seed(0)
    layers = keras.layers
    hidden = [layers.Dense(5), layers.BatchNormalization(), layers.Dropout(0.5)] if deep else []
    model = keras.Sequential([keras.Input((4,)), *hidden, layers.Dense(1)])
    model.compile(registry.get(name, learning_rate=0.05, ema=ema), "mse")
    return model


def fit(model, *callbacks, epochs=3, **options):
    options = {"batch_size": 8, "shuffle": False, "verbose": 0, **options}
    return model.fit(X, Y, epochs=epochs, callbacks=list(callbacks), **options)


def everything(model):
    return [np.array(keras.ops.convert_to_numpy(v)) for v in [*model.variables, *model.optimizer.variables]]


def assert_same(first, second):
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


class AtEnd(keras.callbacks.Callback):
    """Keeps what a function of the model gives at the end of each epoch."""

    def __init__(self, look):
        super().__init__()
        self.look = look
        self.seen = []

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append(self.look(self.model))


@pytest.mark.backend
@pytest.mark.parametrize(("name", "ema"), AVERAGING)
def test_validation_is_that_of_the_weights_that_are_kept(name, ema):
    model = make(name, ema)
    kept = AtEnd(evaluation_weights)
    history = fit(model, EvaluationWeights(), kept, validation_data=(X, Y)).history
    losses = [float(np.mean((X @ kernel + bias - Y) ** 2)) for kernel, bias in kept.seen]
    assert history["val_loss"] == pytest.approx(losses, rel=1e-4)
    # `fit` ends with these weights in the model.
    assert model.evaluate(X, Y, verbose=0) == pytest.approx(losses[-1], rel=1e-4)


@pytest.mark.backend
@pytest.mark.parametrize(("name", "ema"), AVERAGING)
def test_what_is_saved_and_predicted_after_it_is_of_the_kept_weights_and_training_goes_on(tmp_path, name, ema):
    expected, before, after = AtEnd(evaluation_weights), AtEnd(evaluation_weights), AtEnd(evaluation_weights)
    training, held, predicted = (
        AtEnd(everything),
        AtEnd(lambda m: m.get_weights()),
        AtEnd(lambda m: m.predict(X, verbose=0)),
    )
    plain = make(name, ema)
    fit(plain, expected, training)
    files = keras.callbacks.ModelCheckpoint(str(tmp_path / "{epoch}.weights.h5"), save_weights_only=True)
    trained, model = AtEnd(everything), make(name, ema)
    swap = EvaluationWeights(swap_on_epoch=True)
    fit(model, before, trained, swap, after, held, predicted, files, validation_data=(X, Y))
    for epoch, weights in enumerate(expected.seen):
        assert_same(before.seen[epoch], weights)
        assert_same(after.seen[epoch], weights)
        assert_same(held.seen[epoch], weights)
        np.testing.assert_allclose(predicted.seen[epoch], X @ weights[0] + weights[1], rtol=1e-4, atol=1e-5)
        other = make(name, ema)
        other.load_weights(tmp_path / f"{epoch + 1}.weights.h5")
        assert_same(other.get_weights(), weights)
        assert_same(trained.seen[epoch], training.seen[epoch])
    assert_same(everything(model), everything(plain))
    if ema and keras.backend.backend() == "jax":
        return  # Keras itself cannot fit twice: it leaves each weight and its average in one array
    for each in (model, plain):
        fit(each, *([swap] if each is model else []), epochs=1)
    assert_same(everything(model), everything(plain))


@pytest.mark.backend
def test_predictions_and_evaluations_alone():
    model = make("schedule-free")
    swap, inside = (
        EvaluationWeights(),
        AtEnd(lambda m: (m.predict(X, verbose=0, callbacks=[swap]), evaluation_weights(m))),
    )
    plain = make("schedule-free")
    fit(plain)
    fit(model, inside)
    for shown, (kernel, bias) in inside.seen:
        np.testing.assert_allclose(shown, X @ kernel + bias, rtol=1e-4, atol=1e-5)
    assert_same(everything(model), everything(plain))


@pytest.mark.parametrize("late", [NanGuard, Checkpoint])
def test_what_keeps_the_training_must_stand_before_the_swap(tmp_path, late):
    def callback():
        return late() if late is NanGuard else late(tmp_path)

    model = make("schedule-free")
    with pytest.raises(ValueError, match="must stand before EvaluationWeights"):
        fit(model, EvaluationWeights(swap_on_epoch=True), callback())
    fit(model, callback(), epochs=1)  # after a training that was broken off, too
    fit(model, callback() if late is NanGuard else Checkpoint(tmp_path / "b"), EvaluationWeights(swap_on_epoch=True))


@pytest.mark.backend
def test_statistics_of_batch_norm_are_those_of_the_kept_weights():
    """Against the mean and variance of what goes into the batch norm, by NumPy; dropout's state is left alone."""
    batches = [(X[:16], Y[:16]), (X[16:], Y[16:])]
    swap, stopping = EvaluationWeights(swap_on_epoch=True, statistics=batches), EarlyStopping("loss", mode="max")
    held, trained, training = AtEnd(lambda m: m.get_weights()), AtEnd(everything), AtEnd(everything)
    fit(make("schedule-free", deep=True), training)
    model = make("schedule-free", deep=True)
    fit(model, trained, swap, held, stopping)
    for epoch, weights in enumerate(held.seen):
        kernel, bias, _, _, mean, variance, *_ = weights
        inputs = [x @ kernel + bias for x, _ in batches]
        np.testing.assert_allclose(mean, np.mean([i.mean(0) for i in inputs], 0), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(variance, np.mean([i.var(0) for i in inputs], 0), rtol=1e-4, atol=1e-5)
        assert_same(trained.seen[epoch], training.seen[epoch])
    assert_same(model.get_weights(), held.seen[stopping.best_epoch])


def test_statistics_without_the_swap_and_without_batches_are_errors():
    with pytest.raises(ValueError, match="swap_on_epoch"):
        EvaluationWeights(statistics=[X])
    with pytest.raises(ValueError, match="no batches"):
        fit(make("schedule-free", deep=True), EvaluationWeights(True, []))
