"""The training batches: images with padded boxes, without mosaic in the last epochs."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipelines.data.stream import Stream, ordered
from pipelines.detection.augment import augment_batch
from pipelines.detection.config import DetectionAugmentConfig
from pipelines.detection.load import Samples

MOST = 200  # boxes of a training image


class DetectionStream(Stream):
    """A stream that knows which epochs are plain: their seeds are negative, and a resumed run draws the same.

    Args:
        plain_from: The first epoch without mosaic.
        arguments: Those of `Stream`.
        keywords: Likewise.
    """

    def __init__(self, *arguments: Any, plain_from: int, **keywords: Any) -> None:
        self._plain_from = plain_from
        super().__init__(*arguments, **keywords)

    def _plan(self) -> tuple[np.ndarray, np.ndarray]:
        batches, seeds = super()._plan()
        return batches, seeds if self._epoch < self._plain_from else -1 - seeds


def streams(
    train: Samples, val: Samples, most: int, config: DetectionAugmentConfig, *, batch_size: int, epochs: int, seed: int
) -> tuple[DetectionStream, Any]:
    """Training stream and validation batches of images (B, S, S, 3) with boxes (B, M, 5).

    Args:
        train: Training set.
        val: Validation set.
        most: M, boxes of an image; a mosaic of more loses some.
        config: Augmentation.
        batch_size: Images in a step.
        epochs: Length of the training.
        seed: Seed of order and augmentation.
    """
    import tensorflow as tf

    most = min(most, MOST)
    room = most + most // 2 if config.mosaic else most
    signature = [((train.size, train.size, 3), np.uint8), ((room, 5), np.float32)]
    of_train, of_val = train.truth(room), val.truth(room)

    def augmented(images: Any, truth: Any, seed: Any) -> Any:
        chance = tf.where(seed[0] < 0, 0.0, config.mosaic)
        return augment_batch(images, truth, seed, config, chance)

    stream = DetectionStream(
        lambda i: (train.read(i), of_train[i]), signature, len(train), batch_size=batch_size, seed=seed, complete=True,
        transform=augmented, plain_from=round(epochs * (1 - config.plain_epochs)),
    )  # fmt: skip
    return stream, ordered(lambda i: (val.read(i), of_val[i]), signature, len(val), batch_size=batch_size)
