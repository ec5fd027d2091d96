"""The loss of a detector: which location answers for which box, and how well it does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from pipelines.detection.boxes import CROWD
from pipelines.detection.layers import locations

TOP = 10  # locations that a box takes at most
ALPHA, BETA = 0.5, 6.0  # exponents of score and IoU in the alignment
BOX_WEIGHT = 2.5


def intersection_over_union(a: Any, b: Any, generalized: bool = False) -> Any:
    """IoU of boxes (..., 4) that broadcast, left, top, right, bottom; `generalized` gives GIoU, from -1 to 1.

    Reference:
        Rezatofighi et al., "Generalized Intersection over Union", CVPR 2019.
    """
    corner = ops.maximum(a[..., :2], b[..., :2])
    sides = ops.maximum(ops.minimum(a[..., 2:], b[..., 2:]) - corner, 0.0)
    overlap = sides[..., 0] * sides[..., 1]
    areas = [ops.prod(ops.maximum(x[..., 2:] - x[..., :2], 0.0), -1) for x in (a, b)]
    union = areas[0] + areas[1] - overlap
    iou = overlap / ops.maximum(union, 1e-6)
    if not generalized:
        return iou
    hull = ops.prod(ops.maximum(a[..., 2:], b[..., 2:]) - ops.minimum(a[..., :2], b[..., :2]), -1)
    return iou - (hull - union) / ops.maximum(hull, 1e-6)


@keras.saving.register_keras_serializable(package="pipelines")
class DetectionLoss(keras.losses.Loss):
    """Task-aligned assignment, binary cross-entropy against the aligned IoU, and GIoU.

    `call` takes true boxes (B, M, 5) (left, top, right, bottom, class; padded with the class `NOTHING`) and the model's
    output (B, A, 4 + K), and gives one number for the batch. A box is assigned to the locations inside it (or next to
    its centre) whose predictions are best aligned with it: score ** 0.5 * IoU ** 6.

    Args:
        height: Of the image.
        width: Of the image.
        strides: Of the pyramid.
        weights: Weights of the K classes, or None.

    Reference:
        Feng et al., "TOOD: Task-aligned One-stage Object Detection", ICCV 2021.
    """

    def __init__(
        self, height: int, width: int, strides: Sequence[int], weights: Any = None, name: str = "detection",
        **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(name=name, **kwargs)
        self.height, self.width, self.strides = height, width, [int(s) for s in strides]
        self.weights = None if weights is None else [float(w) for w in weights]
        self._centres, self._sizes = locations(height, width, self.strides)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        truth, predicted = ops.cast(y_true, "float32"), ops.cast(y_pred, "float32")
        boxes, logits = predicted[..., :4], predicted[..., 4:]
        target, owner, chosen, crowd = self.assign(truth, ops.stop_gradient(boxes), ops.stop_gradient(logits))
        total = ops.maximum(ops.sum(target), 1.0)
        each = ops.maximum(logits, 0.0) - logits * target + ops.log1p(ops.exp(-ops.abs(logits)))
        # Easy negatives outnumber everything: their weight falls with their score (varifocal; Zhang et al., 2021).
        focus = ops.where(target > 0, 1.0, ops.power(ops.stop_gradient(ops.sigmoid(logits)), 2.0) * 0.75)
        if self.weights is not None:
            focus = focus * ops.convert_to_tensor(self.weights)
        focus = ops.where(ops.logical_and(crowd, ops.logical_not(chosen))[..., None], 0.0, focus)
        of_class = ops.sum(each * focus)
        wanted = ops.take_along_axis(truth[..., :4], owner[..., None], 1)
        share = ops.sum(target, -1) * ops.cast(chosen, "float32")
        of_box = ops.sum((1 - intersection_over_union(boxes, wanted, generalized=True)) * share)
        return (of_class + BOX_WEIGHT * of_box) / total

    def assign(self, truth: Any, boxes: Any, logits: Any) -> tuple[Any, Any, Any, Any]:
        """Targets (B, A, K); for each location the row of its box, whether it has one, whether it is in a crowd."""
        classes = logits.shape[-1]
        real = truth[..., 4] >= 0  # (B, M)
        corners = truth[..., None, :4]  # (B, M, 1, 4)
        centres = self._centres[None, None]  # (1, 1, A, 2)
        inside = ops.min(ops.concatenate([centres - corners[..., :2], corners[..., 2:] - centres], -1), -1) > 0
        middle = (corners[..., :2] + corners[..., 2:]) / 2
        near = ops.max(ops.abs(centres - middle), -1) < self._sizes[None, None]
        crowd = ops.any(ops.logical_and(inside, (truth[..., 4] == CROWD)[..., None]), 1)
        candidate = ops.logical_and(ops.logical_or(inside, near), real[..., None])
        iou = ops.maximum(intersection_over_union(corners, boxes[:, None]), 1e-4)  # (B, M, A)
        labels = ops.cast(ops.maximum(truth[..., 4], 0.0), "int32")
        one_hot = ops.one_hot(labels, classes, dtype="float32")  # (B, M, K)
        score = ops.matmul(one_hot, ops.transpose(ops.sigmoid(logits), (0, 2, 1)))  # (B, M, A)
        aligned = ops.power(score, ALPHA) * ops.power(iou, BETA) * ops.cast(candidate, "float32")
        number = min(TOP, aligned.shape[-1])
        least = ops.top_k(aligned, number)[0][..., -1:]
        taken = ops.logical_and(candidate, ops.logical_and(aligned >= least, aligned > 0))
        # A location with several boxes keeps the one that it overlaps the most.
        claims = ops.where(taken, iou, -1.0)
        owner = ops.argmax(claims, 1)  # (B, A)
        chosen = ops.max(claims, 1) > 0
        mine = ops.logical_and(
            ops.transpose(ops.one_hot(owner, aligned.shape[1], dtype="float32"), (0, 2, 1)) > 0, taken
        )
        kept = aligned * ops.cast(mine, "float32")
        best = ops.max(kept, -1, keepdims=True)
        best_iou = ops.max(iou * ops.cast(mine, "float32"), -1, keepdims=True)
        level = ops.sum(kept / ops.maximum(best, 1e-9) * best_iou, 1)  # (B, A)
        of_owner = ops.take_along_axis(one_hot, owner[..., None], 1)  # (B, A, K)
        return of_owner * (level * ops.cast(chosen, "float32"))[..., None], owner, chosen, crowd

    def get_config(self) -> dict[str, Any]:
        config = {"height": self.height, "width": self.width, "strides": self.strides, "weights": self.weights}
        return {**super().get_config(), **config}
