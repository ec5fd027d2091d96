"""From texts to logits: windows sorted by length, and their mean by text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit, softmax

from pipelines.texts.files import Given
from pipelines.texts.inputs import TextInput

if TYPE_CHECKING:
    import keras

BATCH = 64
# Entries of one batch: rows of long n-gram bags are wide.
ENTRIES = 65536
BLOCK = 4096


def logits_of(model: keras.Model, reader: TextInput, texts: Sequence[str]) -> np.ndarray:
    """float64 (N, K): the logits of each text, the mean over its windows weighted by their length."""
    from keras import ops

    blocks = []
    for start in range(0, len(texts), BLOCK):
        block = texts[start : start + BLOCK]
        windows = reader.windows(block)
        sizes = np.array([len(ids) for ids in windows.ids])
        order = np.argsort(sizes, kind="stable")
        outputs: list[Any] = [None] * len(order)
        for chosen in _batches(order, sizes):
            answers = ops.convert_to_numpy(model.predict_on_batch(windows.read(chosen)))
            for index, answer in zip(chosen, answers, strict=True):
                outputs[index] = answer
        weights = np.maximum(sizes, 1).astype(np.float64)[:, None]
        total, weight = np.zeros((len(block), len(outputs[0]))), np.zeros((len(block), 1))
        np.add.at(total, windows.owner, weights * np.asarray(outputs, np.float64))
        np.add.at(weight, windows.owner, weights)
        blocks.append(total / weight)
    return np.concatenate(blocks)


def _batches(order: np.ndarray, sizes: np.ndarray) -> Iterator[np.ndarray]:
    start = 0
    while start < len(order):
        number = BATCH
        while number > 1 and number * sizes[order[start : start + number][-1]] > ENTRIES:
            number //= 2
        yield order[start : start + number]
        start += number


def probabilities(logits: np.ndarray, several: bool) -> np.ndarray:
    """Chances of the classes, which sum to 1 unless a text may have several labels."""
    return expit(logits) if several else softmax(logits, axis=1)


def predict_raw(
    model: keras.Model, reader: TextInput, several: bool, inputs: Iterable[Any]
) -> Iterator[tuple[Given, np.ndarray | str]]:
    """For each text its chances (K,), or the reason why it is none; in their order.

    Args:
        model: From windows to logits.
        reader: Cuts texts into windows.
        several: Whether a text may have several labels.
        inputs: Texts, or what was read from files.
    """
    block: list[tuple[Given, str | None]] = []

    def answers() -> Iterator[tuple[Given, np.ndarray | str]]:
        good = [item.text for item, reason in block if reason is None]
        rows = iter(probabilities(logits_of(model, reader, good), several)) if good else iter(())
        for item, reason in block:
            yield item, next(rows) if reason is None else reason

    for text in inputs:
        item = text if isinstance(text, Given) else Given("text", text)
        block.append((item, item.reason))
        if len(block) == BLOCK:
            yield from answers()
            block.clear()
    if block:
        yield from answers()
