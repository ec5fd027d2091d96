import math

import keras
import numpy as np
import pytest

from callbacks import EarlyStopping


def follow(stopping, values):
    """Feeds the values of a metric, one an epoch; the weight of epoch i is i. Returns the epochs run."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.stop_training = False
    stopping.set_model(model)
    stopping.on_train_begin()
    for epoch, value in enumerate(values):
        model.set_weights([np.full((1, 1), epoch)])
        stopping.on_epoch_end(epoch, {"val_loss": value})
        if model.stop_training:
            break
    stopping.on_train_end()
    return epoch + 1, float(model.get_weights()[0][0, 0])


@pytest.mark.parametrize(
    ("options", "values", "epochs", "kept"),
    [
        ({}, [3, 1, 2, 2], 4, 1),
        ({"patience": 2}, [3, 1, 2, 2, 0], 4, 1),
        ({"patience": 2, "min_delta": 0.5}, [3, 2.8, 2.7, 0], 3, 0),
        ({"warmup": 2, "patience": 1}, [0, 0, 3, 4], 4, 2),
        ({"patience": 2}, [math.nan, 2, math.nan, math.nan], 4, 1),
        ({}, [math.nan, math.nan], 2, 1),
        ({"seconds": 1e-9}, [3, 2], 1, 0),
    ],
)
def test_stops_and_keeps_the_best(options, values, epochs, kept):
    assert follow(EarlyStopping("val_loss", mode="min", **options), values) == (epochs, kept)


def test_max_is_the_other_direction():
    assert follow(EarlyStopping("val_loss", mode="max"), [1, 3, 2]) == (3, 1)


def test_missing_value_is_named():
    with pytest.raises(ValueError, match=r"no value 'val_auc'.*val_loss"):
        follow(EarlyStopping("val_auc", mode="max"), [1])


@pytest.mark.parametrize(
    "options", [{"mode": "auto"}, {"patience": 0}, {"min_delta": -1}, {"warmup": -1}, {"seconds": 0}]
)
def test_bad_arguments(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        EarlyStopping("loss", **{"mode": "min", **options})


@pytest.mark.backend
def test_average_weights_are_what_is_kept():
    x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.5, use_ema=True, ema_momentum=0.9), "mse")
    stopping = EarlyStopping("loss", mode="max")  # the first epoch is the best
    averages = []

    class Note(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            moving = self.model.optimizer._model_variables_moving_average
            averages.append([np.array(keras.ops.convert_to_numpy(v)) for v in moving])

    model.fit(x, x[:, :1] * 3, epochs=3, callbacks=[Note(), stopping], verbose=0)
    assert stopping.best_epoch == 0
    for kept, average in zip(model.get_weights(), averages[0], strict=True):
        np.testing.assert_array_equal(kept, average)


def paper(validation, training, k):
    """GL, PQ and UP of every epoch, transcribed from Prechelt (1998), section 2: t is counted from 1."""
    va, tr = np.asarray(validation, float), np.asarray(training, float)
    loss, quotient, strips = [], [], []
    for t in range(1, len(va) + 1):
        gl = 100 * (va[t - 1] / va[:t].min() - 1)
        loss.append(gl)
        if t % k:
            quotient.append(0.0)
            strips.append(0)
            continue
        strip = tr[t - k : t]
        progress = 1000 * (strip.sum() / (k * strip.min()) - 1)
        quotient.append(gl / progress if k > 1 else 0.0)  # a single epoch makes no progress
        risen = 0  # UP_s: UP_(s-1) held at t - k, and the error rose since
        while t - (risen + 1) * k >= 1 and va[t - 1 - risen * k] > va[t - 1 - (risen + 1) * k]:
            risen += 1
        strips.append(risen)
    return {"gl": loss, "pq": quotient, "up": strips}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("criterion", "k"), [("gl", 5), ("pq", 2), ("pq", 3), ("pq", 5), ("up", 1), ("up", 3), ("up", 5)]
)
def test_criteria_are_those_of_the_paper(seed, criterion, k):
    draw = np.random.default_rng(seed)
    epochs = np.arange(60)
    validation = 0.3 + (epochs / 30 - 0.7) ** 2 + 0.05 * draw.uniform(size=60)
    training = np.exp(-epochs / 20) + 0.1 * draw.uniform(size=60)
    values = paper(validation, training, k)[criterion]
    for threshold in (1, 2, 4):
        over = [v >= threshold if criterion == "up" else v > threshold for v in values]
        expected = over.index(True) + 1 if True in over else 60
        stopping = EarlyStopping("val_loss", mode="min", criterion=criterion, threshold=threshold, strip=k)
        ran = feed(stopping, [{"val_loss": v, "loss": t} for v, t in zip(validation, training, strict=True)])
        assert ran == expected


def feed(stopping, rows, first=0):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.stop_training = False
    stopping.set_model(model)
    stopping.on_train_begin()
    for epoch, row in enumerate(rows, start=first):
        stopping.on_epoch_end(epoch, row)
        if model.stop_training:
            break
    return epoch + 1


def test_accuracies_are_turned_into_errors():
    errors = [0.4, 0.2, 0.202, 0.23]
    rows = [{"val_accuracy": 1 - e} for e in errors]
    assert feed(EarlyStopping("val_accuracy", mode="max", criterion="gl", threshold=5), rows) == 4
    assert feed(EarlyStopping("val_accuracy", mode="max", criterion="gl", threshold=0.5), rows) == 3


def test_perfect_scores_do_not_divide_by_zero():
    rows = [{"val_loss": v, "loss": 0.0} for v in (1, 0, 0, 0.1)]
    assert feed(EarlyStopping("val_loss", mode="min", criterion="gl"), rows) == 4
    assert feed(EarlyStopping("val_loss", mode="min", criterion="pq", strip=2), rows) == 4


@pytest.mark.parametrize("options", [{"smoothing": 0.7}, {"window": 3}])
def test_the_smoothed_value_is_judged(options):
    draw = np.random.default_rng(1)
    values = (10 - np.arange(20) + 3 * draw.normal(size=20)).tolist()
    stopping = EarlyStopping("loss", mode="min", **options)
    feed(stopping, [{"loss": v} for v in values])
    if "smoothing" in options:
        state, smooth = 0.0, []
        for t, value in enumerate(values, start=1):
            state = 0.7 * state + 0.3 * value
            smooth.append(state / (1 - 0.7**t))
    else:
        smooth = [np.mean(values[max(0, t - 2) : t + 1]) for t in range(20)]
    assert stopping.best == pytest.approx(min(smooth))
    assert stopping.best_epoch == int(np.argmin(smooth))


@pytest.mark.parametrize(("criterion", "threshold"), [("gl", 40), ("pq", 0.1), ("up", 2)])
def test_state_goes_on(criterion, threshold):
    draw = np.random.default_rng(0)
    rows = [{"val_loss": v, "loss": t} for v, t in draw.uniform(0.5, 1, (30, 2))]
    options = {"mode": "min", "criterion": criterion, "strip": 3, "smoothing": 0.5, "threshold": threshold}
    whole = feed(EarlyStopping("val_loss", **options), rows)
    assert 3 < whole < 30
    first, second = EarlyStopping("val_loss", **options), EarlyStopping("val_loss", **options)
    feed(first, rows[: whole - 2])
    second.set_state(first.get_state())
    assert feed(second, rows[whole - 2 :], first=whole - 2) == whole
    assert second.reason


def test_another_fit_begins_anew_and_a_resumed_one_does_not():
    """As in cross-validation with one object: the weights of one model must not come into the next."""
    stopping = EarlyStopping("val_loss", mode="min", patience=2)
    assert follow(stopping, [3, 1, 2, 2, 0]) == (4, 1)
    kept = stopping.get_state()
    assert follow(stopping, [9, 8, 7]) == (3, 2)
    assert (stopping.best, stopping.best_epoch, stopping.reason) == (7, 2, None)
    stopping.set_state(kept)
    assert follow(stopping, [2]) == (1, 1)  # still the best of before, whose weight is 1
    assert follow(stopping, [2]) == (1, 0)  # the state was for one `fit`


def test_negative_errors_are_refused():
    with pytest.raises(ValueError, match=r"'gl' needs .*val_loss is -1"):
        feed(EarlyStopping("val_loss", mode="min", criterion="gl"), [{"val_loss": -1}])
    with pytest.raises(ValueError, match="up to 1"):
        feed(EarlyStopping("val_psnr", mode="max", criterion="gl"), [{"val_psnr": 30}])


@pytest.mark.parametrize(
    "options",
    [
        {"criterion": "gp"},
        {"threshold": -1},
        {"strip": 0},
        {"window": 0},
        {"smoothing": 1.0},
        {"smoothing": 0.5, "window": 2},
    ],
)
def test_bad_criteria(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        EarlyStopping("loss", mode="min", **options)


def test_up_counts_whole_strips():
    with pytest.raises(ValueError, match="whole number"):
        EarlyStopping("loss", mode="min", criterion="up", threshold=1.5)
