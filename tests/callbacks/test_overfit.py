import keras
import numpy as np
import pytest

from callbacks import OverfitMonitor


def follow(monitor, pairs, first=0):
    rows = []
    for epoch, (training, validation) in enumerate(pairs, start=first):
        rows.append({"loss": training, "val_loss": validation})
        monitor.on_epoch_end(epoch, rows[-1])
    return [row["gap"] for row in rows]


RISING = [(3, 3), (2, 2.5), (1.5, 2.6), (1, 2.8), (0.5, 3.0), (0.4, 3.2)]


def test_speaks_once_when_the_gap_grows_and_validation_does_not_improve():
    lines = []
    gaps = follow(OverfitMonitor(patience=2, say=lines.append, advice="do this"), RISING)
    assert gaps == pytest.approx([0, 0.5, 1.1, 1.8, 2.5, 2.8])
    assert len(lines) == 1
    assert "best in epoch 2 (2.5, now 2.8)" in lines[0]
    assert "from 0.5 to 1.8; do this" in lines[0]


def test_another_fit_begins_anew():
    lines = []
    monitor = OverfitMonitor(patience=2, say=lines.append)
    for _ in range(2):
        monitor.on_train_begin()
        follow(monitor, RISING)
    assert len(lines) == 2
    assert lines[0] == lines[1]


@pytest.mark.parametrize(
    "pairs",
    [
        [(3, 3), (2, 2.9), (1, 2.8), (0.5, 2.7), (0.1, 2.6)],  # the gap grows, but validation improves
        [(3, 3), (3, 3.1), (3.2, 3.2), (3.3, 3.3)],  # validation gets worse, but so does training
        [(5, 3), (4, 3.1), (3.9, 3.2), (3.5, 3.3)],  # training is harder than validation: augmentation
        [(3, 3), (3, 3.01), (2.98, 3.05), (2.97, 3.06)],  # the gap grows by 3 percent
    ],
)
def test_keeps_quiet_otherwise(pairs):
    lines = []
    follow(OverfitMonitor(patience=2, say=lines.append), pairs)
    assert lines == []


def test_max_is_the_other_direction():
    lines = []
    monitor = OverfitMonitor("accuracy", mode="max", patience=1, say=lines.append)
    logs = [{"accuracy": a, "val_accuracy": v} for a, v in ((0.5, 0.5), (0.7, 0.6), (0.9, 0.55))]
    for epoch, row in enumerate(logs):
        monitor.on_epoch_end(epoch, row)
    assert [row["gap"] for row in logs] == pytest.approx([0, 0.1, 0.35])
    assert len(lines) == 1


def test_state_goes_on():
    lines = []
    first, second = (OverfitMonitor(patience=2, say=lines.append) for _ in range(2))
    follow(first, RISING[:3])
    second.set_state(first.get_state())
    follow(second, RISING[3:], first=3)
    assert len(lines) == 1
    assert second.get_state()["told"]


@pytest.mark.backend
def test_a_model_that_learns_noise_by_heart_is_told():
    draw = np.random.default_rng(0)
    x, vx = draw.normal(size=(2, 32, 16)).astype("float32")
    y, vy = draw.normal(size=(2, 32, 1)).astype("float32")
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((16,)), keras.layers.Dense(64, "relu"), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.01), "mse")
    with pytest.warns(UserWarning, match="over-fitting"):
        model.fit(x, y, validation_data=(vx, vy), epochs=30, verbose=0, callbacks=[OverfitMonitor()])


def test_bad_arguments_and_missing_values():
    with pytest.raises(ValueError, match="mode"):
        OverfitMonitor(mode="auto")
    with pytest.raises(ValueError, match="patience"):
        OverfitMonitor(patience=0)
    with pytest.raises(ValueError, match="growth"):
        OverfitMonitor(growth=-1)
    with pytest.raises(ValueError, match=r"no value 'val_loss'.*available are loss, val_mae"):
        OverfitMonitor().on_epoch_end(0, {"loss": 1.0, "val_mae": 1.0})
