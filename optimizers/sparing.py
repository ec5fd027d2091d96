"""The optimizers of the registry once more, as they leave biases, norms and other vectors without weight decay.

Keras's `exclude_from_weight_decay` knows variables by their identity, which no saved model keeps: after `load_model`
they would decay. Here the class says it, which is saved. `import optimizers` registers these classes for loading.
"""

from __future__ import annotations

import importlib
from typing import Any

import keras

from optimizers.registry import RECORDS


class SparesVectors:
    """Mixed into an optimizer, leaves variables of fewer than two axes without weight decay."""

    def _use_weight_decay(self, variable: Any) -> bool:
        return len(variable.shape) > 1 and super()._use_weight_decay(variable)  # type: ignore[misc]

    def _apply_weight_decay(self, variables: Any) -> None:
        decayed = [variable for variable in variables if self._use_weight_decay(variable)]
        if decayed:  # Keras's own cannot do with none on PyTorch
            super()._apply_weight_decay(decayed)  # type: ignore[misc]


def _make(factory: str) -> type[keras.optimizers.Optimizer]:
    module, _, name = factory.rpartition(":")
    base = getattr(importlib.import_module(module) if module else keras.optimizers, name)
    base = type(base.__new__(base))  # on PyTorch Keras makes an object of another class than it is asked for
    made = type(f"Sparing{name}", (SparesVectors, base), {"__module__": __name__, "__doc__": base.__doc__})
    globals()[made.__name__] = made
    return keras.saving.register_keras_serializable(package="optimizers")(made)


CLASSES = {factory: _make(factory) for factory in dict.fromkeys(record.factory for record in RECORDS.values())}
