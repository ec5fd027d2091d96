"""R-Drop: the same answer under two draws of dropout."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from regularizers.step import SEED_STATE, Batch, Outputs, StepPenalty, advance, classifier_outputs, one_output


class _Disagreement(keras.losses.Loss):
    """(KL(p||q) + KL(q||p)) / 2 of two outputs (..., K), as (...) in nats."""

    def __init__(self, outputs: Outputs) -> None:
        super().__init__(name="disagreement")
        self.outputs = outputs

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return disagreement(y_true, y_pred, self.outputs)


def disagreement(first: Any, second: Any, outputs: Outputs) -> Any:
    """(KL(p||q) + KL(q||p)) / 2 of two outputs (..., K) of a classifier, as (...)."""
    log_p, log_q = outputs.log_probabilities(first), outputs.log_probabilities(second)
    return outputs.per_sample((ops.exp(log_p) - ops.exp(log_q)) * (log_p - log_q)) / 2


@keras.saving.register_keras_serializable(package="regularizers")
class RDrop(StepPenalty):
    """Trains with the mean loss of two passes, and strength * the divergence between their predictions.

    The divergence is (KL(p||q) + KL(q||p)) / 2, averaged with the samples' weights, as in the authors' code. A step
    costs about twice as much. The statistics of batch norm see the first pass only.

    Args:
        strength: Weight of the divergence; 0.1 to 5 in the paper.

    Reference:
        Liang et al., "R-Drop: Regularized Dropout for Neural Networks", NeurIPS 2021.
    """

    def check(self, model: keras.Model) -> None:
        if not any(v.name == SEED_STATE for v in model.non_trainable_variables):
            raise ValueError("r-drop needs a model with dropout: without it, two passes do not differ")

    def penalty(self, batch: Batch) -> Any:
        first = one_output(batch.y_pred, "r-drop")
        outputs = classifier_outputs(batch.model, "r-drop")
        second, states = batch.forward(batch.x)
        advance(states)
        # The loss of the first pass is already counted once: half of it is exchanged for half of the second's.
        losses = [batch.compute_loss(batch.x, batch.y, y_pred, batch.sample_weight) for y_pred in (first, second)]
        apart = _Disagreement(outputs)(second, first, batch.sample_weight)
        return (losses[1] - losses[0]) / 2 + self.strength * apart


@keras.saving.register_keras_serializable(package="regularizers")
class RDropLoss(keras.losses.Loss):
    """R-Drop as a loss alone, for a model that gives out both passes: (B, 2, ..., K).

    Args:
        loss: The loss of one pass; it must give one value a sample.
        strength: Weight of the divergence.
        from_logits: Whether the outputs are logits; else they are probabilities.
        **kwargs: `name`, `reduction`, `dtype`.

    Reference:
        Liang et al., "R-Drop: Regularized Dropout for Neural Networks", NeurIPS 2021.
    """

    def __init__(self, loss: keras.losses.Loss, strength: float = 1.0, from_logits: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not strength >= 0:
            raise ValueError(f"strength must not be negative, got {strength}")
        self.loss = loss
        self.strength = strength
        self.from_logits = from_logits

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """(B, ...) targets and (B, 2, ..., K) outputs to (B, ...) losses."""
        first, second = y_pred[:, 0], y_pred[:, 1]
        losses = (self.loss.call(y_true, first) + self.loss.call(y_true, second)) / 2
        return losses + self.strength * disagreement(
            first, second, Outputs("logits" if self.from_logits else "softmax")
        )

    def get_config(self) -> dict[str, Any]:
        loss = keras.saving.serialize_keras_object(self.loss)
        return {**super().get_config(), "loss": loss, "strength": self.strength, "from_logits": self.from_logits}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> RDropLoss:
        return cls(**{**config, "loss": keras.saving.deserialize_keras_object(config["loss"])})
