"""Confidences that say how often a detection is right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pipelines.core.console import say
from pipelines.detection.boxes import Detections
from pipelines.detection.scores import Match

if TYPE_CHECKING:
    import keras

FEWEST = 20  # detections of either outcome


def platt(found: Sequence[Detections], matched: Sequence[Match]) -> tuple[float, float] | None:
    """Scale and bias of the logits that make the confidences most likely (Platt, 1999), from a validation set.

    Returns:
        None where there are too few detections to tell.
    """
    from sklearn.linear_model import LogisticRegression

    scores = np.concatenate([one.scores for one in found] or [np.zeros(0)]).astype(float)
    kinds = np.concatenate([m.kind for m in matched] or [np.zeros(0, object)])
    scores, right = scores[kinds != "ignored"], kinds[kinds != "ignored"] == "right"
    if min(right.sum(), (~right).sum()) < FEWEST:
        return None
    clipped = np.clip(scores, 1e-6, 1 - 1e-6)
    model = LogisticRegression(C=1e6).fit(np.log(clipped / (1 - clipped))[:, None], right)
    scale, bias = float(model.coef_[0, 0]), float(model.intercept_[0])
    return (scale, bias) if scale > 0 else None


def calibrate(model: keras.Model, found: Sequence[Detections], matched: Sequence[Match]) -> bool:
    """Sets the scale and the bias of a model's last layer; False where it has none, or there is too little to tell."""
    layer = model.layers[-1]
    if not (hasattr(layer, "scale") and hasattr(layer, "bias") and layer.name == "logits"):
        say("not calibrated: the last layer of the model is no DetectionOutput named logits")
        return False
    values = platt(found, matched)
    if values is None:
        say("not calibrated: too few right or wrong detections in the validation set")
        return False
    layer.scale.assign(values[0])
    layer.bias.assign(values[1])
    say(f"calibrated on the validation set: confidence logits times {values[0]:.2f} plus {values[1]:+.2f}")
    return True
