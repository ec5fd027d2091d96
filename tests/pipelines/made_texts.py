"""Texts that tests of several files read and train on."""

import numpy as np
import pandas as pd

GOOD = ["good", "great", "lovely", "fine", "superb"]
BAD = ["bad", "awful", "poor", "dull", "dreadful"]
REST = [
    "the",
    "a",
    "film",
    "book",
    "story",
    "actor",
    "plot",
    "was",
    "with",
    "some",
    "of",
    "it",
    "scene",
    "music",
    "end",
]


def sentence(generator, words, k=12):
    chosen = [*generator.choice(REST, k), generator.choice(words)]
    generator.shuffle(chosen)
    return " ".join(map(str, chosen))


def rows(number=160, seed=0):
    generator = np.random.default_rng(seed)
    return [
        (sentence(generator, words), label)
        for _ in range(number // 2)
        for words, label in ((GOOD, "good"), (BAD, "bad"))
    ]


PRAISE = [f"a good film number {i} {'x' * i}" for i in range(20)]
BLAME = [f"bad book {i} of many {'y' * i}" for i in range(20)]
ROWS = [
    (text, label) for pair in zip(PRAISE, BLAME, strict=True) for text, label in zip(pair, ("good", "bad"), strict=True)
]


def write_csv(path, rows, columns=("text", "label"), **options):
    pd.DataFrame(rows, columns=list(columns)).to_csv(path, index=False, **options)
    return path
