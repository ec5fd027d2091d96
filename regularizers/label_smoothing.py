"""Label smoothing for labels of every form."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="regularizers")
class LabelSmoothing(keras.losses.Loss):
    """Cross-entropy in which a fraction of each label is spread evenly over all classes.

    Keras smooths one-hot labels only; this takes class numbers too, (...,) or (..., 1), for samples, tokens or pixels.

    Args:
        smoothing: The part, at least 0 and below 1.
        from_logits: Whether the outputs are logits; else they are probabilities.
        **kwargs: `name`, `reduction`, `dtype`.

    Raises:
        ValueError: The smoothing is out of range; or, when it is computed, the outputs are of fewer than two classes.

    Reference:
        Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2016.
    """

    def __init__(self, smoothing: float = 0.1, from_logits: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 <= smoothing < 1:
            raise ValueError(f"smoothing must be at least 0 and below 1, got {smoothing}")
        self.smoothing = smoothing
        self.from_logits = from_logits

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """(..., K) outputs and (...,), (..., 1) numbers or (..., K) shares of classes to (...) losses."""
        classes = y_pred.shape[-1] if len(y_pred.shape) > 1 else 1
        if classes < 2:
            raise ValueError(
                "label smoothing needs an output for each of at least two classes, got outputs of shape "
                f"{tuple(y_pred.shape)}: give the model two of them, or compile with "
                "keras.losses.BinaryCrossentropy(label_smoothing=...)"
            )
        log_p = ops.log_softmax(y_pred) if self.from_logits else ops.log(ops.clip(y_pred, 1e-7, 1.0))
        if len(y_true.shape) == len(y_pred.shape) and y_true.shape[-1] == 1 < classes:
            y_true = ops.squeeze(y_true, axis=-1)
        if len(y_true.shape) < len(y_pred.shape):
            y_true = ops.one_hot(ops.cast(y_true, "int32"), classes, dtype=log_p.dtype)
        target = y_true * (1 - self.smoothing) + self.smoothing / classes
        return -ops.sum(target * log_p, axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "smoothing": self.smoothing, "from_logits": self.from_logits}
