"""What watching costs: the time of a training step with `callbacks.TensorBoard` against one without.

    KERAS_BACKEND=jax python benchmarks/tensorboard_cost.py --rounds 9

The same network on the same data in one process: bare, with TensorBoard at its default settings, with the norms that
`optimizers.monitored` measures inside the step as well, and, on TensorFlow, with Keras's own
TensorBoard. They take turns within each round, since a machine's speed drifts; the first round, which compiles, is left
out. The ratio of the times is that of the fastest rounds; on a machine that others use too, that of the seconds which
all processors together spent on this process says more: it is the median over the rounds.
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
from pipelines.models.convnets import convnet

WORKLOADS = {  # shape of a sample, samples a step, steps an epoch
    "convnet": ((28, 28, 1), 64, 60),
    "digits": ((8, 8, 1), 32, 120),
    "mlp": ((256,), 128, 200),
}


def network(name: str, shape: tuple[int, ...]) -> keras.Model:
    """The network of a workload."""
    keras.utils.set_random_seed(0)
    if name != "mlp":
        return convnet(shape, 10, width=32, depth=2)
    dense = keras.layers.Dense
    return keras.Sequential([keras.Input(shape), dense(512, "relu"), dense(512, "relu"), dense(10)])


def measure(name: str, rounds: int) -> None:
    """Prints the ratios for one workload."""
    shape, batch, steps = WORKLOADS[name]
    draw = np.random.default_rng(0)
    x = draw.uniform(0, 1 if name == "mlp" else 255, (batch * steps, *shape)).astype("float32")
    y = draw.integers(0, 10, len(x))
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
            start, begun = time.perf_counter(), time.process_time()
            models[kind].fit(x, y, batch_size=batch, verbose=0, shuffle=False, callbacks=make())
            if number:
                seconds[kind].append(time.perf_counter() - start)
                spent[kind].append(time.process_time() - begun)
    for kind, found in seconds.items():
        fastest = min(found) / min(seconds["bare"])
        processors = statistics.median(a / b for a, b in zip(spent[kind], spent["bare"], strict=True))
        print(
            f"{keras.backend.backend():10} {name:8} {kind:12} {min(found) / steps * 1000:7.3f} ms a step, "
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
