"""A running AP50 for training and validation."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from pipelines.detection.losses import intersection_over_union


@keras.saving.register_keras_serializable(package="pipelines")
class RunningAP50(keras.metrics.Metric):
    """AP50 of all classes together while training, with confidences rounded to bins; the report has the exact AP.

    Each image's best `number` boxes are suppressed by better ones of their class (IoU above `limit`); a box is right
    when it is the best one of its class at IoU 0.5 or more with an object.

    Args:
        number: Boxes of an image that count.
        limit: IoU of the suppression.
        bins: Bins of the confidences.
    """

    def __init__(
        self, number: int = 60, limit: float = 0.6, bins: int = 200, name: str = "ap50", **kwargs: Any
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.number, self.limit, self.bins = number, limit, bins
        self.right = self.add_weight(shape=(bins,), initializer="zeros", name="right")
        self.wrong = self.add_weight(shape=(bins,), initializer="zeros", name="wrong")
        self.objects = self.add_weight(shape=(), initializer="zeros", name="objects")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        y_true, y_pred = ops.cast(y_true, "float32"), ops.cast(y_pred, "float32")
        scores, found = ops.max(y_pred[..., 4:], axis=-1), ops.argmax(y_pred[..., 4:], axis=-1)
        number = min(self.number, int(y_pred.shape[1]))
        scores, index = ops.top_k(scores, number)
        boxes = ops.take_along_axis(y_pred[..., :4], index[..., None], axis=1)
        found = ops.take_along_axis(found, ops.cast(index, found.dtype), axis=1)
        earlier = ops.convert_to_tensor(np.tril(np.ones((number, number), np.float32), -1))  # [i, j]: j is before i
        same = ops.cast(found[:, :, None] == found[:, None], "float32") * earlier
        covered = ops.max(
            same * ops.cast(intersection_over_union(boxes[:, :, None], boxes[:, None]) > self.limit, "float32"), axis=-1
        )
        truth, labels = y_true[..., :4], y_true[..., 4]
        overlap = intersection_over_union(boxes[:, :, None], truth[:, None])
        fits = ops.cast(ops.cast(found, "float32")[..., None] == labels[:, None], "float32")
        best = ops.one_hot(ops.argmax(overlap * fits, axis=-1), truth.shape[1])  # (B, N, M)
        hit = best * fits * ops.cast(overlap >= 0.5, "float32") * (1.0 - covered)[..., None]
        first = hit * ops.cast(ops.cumsum(hit, axis=1) <= 1.0, "float32")
        right = ops.max(first, axis=-1)
        place = ops.cast(ops.minimum(ops.sigmoid(scores) * self.bins, self.bins - 1.0), "int32")
        one_hot = ops.one_hot(place, self.bins)
        self.right.assign_add(ops.sum(one_hot * right[..., None], axis=(0, 1)))
        self.wrong.assign_add(ops.sum(one_hot * ((1.0 - right) * (1.0 - covered))[..., None], axis=(0, 1)))
        self.objects.assign_add(ops.sum(ops.cast(labels >= 0, "float32")))

    def result(self) -> Any:
        right = ops.cumsum(ops.flip(ops.convert_to_tensor(self.right)))
        wrong = ops.cumsum(ops.flip(ops.convert_to_tensor(self.wrong)))
        precision = right / ops.maximum(right + wrong, 1e-9)
        # The best precision at this recall or a higher one, over the steps of recall.
        later = ops.convert_to_tensor(np.triu(np.ones((self.bins, self.bins), np.float32)))
        envelope = ops.max(precision[None] * later, axis=-1)
        steps = ops.flip(ops.convert_to_tensor(self.right)) / ops.maximum(self.objects, 1.0)
        return ops.sum(envelope * steps)

    def reset_state(self) -> None:
        for variable in self.variables:
            variable.assign(ops.zeros(variable.shape, variable.dtype))

    def get_config(self) -> dict[str, Any]:
        return {"number": self.number, "limit": self.limit, "bins": self.bins,
                "name": self.name}  # fmt: skip
