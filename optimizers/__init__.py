"""Optimizers and learning-rate schedules by name, for any Keras 3 model; `python -m optimizers` lists them.

```python
from optimizers import registry, schedules
rate = schedules.get("one-cycle", peak=1e-3, steps=epochs * steps_per_epoch)
model.compile(optimizer=registry.get("adamw", learning_rate=rate, model=model), loss=...)
```

Nothing here imports keras before it is needed, so that a command line can list the names at once.
"""
