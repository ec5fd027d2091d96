"""The optimizers: one frozen record each."""

from __future__ import annotations

import difflib
import importlib
import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class OptimizerRecord:
    """What is known about an optimizer before it is made.

    Args:
        name: Name on the command line.
        factory: Class in `keras.optimizers`, or `module:class`.
        family: Kind of method.
        description: One line.
        paper: Source.
        defaults: Arguments that work without tuning, `learning_rate` among them.
        slots: Numbers kept for each weight beside the weight itself; matrices of blocks come on top.
        wrap: Names of `WRAPPERS` around it, from the inside.
    """

    name: str
    factory: str
    family: str
    description: str
    paper: str
    defaults: Mapping[str, Any] = field(default_factory=dict)
    slots: float = 0
    wrap: tuple[str, ...] = ()


_ALL = (
    OptimizerRecord(
        "sgd", "SGD", "gradient descent", "Plain stochastic gradient descent.",
        "Robbins & Monro, 1951", {"learning_rate": 0.1}, 0,
    ),
    OptimizerRecord(
        "momentum", "SGD", "momentum", "Gradient descent with heavy-ball momentum.",
        "Polyak, 1964", {"learning_rate": 0.1, "momentum": 0.9}, 1,
    ),
    OptimizerRecord(
        "nesterov", "SGD", "momentum", "Momentum whose gradient looks ahead; a strong choice for convolutions.",
        "Nesterov, 1983; Sutskever et al., 2013", {"learning_rate": 0.1, "momentum": 0.9, "nesterov": True}, 1,
    ),
    OptimizerRecord(
        "adagrad", "Adagrad", "adaptive", "Rates that shrink with the sum of squared gradients; for sparse features.",
        "Duchi et al., 2011", {"learning_rate": 0.01}, 1,
    ),
    OptimizerRecord(
        "adadelta", "Adadelta", "adaptive", "AdaGrad with a window, in the units of the weights.",
        "Zeiler, 2012", {"learning_rate": 1.0}, 2,
    ),
    OptimizerRecord(
        "rmsprop", "RMSprop", "adaptive", "Rates by a moving average of squared gradients.",
        "Tieleman & Hinton, 2012", {"learning_rate": 1e-3}, 1,
    ),
    OptimizerRecord(
        "adam", "Adam", "adaptive", "Momentum and RMSProp with bias correction.",
        "Kingma & Ba, 2015", {"learning_rate": 1e-3}, 2,
    ),
    OptimizerRecord(
        "adamw", "AdamW", "adaptive", "Adam with decoupled weight decay; the safe default.",
        "Loshchilov & Hutter, 2019", {"learning_rate": 1e-3, "weight_decay": 0.01}, 2,
    ),
    OptimizerRecord(
        "amsgrad", "Adam", "adaptive", "Adam whose second moment never shrinks.",
        "Reddi et al., 2018", {"learning_rate": 1e-3, "amsgrad": True}, 3,
    ),
    OptimizerRecord(
        "adamax", "Adamax", "adaptive", "Adam with the infinity norm.",
        "Kingma & Ba, 2015", {"learning_rate": 2e-3}, 2,
    ),
    OptimizerRecord(
        "nadam", "Nadam", "adaptive", "Adam with Nesterov momentum.",
        "Dozat, 2016", {"learning_rate": 1e-3}, 2,
    ),
    OptimizerRecord(
        "ftrl", "Ftrl", "adaptive", "Follow the regularized leader; sparse linear models.",
        "McMahan et al., 2013", {"learning_rate": 0.05}, 2,
    ),
    OptimizerRecord(
        "lion", "Lion", "sign", "The sign of an interpolated momentum; one slot, small rates.",
        "Chen et al., 2023", {"learning_rate": 1e-4, "weight_decay": 0.1}, 1,
    ),
    OptimizerRecord(
        "lamb", "Lamb", "layer-wise", "Adam scaled by the norm of each layer; for very large batches.",
        "You et al., 2020", {"learning_rate": 2e-3}, 2,
    ),
    OptimizerRecord(
        "adafactor", "Adafactor", "memory", "Factored second moments; Keras keeps room for whole ones beside them.",
        "Shazeer & Stern, 2018", {"learning_rate": 1e-2, "relative_step": False}, 1,
    ),
    OptimizerRecord(
        "muon", "Muon", "orthogonal", "Orthogonalized momentum for matrices, Adam for the rest.",
        "Jordan et al., 2024; Liu et al., 2025", {"learning_rate": 1e-3, "adam_weight_decay": 0.0}, 1,
    ),
    OptimizerRecord(
        "conv-muon", "optimizers.muon:ConvMuon", "orthogonal", "Muon for convolutions and attention too.",
        "Jordan et al., 2024", {"learning_rate": 4e-3, "weight_decay": 0.05, "momentum": 0.9, "ns_steps": 4,
         "adam_weight_decay": 0.0}, 1,
    ),
    OptimizerRecord(
        "adabelief", "optimizers.adabelief:AdaBelief", "adaptive", "Adam that trusts gradients which meet expectation.",
        "Zhuang et al., 2020", {"learning_rate": 1e-3}, 2,
    ),
    OptimizerRecord(
        "radam", "optimizers.radam:RAdam", "adaptive", "Adam that needs no warm-up.",
        "Liu et al., 2020", {"learning_rate": 1e-3}, 2,
    ),
    OptimizerRecord(
        "adan", "optimizers.adan:Adan", "adaptive", "Adaptive Nesterov momentum; tolerates large learning rates.",
        "Xie et al., 2024", {"learning_rate": 5e-3, "weight_decay": 0.02}, 4,
    ),
    OptimizerRecord(
        "ademamix", "optimizers.ademamix:AdEMAMix", "adaptive", "Adam with a second, slow momentum; for long runs.",
        "Pagliardini et al., 2025", {"learning_rate": 1e-3, "weight_decay": 0.01}, 3,
    ),
    OptimizerRecord(
        "prodigy", "optimizers.prodigy:Prodigy", "parameter-free", "Adam that finds its own rate; leave it at 1.",
        "Mishchenko & Defazio, 2024", {"learning_rate": 1.0}, 4,
    ),
    OptimizerRecord(
        "lars", "optimizers.lars:LARS", "layer-wise", "Momentum scaled by the norm of each layer; for large batches.",
        "You et al., 2017", {"learning_rate": 0.1, "trust": 0.02, "weight_decay": 1e-4}, 1,
    ),
    OptimizerRecord(
        "momentum-sam", "optimizers.momentum_sam:MomentumSAM", "flatness", "Momentum towards flat minima in one pass.",
        "Becker et al., 2024", {"learning_rate": 0.1}, 1,
    ),
    OptimizerRecord(
        "shampoo", "optimizers.shampoo:Shampoo", "second-order", "A full preconditioner for each side of a weight.",
        "Gupta et al., 2018; Anil et al., 2020", {"learning_rate": 1e-3, "weight_decay": 0.01}, 2,
    ),
    OptimizerRecord(
        "soap", "optimizers.soap:SOAP", "second-order", "Adam in the eigenbasis of Shampoo.",
        "Vyas et al., 2025", {"learning_rate": 3e-3, "weight_decay": 0.01}, 2,
    ),
    OptimizerRecord(
        "schedule-free", "AdamW", "averaging", "AdamW that averages its weights; use a constant schedule.",
        "Defazio et al., 2024", {"learning_rate": 2.5e-3, "beta_1": 0.0, "weight_decay": 0.01}, 3, ("schedule-free",),
    ),
    OptimizerRecord(
        "cautious-adamw", "AdamW", "adaptive", "AdamW without the elements of a step that oppose the gradient.",
        "Liang et al., 2024", {"learning_rate": 1e-3, "weight_decay": 0.01}, 2, ("cautious",),
    ),
    OptimizerRecord(
        "ranger", "optimizers.radam:RAdam", "averaging", "RAdam with Lookahead and centralized gradients.",
        "Wright, 2019; Zhang et al., 2019", {"learning_rate": 1e-3}, 3, ("centralized", "lookahead"),
    ),
)  # fmt: skip
RECORDS = {r.name: r for r in _ALL}
WRAPPERS = {
    "centralized": "optimizers.centralized:Centralized",
    "cautious": "optimizers.cautious:Cautious",
    "lookahead": "optimizers.lookahead:Lookahead",
    "schedule-free": "optimizers.schedule_free:ScheduleFree",
    "monitored": "optimizers.monitored:Monitored",
}


def names() -> tuple[str, ...]:
    """Names that `get` knows."""
    return tuple(RECORDS)


def record(name: str) -> OptimizerRecord:
    """The record of an optimizer.

    Raises:
        ValueError: The name is unknown.
    """
    if name not in RECORDS:
        near = difflib.get_close_matches(name, RECORDS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"unknown optimizer {name!r}{hint} (python -m optimizers lists them: {', '.join(RECORDS)})")
    return RECORDS[name]


def get(
    name: str,
    *,
    learning_rate: Any = None,
    weight_decay: float | None = None,
    clipnorm: float | None = None,
    ema: float | None = None,
    model: keras.Model | None = None,
    wrap: Sequence[str] = (),
    rates: Mapping[str, float] | None = None,
    decays: Mapping[str, float] | None = None,
    layer_decay: float | None = None,
    **settings: Any,
) -> keras.optimizers.Optimizer:
    """An optimizer by name.

    Args:
        name: One of `names()`.
        learning_rate: A number or a Keras schedule; None uses the record's default.
        weight_decay: Decoupled weight decay; None uses the record's default.
        clipnorm: Largest norm of the gradient of each variable.
        ema: Momentum of the moving average of the weights, or none.
        model: A built model whose biases, norms and other vectors are to have no weight decay, and whose output layers
            an orthogonalizing optimizer is to leave to Adam.
        wrap: Names of `WRAPPERS` to put around it, from the inside: `("centralized", "lookahead")`.
        rates: Regular expressions of variable paths to factors of the learning rate; 0 freezes. With the model,
            the names of models within it count as parts of the paths.
        decays: Regular expressions of variable paths to weight decays in the place of `weight_decay`.
        layer_decay: Factor of the learning rate from each layer to the one before it, for fine-tuning; needs the model.
        **settings: Further arguments of the optimizer's class.

    Raises:
        ValueError: An unknown name or setting, or what cannot be put together.
    """
    chosen = record(name)
    factory = _load(chosen.factory)
    known = {p for c in factory.__mro__ for p in inspect.signature(c).parameters}
    known -= {"self", "args", "kwargs", "name"}
    for setting in settings:
        if setting not in known:
            near = difflib.get_close_matches(setting, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else f": it has {', '.join(sorted(known))}"
            raise ValueError(f"optimizer {name} has no setting {setting!r}{hint}")
    arguments = {**chosen.defaults, **settings}
    if learning_rate is not None:
        arguments["learning_rate"] = learning_rate
    if weight_decay is not None:
        arguments["weight_decay"] = weight_decay
    if clipnorm is not None:
        arguments["clipnorm"] = clipnorm
    if ema is not None:
        arguments |= {"use_ema": True, "ema_momentum": ema}
    if model is not None and "exclude_layers" in known and "exclude_layers" not in settings:
        from optimizers.muon import output_kernels

        paths = [v.path for v in model.trainable_variables if len(v.shape) > 1]
        ends = [re.escape(_tail(path, paths)) for path in output_kernels(model)]
        arguments["exclude_layers"] = ["logits", *(f"(^|/){end}$" for end in ends)]
    if model is not None:
        # A parameter of no more than one axis is a bias or belongs to a norm.
        factory = importlib.import_module("optimizers.sparing").CLASSES[chosen.factory]
    optimizer = factory(**arguments)
    if rates or decays or layer_decay is not None:
        from optimizers.per_layer import PerLayer, layerwise_rates, within

        if layer_decay is not None and model is None:
            raise ValueError("layer_decay needs the model")
        by_layer = {} if layer_decay is None else layerwise_rates(model, layer_decay)
        rates, decays = rates or {}, decays or {}
        if model is not None:
            rates, decays = within(model, rates), within(model, decays)
        optimizer = PerLayer(optimizer, {**rates, **by_layer}, decays)
    for wrapper in (*chosen.wrap, *wrap):
        if wrapper not in WRAPPERS:
            raise ValueError(f"unknown wrapper {wrapper!r}: expected one of {', '.join(WRAPPERS)}")
        optimizer = _load(WRAPPERS[wrapper])(optimizer)
    return optimizer


def _tail(path: str, paths: Sequence[str]) -> str:
    """The end of a path that none of the others has: a loaded Sequential model has other beginnings."""
    parts = path.split("/")
    tails = ["/".join(parts[-n:]) for n in range(2, len(parts))]
    return next((tail for tail in tails if sum(f"/{p}".endswith(f"/{tail}") for p in paths) == 1), path)


def _load(factory: str) -> Any:
    import keras

    module, _, name = factory.rpartition(":")
    return getattr(importlib.import_module(module) if module else keras.optimizers, name)
