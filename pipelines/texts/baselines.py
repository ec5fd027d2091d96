"""What simple models reach on the same texts: a report without them says little."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pipelines.texts.load import TextParts

# More texts make these models no worse than they are, only slower.
MOST = 50_000
EPOCHS, BATCH, RATE = 5, 64, 1e-2


@dataclass(frozen=True, eq=False)
class Baseline:
    """A simple model's answers.

    Args:
        name: What it is.
        probabilities: float64 (N, K) on the test part.
        seconds: Of its training.
    """

    name: str
    probabilities: np.ndarray
    seconds: float


def linear() -> Any:
    """scikit-learn's TF-IDF of words and their pairs, and of 2 to 5 characters, with logistic regression."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline, make_union

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\w+|[^\w\s]")
    pieces = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
    return make_pipeline(make_union(words, pieces), LogisticRegression(C=3.0, max_iter=300))


def tfidf(data: TextParts, generator: np.random.Generator) -> Baseline:
    """TF-IDF and logistic regression, for several labels one regression each."""
    from sklearn.multioutput import MultiOutputClassifier

    start = time.perf_counter()
    chosen = some(len(data.train.texts), generator)
    texts = [data.train.texts[i] for i in chosen]
    labels = data.train.labels[chosen]
    if data.several:
        pipeline = linear()
        varied = np.flatnonzero((labels.min(0) == 0) & (labels.max(0) == 1))
        answers = np.tile(labels.mean(0), (len(data.test.texts), 1)).astype(np.float64)
        features = pipeline[0].fit_transform(texts)
        model = MultiOutputClassifier(pipeline[1]).fit(features, labels[:, varied])
        seconds = time.perf_counter() - start
        outputs = model.predict_proba(pipeline[0].transform(data.test.texts))
        answers[:, varied] = np.stack([output[:, 1] for output in outputs], axis=1)
    else:
        pipeline = linear().fit(texts, labels)
        seconds = time.perf_counter() - start
        answers = np.zeros((len(data.test.texts), len(data.classes)))
        answers[:, pipeline[-1].classes_] = pipeline.predict_proba(data.test.texts)
    return Baseline("TF-IDF + logistic regression", answers, seconds)


def ngrams(data: TextParts, generator: np.random.Generator) -> Baseline:
    """The n-gram model of `pipelines.texts.models`, trained as it is by default but for a fixed time."""
    import keras

    from pipelines.texts.builders import most_ngrams, ngram_model, targets
    from pipelines.texts.inputs import NgramInput
    from pipelines.texts.predict import logits_of, probabilities

    start = time.perf_counter()
    chosen = some(len(data.train.texts), generator)
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


def out_of_sample(texts: list[str], labels: np.ndarray, classes: int, folds: int) -> np.ndarray:
    """Chances (N, K) of texts from models that were not trained on them: cross-validated regressions on words.

    Args:
        texts: N texts.
        labels: (N,) numbers of the classes, or (N, K) of 0 and 1, with a regression for each label. A class with
            fewer texts than `folds` is left to chance in some of them.
        classes: K.
        folds: Parts that are left out in turn.
    """
    import warnings

    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import KFold, StratifiedKFold

    chances = np.zeros((len(texts), classes))
    least = 1 if len(texts) < 1000 else 2
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\w+|[^\w\s]", min_df=least)
    features = words.fit_transform(texts)
    splitter = StratifiedKFold if labels.ndim == 1 else KFold
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")
        parts = list(splitter(folds, shuffle=True, random_state=0).split(texts, labels))
    for train, held_out in parts:
        if labels.ndim == 1:
            model = LogisticRegression(C=3.0, max_iter=300).fit(features[train], labels[train])
            chances[np.ix_(held_out, model.classes_)] = model.predict_proba(features[held_out])
            continue
        chances[held_out] = labels[train].mean(0)
        for k in np.flatnonzero(labels[train].min(0) != labels[train].max(0)):
            model = LogisticRegression(C=3.0, max_iter=300).fit(features[train], labels[train, k])
            chances[held_out, k] = model.predict_proba(features[held_out])[:, 1]
    return chances


def some(number: int, generator: np.random.Generator) -> np.ndarray:
    """The numbers of all texts, or of so many as the baselines are trained on."""
    return np.arange(number) if number <= MOST else np.sort(generator.choice(number, MOST, replace=False))
