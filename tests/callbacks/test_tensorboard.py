import keras
import numpy as np
import pytest
from matplotlib.figure import Figure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from callbacks import TensorBoard

X = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")


def fit(board, initial_epoch=0, epochs=3):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    data = {"validation_data": (X, X[:, :1]), "batch_size": 16, "verbose": 0}
    return model.fit(X, X[:, :1], callbacks=[board], initial_epoch=initial_epoch, epochs=epochs, **data)


def read(folder):
    events = EventAccumulator(str(folder))
    events.Reload()
    return events


@pytest.mark.backend
def test_values_are_those_of_the_history(tmp_path):
    history = fit(TensorBoard(tmp_path, update_freq=2, text={"config": "a: 1"}, figures=lambda m, e: {"f": Figure()}))
    train, validation = read(tmp_path / "train"), read(tmp_path / "validation")
    assert [e.value for e in train.Scalars("epoch_loss")] == pytest.approx(history.history["loss"])
    assert [e.value for e in validation.Scalars("epoch_loss")] == pytest.approx(history.history["val_loss"])
    assert [e.step for e in train.Scalars("batch_loss")] == [2, 4, 6, 8, 10, 12]
    assert train.Tensors("config")[0].tensor_proto.string_val == [b"a: 1"]
    assert validation.Images("f")[0].encoded_image_string.startswith(b"\x89PNG")


def test_step_goes_on_after_a_resume_and_nothing_stands_twice(tmp_path):
    first = TensorBoard(tmp_path, update_freq=1)
    fit(first, epochs=2)
    state = {"step": 4, "last_epoch": 0}  # the checkpoint of the end of epoch 1
    second = TensorBoard(tmp_path, update_freq=1)
    second.set_state(state)
    fit(second, initial_epoch=1, epochs=3)
    train = read(tmp_path / "train")
    assert [e.step for e in train.Scalars("epoch_loss")] == [4, 8, 12]
    assert [e.step for e in train.Scalars("batch_loss")] == list(range(1, 13))


def test_bad_frequency(tmp_path):
    with pytest.raises(ValueError, match="update_freq"):
        TensorBoard(tmp_path, update_freq=0)
