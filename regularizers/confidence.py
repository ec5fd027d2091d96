"""Confidence penalty: predictions that keep some doubt."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from regularizers.step import Batch, StepPenalty, ends_in, log_probabilities, one_output


class _NegativeEntropy(keras.losses.Loss):
    """(..., K) outputs to (...) negative entropies in nats; Keras weighs and averages them as it does the loss."""

    def __init__(self, kind: str) -> None:
        super().__init__(name="negative_entropy")
        self.kind = kind

    def call(self, y_true: Any, y_pred: Any) -> Any:
        log_p = log_probabilities(y_pred, self.kind, "confidence")
        return ops.sum(ops.exp(log_p) * log_p, axis=-1)


@keras.saving.register_keras_serializable(package="regularizers")
class Confidence(StepPenalty):
    """-strength * entropy of the predicted distribution, averaged over the batch with the samples' weights.

    For classifiers with softmax or logits, per sample, token or pixel; a single output counts as two classes.

    Args:
        strength: Factor of the penalty in the loss, 0.1 to 1 in the paper.

    Reference:
        Pereyra et al., "Regularizing Neural Networks by Penalizing Confident Output Distributions", 2017.
    """

    def penalty(self, batch: Batch) -> Any:
        y_pred = one_output(batch.y_pred, "confidence")
        return self.strength * _NegativeEntropy(ends_in(batch.model))(y_pred, y_pred, batch.sample_weight)
