"""Losses that Keras has not in the form needed here; all take logits and soft labels."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="pipelines")
class FocalLoss(keras.losses.Loss):
    """Cross-entropy that turns to the hard samples: each class's term is scaled by (1 - p) ** gamma.

    Args:
        gamma: Focus; 0 gives plain cross-entropy.
        label_smoothing: Part of the target spread over all classes.

    Reference:
        Lin et al., "Focal Loss for Dense Object Detection", 2017.
    """

    def __init__(self, gamma: float = 2.0, label_smoothing: float = 0.0, name: str = "focal", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        if gamma < 0 or not 0 <= label_smoothing < 1:
            raise ValueError(f"gamma must be >= 0 and label_smoothing in [0, 1), got {gamma} and {label_smoothing}")
        self.gamma = gamma
        self.label_smoothing = label_smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """(B, K) soft labels and logits to (B,) losses."""
        logits = ops.cast(y_pred, "float32")
        target = ops.cast(y_true, "float32")
        target = target * (1 - self.label_smoothing) + self.label_smoothing / target.shape[-1]
        log_p = ops.log_softmax(logits)
        # 1 - p without the loss of digits near p = 1, where its power has no finite slope.
        rest = ops.clip(1 - ops.exp(log_p), 1e-7, 1.0)
        return -ops.sum(target * ops.power(rest, self.gamma) * log_p, axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "gamma": self.gamma, "label_smoothing": self.label_smoothing}


def classification_loss(imbalance: str, label_smoothing: float) -> keras.losses.Loss:
    """The loss of a single-label classifier with logits and one-hot or mixed labels."""
    if imbalance == "focal":
        return FocalLoss(label_smoothing=label_smoothing)
    return keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=label_smoothing)


def multilabel_loss(imbalance: str, label_smoothing: float) -> keras.losses.Loss:
    """The loss of a classifier that may give several labels, with logits and rows of 0 and 1."""
    kind = keras.losses.BinaryFocalCrossentropy if imbalance == "focal" else keras.losses.BinaryCrossentropy
    return kind(from_logits=True, label_smoothing=label_smoothing)
