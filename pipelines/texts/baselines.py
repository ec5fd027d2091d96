"""Simple models on the same texts, to compare with."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.texts.inputs import COUNT, NgramInput

if TYPE_CHECKING:
    from pipelines.texts.load import TextParts

# The baselines and the check of the labels read at most so many texts: the report must not take longer than training.
MOST = 20_000
EPOCHS, BATCH, RATE = 5, 64, 1e-2
STRENGTH, TOLERANCE = 10.0, 1e-2  # of the logistic regressions, the strength being one over that of their penalty


@dataclass(frozen=True, eq=False)
class Baseline:
    """The predictions of a simple model.

    Args:
        name: Name of the model.
        probabilities: float64 (N, K) on the test set.
        seconds: Time of its training.
    """

    name: str
    probabilities: np.ndarray
    seconds: float


def word_features(reader: NgramInput, fitted: Sequence[str], texts: Sequence[str]) -> Any:
    """TF-IDF of words and pairs of words: scipy.sparse.csr_matrix float64 (N, V), rows of length 1.

    Args:
        reader: Knows the words.
        fitted: The texts that say how rare they are.
        texts: N texts.
    """
    from scipy import sparse
    from sklearn.feature_extraction.text import TfidfTransformer

    def counts(of: Sequence[str]) -> Any:
        windows = reader.windows(of)
        ids = np.concatenate([np.zeros(0, np.int32), *windows.ids])
        rows = np.repeat(windows.owner, [len(of_window) for of_window in windows.ids])
        words = ids % COUNT <= reader.known_words
        numbers, occurrences = ids[words] % COUNT, ids[words] // COUNT + 1
        shape = (len(of), reader.known_words + 1)
        return sparse.csr_matrix((occurrences.astype(np.float64), (rows[words], numbers)), shape=shape)

    return TfidfTransformer(sublinear_tf=True).fit(counts(fitted)).transform(counts(texts))


def regression(features: Any, labels: np.ndarray, classes: int) -> Callable[[Any], np.ndarray]:
    """Fits a logistic regression, or one for each label, and returns what predicts probabilities (N, K).

    Args:
        features: (N, V).
        labels: (N,) numbers of the classes, or (N, K) of 0 and 1.
        classes: K.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier

    def fit(answers: np.ndarray) -> Any:
        # In its dual form, a class against the rest, it takes a tenth of the time on wide sparse rows, and is no worse.
        one = LogisticRegression(C=STRENGTH, tol=TOLERANCE, max_iter=200, solver="liblinear", dual=True, random_state=0)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=ConvergenceWarning)
            return (one if len(np.unique(answers)) == 2 else OneVsRestClassifier(one)).fit(features, answers)

    if labels.ndim == 1:
        if len(np.unique(labels)) == 1:
            return lambda rows: np.tile(np.eye(classes)[labels[0]], (rows.shape[0], 1))
        model = fit(labels)

        def of_classes(rows: Any) -> np.ndarray:
            found = np.zeros((rows.shape[0], classes))
            found[:, model.classes_] = model.predict_proba(rows)
            return found

        return of_classes
    varied = np.flatnonzero(labels.min(0) != labels.max(0))
    models = {k: fit(labels[:, k]) for k in varied.tolist()}

    def of_labels(rows: Any) -> np.ndarray:
        found = np.tile(labels.mean(0), (rows.shape[0], 1)).astype(np.float64)
        for k, of_label in models.items():
            found[:, k] = of_label.predict_proba(rows)[:, 1]
        return found

    return of_labels


def tfidf(data: TextParts, chosen: np.ndarray) -> tuple[Baseline, Any]:
    """TF-IDF of words and logistic regression, for several labels one regression each.

    Args:
        data: The texts.
        chosen: Numbers of the training texts to use.

    Returns:
        The predictions, and the features of the chosen texts, for further use.
    """
    start = time.perf_counter()
    train = data.train.texts if len(chosen) == len(data.train.texts) else [data.train.texts[i] for i in chosen]
    reader = data.reader
    if not isinstance(reader, NgramInput):
        reader = NgramInput.learn(train, size=2**18, high=0)
    features = word_features(reader, train, train)
    predict = regression(features, data.train.labels[chosen], len(data.classes))
    seconds = time.perf_counter() - start
    found = predict(word_features(reader, train, data.test.texts))
    return Baseline("TF-IDF of words + logistic regression", found, seconds), features


def ngrams(data: TextParts, chosen: np.ndarray) -> Baseline:
    """The n-gram model of `pipelines.texts.models`, trained as it is by default, but for a fixed number of epochs.

    Args:
        data: The texts.
        chosen: Numbers of the training texts to use.
    """
    import keras

    from pipelines.texts.builders import most_ngrams, ngram_model, targets
    from pipelines.texts.predict import logits_of, probabilities

    start = time.perf_counter()
    generator = np.random.default_rng(0)
    texts = [data.train.texts[i] for i in chosen]
    reader = NgramInput.learn(texts, size=most_ngrams(len(data.classes)))
    goal = targets(data.train.labels[chosen], len(data.classes))
    steps = max(EPOCHS * max(len(texts) // BATCH, 1), 1)
    model = ngram_model(reader, texts, goal, steps=steps)
    loss = keras.losses.BinaryCrossentropy if data.several else keras.losses.CategoricalCrossentropy
    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(RATE, steps)), loss(from_logits=True))
    windows = reader.windows(texts)
    for _ in range(EPOCHS):
        order = generator.permutation(len(windows.ids))
        for first in range(0, len(order) - min(BATCH, len(order)) + 1, BATCH):
            batch = order[first : first + BATCH]
            model.train_on_batch(windows.read(batch), goal[windows.owner[batch]], windows.share[batch])
    seconds = time.perf_counter() - start
    return Baseline("n-grams", probabilities(logits_of(model, reader, data.test.texts), data.several), seconds)


def can_be_folded(labels: np.ndarray, folds: int) -> bool:
    """Whether texts with these labels can be cross-validated: no class may have a single text."""
    if labels.ndim == 2:
        return len(labels) >= folds
    sizes = np.unique(labels, return_counts=True)[1]
    return bool(sizes.min() > 1 and sizes.max() >= folds)


def out_of_sample(features: Any, labels: np.ndarray, classes: int, folds: int) -> np.ndarray:
    """Probabilities (N, K) of texts from models that were not trained on them: cross-validated regressions.

    Args:
        features: (N, V) of the texts.
        labels: (N,) numbers of the classes, or (N, K) of 0 and 1, with a regression for each label. A class with
            fewer texts than `folds` is missing from some of the models.
        classes: K.
        folds: Number of folds.
    """
    from sklearn.model_selection import KFold, StratifiedKFold

    found = np.zeros((features.shape[0], classes))
    splitter = StratifiedKFold if labels.ndim == 1 else KFold
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")
        rows = np.arange(len(labels))
        splits = list(splitter(folds, shuffle=True, random_state=0).split(rows, labels))
    for train, held_out in splits:
        found[held_out] = regression(features[train], labels[train], classes)(features[held_out])
    return found


def some(number: int) -> np.ndarray:
    """The numbers of all texts, or of so many, drawn at random, as baselines and the check of the labels read."""
    return np.arange(number) if number <= MOST else np.sort(np.random.default_rng(0).choice(number, MOST, False))
