"""Regularizers for any Keras 3 model, by name; `python -m regularizers` lists them.

```python
import keras
import regularizers

regularizers.apply(model, "group-lasso", 1e-4)
model.compile(...)
```

Imported before keras, nothing here imports it until it is needed, so that a command line can list the names at once;
`register` then makes the classes known to `keras.models.load_model`. Imported after keras, they are known at once.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

from regularizers.registry import get, names, record

if TYPE_CHECKING:
    from regularizers.confidence import Confidence
    from regularizers.decorrelation import Decorrelation
    from regularizers.drop_block import DropBlock
    from regularizers.drop_connect import DropConnect
    from regularizers.group_lasso import GroupLasso
    from regularizers.hoyer import Hoyer, HoyerSquare
    from regularizers.jacobian import InputGradient, Jacobian
    from regularizers.label_smoothing import LabelSmoothing
    from regularizers.on_model import applied, apply
    from regularizers.orthogonal import SRIP, SoftOrthogonal
    from regularizers.r_drop import RDrop, RDropLoss
    from regularizers.spectral import SpectralNorm
    from regularizers.step import StepPenalty
    from regularizers.stochastic_depth import StochasticDepth

__all__ = [
    "SRIP", "Confidence", "Decorrelation", "DropBlock", "DropConnect", "GroupLasso", "Hoyer", "HoyerSquare",
    "InputGradient", "Jacobian", "LabelSmoothing", "RDrop", "RDropLoss", "SoftOrthogonal", "SpectralNorm",
    "StepPenalty", "StochasticDepth", "applied", "apply", "get", "names", "record", "register",
]  # fmt: skip
_MODULES = (
    "confidence", "decorrelation", "drop_block", "drop_connect", "group_lasso", "hoyer", "jacobian",
    "label_smoothing", "on_model", "orthogonal", "r_drop", "spectral", "step", "stochastic_depth",
)  # fmt: skip


def register() -> None:
    """Makes all layers, penalties and losses of this package known to `keras.models.load_model`."""
    for name in _MODULES:
        module = importlib.import_module(f"regularizers.{name}")
        globals().update({k: v for k, v in vars(module).items() if k in __all__})


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'regularizers' has no attribute {name!r}")
    register()
    return globals()[name]


if "keras" in sys.modules:
    register()
