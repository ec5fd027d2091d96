"""What each regularizer does for the test accuracy of a small data set: 200 scans of digits, several seeds.

    python benchmarks/regularizer_accuracy.py                # every penalty with its default strength, seeds 0 to 2
    python benchmarks/regularizer_accuracy.py --only none,jacobian=0.1 --seeds 5

Each run is `image_classify` with its defaults and `--data.limit 200`; the seed changes the split, the initial weights,
the order and the augmentation, and is the same for all penalties. Prints a row for each penalty as it is finished.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile

import numpy as np

from pipelines import image_classify
from regularizers.registry import applicable, names


def accuracy(name: str, strength: float | None, dropout: float, seed: int, limit: int) -> tuple[float, float]:
    """(test accuracy, seconds of training) of one run."""
    quiet = io.StringIO()
    with tempfile.TemporaryDirectory() as out, contextlib.redirect_stderr(quiet), contextlib.redirect_stdout(quiet):
        run = image_classify.train(
            data={"limit": limit}, run={"out": out, "seed": seed, "resamples": 10}, dropout=dropout,
            regularizer={"name": name, "strength": strength}, tensorboard={"enabled": False},
        )  # fmt: skip
    return run.metrics["test"]["metrics"]["accuracy"]["value"], run.metrics["training_seconds"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="names, separated by commas; NAME=STRENGTH sets a strength")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--limit", type=int, default=200, help="training images")
    parser.add_argument("--dropout", type=float, default=0.0, help="before the last layer; r-drop has at least 0.2")
    options = parser.parse_args()
    if options.seeds < 2:
        parser.error("--seeds must be at least 2: one has no deviation")
    chosen = options.only.split(",") if options.only else ["none", *names()]
    try:
        for item in chosen:
            name, _, strength = item.partition("=")
            float(strength or 0)
            if name != "none":
                applicable(name)
    except ValueError as error:
        parser.error(f"--only: {error}")
    print("| penalty | test accuracy, mean ± deviation (each seed) | training |")
    print("|---|---|---|", flush=True)
    for item in chosen:
        name, _, strength = item.partition("=")
        dropout = max(options.dropout, 0.2 if name == "r-drop" else 0.0)
        scores, seconds = zip(
            *(
                accuracy(name, float(strength) if strength else None, dropout, seed, options.limit)
                for seed in range(options.seeds)
            ),
            strict=True,
        )
        each = ", ".join(f"{100 * score:.1f}" for score in scores)
        mean, deviation = 100 * np.mean(scores), 100 * np.std(scores, ddof=1)
        print(f"| {item} | {mean:.1f} ± {deviation:.1f} ({each}) | {np.median(seconds):.0f} s |", flush=True)


if __name__ == "__main__":
    main()
