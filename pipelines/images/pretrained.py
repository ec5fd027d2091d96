"""Pretrained image models: keras.applications and KerasHub."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.core.errors import UserError
from pipelines.core.files import one_line
from pipelines.engine.fit import BACKBONE

if TYPE_CHECKING:
    import keras


def build(
    builder: str, input_shape: tuple[int, int, int], classes: int, *, weights: str, dropout: float
) -> keras.Model:
    """A model from raw images 0..255 to logits: preprocessing, backbone, pooling, one new layer.

    Args:
        builder: `applications:NAME` or `kerashub:PRESET_OR_FOLDER`.
        input_shape: (H, W, C); grey images are repeated to three channels.
        classes: Number of outputs.
        weights: `imagenet`, or `none` for random ones.
        dropout: Rate before the last layer.

    Raises:
        UserError: The name is unknown, or the weights cannot be had.
    """
    import keras
    from keras import layers

    kind, _, name = builder.partition(":")
    inputs = keras.Input(input_shape, name="image")
    x = layers.Concatenate()([inputs] * 3) if input_shape[-1] == 1 else inputs
    make = application if kind == "applications" else _kerashub
    backbone, preprocess = make(name, (*input_shape[:2], 3), weights)
    backbone.name = BACKBONE
    x = backbone(preprocess(x))
    if len(x.shape) == 4:
        x = layers.GlobalAveragePooling2D()(x)
    elif len(x.shape) == 3:
        x = layers.GlobalAveragePooling1D()(x)
    if dropout:
        x = layers.Dropout(dropout)(x)
    return keras.Model(inputs, layers.Dense(classes, dtype="float32", name="logits")(x), name="classifier")


def application(name: str, shape: tuple[int, int, int], weights: str) -> tuple[keras.Model, Any]:
    """A network of keras.applications without its last layers, and the layer that prepares images 0..255 for it.

    Raises:
        UserError: The name is unknown, the images are too small, or the weights cannot be had.
    """
    import keras

    known = {n: f for n, f in vars(keras.applications).items() if n[0].isupper() and callable(f)}
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
        raise UserError(
            f"model.builder applications:{name} is unknown"
            + (f"; did you mean applications:{near[0]}?" if near else f": expected one of {', '.join(known)}")
        )
    try:
        backbone = known[name](include_top=False, weights=None if weights == "none" else weights, input_shape=shape)
    except ValueError as error:
        hint = "; --data.size enlarges the images" if "at least" in str(error) else ""
        raise UserError(f"model.builder applications:{name}: {one_line(error)}{hint}") from None
    except Exception as error:
        raise UserError(_offline(f"applications:{name}", error)) from None
    return backbone, _application_preprocessing(name)


def _application_preprocessing(name: str) -> Any:
    """What the model family's `preprocess_input` does, as a layer that is saved with the model."""
    from keras import layers

    if name.startswith(("EfficientNet", "MobileNetV3", "ConvNeXt")):
        return layers.Identity(name="preprocess")  # these have it inside
    if name.startswith("DenseNet"):
        mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
        variance = [(255 * s) ** 2 for s in std]
        return layers.Normalization(mean=[255 * m for m in mean], variance=variance, name="preprocess")
    if name.startswith(("ResNet", "VGG")) and "V2" not in name:
        from pipelines.layers import CaffePreprocessing

        return CaffePreprocessing(name="preprocess")
    return layers.Rescaling(1 / 127.5, offset=-1.0, name="preprocess")


def _kerashub(name: str, shape: tuple[int, int, int], weights: str) -> tuple[keras.Model, Any]:
    import keras
    import keras_hub

    source = str(Path(name).resolve()) if Path(name).is_dir() else name
    try:
        backbone = keras_hub.models.Backbone.from_preset(source, load_weights=weights != "none")
        converter = keras_hub.layers.ImageConverter.from_preset(source, image_size=shape[:2])
    except Exception as error:
        raise UserError(_offline(f"kerashub:{name}", error)) from None
    if isinstance(backbone.input, dict) or len(backbone.input.shape) != 4:
        raise UserError(f"model.builder kerashub:{name} is no image model")
    if converter is None:
        converter = keras.layers.Rescaling(1 / 255.0)
    return backbone, converter


def _offline(builder: str, error: Exception) -> str:
    return (
        f"model.builder {builder}: the pretrained weights could not be had ({one_line(error, 160)}): connect to the "
        "network once, give a local folder, or train from scratch with --model.weights none"
    )
