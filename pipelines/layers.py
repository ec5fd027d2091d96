"""Layers that the pipelines' models share."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="pipelines")
class CaffePreprocessing(keras.layers.Layer):
    """RGB 0..255 to BGR minus the mean of ImageNet: what VGG and the first ResNets were trained on."""

    def call(self, inputs: Any) -> Any:
        mean = ops.convert_to_tensor([103.939, 116.779, 123.68], dtype=inputs.dtype)
        return ops.flip(inputs, axis=-1) - mean

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape
