"""What our own optimizers share: settings, slots, dense gradients and exact bias corrections."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, ClassVar

import keras
from keras import ops


class SumsRows:
    """Mixed into an optimizer, makes the sparse gradients of embeddings dense before they are clipped or used.

    On TensorFlow a row that occurs often in a batch has as many gradients. Keras's optimizers square each of them, and
    clipping measures each; on the other backends there is but their sum, as in the papers.
    """

    sums_rows = True

    def _backend_apply_gradients(self, grads: Any, trainable_variables: Any) -> None:
        if self.sums_rows:
            pairs = zip(grads, trainable_variables, strict=True)
            grads = [dense(g, working_type(v)) if _is_sparse(g) else g for g, v in pairs]
        super()._backend_apply_gradients(grads, trainable_variables)  # type: ignore[misc]


class Optimizer(SumsRows, keras.optimizers.Optimizer):
    """A Keras optimizer of which a subclass says only what is its own.

    A subclass names its constructor's arguments in `settings`, the variables that it keeps for each weight in `slots`,
    and writes `step`; or it says that it looks at all weights `all_at_once`, and writes `_backend_update_step`.
    Clipping, decoupled weight decay, moving averages, gradient accumulation and loss scaling are Keras's. Sparse
    gradients (of embeddings) are made dense; for weights in half precision, slots and arithmetic are in float32.
    """

    settings: ClassVar[tuple[str, ...]] = ()
    slots: ClassVar[tuple[str, ...]] = ()
    all_at_once: ClassVar[bool] = False

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Makes the slots; called by Keras before the first step."""
        if self.built:
            return
        super().build(variables)
        self._slots = [[_slot(self, v, name) for v in variables] for name in self.slots]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        index = self._get_variable_index(variable)
        slots = [slot[index] for slot in self._slots]
        dtype = working_type(variable)
        self.step(dense(gradient, dtype), variable, ops.cast(learning_rate, dtype), *slots)

    def step(self, gradient: Any, variable: Any, rate: Any, *slots: Any) -> None:
        """Changes one variable and its slots, through `assign`, `assign_add` and `assign_sub`.

        Args:
            gradient: Tensor of the variable's shape and of the `working_type`.
            variable: The variable.
            rate: Scalar learning rate of this step, of the same type.
            *slots: The variable's slots, in the order of `slots`.
        """
        raise NotImplementedError

    def count(self, dtype: Any) -> Any:
        """The number of this step, from 1, as a scalar."""
        return ops.cast(self.iterations + 1, dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **{name: getattr(self, name) for name in self.settings}}


def working_type(variable: Any) -> str:
    """The type in which an update is computed: the variable's own, but float32 for half precision."""
    dtype = keras.backend.standardize_dtype(variable.dtype)
    return "float32" if dtype in ("float16", "bfloat16") else dtype


def _slot(optimizer: keras.optimizers.Optimizer, variable: keras.Variable, name: str) -> keras.Variable | None:
    if optimizer._overwrite_variable_with_gradient(variable):
        return None
    dtype = working_type(variable)
    if dtype == variable.dtype:
        return optimizer.add_variable_from_reference(variable, name)
    name = f"{variable.path.replace('/', '_')}_{name}"
    return optimizer.add_variable(variable.shape, "zeros", dtype, layout=getattr(variable, "_layout", None), name=name)


# Of Keras's attention: kernels (in, heads, size), where those of convolutions are (..., in, out).
_PROJECTIONS = re.compile(r"(^|/)(query|key|value)(_dense)?/")


def matrix_shape(variable: keras.Variable) -> tuple[int, int]:
    """Inputs and outputs of a kernel: rows and columns of the matrix that it is.

    They are (... * in, out) of dense layers and convolutions, and (in, heads * size) of the queries, keys and values of
    an attention.
    """
    shape = tuple(variable.shape)
    axis = 1 if len(shape) == 3 and _PROJECTIONS.search(variable.path) else -1
    return math.prod(shape[:axis]), math.prod(shape[axis:])


def is_table(variable: keras.Variable) -> bool:
    """Whether a weight is a table of embeddings, whose rows are no inputs of a unit."""
    return "embedding" in variable.path.rpartition("/")[2]


def _is_sparse(gradient: Any) -> bool:
    """Whether it is TensorFlow's gradient of an embedding: rows and where they belong, some of them often."""
    return type(gradient).__name__ == "IndexedSlices"


def dense(gradient: Any, dtype: Any) -> Any:
    """The gradient as a dense tensor of a type."""
    if _is_sparse(gradient):
        values = ops.cast(gradient.values, dtype)  # before rows that occur often are summed up
        gradient = ops.segment_sum(values, gradient.indices, num_segments=gradient.shape[0])
    return ops.cast(ops.convert_to_tensor(gradient, sparse=False), dtype)


def copies(
    optimizer: keras.optimizers.Optimizer, variables: Sequence[keras.Variable], name: str
) -> list[keras.Variable | None]:
    """Slots that begin as copies of the variables.

    They are initialized so, not assigned: Keras may build an optimizer while it traces the step on TensorFlow, where an
    assignment would become a part of every step.
    """
    made: list[keras.Variable | None] = []
    for variable in variables:
        if optimizer._overwrite_variable_with_gradient(variable):
            made.append(None)
            continue

        def value(shape: Any, dtype: Any = None, of: Any = variable) -> Any:
            return ops.cast(ops.copy(ops.convert_to_tensor(of)), dtype or of.dtype)

        made.append(optimizer.add_variable_from_reference(variable, name, initializer=value))
    return made


def judged(optimizer: keras.optimizers.Optimizer, variables: Sequence[Any]) -> Sequence[Any]:
    """What a moving average of the weights has to average: where training holds other weights, those for evaluation.

    Raises:
        ValueError: The average is to overwrite the training's weights, which are others.
    """
    values = getattr(optimizer, "evaluation_values", None)
    if values is None:
        return variables
    if optimizer.ema_overwrite_frequency:
        raise ValueError(f"{type(optimizer).__name__} trains with other weights: leave out ema_overwrite_frequency")
    return values()


def blend(old: Any, new: Any, keep: Any) -> Any:
    """keep * old + (1 - keep) * new: one step of an exponential moving average."""
    return old + (new - old) * (1 - keep)


def debias(beta: float, count: Any) -> Any:
    """1 - beta ** count without the cancellation of float32."""
    return -ops.expm1(count * math.log(beta)) if beta > 0 else ops.ones_like(count)


def norm(tensor: Any) -> Any:
    """The Euclidean norm of all entries, a scalar."""
    return ops.sqrt(ops.sum(ops.square(tensor)))


def one_replica(optimizer: keras.optimizers.Optimizer) -> None:
    """Refuses `tf.distribute` for methods that look at all gradients at once, before they are summed.

    Raises:
        ValueError: There are several replicas.
    """
    strategy = getattr(optimizer, "_distribution_strategy", None)
    if strategy is not None and strategy.num_replicas_in_sync > 1:
        name = type(optimizer).__name__
        raise ValueError(f"{name} looks at all gradients at once and does not run under tf.distribute: use JAX")


def check_rates(optimizer: Any, **values: float) -> None:
    """Keeps decay rates, which must be at least 0 and below 1.

    Raises:
        ValueError: One of them is not.
    """
    for name, value in values.items():
        if not 0 <= value < 1:
            raise ValueError(f"{name} must be at least 0 and below 1, got {value}")
        setattr(optimizer, name, value)
