"""Put a penalty on a model that already exists."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import keras

PENALTIES: dict[str, Callable[[float], keras.Regularizer]] = {
    "l1": lambda strength: keras.regularizers.L1(strength),
    "l2": lambda strength: keras.regularizers.L2(strength),
    "elastic": lambda strength: keras.regularizers.L1L2(l1=strength, l2=strength),
}
# Keras's layers name the regularizer of each kernel after it, with these exceptions.
KERNELS = (
    ("kernel", "kernel_regularizer"),
    ("kernel", "depthwise_regularizer"),
    ("recurrent_kernel", "recurrent_regularizer"),
    ("depthwise_kernel", "depthwise_regularizer"),
    ("pointwise_kernel", "pointwise_regularizer"),
)


def names() -> tuple[str, ...]:
    """Names that `get` and `apply` know."""
    return tuple(PENALTIES)


def get(name: str, strength: float) -> keras.Regularizer:
    """A penalty by name: `l1`, `l2` or `elastic` (both, with the same strength).

    Raises:
        ValueError: The name is unknown, or the strength negative.
    """
    if name not in PENALTIES:
        raise ValueError(f"unknown regularizer {name!r}: expected one of {', '.join(PENALTIES)}")
    if not strength >= 0:
        raise ValueError(f"strength must not be negative, got {strength}")
    return PENALTIES[name](strength)


def apply(
    model: keras.Model,
    regularizer: str | keras.Regularizer,
    strength: float | None = None,
    where: Callable[[keras.layers.Layer], bool] | None = None,
) -> list[str]:
    """Puts a penalty on the kernels of a built model, nested models included.

    Biases, norms and embeddings have no kernel and are left out. The layers' configuration is changed as well, so
    the penalty survives saving and loading. Compile (again) afterwards: a compiled step does not see it.

    Args:
        model: A built model.
        regularizer: A name, with `strength`, or a Keras regularizer.
        strength: Factor of the penalty in the loss.
        where: Keeps only the layers for which it is true.

    Returns:
        The paths of the kernels that are now penalized.

    Raises:
        ValueError: The model is not built, or no kernel is found.
    """
    if isinstance(regularizer, str):
        if strength is None:
            raise ValueError(f"regularizer {regularizer!r} needs a strength")
        regularizer = get(regularizer, strength)
    if not model.built:
        raise ValueError("build the model before putting a penalty on its kernels")
    touched = []
    for layer, attribute, variable in _kernels(model):
        if where is None or where(layer):
            setattr(layer, attribute, regularizer)
            variable.regularizer = regularizer
            touched.append(variable.path)
    if not touched:
        raise ValueError("no layer with a kernel was found to put the penalty on")
    return touched


def _kernels(model: keras.Model) -> Iterator[tuple[keras.layers.Layer, str, keras.Variable]]:
    for layer in model._flatten_layers(include_self=False):
        for kernel, attribute in KERNELS:
            # Where a layer computes its kernel (LoRA, quantization), the variable hides behind an underscore.
            variable = getattr(layer, f"_{kernel}", None)
            variable = getattr(layer, kernel, None) if variable is None else variable
            if hasattr(layer, attribute) and isinstance(variable, keras.Variable):
                yield layer, attribute, variable
