"""The user's own model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipelines.core.errors import UserError
from pipelines.core.functions import call, import_function

if TYPE_CHECKING:
    import keras


def build(builder: str, given: Any, classes: int, input_shape: tuple[int | None, ...] | None = None) -> keras.Model:
    """Calls `module:function` with (given, classes).

    Args:
        builder: Name of the function.
        given: Its first argument: the shape of one input, or what the task has instead.
        classes: Number of outputs.
        input_shape: Shape of one input, where `given` is something else.

    Raises:
        UserError: It fails, returns no Keras model, or one with another output than (B, classes).
    """
    import keras

    what = f"model.builder {builder}"
    shape_of_one = given if input_shape is None else input_shape
    model = call(import_function(builder, "model.builder"), given, classes, what=what)
    if not isinstance(model, keras.Model):
        raise UserError(f"{what} must return a Keras model, got {type(model).__name__}")
    if not model.built:
        call(model.build, (None, *shape_of_one), what=what)
    shape = call(model.compute_output_shape, (None, *shape_of_one), what=what)
    if tuple(shape)[1:] != (classes,):
        raise UserError(f"{what} must give logits (batch, {classes}), but gives {tuple(shape)}")
    return model
