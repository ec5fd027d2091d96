"""Scores of segmentation, from the confusion matrix of each image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines.engine.calibration import Reliability, reliability
from pipelines.metrics import Estimate, bootstrap
from pipelines.segmentation.masks import IGNORED

BINS = 15
TOLERANCE = 0.0075  # of the image's diagonal, how far a boundary may be off (Cordts et al. use about as much)
CALIBRATED = 500  # pixels of an image, at most, that count in the calibration error


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Scores on one set of images.

    Args:
        classes: K names.
        metrics: Name to value and 95 % interval.
        iou: K estimates, undefined for a class that occurs neither in the masks nor in the predictions.
        support: int64 (K,), pixels of each class.
        confusion: int64 (K, K), rows are the true classes.
        images: Mean IoU of each image, (N,).
        reliability: Bins over a sample of the pixels.
        resamples: Bootstrap resamples.
    """

    classes: tuple[str, ...]
    metrics: dict[str, Estimate]
    iou: list[Estimate]
    support: np.ndarray
    confusion: np.ndarray
    images: np.ndarray
    reliability: Reliability
    resamples: int

    def to_json(self) -> dict[str, Any]:
        """What metrics.json holds; undefined numbers are None."""
        return {
            "samples": len(self.images),
            "resamples": self.resamples,
            "classes": list(self.classes),
            "metrics": {name: estimate.to_json() for name, estimate in self.metrics.items()},
            "per_class": [
                {"name": name, "iou": e.to_json(), "pixels": int(n)}
                for name, e, n in zip(self.classes, self.iou, self.support, strict=True)
            ],
            "confusion": self.confusion.tolist(),
            "reliability": self.reliability.to_json(),
        }


def image_confusion(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """int64 (K, K) of one image: rows are the true classes; ignored pixels do not count."""
    valid = truth != IGNORED
    flat = truth[valid].astype(np.int64) * classes + predicted[valid]
    return np.bincount(flat, minlength=classes * classes).reshape(classes, classes)


def iou(confusion: np.ndarray) -> np.ndarray:
    """Intersection over union of each class (..., K) from confusion matrices (..., K, K); NaN where it is absent."""
    hits = np.diagonal(confusion, axis1=-2, axis2=-1).astype(float)
    union = confusion.sum(-1) + confusion.sum(-2) - hits
    return np.divide(hits, union, out=np.full(hits.shape, np.nan), where=union > 0)


def dice(confusion: np.ndarray) -> np.ndarray:
    """Dice coefficient of each class (..., K); NaN where it is absent."""
    j = iou(confusion)
    return 2 * j / (1 + j)


def boundaries(mask: np.ndarray) -> np.ndarray:
    """bool (H, W): the pixels of a region, bool (H, W), that touch its outside."""
    from scipy.ndimage import binary_erosion

    return mask & ~binary_erosion(mask, border_value=1)


def boundary_f1(truth: np.ndarray, predicted: np.ndarray, classes: int) -> float:
    """Mean over the classes of an image of the F1 of their boundaries, NaN without any (Csurka et al., 2013).

    A pixel of a boundary is right if the other boundary has one within 0.75 % of the image's diagonal (at least one
    pixel).
    """
    from scipy.ndimage import distance_transform_edt

    reach = max(1.0, TOLERANCE * math.hypot(*truth.shape))
    valid, scores = truth != IGNORED, []
    for k in range(classes):
        true, found = (boundaries((mask == k) & valid) for mask in (truth, predicted))
        if not true.any() and not found.any():
            continue
        if not true.any() or not found.any():
            scores.append(0.0)
            continue
        precision = (distance_transform_edt(~true)[found] <= reach).mean()
        recall = (distance_transform_edt(~found)[true] <= reach).mean()
        scores.append(2 * precision * recall / max(precision + recall, 1e-12))
    return float(np.mean(scores)) if scores else math.nan


class Collected:
    """Gathers what the scores need, image by image, so that the probabilities of one batch are in memory at a time.

    Args:
        classes: K.
        seed: Seed of the choice of pixels for the calibration error.
    """

    def __init__(self, classes: int, seed: int) -> None:
        self.classes = classes
        self._draw = np.random.default_rng(seed)
        self.confusions: list[np.ndarray] = []
        self.boundary: list[float] = []
        self.labels: list[np.ndarray] = []
        self.probabilities: list[np.ndarray] = []

    def add(self, truth: np.ndarray, probabilities: np.ndarray) -> None:
        """Class numbers uint8 (H, W) and probabilities (H, W, K) of one image."""
        predicted = probabilities.argmax(-1)
        self.confusions.append(image_confusion(truth, predicted, self.classes))
        self.boundary.append(boundary_f1(truth, predicted, self.classes))
        valid = np.flatnonzero(truth.ravel() != IGNORED)
        chosen = self._draw.choice(valid, min(CALIBRATED, len(valid)), replace=False)
        self.labels.append(truth.ravel()[chosen].astype(np.int64))
        self.probabilities.append(probabilities.reshape(-1, self.classes)[chosen].astype(np.float64))

    def score(self, classes: Sequence[str], *, seed: int, resamples: int) -> Segmentation:
        """All scores with intervals from the bootstrap over images.

        `mean_iou` is over the pixels of the whole set, the mean of the classes that occur, the background included;
        `mean_iou_images` is the mean over images of the mean IoU over the classes that occur in an image.
        """
        stacked = np.stack(self.confusions)
        every = len(stacked)
        options: dict[str, Any] = {"seed": seed, "resamples": resamples}

        def over(score: Any) -> Estimate:
            return bootstrap(lambda rows: score(stacked[rows].sum(0)), every, **options)

        with np.errstate(invalid="ignore"):
            of_images = np.array([_mean(iou(matrix)) for matrix in stacked])
            boundary = np.array(self.boundary)
            metrics = {
                "mean_iou": over(lambda matrix: _mean(iou(matrix))),
                "mean_iou_images": bootstrap(lambda rows: _mean(of_images[rows]), every, **options),
                "dice": over(lambda matrix: _mean(dice(matrix))),
                "boundary_f1": bootstrap(lambda rows: _mean(boundary[rows]), every, **options),
                "pixel_accuracy": over(lambda matrix: np.trace(matrix) / max(matrix.sum(), 1)),
                "mean_pixel_accuracy": over(lambda matrix: _mean(np.diag(matrix) / matrix.sum(1))),
            }
            if len(classes) > 2:
                metrics["mean_iou_foreground"] = over(lambda matrix: _mean(iou(matrix)[1:]))
            each = [over(lambda matrix, k=k: iou(matrix)[k]) for k in range(len(classes))]
        bins = reliability(np.concatenate(self.labels), np.concatenate(self.probabilities), BINS)
        metrics["expected_calibration_error"] = Estimate(bins.error)
        total = stacked.sum(0)
        return Segmentation(tuple(classes), metrics, each, total.sum(1), total, of_images, bins, resamples)


def _mean(values: np.ndarray) -> float:
    """The mean of what is defined; NaN where nothing is."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else math.nan
