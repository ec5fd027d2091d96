"""The user's own model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.engine.custom import call, import_function
from pipelines.errors import UserError

if TYPE_CHECKING:
    import keras


def build(builder: str, input_shape: tuple[int, ...], classes: int) -> keras.Model:
    """Calls `module:function` with (input_shape, classes).

    Raises:
        UserError: It fails, returns no Keras model, or one with another output than (B, classes).
    """
    import keras

    what = f"model.builder {builder}"
    model = call(import_function(builder, "model.builder"), input_shape, classes, what=what)
    if not isinstance(model, keras.Model):
        raise UserError(f"{what} must return a Keras model, got {type(model).__name__}")
    if not model.built:
        call(model.build, (None, *input_shape), what=what)
    shape = call(model.compute_output_shape, (None, *input_shape), what=what)
    if tuple(shape)[1:] != (classes,):
        raise UserError(f"{what} must give logits (batch, {classes}), but gives {tuple(shape)}")
    return model
