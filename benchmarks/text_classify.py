"""`text_classify` beside scikit-learn and spaCy on the same split: accuracy over seeds, and texts a second.

    python benchmarks/text_classify.py --train train.csv --test test.csv --out results.jsonl
    python benchmarks/text_classify.py ... --models minilm --backbone FOLDER --seeds 0 1
    python benchmarks/text_classify.py --out results.jsonl --show

The files are CSV with columns text and label. Each model and seed is a process of its own; a line for each is added to
the results, and those that are there are not run again, so that a long benchmark can be run in pieces. A tenth of the
training part, drawn by the seed, is held out for validation where a model needs one (ours and spaCy's, to choose the
epoch); scikit-learn is trained on all of it. Texts a second in training: training texts times epochs over the whole
time of training, features included; in prediction: from raw texts to labels, after a warm-up.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

OURS = {
    "ngrams": [],
    "cnn": ["--model", "cnn", "--fit.epochs", "8", "--model.token_dropout", "0.2", "--optimizer.name", "adamw"],
    "transformer": ["--model", "transformer", "--fit.epochs", "8", "--model.token_dropout", "0.2",
                    "--optimizer.name", "adamw"],
    "minilm": ["--fit.epochs", "2", "--fit.batch_size", "32", "--optimizer.name", "adamw", "--model.length", "96"],
}  # fmt: skip
PEERS = ("scikit-learn", "spacy")
SPACY_EPOCHS = 6


def read(path: str) -> tuple[list[str], list[str]]:
    """Texts and labels of a CSV."""
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [row["text"] for row in rows], [row["label"] for row in rows]


def split(size: int, seed: int) -> list[bool]:
    """Which training texts are held out for validation."""
    import numpy as np

    held_out = np.zeros(size, bool)
    held_out[np.random.default_rng(seed).permutation(size)[: size // 10]] = True
    return held_out.tolist()


def ours(name: str, options: argparse.Namespace, seed: int) -> dict[str, float]:
    """One run through the command line."""
    (texts, labels), (test_texts, test_labels) = read(options.train), read(options.test)
    builder = ["--model", f"kerashub:{options.backbone}"] if name == "minilm" else []
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/data.csv", "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("text", "label", "split"))
            for text, label, held_out in zip(texts, labels, split(len(texts), seed), strict=True):
                writer.writerow((text, label, "val" if held_out else "train"))
            writer.writerows((text, label, "test") for text, label in zip(test_texts, test_labels, strict=True))
        command = [sys.executable, "-m", "pipelines.text_classify", "--data", f"{folder}/data.csv", "--run.out", folder,
                   "--run.name", "one", "--run.seed", str(seed), "--model.baselines", "false", "--run.resamples", "100",
                   "--tensorboard.enabled", "false", *OURS[name], *builder]  # fmt: skip
        subprocess.run(command, check=True)
        run = Path(folder) / "text_classify" / "one"
        metrics = json.loads((run / "metrics.json").read_text())
        scores = metrics["test"]["metrics"]

        from pipelines import text_classify
        from pipelines.core.run_dir import RunDir
        from pipelines.engine.load import load_model

        directory = RunDir.open(run, "text_classify")
        model, spec = load_model(directory), directory.read_spec()
        list(text_classify.predict(model, spec, test_texts[:256]))
        start = time.perf_counter()
        list(text_classify.predict(model, spec, test_texts))
        seconds = time.perf_counter() - start
    return {
        "accuracy": scores["accuracy"]["value"],
        "log_loss": scores["log_loss"]["value"],
        "calibration_error": scores["expected_calibration_error"]["value"],
        "training_per_s": len(texts) * 0.9 * metrics["epochs"] / metrics["training_seconds"],
        "training_s": metrics["training_seconds"],
        "predicting_per_s": len(test_texts) / seconds,
    }


def linear() -> Any:
    """scikit-learn's TF-IDF of words and their pairs, and of 2 to 5 characters, with logistic regression."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline, make_union

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\w+|[^\w\s]")
    pieces = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
    return make_pipeline(make_union(words, pieces), LogisticRegression(C=3.0, max_iter=300))


def scikit_learn(options: argparse.Namespace, seed: int) -> dict[str, float]:
    """TF-IDF of words 1 to 2 and characters 2 to 5 with logistic regression."""
    from sklearn.metrics import accuracy_score, log_loss

    (texts, labels), (test_texts, test_labels) = read(options.train), read(options.test)
    start = time.perf_counter()
    model = linear().fit(texts, labels)
    trained = time.perf_counter() - start
    model.predict(test_texts[:256])
    start = time.perf_counter()
    predicted = model.predict(test_texts)
    seconds = time.perf_counter() - start
    return {
        "accuracy": accuracy_score(test_labels, predicted),
        "log_loss": log_loss(test_labels, model.predict_proba(test_texts)),
        "training_per_s": len(texts) / trained,
        "training_s": trained,
        "predicting_per_s": len(test_texts) / seconds,
    }


def spacy(options: argparse.Namespace, seed: int) -> dict[str, float]:
    """spaCy's default `textcat` (bag of n-grams and a small CNN), the best epoch on validation."""
    import random

    import spacy as library
    from spacy.training import Example

    library.util.fix_random_seed(seed)
    (texts, labels), (test_texts, test_labels) = read(options.train), read(options.test)
    classes = sorted(set(labels))
    nlp = library.blank("en")
    config = library.util.load_config_from_str(ENSEMBLE)["model"]
    categorizer = nlp.add_pipe("textcat", config={"model": config})
    for name in classes:
        categorizer.add_label(name)
    held_out = split(len(texts), seed)
    examples = [Example.from_dict(nlp.make_doc(t), {"cats": {c: float(c == y) for c in classes}})
                for t, y in zip(texts, labels, strict=True)]  # fmt: skip
    training = [e for e, out in zip(examples, held_out, strict=True) if not out]
    validation = [(t, y) for t, y, out in zip(texts, labels, held_out, strict=True) if out]
    optimizer = nlp.initialize(lambda: training[:200])

    def accuracy(pairs: list[tuple[str, str]]) -> float:
        docs = nlp.pipe((t for t, _ in pairs), batch_size=256)
        right = [max(d.cats, key=d.cats.get) == y for d, (_, y) in zip(docs, pairs, strict=True)]
        return sum(right) / len(right)

    best, state, spent = -1.0, b"", 0.0
    for _ in range(SPACY_EPOCHS):
        start = time.perf_counter()
        random.shuffle(training)
        for first in range(0, len(training), 64):
            nlp.update(training[first : first + 64], sgd=optimizer, drop=0.2)
        spent += time.perf_counter() - start
        value = accuracy(validation)
        if value > best:
            best, state = value, nlp.to_bytes()
    nlp.from_bytes(state)
    accuracy(validation[:256])
    start = time.perf_counter()
    score = accuracy(list(zip(test_texts, test_labels, strict=True)))
    seconds = time.perf_counter() - start
    return {
        "accuracy": score,
        "training_per_s": len(training) * SPACY_EPOCHS / spent,
        "training_s": spent,
        "predicting_per_s": len(test_texts) / seconds,
    }


ENSEMBLE = """
[model]
@architectures = "spacy.TextCatEnsemble.v2"
[model.linear_model]
@architectures = "spacy.TextCatBOW.v3"
exclusive_classes = true
length = 262144
ngram_size = 2
no_output_layer = false
[model.tok2vec]
@architectures = "spacy.Tok2Vec.v2"
[model.tok2vec.embed]
@architectures = "spacy.MultiHashEmbed.v2"
width = 64
rows = [2000, 2000, 500, 1000, 500]
attrs = ["NORM", "LOWER", "PREFIX", "SUFFIX", "SHAPE"]
include_static_vectors = false
[model.tok2vec.encode]
@architectures = "spacy.MaxoutWindowEncoder.v2"
width = 64
window_size = 1
maxout_pieces = 3
depth = 2
"""


def one(name: str, seed: int, options: argparse.Namespace) -> dict[str, float]:
    """The numbers of one model and seed."""
    if name in OURS:
        return ours(name, options, seed)
    return scikit_learn(options, seed) if name == "scikit-learn" else spacy(options, seed)


def show(path: str) -> None:
    """Prints a table of the results."""
    rows = [json.loads(line) for line in Path(path).read_text().splitlines()]
    names = list(dict.fromkeys(row["model"] for row in rows))
    print("| model | seeds | accuracy | range | log loss | training, s | texts/s training | texts/s predicting |")
    print("|---|---|---|---|---|---|---|---|")
    for name in names:
        of_model = [row for row in rows if row["model"] == name]
        accuracy = [row["accuracy"] for row in of_model]
        spread = f" ± {statistics.stdev(accuracy):.4f}" if len(accuracy) > 1 else ""
        losses = [row["log_loss"] for row in of_model if "log_loss" in row]
        medians = [statistics.median(row[key] for row in of_model)
                   for key in ("training_s", "training_per_s", "predicting_per_s")]  # fmt: skip
        print(
            f"| {name} | {len(of_model)} | {statistics.mean(accuracy):.4f}{spread} | {min(accuracy):.4f} to "
            f"{max(accuracy):.4f} | {f'{statistics.mean(losses):.4f}' if losses else '–'} | {medians[0]:.0f} | "
            f"{medians[1]:,.0f} | {medians[2]:,.0f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train")
    parser.add_argument("--test")
    parser.add_argument("--out", default="text_classify.jsonl")
    parser.add_argument("--models", nargs="+", choices=(*OURS, *PEERS), default=["ngrams", *PEERS])
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(5)))
    parser.add_argument("--backbone", help="folder or preset of a pretrained encoder, for minilm")
    parser.add_argument("--show", action="store_true", help="only print the table")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print("RESULT " + json.dumps(one(options.models[0], options.seeds[0], options)))
        return
    if options.show:
        show(options.out)
        return
    done = set()
    if os.path.exists(options.out):
        done = {(r["model"], r["seed"]) for r in map(json.loads, Path(options.out).read_text().splitlines())}
    for seed in options.seeds:
        for name in options.models:
            # scikit-learn's regression has no seed.
            if (name, seed) in done or (name == "scikit-learn" and seed != options.seeds[0]):
                continue
            command = [sys.executable, __file__, "--one", "--train", options.train, "--test", options.test,
                       "--models", name, "--seeds", str(seed)]  # fmt: skip
            command += ["--backbone", options.backbone] if options.backbone else []
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            result = json.loads(output.rpartition("RESULT ")[2])
            with open(options.out, "a", encoding="utf-8") as file:
                file.write(json.dumps({"model": name, "seed": seed, **result}) + "\n")
            print(f"{name} seed {seed}: {result['accuracy']:.4f}", file=sys.stderr, flush=True)
    show(options.out)


if __name__ == "__main__":
    main()
