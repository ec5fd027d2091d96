"""The model that the options name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
from keras import ops

from pipelines.core.errors import UserError
from pipelines.core.functions import call, import_function
from pipelines.pairs import marian
from pipelines.pairs.models import Translator

if TYPE_CHECKING:
    from pipelines.pairs.config import TranslatorConfig


def build(options: TranslatorConfig, size: int, length: int, seed: int) -> Any:
    """The model that the options name, for `size` pieces.

    Raises:
        UserError: The user's function fails or returns something else.
    """
    if options.builder == "transformer":
        model = Translator(
            size, options.width, options.heads, options.inner or 4 * options.width, options.encoder_depth,
            options.decoder_depth, options.dropout or 0.0, positions=options.positions, length=2 * length,
        )  # fmt: skip
        model.build()
        return model
    if options.pretrained:
        return marian.load(options.builder.partition(":")[2], options.dropout or 0.0)
    what = f"model.builder {options.builder}"
    model = call(import_function(options.builder, "model.builder"), size, what=what)
    if not isinstance(model, keras.Model):
        raise UserError(f"{what} must return a Keras model, got {type(model).__name__}")
    example = ops.zeros((1, 4), "int32")
    shape = tuple(call(model, [example, example], what=what).shape)
    if shape != (1, 4, size):
        raise UserError(f"{what} must give logits (batch, target pieces, {size}), got {shape} for (1, 4)")
    return model
