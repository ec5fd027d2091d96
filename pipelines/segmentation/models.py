"""Networks from images to logits of the same height and width."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipelines.core.errors import UserError

if TYPE_CHECKING:
    import keras


def unet(
    input_shape: tuple[int, int, int], classes: int, *, width: int = 16, depth: int = 3, stride: int = 2,
    dropout: float = 0.0,
) -> keras.Model:  # fmt: skip
    """Builds a U-Net (Ronneberger et al., 2015) with residual blocks (He et al., 2016) and batch normalization.

    The highest resolutions are the most expensive and add the least: with a stride of 2 or 4, each square of so many
    pixels enters as the channels of one (space to depth), and leaves by sub-pixel convolution (Shi et al., 2016), so
    that masks keep their detail. Images whose sides do not fit are padded inside, and the logits cut to their size.

    Args:
        input_shape: (H, W, C) of images 0..255, which the network scales itself.
        classes: Number of outputs for each pixel, the background included.
        width: Channels of the first stage, doubled at each further one up to eight times.
        depth: How often the stages halve the image.
        stride: 1, 2 or 4.
        dropout: Rate before the last layer.

    Returns:
        A functional model from (B, H, W, C) to float32 logits (B, H, W, classes).
    """
    import keras
    from keras import layers

    from pipelines.layers import DepthToSpace, SpaceToDepth

    def conv(x: Any, filters: int, size: int = 3) -> Any:
        x = layers.Conv2D(filters, size, padding="same", use_bias=False, kernel_initializer="he_normal")(x)
        return layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)

    def block(x: Any, filters: int) -> Any:
        branch = conv(layers.ReLU()(conv(x, filters)), filters)
        if x.shape[-1] != filters:
            x = conv(x, filters, 1)
        return layers.ReLU()(layers.Add()([x, branch]))

    multiple = stride * 2**depth
    below, beside = -input_shape[0] % multiple, -input_shape[1] % multiple
    inputs = keras.Input(input_shape, name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1.0)(inputs)
    if below or beside:
        x = layers.ZeroPadding2D(((0, below), (0, beside)))(x)
    if stride > 1:
        x = SpaceToDepth(stride)(x)
    x = layers.ReLU()(conv(x, width))
    skips = []
    for stage in range(1, depth + 1):
        skips.append(x)
        x = block(layers.MaxPooling2D()(x), width * min(2**stage, 8))
    for stage in reversed(range(depth)):
        filters = width * min(2**stage, 8)
        x = layers.UpSampling2D(interpolation="nearest")(conv(x, filters, 1))
        x = block(layers.Add()([x, skips[stage]]), filters)
    if stride > 1:
        x = DepthToSpace(stride)(layers.ReLU()(conv(x, width * stride * stride // 2, 3)))
    if below or beside:
        x = layers.Cropping2D(((0, below), (0, beside)))(x)
    if dropout:
        x = layers.Dropout(dropout)(x)
    return keras.Model(inputs, layers.Conv2D(classes, 1, dtype="float32", name="logits")(x), name="unet")


def own(builder: str, input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Calls the user's `module:function` with (input_shape, classes).

    Raises:
        UserError: It fails, returns no Keras model, or one with another output than (B, H, W, classes).
    """
    import keras

    from pipelines.core.functions import call, import_function

    what = f"model.builder {builder}"
    model = call(import_function(builder, "model.builder"), input_shape, classes, what=what)
    if not isinstance(model, keras.Model):
        raise UserError(f"{what} must return a Keras model, got {type(model).__name__}")
    shape = call(model.compute_output_shape, (None, *input_shape), what=what)
    if tuple(shape)[1:] != (*input_shape[:2], classes):
        expected = (*input_shape[:2], classes)
        raise UserError(f"{what} must give logits (batch, {', '.join(map(str, expected))}), but gives {tuple(shape)}")
    return model
