"""Entity F1 and words a second: our `ner` against a linear-chain CRF with hand features and against spaCy.

    python benchmarks/ner.py --data folder/ --only crfsuite spacy
    python benchmarks/ner.py --data folder/ --only ours --data.val_fraction 0.01 --early_stopping.warmup 9
    ... --model.vectors glove.npy --model.words 100000

Options that are not the benchmark's own go to `ner`: those above train on all, as the linear CRF does. The folder
holds train.conll and test.conll. Each measurement is a process of its own; they take turns. A tenth of the training
part is for validation; the test part is looked at once a run. The linear CRF (sklearn-crfsuite, L-BFGS, 100
iterations, c1 = 0.1, c2 = 0.1) has the usual features of a word, its neighbours, affixes and shapes; it needs no
validation, so it trains on all, and knows no chance, so one seed is enough. spaCy trains its `ner` on an encoder of
hashed embeddings with early stopping on validation. All are scored by seqeval, strict. Words a second in training
count a word once a pass (a pass is an iteration of L-BFGS).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

VAL_FRACTION = 0.1

Words, Tags = list[list[str]], list[list[str]]


def parts(folder: str, seed: int) -> dict[str, tuple[Words, Tags]]:
    """Words and BIO tags of train, val and test."""
    from pipelines.tags.config import TagsDataConfig
    from pipelines.tags.load import load_tags
    from pipelines.tags.scores import tags_of

    data = load_tags(TagsDataConfig(folder, val_fraction=VAL_FRACTION), seed=seed)
    return {
        part: ([s.tokens for s in rows], [tags_of(s.spans, len(s.offsets)) for s in rows])
        for part, rows in data.parts().items()
    }


def f1(true: Tags, found: Tags) -> float:
    from seqeval.metrics import f1_score
    from seqeval.scheme import IOB2

    return float(f1_score(true, found, mode="strict", scheme=IOB2))


def ours(folder: str, seed: int, options: list[str]) -> dict[str, Any]:
    from pipelines import ner
    from pipelines.core import cli
    from pipelines.tags.load import Tags as Numbers
    from pipelines.tags.load import encoder_from_json
    from pipelines.tags.predict import tag

    with tempfile.TemporaryDirectory() as out:
        argv = ["--data", folder, "--data.val_fraction", str(VAL_FRACTION), "--seed", str(seed), "--run.out", out,
                "--resamples", "10", *options]  # fmt: skip
        config, _ = cli.parse_train(ner.Config, "ner", "", "", argv)
        run = ner.TASK.run(config)
        words = sum(map(len, parts(folder, seed)["train"][0])) * run.metrics["epochs"]
        spec = run.directory.read_spec()
        sentences = parts(folder, seed)["test"][0] * 3
        encoder, numbers = encoder_from_json(spec["encoder"]), Numbers(spec["types"], spec["scheme"])
        tag(run.model, encoder, numbers, sentences, 64)
        start = time.perf_counter()
        tag(run.model, encoder, numbers, sentences, 64)
        seconds = time.perf_counter() - start
    return {
        "f1": run.metrics["test"]["metrics"]["f1"]["value"], "train_words": words / run.metrics["training_seconds"],
        "train_seconds": run.metrics["training_seconds"], "words": sum(map(len, sentences)) / seconds,
    }  # fmt: skip


def _hand(tokens: list[str]) -> list[dict[str, Any]]:
    from pipelines.tags.word_features import shape

    rows = []
    for i, word in enumerate(tokens):
        small = word.lower()
        row: dict[str, Any] = {
            "bias": 1.0, "w": small, "shape": shape(word), "upper": word.isupper(), "title": word.istitle(),
            "digit": word.isdigit(), "first": i == 0, "last": i == len(tokens) - 1,
        }  # fmt: skip
        for n in (1, 2, 3, 4):
            row[f"p{n}"], row[f"s{n}"] = small[:n], small[-n:]
        for offset in (-2, -1, 1, 2):
            if 0 <= i + offset < len(tokens):
                other = tokens[i + offset]
                row |= {f"{offset}w": other.lower(), f"{offset}shape": shape(other), f"{offset}title": other.istitle()}
        rows.append(row)
    return rows


def crfsuite(folder: str, seed: int, options: list[str]) -> dict[str, Any]:
    import sklearn_crfsuite

    data = parts(folder, seed)
    start = time.perf_counter()
    model = sklearn_crfsuite.CRF(algorithm="lbfgs", c1=0.1, c2=0.1, max_iterations=100, all_possible_transitions=True)
    words, tags = (data["train"][i] + data["val"][i] for i in (0, 1))
    model.fit([_hand(s) for s in words], tags)
    seconds = time.perf_counter() - start
    start = time.perf_counter()
    found = model.predict([_hand(s) for s in data["test"][0]])
    speed = sum(map(len, data["test"][0])) / (time.perf_counter() - start)
    return {
        "f1": f1(data["test"][1], [list(tags) for tags in found]), "words": speed, "train_seconds": seconds,
        "train_words": 100 * sum(map(len, words)) / seconds,
    }  # fmt: skip


def spacy(folder: str, seed: int, options: list[str]) -> dict[str, Any]:
    import spacy as library
    from spacy.tokens import Doc
    from spacy.training import Example, iob_to_biluo

    library.util.fix_random_seed(seed)
    data = parts(folder, seed)
    nlp = library.blank("en")
    nlp.add_pipe("ner")

    def examples(part: str) -> list[Any]:
        return [
            Example.from_dict(Doc(nlp.vocab, words=words), {"entities": iob_to_biluo(tags)})
            for words, tags in zip(*data[part], strict=True)
        ]

    train = examples("train")
    optimizer = nlp.initialize(lambda: train)
    generator, best, kept, since = random.Random(seed), -1.0, b"", 0
    words = seconds = 0.0
    for _ in range(40):
        start = time.perf_counter()
        generator.shuffle(train)
        for batch in library.util.minibatch(train, 32):
            nlp.update(batch, sgd=optimizer, drop=0.3)
        seconds += time.perf_counter() - start
        words += sum(map(len, data["train"][0]))
        score = f1(data["val"][1], _spacy_tags(nlp, data["val"][0]))
        since += 1
        if score > best:
            best, kept, since = score, nlp.to_bytes(), 0
        if since >= 6:
            break
    nlp.from_bytes(kept)
    start = time.perf_counter()
    found = _spacy_tags(nlp, data["test"][0])
    speed = sum(map(len, data["test"][0])) / (time.perf_counter() - start)
    return {"f1": f1(data["test"][1], found), "words": speed, "train_seconds": seconds, "train_words": words / seconds}


def _spacy_tags(nlp: Any, sentences: Words) -> Tags:
    from spacy.tokens import Doc

    docs = nlp.pipe([Doc(nlp.vocab, words=words) for words in sentences], batch_size=64)
    return [[f"{token.ent_iob_}-{token.ent_type_}" if token.ent_type_ else "O" for token in doc] for doc in docs]


MEASURES = {"ours": ours, "crfsuite": crfsuite, "spacy": spacy}


def main() -> None:
    """Runs all in turn and prints medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder with train.conll and test.conll")
    parser.add_argument("--seeds", type=int, default=5, help="how often those with chance are measured")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--only", nargs="+", choices=MEASURES, default=list(MEASURES), help="what is measured")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options, own = parser.parse_known_args()
    if options.one:
        print(json.dumps(MEASURES[options.one](options.data, options.first, own)))
        return
    found: dict[str, list[dict[str, float]]] = {name: [] for name in options.only}
    for seed in range(options.first, options.first + options.seeds):
        for name in options.only:
            if name == "crfsuite" and found[name]:
                continue
            command = [
                sys.executable, os.path.abspath(__file__), "--one", name, "--data", os.path.abspath(options.data),
                "--first", str(seed), *(own if name == "ours" else []),
            ]  # fmt: skip
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(done.stderr)
            found[name].append(json.loads(done.stdout.splitlines()[-1]))
            last = found[name][-1]
            speeds = f"{last['train_words']:7.0f} words/s; prediction {last['words']:7.0f} words/s"
            print(f"seed {seed} {name:8} F1 {last['f1']:.4f}  {last['train_seconds']:5.0f} s, {speeds}", flush=True)
    for name, rows in found.items():
        scores = [row["f1"] for row in rows]
        spread = f" ± {statistics.stdev(scores):.4f}" if len(scores) > 1 else ""
        medians = (statistics.median(row[key] for row in rows) for key in ("train_words", "words"))
        print(
            "{:8} F1 {:.4f}{} ({} seeds); {:.0f} words/s in training, {:.0f} in prediction".format(
                name, statistics.mean(scores), spread, len(scores), *medians
            )
        )


if __name__ == "__main__":
    main()
