"""The regularizers: one frozen record each."""

from __future__ import annotations

import difflib
import importlib
import inspect
import math
from dataclasses import dataclass
from typing import Any

KINDS = {
    "weights": "penalty on kernels",
    "activity": "penalty on activations",
    "step": "part of the training step",
    "layer": "layer to build in",
    "loss": "loss to compile with",
}
APPLIED = ("weights", "activity", "step")


@dataclass(frozen=True)
class RegularizerRecord:
    """What is known about a regularizer before it is made.

    Args:
        name: Name on the command line.
        factory: Class in `keras.regularizers`, or `module:class`.
        kind: One of `KINDS`: what it acts on. `apply` puts the first three on a model.
        description: One line.
        paper: Source.
        strength: Factor of the penalty in the loss, or rate, that is a fair first try.
        fills: Arguments of the factory that take the strength.
    """

    name: str
    factory: str
    kind: str
    description: str
    paper: str
    strength: float
    fills: tuple[str, ...] = ("strength",)


_ALL = (
    RegularizerRecord(
        "l1", "L1", "weights", "Single weights to zero.",
        "Tibshirani, 1996", 1e-5, ("l1",),
    ),
    RegularizerRecord(
        "l2", "L2", "weights", "Small weights; with adaptive optimizers prefer their decoupled weight decay.",
        "Hoerl & Kennard, 1970; Krogh & Hertz, 1991", 1e-4, ("l2",),
    ),
    RegularizerRecord(
        "elastic", "L1L2", "weights", "L1 and L2 with the same strength.",
        "Zou & Hastie, 2005", 1e-5, ("l1", "l2"),
    ),
    RegularizerRecord(
        "group-lasso", "regularizers.group_lasso:GroupLasso", "weights", "Whole neurons and filters to zero.",
        "Yuan & Lin, 2006; Wen et al., 2016", 1e-5,
    ),
    RegularizerRecord(
        "hoyer", "regularizers.hoyer:Hoyer", "weights", "Few large weights; does not change with their scale.",
        "Hoyer, 2004; Yang et al., 2020", 1e-4,
    ),
    RegularizerRecord(
        "hoyer-square", "regularizers.hoyer:HoyerSquare", "weights", "Hoyer squared: leaves the large weights alone.",
        "Yang et al., 2020", 1e-6,
    ),
    RegularizerRecord(
        "orthogonal", "regularizers.orthogonal:SoftOrthogonal", "weights", "Orthonormal filters, all pairs alike.",
        "Bansal et al., 2018 (SO)", 1e-4,
    ),
    RegularizerRecord(
        "srip", "regularizers.orthogonal:SRIP", "weights", "Orthonormal filters, the worst direction first.",
        "Bansal et al., 2018", 1e-3,
    ),
    RegularizerRecord(
        "spectral", "regularizers.spectral:SpectralNorm", "weights", "Small gain of each layer: a smoother function.",
        "Yoshida & Miyato, 2017", 1e-3,
    ),
    RegularizerRecord(
        "decorrelation", "regularizers.decorrelation:Decorrelation", "activity", "Features that say different things.",
        "Cogswell et al., 2016 (DeCov)", 1e-3,
    ),
    RegularizerRecord(
        "confidence", "regularizers.confidence:Confidence", "step", "Predictions that are less sure of themselves.",
        "Pereyra et al., 2017", 0.1,
    ),
    RegularizerRecord(
        "jacobian", "regularizers.jacobian:Jacobian", "step", "Outputs that change little with the input.",
        "Hoffman et al., 2019", 0.01,
    ),
    RegularizerRecord(
        "input-gradient", "regularizers.jacobian:InputGradient", "step", "A loss that changes little with the input.",
        "Drucker & LeCun, 1992; Ross & Doshi-Velez, 2018", 0.1,
    ),
    RegularizerRecord(
        "r-drop", "regularizers.r_drop:RDrop", "step", "The same answer under two draws of dropout.",
        "Liang et al., 2021", 1.0,
    ),
    RegularizerRecord(
        "stochastic-depth", "regularizers.stochastic_depth:StochasticDepth", "layer",
        "Drops whole residual branches.", "Huang et al., 2016", 0.1, ("rate",),
    ),
    RegularizerRecord(
        "drop-block", "regularizers.drop_block:DropBlock", "layer", "Drops squares of feature maps.",
        "Ghiasi et al., 2018", 0.1, ("rate",),
    ),
    RegularizerRecord(
        "drop-connect", "regularizers.drop_connect:DropConnect", "layer", "Drops weights of the layer it wraps.",
        "Wan et al., 2013", 0.5, ("rate",),
    ),
    RegularizerRecord(
        "label-smoothing", "regularizers.label_smoothing:LabelSmoothing", "loss",
        "Cross-entropy with a part of each label spread over all classes.", "Szegedy et al., 2016", 0.1, ("smoothing",),
    ),
)  # fmt: skip
RECORDS = {r.name: r for r in _ALL}


def names() -> tuple[str, ...]:
    """Names that `apply` knows."""
    return tuple(r.name for r in _ALL if r.kind in APPLIED)


def record(name: str) -> RegularizerRecord:
    """The record of a regularizer.

    Raises:
        ValueError: The name is unknown.
    """
    if name not in RECORDS:
        raise ValueError(_unknown(name, tuple(RECORDS)))
    return RECORDS[name]


def applicable(name: str) -> RegularizerRecord:
    """The record of a regularizer that `apply` can put on a model.

    Raises:
        ValueError: The name is unknown, or belongs to a layer or a loss.
    """
    if name not in RECORDS:
        raise ValueError(_unknown(name, names()))
    chosen = RECORDS[name]
    if chosen.kind not in APPLIED:
        raise ValueError(
            f"{name} is a {KINDS[chosen.kind]} ({chosen.factory.replace(':', '.')}), and cannot be put on a model that "
            f"is there: expected one of {', '.join(names())}"
        )
    return chosen


def _unknown(name: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"unknown regularizer {name!r}{hint} (python -m regularizers lists them: {', '.join(known)})"


def get(name: str, strength: float | None = None, **settings: Any) -> Any:
    """A regularizer by name.

    Args:
        name: A name in `RECORDS`.
        strength: Factor of the penalty, or rate; none takes the record's own.
        **settings: Further arguments of its class.

    Returns:
        A Keras regularizer, `StepPenalty`, layer or loss.

    Raises:
        ValueError: An unknown name or setting, or a strength out of range.
    """
    chosen = record(name)
    strength = chosen.strength if strength is None else strength
    if not 0 <= strength < math.inf:
        raise ValueError(f"strength of {name} must be zero or a positive number, got {strength}")
    factory = _load(chosen.factory)
    known = set(inspect.signature(factory).parameters) - set(chosen.fills) - {"kwargs"}
    for setting in settings:
        if setting not in known:
            raise ValueError(f"{name} has no setting {setting!r}: expected one of {', '.join(sorted(known)) or 'none'}")
    return factory(**dict.fromkeys(chosen.fills, strength), **settings)


def _load(factory: str) -> Any:
    import keras

    module, _, name = factory.rpartition(":")
    return getattr(importlib.import_module(module) if module else keras.regularizers, name)
