import keras
import numpy as np
import pytest
from interruption import Interrupted, StopAfter

import regularizers
from callbacks import Checkpoint, CheckpointError, EarlyStopping, TensorBoard
from optimizers import registry, schedules
from pipelines.data.stream import Stream

X = np.random.default_rng(0).normal(size=(200, 8)).astype("float32")
Y = (X[:, 0] > 0).astype("int32")
EPOCHS = 3


def make(units=16):
    keras.utils.set_random_seed(3)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8,)),
            layers.Dense(units, "relu"),
            layers.Dropout(0.3),
            layers.BatchNormalization(),
            layers.Dense(2),
        ]
    )
    regularizers.apply(model, "l2", 1e-4)
    rate = schedules.get("one-cycle", peak=1e-2, steps=EPOCHS * 12, warmup=0.2)
    model.compile(
        registry.get("adamw", learning_rate=rate, ema=0.9, model=model),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        weighted_metrics=["accuracy"],
    )
    model.evaluate(X[:16], Y[:16], verbose=0)
    return model


def run(folder, stop_after=None, **options):
    model = make()
    stream = Stream(lambda i: (X[i], Y[i]), [((8,), "float32"), ((), "int32")], 200, batch_size=16, seed=1)
    stopping = EarlyStopping("val_accuracy", mode="max")
    board = TensorBoard(folder / "logs")
    checkpoint = Checkpoint(folder / "kept", track=[stopping, board], stream=stream, **{"every_steps": 4, **options})
    start = checkpoint.restore(model)
    callbacks = [keras.callbacks.SwapEMAWeights(swap_on_epoch=False), stopping, board, checkpoint]
    if stop_after:
        callbacks.append(StopAfter(stop_after))
    try:
        history = model.fit(
            stream.dataset,
            validation_data=(X, Y),
            initial_epoch=start,
            epochs=start if checkpoint.finished else EPOCHS,
            callbacks=callbacks,
            verbose=0,
        )
    except Interrupted:
        return None
    return model.get_weights(), history.history.get("loss", []), checkpoint


def same(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.backend
@pytest.mark.parametrize("stops", [[7], [12], [5, 9, 4], [13, 13]])
def test_interrupted_training_ends_with_the_same_weights(tmp_path, stops):
    weights, losses, _ = run(tmp_path / "whole")
    for stop in stops:
        run(tmp_path / "torn", stop)
    resumed, rest, _ = run(tmp_path / "torn")
    assert same(weights, resumed)
    assert rest == losses[-len(rest) :]


@pytest.mark.backend
def test_three_lines_with_arrays(tmp_path):
    """The example of the docstring: interrupted in the middle of an epoch, it begins with that one."""

    def train(folder, stop=None):
        model = make()
        callbacks = [*([StopAfter(stop)] if stop else []), Checkpoint(folder)]
        start = callbacks[-1].restore(model)
        model.fit(X, Y, initial_epoch=start, epochs=EPOCHS, callbacks=callbacks, shuffle=False, verbose=0)
        return model.get_weights()

    with pytest.raises(Interrupted):
        train(tmp_path / "torn", stop=10)
    assert same(train(tmp_path / "whole"), train(tmp_path / "torn"))


def test_finished_training_is_not_repeated(tmp_path):
    weights, _, _ = run(tmp_path)
    again, losses, checkpoint = run(tmp_path)
    assert checkpoint.finished
    assert losses == []
    assert same(weights, again)


@pytest.fixture(autouse=True, scope="module")
def exact():
    """The promise is for deterministic operations: without them TensorFlow's sums depend on its threads."""
    if keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf

    tf.config.experimental.enable_op_determinism()
    yield
    from tensorflow.python.framework import config

    config.disable_op_determinism()


def test_torn_checkpoint_falls_back_and_says_so(tmp_path):
    weights, _, _ = run(tmp_path / "whole")
    run(tmp_path / "torn", 15)
    newest = sorted((tmp_path / "torn" / "kept").iterdir())[-1]
    newest.write_bytes(newest.read_bytes()[:-1000])
    resumed, _, checkpoint = run(tmp_path / "torn")
    assert same(weights, resumed)
    assert newest.name in checkpoint.messages[0]


def test_flipped_bit_is_found(tmp_path):
    run(tmp_path, 15)
    newest = sorted((tmp_path / "kept").iterdir())[-1]
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    model = make()
    checkpoint = Checkpoint(tmp_path / "kept", track=[EarlyStopping("loss", mode="min"), TensorBoard(tmp_path)])
    checkpoint.restore(model)
    assert newest.name in checkpoint.messages[0]


def test_no_readable_checkpoint_is_an_error(tmp_path):
    run(tmp_path, 15)
    for path in (tmp_path / "kept").iterdir():
        path.write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="none of the 2 checkpoints"):
        Checkpoint(tmp_path / "kept").restore(make())


@pytest.mark.parametrize("epochs", [1, 3])
def test_a_new_training_in_a_used_folder_is_an_error_before_its_first_step(tmp_path, epochs):
    model = make()
    checkpoint = Checkpoint(tmp_path)
    checkpoint.restore(model)
    model.fit(X, Y, epochs=2, callbacks=[checkpoint], verbose=0)
    kept = {path: path.read_bytes() for path in tmp_path.iterdir()}
    steps = int(model.optimizer.iterations)
    for callback in (checkpoint, Checkpoint(tmp_path)):  # `restore` was called, but not before this `fit`
        with pytest.raises(CheckpointError, match=r"epoch-00002-step-0000000.npz.*call restore"):
            model.fit(X, Y, epochs=epochs, callbacks=[callback], verbose=0)
    assert int(model.optimizer.iterations) == steps
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == kept
    model.fit(X, Y, initial_epoch=2, epochs=3, callbacks=[checkpoint], verbose=0)  # the same training goes on
    assert Checkpoint(tmp_path).restore(make()) == 3


def test_what_could_not_be_read_does_not_drive_out_what_is_written(tmp_path):
    weights, _, _ = run(tmp_path / "whole")
    run(tmp_path / "torn", 23)
    newest = sorted((tmp_path / "torn" / "kept").iterdir())[-1]
    newest.write_bytes(b"nothing")
    run(tmp_path / "torn", 3, every_steps=2, keep=1)  # ends before the place of the torn one
    assert [p.name for p in (tmp_path / "torn" / "kept").iterdir()] == ["epoch-00001-step-0000006.npz"]
    resumed, _, _ = run(tmp_path / "torn")
    assert same(weights, resumed)


def test_another_model_is_an_error(tmp_path):
    run(tmp_path, 15)
    with pytest.raises(CheckpointError, match="shape"):
        Checkpoint(tmp_path / "kept").restore(make(units=8))


@pytest.mark.parametrize(
    ("other", "message"), [("optimizer", "variables of the optimizer"), ("track", "0 are tracked")]
)
def test_a_checkpoint_that_does_not_fit_changes_nothing(tmp_path, other, message):
    run(tmp_path, 15)
    model = make()
    if other == "optimizer":
        model.compile("sgd", "mse")
    before = model.get_weights()
    with pytest.raises(CheckpointError, match=message):
        Checkpoint(tmp_path / "kept").restore(model)
    assert same(before, model.get_weights())


def test_only_the_newest_are_kept(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / ".epoch-00001-step-0000004.npz.1").write_bytes(b"of a killed process")
    run(tmp_path)
    assert [p.name for p in sorted((tmp_path / "kept").iterdir())] == [
        "epoch-00002-step-0000008.npz",
        "epoch-00003-step-0000000.npz",
    ]


def test_bad_arguments(tmp_path):
    with pytest.raises(ValueError, match="keep"):
        Checkpoint(tmp_path, keep=0)
    with pytest.raises(ValueError, match="stream"):
        Checkpoint(tmp_path, every_steps=3)
    with pytest.raises(ValueError, match="compile"):
        Checkpoint(tmp_path).restore(keras.Sequential([keras.layers.Dense(1)]))
