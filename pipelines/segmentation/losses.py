"""Losses and the streaming mean IoU of segmentation; pixels with the ignore label count in none of them."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from pipelines.segmentation.masks import IGNORED

NAMES = ("cross-entropy", "dice", "cross-entropy+dice", "focal-tversky", "lovasz")
SMOOTH = 1.0  # pixels; keeps the ratios of absent classes defined


def split_target(y_true: Any, classes: int) -> tuple[Any, Any]:
    """Class numbers (B, H, W) with `IGNORED` to one-hot (B, H, W, K), zero where ignored, and the mask (B, H, W)."""
    y = ops.cast(y_true, "int32")
    valid = ops.cast(y != IGNORED, "float32")
    return ops.one_hot(ops.where(y == IGNORED, 0, y), classes, dtype="float32") * valid[..., None], valid


@keras.saving.register_keras_serializable(package="pipelines")
class SegmentationLoss(keras.losses.Loss):
    """A loss over the pixels of a batch of images.

    `call` takes class numbers (B, H, W), 255 where ignored, and logits (B, H, W, K), and gives one number for the
    batch, since Dice, Tversky and Lovász are no sums over pixels.

    Args:
        kind: One of `NAMES`.
        weights: Weights of the K classes in the cross-entropy, or None.
        alpha: Weight of missed pixels in focal-tversky.
        gamma: Exponent of focal-tversky.

    References:
        Milletari et al., "V-Net" (Dice), 2016. Abraham & Khan, "A novel focal Tversky loss function", ISBI 2019.
        Berman, Triki & Blaschko, "The Lovász-Softmax loss", CVPR 2018.
    """

    def __init__(
        self, kind: str = "cross-entropy", weights: Any = None, alpha: float = 0.7, gamma: float = 0.75,
        name: str = "segmentation", **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(name=name, **kwargs)
        if kind not in NAMES:
            raise ValueError(f"kind must be one of {', '.join(NAMES)}, got {kind!r}")
        self.kind, self.alpha, self.gamma = kind, alpha, gamma
        self.weights = None if weights is None else [float(w) for w in weights]

    def call(self, y_true: Any, y_pred: Any) -> Any:
        logits = ops.cast(y_pred, "float32")
        target, valid = split_target(y_true, logits.shape[-1])
        if self.kind == "lovasz":
            return lovasz_softmax(target, valid, ops.softmax(logits))
        if self.kind == "focal-tversky":
            return self._focal_tversky(target, valid, ops.softmax(logits))
        total: Any = 0.0
        if "cross-entropy" in self.kind:
            total = total + self._cross_entropy(target, valid, logits)
        if "dice" in self.kind:
            total = total + dice(target, valid, ops.softmax(logits))
        return total

    def _cross_entropy(self, target: Any, valid: Any, logits: Any) -> Any:
        weights = valid if self.weights is None else ops.sum(target * ops.convert_to_tensor(self.weights), -1)
        losses = -ops.sum(target * ops.log_softmax(logits), -1)
        return ops.sum(losses * weights) / ops.maximum(ops.sum(weights), 1e-6)

    def _focal_tversky(self, target: Any, valid: Any, p: Any) -> Any:
        axes = (0, 1, 2)
        hits = ops.sum(target * p, axes)
        missed = ops.sum(target * (1 - p), axes)
        wrong = ops.sum((1 - target) * p * valid[..., None], axes)
        index = (hits + SMOOTH) / (hits + self.alpha * missed + (1 - self.alpha) * wrong + SMOOTH)
        return ops.mean(ops.power(ops.clip(1 - index, 1e-7, 1.0), self.gamma))

    def get_config(self) -> dict[str, Any]:
        config = {"kind": self.kind, "weights": self.weights, "alpha": self.alpha, "gamma": self.gamma}
        return {**super().get_config(), **config}


def dice(target: Any, valid: Any, p: Any) -> Any:
    """1 - the mean soft Dice coefficient of the classes that occur in the batch."""
    axes = (0, 1, 2)
    hits = ops.sum(target * p, axes)
    sizes = ops.sum(target, axes) + ops.sum(p * valid[..., None], axes)
    present = ops.cast(ops.sum(target, axes) > 0, "float32")
    scores = (2 * hits + SMOOTH) / (sizes + SMOOTH)
    return 1 - ops.sum(scores * present) / ops.maximum(ops.sum(present), 1.0)


def lovasz_softmax(target: Any, valid: Any, p: Any) -> Any:
    """The Lovász extension of the Jaccard loss, mean over the classes that occur in the batch.

    For each class the errors of all pixels are sorted; their weights are the increments of the Jaccard loss.
    """
    classes = p.shape[-1]
    keep = ops.reshape(valid, (-1,))
    losses, present = [], []
    for k in range(classes):
        truth = ops.reshape(target[..., k], (-1,))
        errors = ops.abs(truth - ops.reshape(p[..., k], (-1,))) * keep  # ignored pixels have none, and come last
        order = ops.flip(ops.argsort(errors))
        sorted_errors, sorted_truth = ops.take(errors, order), ops.take(truth, order)
        number = ops.sum(truth)
        intersection = number - ops.cumsum(sorted_truth)
        union = number + ops.cumsum(ops.take(keep, order) * (1 - sorted_truth))
        jaccard = 1 - intersection / ops.maximum(union, 1e-6)
        gradient = jaccard - ops.concatenate([ops.zeros((1,)), jaccard[:-1]])
        losses.append(ops.sum(sorted_errors * ops.stop_gradient(gradient)))
        present.append(ops.cast(number > 0, "float32"))
    stacked, there = ops.stack(losses), ops.stack(present)
    return ops.sum(stacked * there) / ops.maximum(ops.sum(there), 1.0)


@keras.saving.register_keras_serializable(package="pipelines")
class MeanIoU(keras.metrics.Metric):
    """Mean intersection over union from a confusion matrix over all pixels seen; ignored pixels do not count.

    Takes class numbers (B, H, W), 255 where ignored, and logits (B, H, W, K). Classes without a pixel count in no mean.
    """

    def __init__(self, classes: int, name: str = "mean_iou", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.classes = classes
        self.matrix = self.add_weight(shape=(classes, classes), initializer="zeros", name="matrix")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        target, valid = split_target(y_true, self.classes)
        found = ops.one_hot(ops.argmax(y_pred, -1), self.classes, dtype="float32") * valid[..., None]
        flat = (-1, self.classes)
        self.matrix.assign_add(ops.matmul(ops.transpose(ops.reshape(target, flat)), ops.reshape(found, flat)))

    def result(self) -> Any:
        hits = ops.diagonal(self.matrix)
        union = ops.sum(self.matrix, 0) + ops.sum(self.matrix, 1) - hits
        there = ops.cast(union > 0, "float32")
        return ops.sum(hits / ops.maximum(union, 1.0)) / ops.maximum(ops.sum(there), 1.0)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "classes": self.classes}


def pixel_weights(counts: np.ndarray, how: str) -> np.ndarray | None:
    """Weights of the classes in the cross-entropy, mean 1 over the pixels, from the pixels of each in training, (K,).

    Args:
        counts: (K,) pixels.
        how: `none`; `weights`, the inverse of the square root of the frequency; or `effective-number` (Cui et al.,
            2019) with beta = 1 - 1 / mean count.
    """
    if how == "none":
        return None
    counts = np.maximum(np.asarray(counts, np.float64), 1)
    if how == "weights":
        weights = 1 / np.sqrt(counts / counts.sum())
    else:
        beta = 1 - 1 / counts.mean()
        weights = (1 - beta) / (1 - beta**counts)
    return weights / (weights @ counts / counts.sum())
