"""Peak memory and time of training on a made Parquet table larger than one wants in memory.

    python benchmarks/table_stream.py --rows 10000000

Makes the file (eight numbers, two categories, a class that depends on them) in blocks, then trains one epoch of a small
TabM on it in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

BLOCK = 500_000
NUMBERS = 8
TRAIN = """
import json, resource, sys, time
from pipelines import finance

start = time.perf_counter()
run = finance.train(
    data=sys.argv[1], target="target", stream_rows=100_000, members=8, width=64, epochs=1, batch_size=4096,
    resamples=10, out=sys.argv[2], tensorboard={"enabled": False}, reasons=0,
)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
auc = run.metrics["test"]["binary"]["roc_auc"]["value"]
print(json.dumps({"peak MiB": round(peak), "seconds": round(time.perf_counter() - start), "AUC": round(auc, 4)}))
"""


def make(path: Path, rows: int) -> None:
    """A table of `rows` rows, written block by block."""
    generator = np.random.default_rng(0)
    words = np.array(["north", "east", "south", "west"])
    names = [f"number_{i}" for i in range(NUMBERS)]
    kinds = [(name, pa.float64()) for name in names]
    schema = pa.schema([*kinds, ("region", pa.string()), ("branch", pa.string()), ("target", pa.int8())])
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, rows, BLOCK):
            size = min(BLOCK, rows - start)
            x = generator.normal(size=(NUMBERS, size))
            region, branch = generator.integers(0, 4, size), generator.integers(0, 30, size)
            logit = x[0] + np.abs(x[1]) * (region == 0) - x[2] * x[3] + 0.05 * branch - 1.5
            target = (generator.uniform(size=size) < 1 / (1 + np.exp(-logit))).astype(np.int8)
            columns = [*x, words[region], np.char.add("b", branch.astype(str)), target]
            writer.write_table(pa.table([pa.array(c) for c in columns], schema=schema))


def main() -> None:
    """Makes, trains, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made.parquet"
        start = time.perf_counter()
        make(path, options.rows)
        size = path.stat().st_size / 2**20
        print(f"{options.rows:,} rows, {size:.0f} MiB, made in {time.perf_counter() - start:.0f} s", flush=True)
        command = [sys.executable, "-c", TRAIN, str(path), folder]
        environment = {**os.environ, "TMPDIR": folder}
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
        print(json.loads(done.stdout.splitlines()[-1]))


if __name__ == "__main__":
    main()
