"""Other learning rates and weight decays for single layers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

import keras

from optimizers.wrapper import Wrapper


@keras.saving.register_keras_serializable(package="optimizers")
class PerLayer(Wrapper):
    """Gives the layers that patterns name a multiple of the learning rate, or a weight decay of their own.

    Args:
        inner: The optimizer; one that updates each variable by itself.
        rates: Regular expressions to factors of the learning rate: the first that is found in a variable's path counts.
            0 leaves the variables as they are.
        decays: Regular expressions to weight decays, likewise; those that none matches have the inner optimizer's.
        **kwargs: The arguments of `Wrapper`.

    Raises:
        ValueError: A factor or decay is negative, or a pattern matches no variable (when it is built).
    """

    settings: ClassVar = ("rates", "decays")

    def __init__(
        self,
        inner: keras.optimizers.Optimizer,
        rates: Mapping[str, float] | None = None,
        decays: Mapping[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        for kind, values in (("rates", rates), ("decays", decays)):
            for pattern, value in (values or {}).items():
                if not value >= 0:
                    raise ValueError(f"{kind} must not be negative, got {value} for {pattern!r}")
                _compile(pattern)
        if "_backend_update_step" in vars(type(inner)):
            raise ValueError(f"{type(inner).__name__} looks at all variables at once: it has one rate for all")
        super().__init__(inner, **kwargs)
        self.rates = dict(rates or {})
        self.decays = dict(decays or {})
        self._factor = 1.0

    def build(self, variables: Any) -> None:
        if self.built:
            return
        super().build(variables)
        paths = [variable.path for variable in variables]
        self._factors = [_first(self.rates, path, 1.0) for path in paths]
        self._own_decays = [_first(self.decays, path, None) for path in paths]
        for pattern in (*self.rates, *self.decays):
            if not any(_compile(pattern).search(path) for path in paths):
                raise ValueError(f"{pattern!r} matches no variable; there are {', '.join(paths)}")

    def inner_rate(self) -> Any:
        return self.learning_rate * self._factor

    def _groups(self, variables: list[Any]) -> Mapping[tuple[float, float | None], list[int]]:
        groups: dict[tuple[float, float | None], list[int]] = {}
        for position, variable in enumerate(variables):
            index = self._get_variable_index(variable)
            groups.setdefault((self._factors[index], self._own_decays[index]), []).append(position)
        return {key: positions for key, positions in groups.items() if key[0] > 0}

    def _apply_weight_decay(self, variables: Any) -> None:
        usual = self.inner.weight_decay
        for (factor, decay), positions in self._groups(variables).items():
            self._factor = factor
            self.inner.weight_decay = usual if decay is None else decay
            self.inner._apply_weight_decay([variables[i] for i in positions])
        self._factor, self.inner.weight_decay = 1.0, usual

    def wrapped_step(self, gradients: list[Any], variables: list[Any]) -> None:
        for (factor, _), positions in self._groups(variables).items():
            self._factor = factor
            self.inner_step([gradients[i] for i in positions], [variables[i] for i in positions])
        self._factor = 1.0


def layerwise_rates(model: keras.Model, decay: float) -> dict[str, float]:
    """Factors for `PerLayer` that fall by `decay` from each layer with weights to the one before it.

    Fine-tuning keeps more of what the first layers of a pretrained model know in this way (Howard & Ruder, "Universal
    Language Model Fine-tuning for Text Classification", ACL 2018).

    Args:
        model: A built model; the last layer has the factor 1, and frozen layers have none.
        decay: Above 0 and at most 1.

    Raises:
        ValueError: The decay is out of its range, or the model has no weights to train.
    """
    if not 0 < decay <= 1:
        raise ValueError(f"decay must be above 0 and at most 1, got {decay}")
    layers = [x for x in model._flatten_layers(include_self=False) if x._trainable_variables and x.trainable]
    if not layers:
        raise ValueError("the model has no layers with weights: build it first")
    paths = {
        v.path: decay ** (len(layers) - 1 - i) for i, layer in enumerate(layers) for v in layer._trainable_variables
    }
    return {f"^{re.escape(path)}$": factor for path, factor in paths.items()}


def _first(values: Mapping[str, float], path: str, otherwise: Any) -> Any:
    return next((value for pattern, value in values.items() if _compile(pattern).search(path)), otherwise)


def _compile(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
