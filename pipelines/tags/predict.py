"""Tagging with a model: the score that is watched in training, and predictions for sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from pipelines.layers import marginals, viterbi
from pipelines.tags.files import Place
from pipelines.tags.load import Encoder, Tags, padded


@keras.saving.register_keras_serializable(package="pipelines")
class EntityF1(keras.metrics.Metric):
    """F1 of whole entities over all batches, decoded from the output of a `CRF`; it agrees with seqeval.

    Args:
        names: Tags in BIO or BIOES by number.
    """

    def __init__(self, names: Sequence[str], name: str = "entity_f1", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.names = list(names)
        kinds = {kind: i for i, kind in enumerate(dict.fromkeys(n.partition("-")[2] for n in self.names))}
        self._kinds = np.array([kinds[n.partition("-")[2]] for n in self.names], "int32")
        self._begins = np.array([n[0] in "BS" for n in self.names])
        self._inside = np.array([n[0] in "IE" for n in self.names])
        self.found, self.guessed, self.wanted = (
            self.add_variable((), "zeros", name=what) for what in ("found", "guessed", "wanted")
        )

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """(B, T) tags, negative where padded, and the layer's output; weights are left aside."""
        y_true = ops.cast(y_true, "int32")
        mask = y_true >= 0
        begins, ends, kinds = self._entities(ops.where(mask, y_true, 0))
        begins_too, ends_too, kinds_too = self._entities(viterbi(ops.cast(y_pred, "float32"), mask))
        both = begins & begins_too & (ends == ends_too) & (kinds == kinds_too)
        for variable, which in ((self.found, both), (self.guessed, begins_too), (self.wanted, begins)):
            variable.assign_add(ops.sum(ops.cast(which, variable.dtype)))

    def result(self) -> Any:
        return 2 * self.found / ops.maximum(self.guessed + self.wanted, 1)

    def _entities(self, tags: Any) -> tuple[Any, Any, Any]:
        """Where entities begin, the place after the one that begins or goes on here, and the type, each (B, T)."""
        begins, inside, kinds = (
            ops.take(ops.convert_to_tensor(x), tags, axis=0) for x in (self._begins, self._inside, self._kinds)
        )
        length = ops.shape(tags)[1]
        after = ops.pad(inside[:, 1:], [[0, 0], [0, 1]])
        last = ops.where(after, length, ops.arange(length, dtype="int32"))
        last = ops.transpose(last)

        # The next place at which an entity is not gone on with: a running minimum from the right.
        def step(end: Any, here: Any) -> tuple[Any, Any]:
            end = ops.minimum(end, here)
            return end, end

        _, ends = ops.scan(step, last[-1], last, reverse=True)
        return begins, ops.transpose(ends), kinds

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "names": self.names}


def tag(
    model: keras.Model, encoder: Encoder, tags: Tags, sentences: Sequence[Sequence[str]], batch_size: int
) -> list[list[tuple[Place, float]]]:
    """Entities of sentences given as words, each with a confidence.

    The confidence is the product over the entity's words of the probability that the whole sentence gives their tags.
    """
    found: list[list[tuple[Place, float]]] = [[] for _ in sentences]
    order = sorted((i for i, tokens in enumerate(sentences) if tokens), key=lambda i: len(sentences[i]))
    for begin in range(0, len(order), batch_size):
        chosen = order[begin : begin + batch_size]
        rows = padded([encoder(sentences[i]) for i in chosen], encoder.padding)
        mask = np.arange(rows.shape[1]) < np.array([len(sentences[i]) for i in chosen])[:, None]
        scores = ops.convert_to_tensor(model.predict_on_batch(rows))
        path, shares = ops.convert_to_numpy(viterbi(scores, mask)), ops.convert_to_numpy(marginals(scores, mask))
        for i, numbers, share in zip(chosen, path, shares, strict=True):
            size = len(sentences[i])
            sure = share[np.arange(size), numbers[:size]]
            found[i] = [(place, float(sure[place[0] : place[1]].prod())) for place in tags.decode(numbers[:size])]
    return found
