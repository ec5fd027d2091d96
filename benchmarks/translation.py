"""BLEU and chrF of `translate` against MarianMT from scratch, and tokens per second with and without a cache.

    python benchmarks/translation.py speed
    python benchmarks/translation.py quality --data folder/ --minutes 60 --threads 2
    python benchmarks/translation.py quality --data folder/ --minutes 60 --threads 2 --only peer --peer.dropout 0.2

The folder holds train, valid and test as TSV. Both trainings have the same threads and the same minutes, one after the
other, each in a process of its own; the test set is looked at once. The peer is Hugging Face's MarianMTModel with
random weights, trained here with PyTorch: AdamW, label smoothing, linear warm-up and cosine decay over the given
minutes, batches of similar length, sinusoidal positions, shared vectors, beam search of `generate`. It reads the same
subwords, learned from the same training set. Options after `--peer.` set its recipe, all others go to ours; tune both
on validation (`--on valid`). Needs the packages transformers and torch.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

PEER = {
    "pieces": 3000, "width": 128, "heads": 4, "inner": 512, "encoder_depth": 3, "decoder_depth": 2, "dropout": 0.1,
    "learning_rate": 0.002, "warmup": 0.1, "label_smoothing": 0.1, "tokens": 1280,
}  # fmt: skip
RECIPE = Path(__file__).parents[1] / "configs" / "translate_25k_pairs.yaml"
LENGTH, BEAM, ROWS = 40, 4, 32


def data_of(folder: str, pieces: int) -> Any:
    """Pairs, split and cleaned as ours are, with subwords."""
    from pipelines.pairs.config import PairsDataConfig
    from pipelines.pairs.load import load_pairs, with_subwords
    from pipelines.pairs.subwords import Subwords

    data = load_pairs(PairsDataConfig(folder), seed=0)
    return with_subwords(data, Subwords.learn(lambda: data.texts("train"), pieces), 128)


def scored(found: list[str], wanted: list[str]) -> dict[str, Any]:
    import sacrebleu

    bleu, chrf = sacrebleu.corpus_bleu(found, [wanted]), sacrebleu.corpus_chrf(found, [wanted])
    return {"bleu": round(bleu.score, 2), "chrf": round(chrf.score, 2)}


def ours(folder: str, minutes: float, on: str, options: list[str]) -> dict[str, Any]:
    """Trains through the command line, and scores the test set or the validation set."""
    from pipelines.core.run_dir import RunDir
    from pipelines.engine.load import load_model
    from pipelines.pairs.config import DecodeConfig
    from pipelines.pairs.decoding.decoder import Decoder
    from pipelines.pairs.subwords import from_json

    with tempfile.TemporaryDirectory() as out:
        command = [
            sys.executable, "-m", "pipelines.translate", "--config", str(RECIPE), "--data", folder, "--run.out", out,
            "--run.name", "ours", "--tensorboard.enabled", "false", "--early_stopping.minutes", str(minutes), *options,
        ]  # fmt: skip
        subprocess.run(command, check=True)
        run = RunDir(Path(out) / "translate" / "ours")
        metrics = json.loads(run.metrics.read_text())
        rows = run.history.read_text().splitlines()
        result = {"epochs": metrics["epochs"], "training_seconds": metrics["training_seconds"], "history": rows[-1]}
        if on == "test":
            scores = metrics["test"]["metrics"]
            return {**result, **{name: round(scores[name]["value"], 2) for name in ("bleu", "chrf")}}
        spec, model = run.read_spec(), load_model(run)
    pairs = list(data_of(folder, PEER["pieces"]).read("val"))
    decoder = Decoder(
        model, from_json(spec["subwords"]), DecodeConfig(**spec["decode"]), usual=spec["usual_length"],
        most=spec["max_length"],
    )  # fmt: skip
    found = [translation.best[0].text for translation in decoder.translate(source for _, source, _ in pairs)]
    return {**result, **scored(found, [target for _, _, target in pairs])}


def marian(size: int, options: dict[str, Any]) -> Any:
    """The peer's network with random weights."""
    from transformers import MarianConfig, MarianMTModel

    return MarianMTModel(
        MarianConfig(
            vocab_size=size, d_model=options["width"], encoder_layers=options["encoder_depth"],
            decoder_layers=options["decoder_depth"], encoder_attention_heads=options["heads"],
            decoder_attention_heads=options["heads"], encoder_ffn_dim=options["inner"],
            decoder_ffn_dim=options["inner"], dropout=options["dropout"], activation_function="relu",
            max_position_embeddings=512, pad_token_id=0, eos_token_id=3, bos_token_id=2, decoder_start_token_id=2,
            scale_embedding=True, tie_word_embeddings=True, share_encoder_decoder_embeddings=True, num_beams=BEAM,
            forced_eos_token_id=None,
        )
    )  # fmt: skip


def peer(folder: str, minutes: float, on: str, options: dict[str, Any]) -> dict[str, Any]:
    """Trains MarianMT from scratch for the given minutes, and scores what it says."""
    import numpy as np
    import torch

    from pipelines.pairs.stream import PairStream, boundaries, padded

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    torch.manual_seed(0)
    data = data_of(folder, options["pieces"])
    train = data.encoded["train"]
    ends = boundaries(train.lengths.max(1) + 1, 8)
    stream = PairStream(train, ends, tokens=options["tokens"], seed=0)
    model = marian(len(data.subwords), options)
    optimizer = torch.optim.AdamW(model.parameters(), lr=options["learning_rate"], betas=(0.9, 0.98), weight_decay=0.01)
    loss_of = torch.nn.CrossEntropyLoss(ignore_index=-100, label_smoothing=options["label_smoothing"])
    start, steps, epoch = time.perf_counter(), 0, 0
    losses: list[float] = []
    model.train()
    while (done := (time.perf_counter() - start) / (60 * minutes)) < 1:
        stream.seek(epoch)
        plan, _ = stream._plan()
        for row in plan:
            done = (time.perf_counter() - start) / (60 * minutes)
            if done >= 1:
                break
            warm = options["warmup"]
            factor = done / warm if done < warm else 0.02 + 0.49 * (1 + math.cos(math.pi * (done - warm) / (1 - warm)))
            optimizer.param_groups[0]["lr"] = max(factor, 1e-3) * options["learning_rate"]
            members = row[row >= 0]
            length = int(train.lengths[members].max()) + 1
            source, before, after, weights = padded(train, members, length)
            ids, target = torch.from_numpy(source).long(), torch.from_numpy(after).long()
            target[torch.from_numpy(weights) == 0] = -100
            logits = model(
                input_ids=ids, attention_mask=ids != 0, decoder_input_ids=torch.from_numpy(before).long()
            ).logits
            loss = loss_of(logits.flatten(0, 1), target.flatten())
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            steps += 1
            losses = [*losses[-99:], float(loss)]
        epoch += 1
        print(f"peer: epoch {epoch}, {steps} steps, loss {np.mean(losses):.3f}, {done:.0%}", file=sys.stderr)
    seconds = time.perf_counter() - start
    model.eval()
    pairs = list(data.read("test" if on == "test" else "val"))
    rows = [[*ids[:511], 3] for ids in data.subwords.encode([source for _, source, _ in pairs])]
    found = [""] * len(rows)
    order = np.argsort([len(row) for row in rows])
    for first in range(0, len(order), ROWS):
        batch = order[first : first + ROWS]
        longest = max(len(rows[i]) for i in batch)
        given = torch.tensor([rows[i] + [0] * (longest - len(rows[i])) for i in batch])
        with torch.no_grad():
            said = model.generate(
                input_ids=given, attention_mask=given != 0, num_beams=BEAM, max_new_tokens=int(1.5 * longest + 12)
            )
        for i, ids in zip(batch, said.tolist(), strict=True):
            found[i] = data.subwords.decode([x for x in ids if x > 3])
    result = scored(found, [target for _, _, target in pairs])
    return {**result, "training_seconds": round(seconds, 1), "steps": steps, "epochs": epoch}


def speed(options: dict[str, Any]) -> dict[str, Any]:
    """Tokens per second at length 40: ours with a cache and without, and the peer's `generate`."""
    import keras
    import numpy as np
    import torch

    from pipelines.pairs.decoding.search import Search, searcher
    from pipelines.pairs.models import Translator

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    keras.utils.set_random_seed(0)
    size = options["pieces"]
    model = Translator(
        size, options["width"], options["heads"], options["inner"], options["encoder_depth"], options["decoder_depth"]
    )
    model.build()
    model.embedding.bias.assign(np.where(np.arange(size) == 3, -1e4, 0))  # no hypothesis ends before the limit
    source = np.random.default_rng(0).integers(4, size, (ROWS, LENGTH)).astype(np.int32)
    limits = np.full(ROWS, LENGTH)
    network = marian(size, options).eval()
    ids = torch.from_numpy(source).long()
    found = {}
    for beam in (1, BEAM):
        runs = {
            "ours, cached": lambda search: search(source, limits),
            "ours, no cache": lambda search: search(source, limits),
            "MarianMT, cached": lambda _, beam=beam: network.generate(
                input_ids=ids, attention_mask=ids > 0, num_beams=beam, min_new_tokens=LENGTH, max_new_tokens=LENGTH
            ),
        }
        for name, run in runs.items():
            search = searcher(model, Search(beam, repetition=0), LENGTH, cached="no cache" not in name)
            run(search)
            times = []
            for _ in range(5 if "no cache" not in name else 2):
                start = time.perf_counter()
                run(search)
                times.append(time.perf_counter() - start)
            found[f"{name}, beam {beam}"] = round(ROWS * LENGTH / sorted(times)[len(times) // 2], 1)
        ratio = found[f"ours, cached, beam {beam}"] / found[f"ours, no cache, beam {beam}"]
        found[f"cached / no cache, beam {beam}"] = round(ratio, 1)
    return found


def main() -> None:
    """Measures what was asked for, a line of JSON each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("quality", "speed"))
    parser.add_argument("--data", help="folder with train, valid and test as TSV")
    parser.add_argument("--minutes", type=float, default=60, help="of each training")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--on", choices=("valid", "test"), default="test", help="which set is scored")
    parser.add_argument("--only", nargs="+", choices=("ours", "peer"), default=["ours", "peer"])
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options, rest = parser.parse_known_args()
    if options.what == "quality" and not options.data:
        parser.error("quality needs --data")
    if not options.here:  # threads count only before anything is imported
        names = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        variables = {**os.environ, **dict.fromkeys(names, str(options.threads)), "TF_NUM_INTEROP_THREADS": "1"}
        cores = sorted(os.sched_getaffinity(0))[: options.threads]
        os.sched_setaffinity(0, cores)
        for name in options.only if options.what == "quality" else ("speed",):
            command = [sys.executable, __file__, *sys.argv[1:], "--here"]
            subprocess.run([*command, "--only", name] if name != "speed" else command, env=variables, check=True)
        return
    own = [x for x in rest if not x.startswith("--peer.")]
    recipe = dict(PEER)
    for name, value in pairwise(rest):
        if name.startswith("--peer."):
            key = name.removeprefix("--peer.")
            recipe[key] = type(PEER[key])(value)
            own.remove(value)
    if options.what == "speed":
        result = speed(recipe)
    elif options.only == ["ours"]:
        result = {"system": "ours", **ours(options.data, options.minutes, options.on, own)}
    else:
        result = {"system": "MarianMT", **peer(options.data, options.minutes, options.on, recipe)}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
