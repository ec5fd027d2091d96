"""Losses that Keras has not in the form needed here."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from pipelines.layers import log_likelihood


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


@keras.saving.register_keras_serializable(package="pipelines")
class CRFLoss(keras.losses.Loss):
    """Negative log-likelihood of tag sequences under a `pipelines.layers.CRF`; tag 0 is that of no entity.

    Args:
        recall: Score that tag 0 gets for free at each word of an entity in training, so that the model learns to find
            entities against odds: more of them are found, and more are invented. 0 gives plain likelihood.

    Reference:
        Mohit et al., "Recall-Oriented Learning of Named Entities in Arabic Wikipedia", EACL 2012.
    """

    def __init__(self, recall: float = 0.0, name: str = "crf", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        if recall < 0:
            raise ValueError(f"recall must be >= 0, got {recall}")
        self.recall = recall

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """(B, T) tags, negative where padded, and the layer's output to (B,) losses."""
        scores = ops.cast(y_pred, "float32")
        if self.recall:
            size = scores.shape[-1]
            favour = self.recall * ops.cast(y_true > 0, "float32")[..., None]
            # Rows of transitions stand before those of the words, other tags behind the first.
            scores = scores + ops.pad(favour, [[0, 0], [size + 2, 0], [0, size - 1]])
        return -log_likelihood(scores, y_true, y_true >= 0)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "recall": self.recall}


@keras.saving.register_keras_serializable(package="pipelines")
class LogLikelihood(keras.losses.Loss):
    """Cross-entropy for models that give log-probabilities: -sum(target * output), over classes and all other axes.

    The output is taken as it is: a mean of several models' log-probabilities, which is no log-probability itself, then
    gives the mean of their losses. A target of zeros counts for nothing.

    Args:
        label_smoothing: Part of the target spread over the classes (the last axis).
        normalized: Whether the output holds log-probabilities; else it holds logits.
        axes: Leading axes of which each place has a loss of its own: the batch, or the batch and several models.
    """

    def __init__(
        self,
        label_smoothing: float = 0.0,
        normalized: bool = True,
        axes: int = 1,
        name: str = "log_likelihood",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        if not 0 <= label_smoothing < 1 or axes < 1:
            raise ValueError(f"label_smoothing must be in [0, 1) and axes at least 1, got {label_smoothing} and {axes}")
        self.label_smoothing = label_smoothing
        self.normalized = normalized
        self.axes = axes

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """(B, ..., K) soft labels and log-probabilities to losses of the leading axes."""
        log_p = ops.cast(y_pred, "float32")
        target = ops.cast(y_true, "float32")
        if not self.normalized:
            log_p = ops.log_softmax(log_p)
        spread = ops.sum(target, axis=-1, keepdims=True) / target.shape[-1]
        target = target * (1 - self.label_smoothing) + spread * self.label_smoothing
        return -ops.sum(target * log_p, axis=tuple(range(self.axes, len(target.shape))))

    def get_config(self) -> dict[str, Any]:
        own = {"label_smoothing": self.label_smoothing, "normalized": self.normalized, "axes": self.axes}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="pipelines")
class SquaredErrorOfMembers(keras.losses.Loss):
    """Mean of the squared errors of several networks, of which the mean and the variance of the answers are known.

    A row's weight then counts for both, and a row that a copy leaves out does not draw its members together.
    """

    def __init__(self, name: str = "squared_error_of_members", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Numbers (..., T), and means followed by variances (..., 2T), to losses (...)."""
        mean, variance = ops.split(ops.cast(y_pred, "float32"), 2, axis=-1)
        return ops.mean(ops.square(ops.cast(y_true, "float32") - mean) + variance, axis=-1)


@keras.saving.register_keras_serializable(package="pipelines")
class TokenCrossEntropy(keras.losses.Loss):
    """Cross-entropy of each token of a sequence; the weights say which are no padding, and the mean is over the others.

    Args:
        label_smoothing: Part of the target spread over all tokens.

    Reference:
        Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2015; for translation Vaswani et
        al., "Attention Is All You Need", 2017.
    """

    def __init__(self, label_smoothing: float = 0.0, name: str = "token_cross_entropy", **kwargs: Any) -> None:
        super().__init__(name=name, **{"reduction": "mean_with_sample_weight", **kwargs})
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1), got {label_smoothing}")
        self.label_smoothing = label_smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """(B, T) tokens and logits (B, T, V) to losses (B, T)."""
        logits = ops.cast(y_pred, "float32")
        losses = ops.sparse_categorical_crossentropy(y_true, logits, from_logits=True)
        if not self.label_smoothing:
            return losses
        # The cross-entropy with the even distribution differs from the other one by this; one softmax is enough.
        true = ops.take_along_axis(logits, ops.cast(y_true, "int32")[..., None], axis=-1)[..., 0]
        return losses + self.label_smoothing * (true - ops.mean(logits, axis=-1))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "label_smoothing": self.label_smoothing}


def classification_loss(imbalance: str, label_smoothing: float) -> keras.losses.Loss:
    """The loss of a single-label classifier with logits and one-hot or mixed labels."""
    if imbalance == "focal":
        return FocalLoss(label_smoothing=label_smoothing)
    return keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=label_smoothing)


def multilabel_loss(imbalance: str, label_smoothing: float) -> keras.losses.Loss:
    """The loss of a classifier that may give several labels, with logits and rows of 0 and 1."""
    kind = keras.losses.BinaryFocalCrossentropy if imbalance == "focal" else keras.losses.BinaryCrossentropy
    return kind(from_logits=True, label_smoothing=label_smoothing)
