"""The network of a run: our own or the user's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.core.errors import UserError
from pipelines.core.functions import call, import_function
from pipelines.detection import models
from pipelines.detection.layers import locations

if TYPE_CHECKING:
    import keras

    from pipelines.detection.config import DetectionModelConfig
    from pipelines.detection.load import DetectionSplits


def strides_of(options: DetectionModelConfig, data: DetectionSplits) -> tuple[int, ...]:
    """The strides that the user chose, or those that suit the training boxes.

    Raises:
        UserError: The size of the input is no multiple of the largest.
    """
    strides = tuple(options.strides) or models.choose_strides(data.train.sides())
    if not options.strides:
        while len(strides) > 1 and data.size % strides[-1]:
            strides = strides[:-1]
    if data.size % strides[-1]:
        raise UserError(f"data.size {data.size} must be a multiple of the largest of model.strides, {strides[-1]}")
    return strides


def build(options: DetectionModelConfig, data: DetectionSplits) -> keras.Model:
    """From images (B, S, S, 3) to boxes and class logits (B, A, 4 + K).

    Raises:
        UserError: The user's function fails, or its model gives something else.
    """
    import keras

    shape, classes, strides = (data.size, data.size, 3), len(data.classes), strides_of(options, data)
    if options.builder == "detector":
        return models.detector(
            shape, classes, strides, width=options.width, depth=options.depth, head=options.head
        )  # fmt: skip
    what = f"model.builder {options.builder}"
    model = call(import_function(options.builder, "model.builder"), shape, classes, strides, what=what)
    if not isinstance(model, keras.Model):
        raise UserError(f"{what} must return a Keras model, got {type(model).__name__}")
    number = len(locations(*shape[:2], strides)[0])
    found = tuple(call(model.compute_output_shape, (None, *shape), what=what))
    if found[1:] != (number, 4 + classes):
        raise UserError(f"{what} must give (batch, {number}, {4 + classes}): boxes in pixels and class logits at all "
                        f"locations of the strides {', '.join(map(str, strides))}; it gives {found}")  # fmt: skip
    return model
