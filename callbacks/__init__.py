"""Callbacks for any Keras 3 model, on every backend.

```python
from callbacks import Checkpoint, EarlyStopping, Progress, TensorBoard
stopping = EarlyStopping(monitor="val_accuracy", mode="max", patience=5)
model.fit(x, y, validation_data=(vx, vy), callbacks=[Progress(), TensorBoard("logs"), stopping], verbose=0)
```
"""

from callbacks.checkpoint import Checkpoint, CheckpointError
from callbacks.early_stopping import EarlyStopping
from callbacks.progress import Progress
from callbacks.tensorboard import TensorBoard, write_figures
from callbacks.weights import EvaluationWeights, evaluation_weights, set_weights

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "EarlyStopping",
    "EvaluationWeights",
    "Progress",
    "TensorBoard",
    "evaluation_weights",
    "set_weights",
    "write_figures",
]
