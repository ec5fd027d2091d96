"""Optimizers and learning-rate schedules by name, for any Keras 3 model; `python -m optimizers` lists them.

```python
from optimizers import registry, schedules
rate = schedules.get("one-cycle", peak=1e-3, steps=epochs * steps_per_epoch)
model.compile(optimizer=registry.get("adamw", learning_rate=rate, model=model), loss=...)
```

Imported after keras, this package makes all its classes known to `keras.models.load_model`. Imported before keras, it
imports nothing slow, so that a command line can list the names at once; `optimizers.register()` then does the same.
"""

from __future__ import annotations

import importlib
import sys

_MODULES = (
    "base", "cautious", "centralized", "lookahead", "monitored", "per_layer", "schedule_free", "schedules", "sparing",
)  # fmt: skip


def register() -> None:
    """Makes all optimizers, wrappers and schedules of this package known to `keras.models.load_model`."""
    for name in _MODULES:  # `sparing` imports the module of each optimizer
        importlib.import_module(f"optimizers.{name}")


if "keras" in sys.modules:
    register()
