"""What one update costs, and how much memory: every optimizer against Keras's Adam, and against others' packages.

    python benchmarks/optimizer_cost.py                                             # TensorFlow
    OPENBLAS_NUM_THREADS=1 KERAS_BACKEND=jax python benchmarks/optimizer_cost.py    # and against optax
    KERAS_BACKEND=torch python benchmarks/optimizer_cost.py                         # and against pytorch_optimizer

The update of all weights of a network is timed alone, compiled as in `fit`, with gradients that lie ready; `share` is
what it adds to a whole training step of that network with batches of 128. Adam is measured anew beside each
optimizer, in turns: the median of the ratios counts. Memory is that of all tensors in the optimizer's state after a
step, in bytes for each weight that it trains: 8 are two numbers in float32. The others' optimizers are as they come,
but for Shampoo's roots, which are computed as often as ours, and kernels, which Muon takes as matrices, as ours does;
SOAP and Shampoo keep a matrix for each axis of a kernel there, where ours have two for the matrix that it is.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from optimizers import registry

Update = Callable[[], None]
Memory = Callable[[], float]  # bytes a weight, once a step was made
PEERS = {
    "jax": {
        "adam": "optax:adam", "adabelief": "optax:adabelief", "adan": "optax:adan", "radam": "optax:radam",
        "ademamix": "optax.contrib:ademamix", "prodigy": "optax.contrib:prodigy", "lion": "optax:lion",
        "schedule-free": "optax.contrib:schedule_free_adamw", "conv-muon": "optax.contrib:muon",
    },
    "torch": {
        "adam": "torch.optim:Adam", "radam": "torch.optim:RAdam", "adabelief": "pytorch_optimizer:AdaBelief",
        "adan": "pytorch_optimizer:Adan", "ademamix": "pytorch_optimizer:AdEMAMix", "soap": "pytorch_optimizer:SOAP",
        "prodigy": "prodigyopt:Prodigy", "schedule-free": "schedulefree:AdamWScheduleFree",
        "shampoo": "pytorch_optimizer:ScalableShampoo", "conv-muon": "torch.optim:Muon",
    },
}  # fmt: skip
SETTINGS = {"ScalableShampoo": {"preconditioning_compute_steps": 10, "start_preconditioning_step": 10}}


def network() -> keras.Model:
    """A small residual network's worth of weights: 14 kernels, 2.4 million numbers, with norms and biases."""
    layers = keras.layers
    model = keras.Sequential([keras.Input((16, 16, 3))])
    for width, stride in ((64, 1), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (256, 1)):
        model.add(layers.Conv2D(width, 3, strides=stride, padding="same", use_bias=False))
        model.add(layers.BatchNormalization())
        model.add(layers.Activation("relu"))
    model.add(layers.GlobalAveragePooling2D())
    for _ in range(2):
        model.add(layers.Dense(256, "relu"))
    model.add(layers.Dense(10))
    return model


def ours(name: str, model: keras.Model) -> tuple[Update, Memory]:
    """One update of the weights by an optimizer of the registry, and the memory of its variables."""
    optimizer = registry.get(name, model=model)
    variables = model.trainable_variables
    optimizer.build(variables)
    draw = np.random.default_rng(0)
    gradients = [keras.ops.convert_to_tensor(1e-3 * draw.normal(size=v.shape).astype("float32")) for v in variables]
    kept = sum(keras.ops.convert_to_numpy(v).nbytes for v in optimizer.variables) / number(variables)
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        compiled = tf.function(lambda: optimizer.apply(gradients, variables), jit_compile=False)
        return lambda: compiled(), lambda: kept
    if backend == "jax":
        import jax

        step = jax.jit(optimizer.stateless_apply, donate_argnums=(0, 2))
        state = {
            "slots": [jax.numpy.copy(v.value) for v in optimizer.variables],
            "weights": [jax.numpy.copy(v.value) for v in variables],
        }

        def update() -> None:
            state["weights"], state["slots"] = step(state["slots"], gradients, state["weights"])
            jax.block_until_ready(state)

        return update, lambda: kept
    import torch

    def apply() -> None:
        with torch.no_grad():
            optimizer.apply(gradients, variables)

    return apply, lambda: kept


def number(weights: Sequence[Any]) -> int:
    return sum(int(np.prod(w.shape)) for w in weights)


def peer(factory: str, model: keras.Model) -> tuple[Update, Memory]:
    """The same update by another package, on the same weights, and its memory."""
    module, _, name = factory.partition(":")
    make = getattr(importlib.import_module(module), name)
    weights = [keras.ops.convert_to_numpy(v) for v in model.trainable_variables]
    if name.lower() == "muon":  # both take matrices alone; optax leaves the rest to Adam
        weights = [w.reshape(-1, w.shape[-1]) if w.ndim > 1 else w for w in weights]
    if factory == "torch.optim:Muon":
        weights = [w for w in weights if w.ndim > 1]
    draw = np.random.default_rng(0)
    gradients = [1e-3 * draw.normal(size=w.shape).astype("float32") for w in weights]
    if module.startswith("optax"):
        import jax
        import optax

        transformation = make(1e-3)

        def step(state: Any, weights: Any) -> Any:
            updates, state = transformation.update(gradients, state, weights)
            return state, optax.apply_updates(weights, updates)

        compiled = jax.jit(step, donate_argnums=(0, 1))
        values = [jax.numpy.asarray(w) for w in weights]
        # Some begin with copies of the weights: what is given away must not be the same buffer twice.
        held = [jax.tree.map(jax.numpy.copy, transformation.init(values)), values]

        def update() -> None:
            held[:] = compiled(*held)
            jax.block_until_ready(held)

        return update, lambda: sum(leaf.nbytes for leaf in jax.tree.leaves(held[0])) / number(weights)
    import torch

    parameters = [torch.nn.Parameter(torch.tensor(w)) for w in weights]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = torch.tensor(gradient)
    optimizer = make(parameters, lr=1e-3, **SETTINGS.get(name, {}))
    if hasattr(optimizer, "train"):
        optimizer.train()
    return lambda: optimizer.step(), lambda: sum(storages(optimizer.state).values()) / number(weights)


def storages(state: Any) -> dict[int, int]:
    """Address and bytes of the memory behind all PyTorch tensors in a state, also in objects that it holds."""
    import torch

    if isinstance(state, torch.Tensor):
        memory = state.untyped_storage()
        return {memory.data_ptr(): memory.nbytes()}
    if isinstance(state, dict):
        state = list(state.values())
    attributes = {} if isinstance(state, type) else getattr(state, "__dict__", {})
    parts = state if isinstance(state, list | tuple) else attributes.values()
    return {key: size for part in parts for key, size in storages(part).items()}


def seconds(update: Update, repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        update()
    return (time.perf_counter() - start) / repeats


def compare(first: Update, second: Update, rounds: int, repeats: int) -> float:
    """Median of second over first, in turns; the first round, which compiles and refreshes, is left out."""
    ratios = []
    for turn in range(rounds + 1):
        pair = seconds(first, repeats), seconds(second, repeats)
        if turn:
            ratios.append(pair[1] / pair[0])
    return statistics.median(ratios)


def training_step() -> Update:
    """A whole step of `fit` with Adam."""
    model = network()
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(128, 16, 16, 3)).astype("float32"), draw.integers(0, 10, 128)
    return lambda: model.train_on_batch(x, y)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--optimizers", nargs="+", default=list(registry.names()))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--repeats", type=int, default=20, help="updates a round")
    options = parser.parse_args()
    backend = keras.backend.backend()
    whole = training_step()
    adam, _ = ours("adam", network())
    share = 1 / compare(adam, whole, 3, 5)
    print(f"{backend}: Adam's update takes {share:.1%} of a training step\n")
    others = PEERS.get(backend, {})
    print("| optimizer | update, step, of Adam's | bytes a weight | update, of the other's | bytes of the other's |")
    print("|---|---|---|---|---|")
    for name in options.optimizers:
        update, kept = ours(name, network())
        ratio = compare(adam, update, options.rounds, options.repeats)
        other = "– | –"
        if name in others:
            package, _, attribute = others[name].partition(":")
            try:
                theirs, held = peer(others[name], network())
            except ImportError:
                other = f"{package} is not installed | –"
            else:
                speed = compare(theirs, update, options.rounds, options.repeats)
                other = f"{speed:.2f} of {package}.{attribute} | {held():.1f}"
        print(f"| {name} | {ratio:.2f}, {1 + share * (ratio - 1):.2f} | {kept():.1f} | {other} |", flush=True)


if __name__ == "__main__":
    main()
