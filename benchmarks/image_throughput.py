"""Images a second and peak memory: our `train` against a bare `model.fit` and a plain PyTorch loop.

    python benchmarks/image_throughput.py --rounds 3

Each measurement is a process of its own; they take turns, forwards and backwards, since a machine's speed drifts. All
train the same network (`convnet`, width 64, depth 2) with batches of 128 on the same 28 x 28 images, without
augmentation; the first epoch, which compiles, is left out, and the median over the others counts. Peak memory is that
of the whole process.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

SIZE, HELD_OUT, EPOCHS, BATCH = 12800, 256, 4, 128


def parts() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Random images and labels: the speed does not depend on what they show."""
    generator = np.random.default_rng(0)
    return {
        part: (generator.integers(0, 256, (size, 28, 28, 1), dtype=np.uint8), generator.integers(0, 10, size))
        for part, size in (("train", SIZE), ("val", HELD_OUT), ("test", HELD_OUT))
    }


def ours() -> list[float]:
    """Seconds of each epoch of `image_classify.train`."""
    from pipelines import image_classify

    with tempfile.TemporaryDirectory() as folder:
        run = image_classify.train(
            data="image_throughput:parts", width=64, depth=2, epochs=EPOCHS, batch_size=BATCH, out=folder, crop=0,
            resamples=10,
        )  # fmt: skip
        with open(run.directory.history) as file:
            return [float(row["seconds"]) for row in csv.DictReader(file)]


def bare() -> list[float]:
    """Seconds of each epoch of a bare `fit` on arrays, without the tuning of tf.data that may stall the end of one."""
    import keras
    import tensorflow as tf

    from pipelines.images.convnets import convnet

    seconds: list[float] = []

    class Clock(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.start = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            seconds.append(time.perf_counter() - self.start)

    eye = np.eye(10, dtype="float32")
    (x, y), validation, _ = ((images, eye[labels]) for images, labels in parts().values())
    model = convnet((28, 28, 1), 10, width=64, depth=2)
    optimizer = keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True, weight_decay=5e-4)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    model.compile(optimizer, loss, metrics=["accuracy"], jit_compile=False)
    untuned = tf.data.Options()
    untuned.autotune.enabled = False
    data = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(SIZE).batch(BATCH, drop_remainder=True).prefetch(2)
    held_out = tf.data.Dataset.from_tensor_slices(validation).batch(256)
    model.fit(
        data.with_options(untuned), validation_data=held_out.with_options(untuned), epochs=EPOCHS, verbose=0,
        callbacks=[Clock()],
    )  # fmt: skip
    return seconds


def torch_loop() -> list[float]:
    """Seconds of each epoch of a plain PyTorch loop of the same network."""
    import torch
    from torch import nn
    from torch.nn import functional

    def conv(inputs: int, outputs: int, size: int = 3, stride: int = 1) -> nn.Sequential:
        layer = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)
        return nn.Sequential(layer, nn.BatchNorm2d(outputs))

    class Block(nn.Module):
        def __init__(self, inputs: int, outputs: int, stride: int) -> None:
            super().__init__()
            self.one, self.two = conv(inputs, outputs, 3, stride), conv(outputs, outputs)
            self.pool = nn.AvgPool2d(2, ceil_mode=True) if stride > 1 else nn.Identity()
            self.project = conv(inputs, outputs, 1) if inputs != outputs else nn.Identity()

        def forward(self, x):
            return torch.relu(self.project(self.pool(x)) + self.two(torch.relu(self.one(x))))

    network = nn.Sequential(
        conv(1, 32), nn.ReLU(), conv(32, 64, 3, 2), nn.ReLU(), Block(64, 64, 1), Block(64, 128, 2), Block(128, 128, 1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10),
    ).to(memory_format=torch.channels_last)  # fmt: skip
    optimizer = torch.optim.SGD(network.parameters(), 0.01, momentum=0.9, nesterov=True, weight_decay=5e-4)
    images, labels = parts()["train"]
    x, y = torch.from_numpy(images.transpose(0, 3, 1, 2).copy()), torch.from_numpy(labels)
    seconds = []
    for _ in range(EPOCHS):
        start = time.perf_counter()
        for indices in torch.randperm(SIZE).split(BATCH):
            batch = (x[indices].float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)
            loss = functional.cross_entropy(network(batch), y[indices], label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        seconds.append(time.perf_counter() - start)
    return seconds


MEASURES = {"ours": ours, "bare": bare, "torch": torch_loop}


def main() -> None:
    """Runs all in turn and prints the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured")
    parser.add_argument("--only", nargs="+", choices=MEASURES, default=list(MEASURES), help="what is measured")
    parser.add_argument("--one", choices=MEASURES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        seconds = MEASURES[options.one]()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"speed": SIZE / statistics.median(seconds[1:]), "mib": peak}))
        return
    found: dict[str, list[dict[str, float]]] = {name: [] for name in options.only}
    here = os.path.dirname(os.path.abspath(__file__))
    for number in range(options.rounds):
        for name in options.only[:: -1 if number % 2 else 1]:
            command = [sys.executable, os.path.abspath(__file__), "--one", name]
            done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=here)
            found[name].append(json.loads(done.stdout.splitlines()[-1]))
            last = found[name][-1]
            print(f"round {number + 1} {name:6} {last['speed']:7.0f} images/s {last['mib']:6.0f} MiB", flush=True)
    for name in options.only[1:]:
        pairs = list(zip(found[options.only[0]], found[name], strict=True))
        speed, memory = ([a[key] / b[key] for a, b in pairs] for key in ("speed", "mib"))
        print(
            f"{options.only[0]} / {name}: speed {statistics.median(speed):.3f} ({min(speed):.3f} to {max(speed):.3f}), "
            f"peak memory {statistics.median(memory):.3f}"
        )


if __name__ == "__main__":
    main()
