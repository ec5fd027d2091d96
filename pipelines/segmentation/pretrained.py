"""Pretrained networks for segmentation: encoders of keras.applications, and models and encoders of KerasHub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.core.errors import UserError
from pipelines.core.files import one_line
from pipelines.engine.fit import BACKBONE

if TYPE_CHECKING:
    import keras


def build(
    builder: str, input_shape: tuple[int, int, int], classes: int, *, weights: str, width: int, dropout: float
) -> keras.Model:
    """A model from raw images 0..255 to logits (B, H, W, classes).

    DeepLabV3+ and SegFormer of KerasHub have a decoder of their own; other encoders get that of a U-Net.

    Args:
        builder: `applications:NAME` or `kerashub:PRESET_OR_FOLDER`.
        input_shape: (H, W, C); grey images are repeated to three channels.
        classes: Number of outputs.
        weights: `pretrained`, or `none` for random ones.
        width: Channels of the finest step of the decoder.
        dropout: Rate before the last layer.

    Raises:
        UserError: The name is unknown, the weights cannot be had, or it is no network for images.
    """
    import keras
    from keras import layers

    kind, _, name = builder.partition(":")
    if input_shape[-1] not in (1, 3):
        raise UserError(f"model.builder {builder} needs grey or colour images, not {input_shape[-1]} channels")
    inputs = keras.Input(input_shape, name="image")
    x = layers.Concatenate()([inputs] * 3) if input_shape[-1] == 1 else inputs
    make = _application if kind == "applications" else _kerashub
    backbone, preprocess = make(name, (*input_shape[:2], 3), weights)
    backbone.name = BACKBONE
    features = backbone(preprocess(x))
    if isinstance(features, list):
        features = decode(features, width)
    if dropout:
        features = layers.SpatialDropout2D(dropout)(features)
    scores = layers.Conv2D(classes, 1, dtype="float32", name="scores")(features)
    scores = layers.Resizing(*input_shape[:2], interpolation="bilinear", dtype="float32")(scores)
    # A last layer that starts as the identity, into which the calibration goes.
    logits = layers.Dense(classes, kernel_initializer="identity", dtype="float32", name="logits")(scores)
    return keras.Model(inputs, logits, name="segmenter")


def decode(features: list[Any], width: int) -> Any:
    """The decoder of a U-Net (Ronneberger et al., 2015), from the coarsest features to the finest.

    Args:
        features: (B, h, w, C) tensors, the finest first.
        width: Channels of the finest step, doubled at each coarser one up to eight times.
    """
    from keras import layers

    x = features[-1]
    for level in reversed(range(len(features) - 1)):
        skip = features[level]
        filters = width * min(2**level, 8)
        x = layers.Resizing(*skip.shape[1:3], interpolation="bilinear")(x)
        x = layers.Concatenate()([x, skip])
        for _ in range(2):
            x = layers.Conv2D(filters, 3, padding="same", use_bias=False, kernel_initializer="he_normal")(x)
            x = layers.ReLU()(layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x))
    return x


def _application(name: str, shape: tuple[int, int, int], weights: str) -> tuple[keras.Model, Any]:
    """An encoder of keras.applications with its last features of each size, the finest first."""
    import keras

    from pipelines.images.pretrained import application

    whole, preprocess = application(name, shape, "none" if weights == "none" else "imagenet")
    finest: dict[tuple[int, int], Any] = {}
    for layer in whole.layers:
        output = getattr(layer, "output", None)
        if isinstance(output, keras.KerasTensor) and len(output.shape) == 4 and output.shape[1] < shape[0]:
            finest[(output.shape[1], output.shape[2])] = output
    # Of sizes that differ by a border only, the later one counts.
    chosen: list[Any] = []
    for output in finest.values():
        if chosen and chosen[-1].shape[1] < 1.5 * output.shape[1]:
            chosen[-1] = output
        else:
            chosen.append(output)
    return keras.Model(whole.inputs, chosen), preprocess


def _kerashub(name: str, shape: tuple[int, int, int], weights: str) -> tuple[keras.Model, Any]:
    """A backbone of KerasHub: the outputs of its pyramid, or the output of one that has a decoder of its own."""
    import keras
    import keras_hub

    source = str(Path(name).resolve()) if Path(name).is_dir() else name
    try:
        backbone = keras_hub.models.Backbone.from_preset(source, load_weights=weights != "none")
    except Exception as error:
        raise UserError(
            f"model.builder kerashub:{name}: the model could not be had ({one_line(error, 160)}): connect to the "
            "network once, give a local folder, or use the builder unet"
        ) from None
    if isinstance(backbone.input, (dict, list)) or len(backbone.input.shape) != 4:
        raise UserError(f"model.builder kerashub:{name} is no image model")
    fixed = backbone.input.shape[1:3]  # SegFormer's size is part of its preset
    size = shape[:2] if None in fixed else fixed
    try:
        converter = keras_hub.layers.ImageConverter.from_preset(source, image_size=size)
    except Exception:  # a preset without one
        converter = None
    preprocess = converter or keras.Sequential([keras.layers.Rescaling(1 / 255.0), keras.layers.Resizing(*size)])
    pyramid = getattr(backbone, "pyramid_outputs", None)
    if not pyramid:
        if isinstance(backbone.output, (dict, list)) or len(backbone.output.shape) != 4:
            raise UserError(f"model.builder kerashub:{name} gives no map of features, which segmentation needs")
        return backbone, preprocess
    inputs = keras.Input((*size, 3))
    features = keras.Model(backbone.inputs, list(pyramid.values()))(inputs)
    return keras.Model(inputs, features), preprocess
