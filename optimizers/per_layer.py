"""Other learning rates and weight decays for single layers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import keras

from optimizers.wrapper import Wrapper

DECAYS = ("weight_decay", "adam_weight_decay")  # Muon has one of its own for what it leaves to Adam


@keras.saving.register_keras_serializable(package="optimizers")
class PerLayer(Wrapper):
    """Gives the layers that patterns name a multiple of the learning rate, or a weight decay of their own.

    Args:
        inner: The optimizer; one that updates each variable by itself, and no wrapper.
        rates: Regular expressions to factors of the learning rate: the first that is found in a variable's path counts.
            0 leaves the variables as they are.
        decays: Regular expressions to weight decays, likewise; those that none matches have the inner optimizer's, and
            those that it leaves without decay stay so.
        found: Path, factor and decay of each variable, as a saved optimizer keeps them: a loaded Sequential model has
            other paths, which begin later.
        **kwargs: The arguments of `Wrapper`.

    Raises:
        ValueError: A factor or decay is negative, the inner optimizer is a wrapper or has one rate for all; when it is
            built, a pattern matches no variable.
    """

    settings: ClassVar = ("rates", "decays", "found")

    def __init__(
        self,
        inner: keras.optimizers.Optimizer,
        rates: Mapping[str, float] | None = None,
        decays: Mapping[str, float] | None = None,
        found: Sequence[tuple[str, float, float | None]] | None = None,
        **kwargs: Any,
    ) -> None:
        for kind, values in (("rates", rates), ("decays", decays)):
            for pattern, value in (values or {}).items():
                if not value >= 0:
                    raise ValueError(f"{kind} must not be negative, got {value} for {pattern!r}")
                _compile(pattern)
        if isinstance(inner, Wrapper):
            # It would count a step for each group of variables, and the decays would not reach its own inner optimizer.
            raise ValueError(f"PerLayer goes around an optimizer, and {type(inner).__name__} around PerLayer")
        if getattr(inner, "all_at_once", False):
            raise ValueError(f"{type(inner).__name__} looks at all variables at once: it has one rate for all")
        super().__init__(inner, **kwargs)
        self.rates = dict(rates or {})
        self.decays = dict(decays or {})
        self.found: Sequence[tuple[str, float, float | None]] = found or []
        self._factor = 1.0

    def build(self, variables: Any) -> None:
        if self.built:
            return
        super().build(variables)
        paths = [variable.path for variable in variables]
        known = [old for old, _, _ in self.found]
        if len(known) == len(paths) and all(old.endswith(new) for old, new in zip(known, paths, strict=True)):
            return
        for pattern in (*self.rates, *self.decays):
            if not any(_compile(pattern).search(path) for path in paths):
                raise ValueError(f"{pattern!r} matches no variable; there are {', '.join(paths)}")
        self.found = [(path, _first(self.rates, path, 1.0), _first(self.decays, path, None)) for path in paths]

    def inner_rate(self) -> Any:
        return self.learning_rate * self._factor

    def _groups(self, variables: list[Any]) -> Mapping[tuple[float, float | None], list[int]]:
        groups: dict[tuple[float, float | None], list[int]] = {}
        for position, variable in enumerate(variables):
            _, factor, decay = self.found[self._get_variable_index(variable)]
            groups.setdefault((factor, decay), []).append(position)
        return {key: positions for key, positions in groups.items() if key[0] > 0}

    @contextmanager
    def _set(self, factor: float, decay: float | None) -> Iterator[None]:
        """The inner optimizer with the rate and the weight decay of a group."""
        names = [name for name in DECAYS if hasattr(self.inner, name)] if decay is not None else []
        usual = {name: getattr(self.inner, name) for name in names}
        for name in names:
            setattr(self.inner, name, decay)
        self._factor = factor
        try:
            yield
        finally:
            self._factor = 1.0
            for name, value in usual.items():
                setattr(self.inner, name, value)

    def _apply_weight_decay(self, variables: Any) -> None:
        for group, positions in self._groups(variables).items():
            with self._set(*group):
                self.inner._apply_weight_decay([variables[i] for i in positions])

    def wrapped_step(self, gradients: list[Any], variables: list[Any]) -> None:
        for group, positions in self._groups(variables).items():
            with self._set(*group):
                self.inner_step([gradients[i] for i in positions], [variables[i] for i in positions])


def layerwise_rates(model: keras.Model, decay: float) -> dict[str, float]:
    """Factors for `PerLayer` that fall by `decay` from each layer with weights to the one before it.

    Fine-tuning keeps more of what the first layers of a pretrained model know in this way (Howard & Ruder, "Universal
    Language Model Fine-tuning for Text Classification", ACL 2018). Layers are counted as in BEiT (Bao et al., ICLR
    2022) and timm's `param_groups_layer_decay`: the embeddings at the beginning are one step, an encoder block is one,
    and the new last layer has the factor 1. Models within models are walked through in the order of their layers;
    whatever else holds layers counts as one. A layer that has vectors only, such as a norm, belongs to the one before.

    Args:
        model: A built model; frozen layers have no factor and count for nothing.
        decay: Above 0 and at most 1.

    Raises:
        ValueError: The decay is out of its range, or the model has no weights to train.
    """
    if not 0 < decay <= 1:
        raise ValueError(f"decay must be above 0 and at most 1, got {decay}")
    steps: list[list[str]] = []
    embedding = True  # still within the embeddings at the beginning
    for layer in {id(x): x for x, _ in _parts(model)}.values():
        variables = layer.trainable_variables
        if not variables:
            continue
        embedded = embedding and "embedding" in f"{type(layer).__name__} {layer.name}".lower()
        vectors = all(len(variable.shape) < 2 for variable in variables)
        if not steps or not (vectors or embedded):
            steps.append([])
        embedding = embedded
        steps[-1] += [re.escape(variable.path) for variable in variables]
    if not steps:
        raise ValueError("the model has no layers with weights: build it first")
    return {f"^({'|'.join(paths)})$": decay**i for i, paths in enumerate(reversed(steps))}


def within(model: keras.Model, values: Mapping[str, float]) -> dict[str, float]:
    """Patterns that may also name models within a model, such as `backbone`, as patterns of the paths for `PerLayer`.

    Keras leaves these names out of the paths of functional models. Patterns of frozen weights alone drop out.

    Raises:
        ValueError: A pattern matches nothing in the model.
    """
    names = {v.path: f"{place}{v.path}" for layer, place in _parts(model) for v in layer.weights}
    trained = [variable.path for variable in model.trainable_variables]
    found = {}
    for pattern, value in values.items():
        paths = [path for path, name in names.items() if _compile(pattern).search(name)]
        if not paths:
            raise ValueError(f"{pattern!r} matches no variable; there are {', '.join(names.values())}")
        paths = [re.escape(path) for path in paths if path in trained]
        if paths:
            found[f"^({'|'.join(paths)})$"] = value
    return found


def _parts(model: keras.Model, place: str = "") -> Iterator[tuple[keras.layers.Layer, str]]:
    """The layers of a model and of the models within it, in order, and the names of these models."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _parts(layer, f"{place}{layer.name}/")
        else:
            yield layer, place


def _first(values: Mapping[str, float], path: str, otherwise: Any) -> Any:
    return next((value for pattern, value in values.items() if _compile(pattern).search(path)), otherwise)


def _compile(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
