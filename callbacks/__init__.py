"""Callbacks for any Keras 3 model, on every backend.

```python
from callbacks import Checkpoint, EarlyStopping, Progress, TensorBoard
stopping = EarlyStopping(monitor="val_accuracy", mode="max", patience=5)
model.fit(x, y, validation_data=(vx, vy), callbacks=[Progress(), TensorBoard("logs"), stopping], verbose=0)
```
"""

from callbacks.checkpoint import Checkpoint, CheckpointError
from callbacks.early_stopping import EarlyStopping
from callbacks.figures import classification_figures
from callbacks.lr_finder import LearningRateFinder, find_learning_rate
from callbacks.nan_guard import DivergenceError, NanGuard
from callbacks.overfit import OverfitMonitor
from callbacks.progress import Progress
from callbacks.tensorboard import TensorBoard
from callbacks.weights import EvaluationWeights, evaluation_weights, set_weights
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
