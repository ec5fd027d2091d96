"""Boxes as NumPy arrays: left, top, right, bottom in pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NOTHING = -1.0  # class of the rows that pad the boxes of an image
CROWD = -2.0  # class of regions where a detection is neither right nor wrong


@dataclass(frozen=True, eq=False)
class Detections:
    """What was found in an image, the highest score first.

    Args:
        boxes: float32 (N, 4).
        scores: float32 (N,), between 0 and 1.
        labels: int64 (N,).
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)

    def at_least(self, score: float | np.ndarray) -> Detections:
        """Those with at least a score, one for all classes or one for each, (K,)."""
        least = score if np.isscalar(score) else np.asarray(score)[self.labels]
        return self.take(self.scores >= least)

    def take(self, chosen: np.ndarray) -> Detections:
        """Those of the given numbers or truth values."""
        return Detections(self.boxes[chosen], self.scores[chosen], self.labels[chosen])


def areas(boxes: np.ndarray) -> np.ndarray:
    """(N,) areas of boxes (N, 4)."""
    return np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1)


def overlaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union (N, M) of boxes (N, 4) and (M, 4)."""
    corner = np.maximum(a[:, None, :2], b[None, :, :2])
    sides = np.maximum(np.minimum(a[:, None, 2:], b[None, :, 2:]) - corner, 0)
    shared = sides.prod(-1)
    return shared / np.maximum(areas(a)[:, None] + areas(b)[None] - shared, 1e-9)


def suppress(boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, threshold: float, most: int) -> np.ndarray:
    """Greedy non-maximum suppression within each class: the numbers of what stays, the highest score first.

    Args:
        boxes: (N, 4).
        scores: (N,).
        labels: (N,).
        threshold: IoU from which on a box with a lower score is dropped.
        most: Number of boxes that stay at most.
    """
    if not len(boxes):
        return np.zeros(0, np.int64)
    # Boxes of different classes are moved apart, so that one pass serves all classes.
    shifted = boxes + (labels * (boxes.max() - boxes.min() + 1))[:, None]
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while len(order) and len(kept) < most:
        first, rest = order[0], order[1:]
        kept.append(first)
        order = rest[overlaps(shifted[first : first + 1], shifted[rest])[0] < threshold]
    return np.array(kept, np.int64)


def decode(output: np.ndarray, *, least: float, threshold: float, most: int, candidates: int = 1000) -> Detections:
    """The detections of one image from the model's output.

    Args:
        output: (A, 4 + K): boxes and class logits.
        least: Score below which a location says nothing.
        threshold: IoU of the non-maximum suppression.
        most: Number of detections at most.
        candidates: Number of scores, at most, that enter the suppression.
    """
    with np.errstate(over="ignore"):
        scores = 1 / (1 + np.exp(-output[:, 4:].astype(np.float64)))
    rows, labels = np.nonzero(scores >= least)
    values = scores[rows, labels]
    if len(values) > candidates:
        best = np.argpartition(-values, candidates)[:candidates]
        rows, labels, values = rows[best], labels[best], values[best]
    boxes = output[rows, :4].astype(np.float32)
    kept = suppress(boxes, values, labels, threshold, most)
    return Detections(boxes[kept], values[kept].astype(np.float32), labels[kept])
