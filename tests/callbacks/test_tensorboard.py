import keras
import numpy as np
import pytest
from matplotlib.figure import Figure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.graph_pb2 import GraphDef
from tensorboard.summary.writer import event_file_writer

from callbacks import TensorBoard
from callbacks.events import graph
from optimizers.monitored import Monitored

X = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")


def fit(board, initial_epoch=0, epochs=3, optimizer="sgd"):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, name="last")])
    model.compile(optimizer, "mse")
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


def test_another_fit_after_a_resumed_one_voids_nothing(tmp_path, monkeypatch):
    # Files of one second are read in the order of their numbers as text.
    monkeypatch.setattr(event_file_writer, "_global_uid", event_file_writer.AtomicCounter(100))
    board = TensorBoard(tmp_path, update_freq=2, text={"config": "a: 1"})
    fit(board, epochs=1)
    board.set_state({"step": 2, "last_epoch": 0})
    for epochs in (1, 1):
        fit(board, epochs=epochs)
    train = read(tmp_path / "train")
    assert [e.step for e in train.Scalars("batch_loss")] == [2, 4, 6, 8, 10]
    assert [e.step for e in train.Tensors("config")] == [0]
    assert [e.step for e in read(tmp_path / "validation").Scalars("epoch_loss")] == [6, 10]


def test_bad_frequency(tmp_path):
    with pytest.raises(ValueError, match="update_freq"):
        TensorBoard(tmp_path, update_freq=0)


@pytest.mark.backend
@pytest.mark.parametrize("scaled", [False, True])
def test_norms_of_layers_and_the_rate(tmp_path, scaled):
    schedule = keras.optimizers.schedules.PolynomialDecay(0.1, 12, 0.01)
    optimizer = monitored = Monitored(keras.optimizers.SGD(schedule), every=1)
    if scaled:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=2.0)
    fit(TensorBoard(tmp_path, update_freq=4), optimizer=optimizer)
    train = read(tmp_path / "train")
    norms = monitored.norms()
    for kind in ("gradient", "update", "weight"):
        written = train.Scalars(f"{kind}_norm/{layer(norms)}")
        assert [e.step for e in written] == [4, 8, 12]
        expected = np.linalg.norm(list(norms[kind].values()))
        assert written[-1].value == pytest.approx(expected)
        assert train.Scalars(f"{kind}_norm/all")[-1].value == pytest.approx(expected)
    rates = [e.value for e in train.Scalars("learning_rate")]
    assert rates == pytest.approx([0.1 - 0.09 * step / 12 for step in (4, 8, 12)])
    gradient, update = (train.Scalars(f"{k}_norm/all")[0].value for k in ("gradient", "update"))
    assert update == pytest.approx((0.1 - 0.09 * 3 / 12) * gradient, rel=1e-4)


def layer(norms):
    (name,) = {path.rpartition("/")[0] for path in norms["weight"]}
    return name


def test_histograms_and_figures_every_so_many_epochs(tmp_path):
    calls = []
    board = TensorBoard(
        tmp_path, histograms_every=2, figures_every=2, figures=lambda m, e: calls.append(e) or {"f": Figure()}
    )
    fit(board, epochs=5)
    train = read(tmp_path / "train")
    kernel = next(tag for tag in train.Tags()["tensors"] if tag.endswith("last/kernel"))
    assert [e.step for e in train.Tensors(kernel)] == [8, 16]
    assert calls == [1, 3, 4]
    assert [node.op.split()[0] for node in train.Graph().node] == ["InputLayer", "Dense"]


@pytest.mark.backend
def test_graph_of_calls_with_more_than_tensors():
    """Slices and numbers among the arguments, tensors by keyword and in a list, and a model within the model."""
    inside = keras.Input((None, 4), name="states")
    inner = keras.Model(inside, keras.layers.Dense(4, name="dense")(inside), name="inner")
    rows = keras.Input((None, 3), dtype="int32", name="rows")
    numbers = keras.layers.Embedding(9, 4, name="table")(rows[..., 0])
    x = keras.layers.GRU(4, return_sequences=True, name="gru")(numbers, mask=keras.ops.not_equal(rows[..., 1], 0))
    x = keras.layers.Concatenate(name="both")([inner(x), numbers])
    model = keras.Model(rows, keras.ops.max(x, axis=1), name="outer")
    drawn = {node.name: node for node in GraphDef.FromString(graph(model)).node}
    kinds = {name: node.op.split()[0] for name, node in drawn.items()}
    assert sorted(kinds.values()) == [
        "Concatenate", "Dense", "Embedding", "GRU", "GetItem", "GetItem", "InputLayer", "InputLayer", "Max", "NotEqual",
    ]  # fmt: skip
    flows = {name: [kinds[i] for i in node.input] for name, node in drawn.items()}
    assert flows["gru"] == ["Embedding", "NotEqual"]
    assert flows["inner/states"] == ["GRU"]
    assert flows["both"] == ["Dense", "Embedding"]


def test_a_model_without_a_graph_trains(tmp_path):
    class Own(keras.Model):
        def __init__(self, what):
            super().__init__()
            self.last = keras.layers.Dense(1)

        def call(self, x):
            return self.last(x)

    model = Own(object())
    model.compile("sgd", "mse")
    with pytest.warns(UserWarning, match="cannot be drawn"):
        model.fit(X, X[:, :1], callbacks=[TensorBoard(tmp_path)], verbose=0)
    assert read(tmp_path / "train").Scalars("epoch_loss")


@pytest.mark.backend
@pytest.mark.slow
def test_profile(tmp_path):
    if keras.backend.backend() == "torch":
        with pytest.raises(ValueError, match=r"torch\.profiler"):
            TensorBoard(tmp_path, profile=(2, 3))
        return
    fit(TensorBoard(tmp_path, profile=(2, 3)), epochs=1)
    assert list(tmp_path.glob("plugins/profile/*/*.xplane.pb"))


@pytest.mark.parametrize("options", [{"figures_every": -1}, {"histograms_every": -1}, {"profile": (0, 1)}])
def test_bad_arguments(tmp_path, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        TensorBoard(tmp_path, **options)
