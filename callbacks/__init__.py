"""Callbacks for any Keras 3 model, on every backend.

```python
from callbacks import Checkpoint, EarlyStopping, Progress, TensorBoard
stopping = EarlyStopping(monitor="val_accuracy", mode="max", patience=5)
model.fit(x, y, validation_data=(vx, vy), callbacks=[Progress(), TensorBoard("logs"), stopping], verbose=0)
```
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from callbacks.checkpoint import Checkpoint, CheckpointError
from callbacks.early_stopping import EarlyStopping
from callbacks.evaluation import EvaluationWeights, estimate_statistics
from callbacks.nan_guard import DivergenceError, NanGuard
from callbacks.overfit import OverfitMonitor
from callbacks.weights import evaluation_weights, set_weights

if TYPE_CHECKING:
    from callbacks.figures import classification_figures
    from callbacks.lr_finder import LearningRateFinder, find_learning_rate
    from callbacks.progress import Progress
    from callbacks.tensorboard import TensorBoard
    from callbacks.writers import (
        features,
        write_embeddings,
        write_figures,
        write_graph,
        write_histograms,
        write_hparams,
        write_pr_curves,
        write_scalars,
        write_texts,
    )

# What needs more than keras and numpy is imported when it is asked for.
_DRAWING = {
    "classification_figures": "figures",
    "LearningRateFinder": "lr_finder",
    "find_learning_rate": "lr_finder",
    "Progress": "progress",
    "TensorBoard": "tensorboard",
}

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "DivergenceError",
    "EarlyStopping",
    "EvaluationWeights",
    "LearningRateFinder",
    "NanGuard",
    "OverfitMonitor",
    "Progress",
    "TensorBoard",
    "classification_figures",
    "estimate_statistics",
    "evaluation_weights",
    "features",
    "find_learning_rate",
    "set_weights",
    "write_embeddings",
    "write_figures",
    "write_graph",
    "write_histograms",
    "write_hparams",
    "write_pr_curves",
    "write_scalars",
    "write_texts",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'callbacks' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"callbacks.{_DRAWING.get(name, 'writers')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
