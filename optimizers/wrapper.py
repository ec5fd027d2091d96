"""What the optimizers that take another one share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import keras

from optimizers.base import SumsRows, judged

# Keras's base class does these around the update: they belong to the outermost optimizer.
OUTER = (
    "clipnorm", "global_clipnorm", "clipvalue", "use_ema", "ema_momentum", "ema_overwrite_frequency",
    "loss_scale_factor", "gradient_accumulation_steps",
)  # fmt: skip


class Wrapper(SumsRows, keras.optimizers.Optimizer):
    """An optimizer around another, which makes the update; a subclass changes what goes in or comes out.

    Clipping, moving average, loss scaling and gradient accumulation of the inner optimizer move to the wrapper; weight
    decay stays with it. The learning rate is that of the inner optimizer, which is given dense gradients of embeddings.
    A subclass lists its constructor's arguments in `settings` and writes `wrapped_step`; one that changes nothing says
    that it is `transparent`, and leaves gradients as they come.

    Args:
        inner: An optimizer that has not been used yet.
        name: Name of the wrapper.
        **outer: What moves to the wrapper, if it is to differ from the inner optimizer's.

    Raises:
        ValueError: The inner optimizer was used already, or it averages its weights: then it must be the outermost.
    """

    settings: ClassVar[tuple[str, ...]] = ()
    transparent: ClassVar[bool] = False

    def __init__(self, inner: keras.optimizers.Optimizer, name: str | None = None, **outer: Any) -> None:
        if inner.built:
            raise ValueError("the inner optimizer was used already: give the wrapper a new one")
        if hasattr(inner, "evaluation_values") and not self.transparent:
            raise ValueError(f"{type(inner).__name__} keeps other weights for evaluation: it must be the outermost")
        taken = {key: outer.get(key, getattr(inner, key)) for key in OUTER}
        rate = inner._learning_rate
        rate = float(keras.ops.convert_to_numpy(rate)) if isinstance(rate, keras.Variable) else rate
        super().__init__(rate, name=name, **taken)
        for key in OUTER:
            setattr(inner, key, inner_default(key))
        inner.learning_rate = lambda: self.inner_rate()
        self.inner = inner
        if self.transparent:
            self.sums_rows = getattr(inner, "sums_rows", False)

    def inner_rate(self) -> Any:
        """The learning rate that the inner optimizer sees."""
        return self.learning_rate

    @property
    def variables(self) -> list[keras.Variable]:
        return [*self._variables, *self.inner.variables]

    def build(self, variables: Sequence[keras.Variable]) -> None:
        if self.built:
            return
        self.inner.build(variables)
        super().build(variables)

    def exclude_from_weight_decay(self, var_list: Any = None, var_names: Any = None) -> None:
        self.inner.exclude_from_weight_decay(var_list, var_names)

    def _apply_weight_decay(self, variables: Any) -> None:
        self.inner._apply_weight_decay(variables)

    def _update_model_variables_moving_average(self, trainable_variables: Any) -> None:
        super()._update_model_variables_moving_average(judged(self, trainable_variables))

    def _backend_update_step(self, grads: Any, trainable_variables: Any, learning_rate: Any) -> None:
        self.wrapped_step(list(grads), list(trainable_variables))
        self.inner._iterations.assign_add(1)

    def inner_step(self, gradients: list[Any], variables: list[Any]) -> None:
        """Lets the inner optimizer change the variables."""
        self.inner._backend_update_step(gradients, variables, self.inner_rate())

    def wrapped_step(self, gradients: list[Any], variables: list[Any]) -> None:
        """Changes the variables, with `inner_step` somewhere in between."""
        raise NotImplementedError

    def slots_of(self, slots: list[Any], variables: list[Any]) -> list[Any]:
        """The slots of these variables, of which some may have no gradient in this step."""
        return [slots[self._get_variable_index(variable)] for variable in variables]

    def get_config(self) -> dict[str, Any]:
        linked = self.inner._learning_rate
        object.__setattr__(self.inner, "_learning_rate", self._learning_rate)
        try:
            inner = keras.saving.serialize_keras_object(self.inner)
        finally:
            object.__setattr__(self.inner, "_learning_rate", linked)
        outer = {key: getattr(self, key) for key in OUTER}
        own = {key: getattr(self, key) for key in self.settings}
        return {"inner": inner, "name": self.name, **own, **outer}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Wrapper:
        inner = keras.saving.deserialize_keras_object(config["inner"], custom_objects=custom_objects)
        return cls(**{**config, "inner": inner})


def inner_default(key: str) -> Any:
    """What switches one of `OUTER` off."""
    return {"use_ema": False, "ema_momentum": 0.99}.get(key)
