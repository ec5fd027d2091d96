"""Confidence penalty: predictions that keep some doubt."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from regularizers.step import Batch, Outputs, StepPenalty, classifier_outputs, one_output


class _NegativeEntropy(keras.losses.Loss):
    """(..., K) outputs to (...) negative entropies in nats; Keras weighs and averages them as it does the loss."""

    def __init__(self, outputs: Outputs) -> None:
        super().__init__(name="negative_entropy")
        self.outputs = outputs

    def call(self, y_true: Any, y_pred: Any) -> Any:
        log_p = self.outputs.log_probabilities(y_pred)
        return self.outputs.per_sample(ops.exp(log_p) * log_p)


@keras.saving.register_keras_serializable(package="regularizers")
class Confidence(StepPenalty):
    """-strength * entropy of the predicted distribution, averaged over the batch with the samples' weights.

    For classifiers of samples, tokens or pixels. Whether the outputs are logits or probabilities, and of one class or
    of several labels a sample, is told by the model's last activation and its loss.

    Args:
        strength: Factor of the penalty in the loss, 0.1 to 1 in the paper.

    Reference:
        Pereyra et al., "Regularizing Neural Networks by Penalizing Confident Output Distributions", 2017.
    """

    def penalty(self, batch: Batch) -> Any:
        y_pred = one_output(batch.y_pred, "confidence")
        return self.strength * _NegativeEntropy(classifier_outputs(batch.model, "confidence"))(
            y_pred, y_pred, batch.sample_weight
        )
