"""What watching costs: the time of a training step with `callbacks.TensorBoard` against one without.

    KERAS_BACKEND=jax python benchmarks/tensorboard_cost.py --rounds 9

The same network on the same data in one process: bare, with TensorBoard at its default settings, with the norms that
`optimizers.monitored` measures inside the step as well, and, on TensorFlow, with Keras's own TensorBoard. They take
turns within each round, since a machine's speed drifts. Left out are the first round, which compiles, and the first
epoch of each `fit`, in which the model's graph is written once. The ratio of the times is that of the fastest rounds;
on a machine that others use too, that of the seconds which all processors together spent on this process says more: it
is the median over the rounds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np

from callbacks import TensorBoard
from optimizers.monitored import Monitored
from pipelines.images.convnets import convnet

EPOCHS = 4  # of each `fit`
WORKLOADS = {  # shape of a sample, samples a step, steps an epoch
    "convnet": ((28, 28, 1), 64, 60),
    "digits": ((8, 8, 1), 32, 120),
    "mlp": ((256,), 128, 200),
}


class Clock(keras.callbacks.Callback):
    """Seconds, and seconds of all processors, from the end of the first epoch on."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if epoch == 0:
            self._start = time.perf_counter(), time.process_time()

    def stop(self) -> tuple[float, float]:
        return time.perf_counter() - self._start[0], time.process_time() - self._start[1]


def network(name: str, shape: tuple[int, ...]) -> keras.Model:
    """The network of a workload."""
    keras.utils.set_random_seed(0)
    if name != "mlp":
        return convnet(shape, 10, width=32, depth=2)
    dense = keras.layers.Dense
    return keras.Sequential([keras.Input(shape), dense(512, "relu"), dense(512, "relu"), dense(10)])


def untuned(x: np.ndarray, y: np.ndarray, batch: int) -> object:
    """The arrays as TensorFlow's data, without the automatic tuning that may stall the end of an epoch."""
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(batch).prefetch(2).with_options(options)


def measure(name: str, rounds: int) -> None:
    """Prints the ratios for one workload."""
    shape, batch, steps = WORKLOADS[name]
    draw = np.random.default_rng(0)
    x = draw.uniform(0, 1 if name == "mlp" else 255, (batch * steps, *shape)).astype("float32")
    y = draw.integers(0, 10, len(x))
    data = (x, y)
    if keras.backend.backend() == "tensorflow":
        data = (untuned(x, y, batch),)
    folder = tempfile.mkdtemp()
    watchers = {
        "bare": (False, list),
        "TensorBoard": (False, lambda: [TensorBoard(folder + "/ours")]),
        "with norms": (True, lambda: [TensorBoard(folder + "/norms")]),
    }
    if keras.backend.backend() == "tensorflow":
        watchers["Keras's own"] = (False, lambda: [keras.callbacks.TensorBoard(folder + "/keras")])
    models = {}
    for kind, (norms, _) in watchers.items():
        models[kind] = network(name, shape)
        optimizer = keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True)
        models[kind].compile(
            Monitored(optimizer) if norms else optimizer,
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
            jit_compile=keras.backend.backend() == "jax",
        )
    seconds: dict[str, list[float]] = {kind: [] for kind in watchers}
    spent: dict[str, list[float]] = {kind: [] for kind in watchers}
    for number in range(rounds + 1):
        for kind, (_, make) in watchers.items():
            clock = Clock()
            options = {} if len(data) == 1 else {"batch_size": batch, "shuffle": False}
            models[kind].fit(*data, epochs=EPOCHS, verbose=0, callbacks=[*make(), clock], **options)
            if number:
                for found, value in zip((seconds, spent), clock.stop(), strict=True):
                    found[kind].append(value)
    for kind, found in seconds.items():
        fastest = min(found) / min(seconds["bare"])
        processors = statistics.median(a / b for a, b in zip(spent[kind], spent["bare"], strict=True))
        step = 1000 * min(found) / steps / (EPOCHS - 1)
        print(
            f"{keras.backend.backend():10} {name:8} {kind:12} {step:7.3f} ms a step, "
            f"ratio of times {fastest:.3f}, of processor seconds {processors:.3f}",
            flush=True,
        )


def main() -> None:
    """Measures the chosen workloads."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="how often each is measured")
    parser.add_argument("--only", nargs="+", choices=WORKLOADS, default=list(WORKLOADS), help="what is measured")
    options = parser.parse_args()
    for name in options.only:
        measure(name, options.rounds)


if __name__ == "__main__":
    main()
