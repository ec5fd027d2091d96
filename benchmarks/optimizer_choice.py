"""Which optimizer reaches a target first? In the manner of AlgoPerf (Dahl et al., 2023), on small real workloads.

    export KERAS_BACKEND=jax
    python benchmarks/optimizer_choice.py --out results.json                          # trains; goes on where it was
    python benchmarks/optimizer_choice.py --out results.json --cost                   # the cost of a step
    python benchmarks/optimizer_choice.py --out results.json --show docs/optimizers   # table and figure

Needs `pip install -e '.[jax,samples]'` and Fashion-MNIST (Keras's cache or download, or Debian's package). For each
workload the target is a validation loss: the lowest that AdamW sees in three quarters of the horizon with its best
learning rate of `RATES`, in the worst of eight seeds, so that luck alone does not meet it. Then every optimizer, AdamW
too, has the same budget: each of its learning rates (its registered default times `RATES`) with each length of the
schedule (`HORIZONS`), one tuning seed; the trial that meets the target in the fewest steps, and meets it with two more
tuning seeds, is run again with five other seeds (at most twelve trials are looked at so). The score is the median of
the steps that these need, none when most of them miss the target. Steps do not depend on what else the machine does;
time is steps times the cost of a step, which `--cost` measures side by side.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from optimizer_workloads import WORKLOADS, Workload

RATES = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
HORIZONS = (0.3, 0.4, 0.5, 0.6, 0.75, 1.0)
EVALUATIONS = 40  # in the whole horizon
TUNING_SEED, CONFIRMING_SEEDS, SEEDS = 100, (101, 102), (0, 1, 2, 3, 4)
CANDIDATES = 12
TARGET_HORIZON = 0.75
BASELINE = "adamw"
CONSTANT = ("schedule-free",)  # no schedule after the warm-up
# One of each kind; the others of the registry differ from these in little.
OPTIMIZERS = (
    "adamw", "nesterov", "soap", "conv-muon", "shampoo", "adan", "ademamix", "schedule-free", "prodigy", "lion",
    "nadam", "radam", "cautious-adamw", "adabelief", "momentum-sam", "ranger", "rmsprop", "muon", "lamb", "adafactor",
    "adagrad", "sgd",
)  # fmt: skip


class Trainer:
    """One workload with one optimizer, compiled once for all rates, horizons and seeds."""

    def __init__(self, workload: Workload, name: str) -> None:
        import jax
        import keras

        from optimizers import registry

        self.workload = workload
        self.constant = name in CONSTANT
        self.default = float(registry.record(name).defaults["learning_rate"])
        keras.utils.set_random_seed(0)
        self.model = model = workload.build()
        self.optimizer = optimizer = registry.get(name, learning_rate=self.default, model=model)
        optimizer.build(model.trainable_variables)
        rate = next(i for i, v in enumerate(optimizer.variables) if v is optimizer._learning_rate)
        x, y = (jax.numpy.asarray(a) for a in workload.train)
        val_x, val_y = (jax.numpy.asarray(a) for a in workload.val)

        def loss(weights: Any, states: Any, rows: Any) -> Any:
            outputs, states = model.stateless_call(weights, states, x[rows], training=True)
            return workload.loss(y[rows], outputs), states

        def step(carry: Any, rows: Any, now: Any) -> Any:
            weights, states, slots = carry
            (_, states), gradients = jax.value_and_grad(loss, has_aux=True)(weights, states, rows)
            slots = [now if k == rate else slot for k, slot in enumerate(slots)]
            weights, slots = optimizer.stateless_apply(slots, gradients, weights)
            return list(weights), list(states), list(slots)

        def score(carry: Any) -> Any:
            weights, states, slots = carry
            if hasattr(optimizer, "evaluation_values"):
                pairs = zip([*model.trainable_variables, *optimizer.variables], [*weights, *slots], strict=True)
                with keras.StatelessScope(state_mapping=list(pairs)):
                    judged = optimizer.evaluation_values()
                weights = [w if j is None else j for w, j in zip(weights, judged, strict=True)]
            outputs, _ = model.stateless_call(weights, states, val_x, training=False)
            return (workload.score or workload.loss)(val_y, outputs)

        # No `scan` over the steps: XLA's convolutions are 25 times as slow in a loop on a CPU.
        self.step, self.score = jax.jit(step, donate_argnums=0), jax.jit(score)

    def start(self, seed: int) -> Any:
        """Weights, states and slots at the beginning."""
        import jax
        import keras

        keras.utils.set_random_seed(seed)
        fresh = self.workload.build()
        for variable, new in zip(self.model.variables, fresh.variables, strict=True):
            variable.assign(new)
        again = type(self.optimizer).from_config(self.optimizer.get_config())
        again.build(self.model.trainable_variables)  # some slots begin as copies of the weights
        groups = (self.model.trainable_variables, self.model.non_trainable_variables, again.variables)
        return tuple([jax.numpy.copy(v.value) for v in group] for group in groups)  # the step takes them over

    def run(self, factor: float, horizon: float, seed: int, target: float | None) -> tuple[list[float], int | None]:
        """Validation losses along the way, and the number of steps after which the target was met.

        The schedule is a warm-up over a tenth of the horizon, then a cosine down to zero or, for `CONSTANT`, none.
        """
        total = int(self.workload.steps * horizon)
        part = self.workload.steps // EVALUATIONS
        t = np.arange(total)
        warmup = max(total // 10, 1)
        after = 1.0 if self.constant else 0.5 * (1 + np.cos(np.pi * (t - warmup) / max(total - warmup, 1)))
        rates = (self.default * factor * np.where(t < warmup, (t + 1) / (warmup + 1), after)).astype("float32")
        draw = np.random.default_rng([seed, 1])
        carry, losses = self.start(seed), []
        for first in range(0, total, part):
            rows = draw.integers(0, len(self.workload.train[0]), (part, self.workload.batch))
            for batch, rate in zip(rows, rates[first:], strict=False):
                carry = self.step(carry, batch, rate)
            losses.append(float(self.score(carry)))
            if not math.isfinite(losses[-1]):
                return losses, None
            if target is not None and losses[-1] <= target:
                return losses, first + part
        return losses, None


class Results:
    """A JSON file that is written after each trial, so that a stopped benchmark goes on where it was."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.values: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}

    def get(self, *keys: str, make: Callable[[], Any] | None = None) -> Any:
        """The value under a path of keys, made and written if it is not there."""
        key = "/".join(keys)
        if key not in self.values and make is not None:
            self.values[key] = make()
            self.path.write_text(json.dumps(self.values, indent=0))
        return self.values.get(key)


def find_target(results: Results, task: str, trainer: Trainer) -> float:
    """What the baseline reaches with its best rate in `TARGET_HORIZON` of the horizon, with each of the seeds."""

    def lowest(rate: float, seed: int) -> float:
        losses, _ = trainer.run(rate, TARGET_HORIZON, seed, None)
        return min(loss if math.isfinite(loss) else math.inf for loss in losses)

    tried = {r: results.get(task, "target", "rate", str(r), make=lambda r=r: lowest(r, TUNING_SEED)) for r in RATES}
    best = min(tried, key=lambda r: tried[r])
    seeds = (TUNING_SEED, *CONFIRMING_SEEDS, *SEEDS)
    return max(results.get(task, "target", "seed", str(s), make=lambda s=s: lowest(best, s)) for s in seeds)


def measure(name: str, results: Results, task: str, trainer: Trainer, target: float) -> None:
    """Tunes one optimizer and runs its best trial with all seeds."""

    def steps(rate: float, horizon: float, seed: int) -> int | None:
        return trainer.run(rate, horizon, seed, target)[1]

    # From the longest horizon down: a rate that misses the target with more steps is not tried with fewer.
    alive, found = list(RATES), {}
    for horizon in sorted(HORIZONS, reverse=True):
        taken = {
            r: results.get(task, name, f"{horizon}", f"{r}", make=lambda r=r, h=horizon: steps(r, h, TUNING_SEED))
            for r in alive
        }
        alive = [r for r in alive if taken[r] is not None]
        found |= {(r, horizon): taken[r] for r in alive}
    best = None
    for rate, horizon in sorted(found, key=lambda trial: found[trial])[:CANDIDATES]:
        again = [
            results.get(task, name, f"{horizon}", f"{rate}", str(s), make=lambda t=(rate, horizon, s): steps(*t))
            for s in CONFIRMING_SEEDS
        ]
        if None not in again:
            best = rate, horizon
            break
    if best is None:
        return
    rate, horizon = best
    results.get(task, name, "best", make=lambda: [rate, horizon])
    for seed in SEEDS:
        results.get(task, name, "seed", str(seed), make=lambda s=seed: steps(rate, horizon, s))


def train_all(results: Results, tasks: list[str], names: list[str]) -> None:
    """Runs what is not in the results yet."""
    for task in tasks:
        workload = WORKLOADS[task]()
        target = None
        for name in names:
            if results.get(task, name, "seed", str(SEEDS[-1])) is not None and target is not None:
                continue
            start = time.perf_counter()
            if target is None:
                target = find_target(results, task, Trainer(workload, BASELINE))
            measure(name, results, task, Trainer(workload, name), target)
            seeds = [results.get(task, name, "seed", str(s)) for s in SEEDS]
            best = results.get(task, name, "best")
            print(f"{task} {name}: {seeds} of {workload.steps} steps, rate and horizon {best}, "
                  f"target {target:.4f}, {time.perf_counter() - start:.0f} s", flush=True)  # fmt: skip


def cost_all(results: Results, tasks: list[str], names: list[str], rounds: int) -> None:
    """Seconds of a step, the baseline measured anew beside each optimizer, in turns."""
    for task in tasks:
        workload = WORKLOADS[task]()
        base = Trainer(workload, BASELINE)
        for name in names:
            if results.get("cost", task, name) is not None:
                continue
            other = Trainer(workload, name)
            ratios = []
            for turn in range(rounds + 1):
                seconds = [_seconds(trainer, workload) for trainer in (base, other)]
                if turn:  # the first compiles
                    ratios.append(seconds[1] / seconds[0])
            results.get("cost", task, name, make=lambda r=ratios: statistics.median(r))
            print(f"{task} {name}: a step costs {statistics.median(ratios):.2f} of {BASELINE}'s "
                  f"({min(ratios):.2f} to {max(ratios):.2f})", flush=True)  # fmt: skip


def _seconds(trainer: Trainer, workload: Workload, steps: int = 60) -> float:
    import jax

    draw = np.random.default_rng(0)
    rows = draw.integers(0, len(workload.train[0]), (steps + 1, workload.batch))
    carry = trainer.step(trainer.start(0), rows[0], np.float32(1e-4))
    jax.block_until_ready(carry)
    start = time.perf_counter()
    for batch in rows[1:]:
        carry = trainer.step(carry, batch, np.float32(1e-4))
    jax.block_until_ready(carry)
    return time.perf_counter() - start


def scores(results: Results, tasks: list[str], names: list[str]) -> dict[str, dict[str, float]]:
    """By task and optimizer: the median of the steps to the target, infinite where most seeds miss it."""
    found: dict[str, dict[str, float]] = {}
    for task in tasks:
        for name in names:
            seeds = [results.get(task, name, "seed", str(s)) for s in SEEDS]
            reached = [math.inf if s is None else float(s) for s in seeds]
            found.setdefault(task, {})[name] = statistics.median(reached)
    return found


def show(results: Results, tasks: list[str], names: list[str], folder: Path) -> None:
    """A Markdown table of steps and time in relation to the baseline, and the performance profiles."""
    steps = scores(results, tasks, names)
    cost = {t: {n: results.get("cost", t, n) or math.nan for n in names} for t in tasks}
    times = {t: {n: steps[t][n] * cost[t][n] for n in names} for t in tasks}

    def ratio(values: dict[str, float], name: str) -> float:
        return values[name] / values[BASELINE]

    def average(values: dict[str, dict[str, float]], name: str) -> float:
        return statistics.geometric_mean(min(ratio(values[t], name), 10.0) for t in tasks)

    def cell(value: float) -> str:
        return "–" if not math.isfinite(value) else f"{value:.2f}"

    ranked = sorted(names, key=lambda n: average(times, n))
    short = [t.partition("_")[0] for t in tasks]
    lines = ["| optimizer | " + " | ".join(f"{s}: steps, time" for s in short) + " | time, mean |"]
    lines.append("|---" * (len(tasks) + 2) + "|")
    for name in ranked:
        cells = [f"{cell(ratio(steps[t], name))}, {cell(ratio(times[t], name))}" for t in tasks]
        all_reached = all(math.isfinite(steps[t][name]) for t in tasks)
        mean = f"{average(times, name):.2f}" if all_reached else "–"
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {mean} |")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "choice.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))
    _profiles(times, tasks, ranked, folder / "profiles.png")


def _profiles(times: dict[str, dict[str, float]], tasks: list[str], names: list[str], path: Path) -> None:
    """Share of the workloads on which an optimizer needs at most tau times the time of the quickest (Dolan & Moré)."""
    from matplotlib import pyplot

    best = {t: min(v for v in times[t].values() if math.isfinite(v)) for t in tasks}
    taus = np.linspace(1, 4, 301)
    figure, axes = pyplot.subplots(figsize=(7.5, 4.2), layout="constrained")
    for number, name in enumerate(names[:10]):
        within = [np.mean([times[t][name] <= tau * best[t] for t in tasks]) for tau in taus]
        axes.step(taus, np.array(within) + 0.004 * number, where="post", label=name, linewidth=1.6,
                  linestyle="-" if number < 5 else "--")  # fmt: skip
    axes.set(xlabel="times as long as the quickest", ylabel="share of workloads", xlim=(1, 4), ylim=(0, 1.06))
    axes.legend(frameon=False, fontsize=8, ncols=2)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON file of results; it is continued")
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=list(WORKLOADS))
    parser.add_argument("--optimizers", nargs="+", default=list(OPTIMIZERS))
    parser.add_argument("--cost", action="store_true", help="measure the cost of a step")
    parser.add_argument("--rounds", type=int, default=5, help="turns of --cost")
    parser.add_argument("--show", type=Path, metavar="FOLDER", help="write the table and the figure")
    options = parser.parse_args()
    results = Results(options.out)
    if options.show:
        show(results, options.workloads, options.optimizers, options.show)
        return
    if os.environ.get("KERAS_BACKEND") != "jax":
        parser.error("training runs on JAX: set KERAS_BACKEND=jax")
    if options.cost:
        cost_all(results, options.workloads, options.optimizers, options.rounds)
    else:
        train_all(results, options.workloads, options.optimizers)


if __name__ == "__main__":
    main()
