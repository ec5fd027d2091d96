"""Regularizers for any Keras 3 model.

```python
import regularizers
regularizers.apply(model, "l2", 1e-4)
model.compile(...)
```
"""

from regularizers.apply import apply, get, names
from regularizers.stochastic_depth import StochasticDepth

__all__ = ["StochasticDepth", "apply", "get", "names"]
