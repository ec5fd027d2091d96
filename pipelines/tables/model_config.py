"""Options of table models; nothing slow is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipelines.engine.config import check


@dataclass
class TableModelConfig:
    """The network.

    Args:
        builder: `tabm` (many small networks that share most weights), `mlp` (after RealMLP), `ft-transformer`, or
            my_module:function taking (input_shape, outputs) and returning a Keras model from encoded rows to logits
            or numbers.
        members: Networks in a `tabm`.
        ensemble: How many copies with other first weights are trained side by side and averaged.
        folds: Each copy leaves out another part of the training and validation rows, and is judged on it; so that
            all rows are learned from, and the scores on validation are those of a cross-validation.
        width: Units of a layer.
        depth: Layers, or blocks of the transformer.
        dropout: Rate between the layers.
        embedding: How a number enters: piecewise linear in bins, periodic, or as it is.
        embedding_width: Numbers that a number becomes.
        bins: Bins of a number, at most.
        scale: Spread of the first frequencies of the periodic embedding.
    """

    builder: str = "tabm"
    members: int = 16
    ensemble: int = 5
    folds: bool = True
    width: int = 96
    depth: int = 2
    dropout: float = 0.2
    embedding: Literal["piecewise", "periodic", "none"] = "piecewise"
    embedding_width: int = 8
    bins: int = 16
    scale: float = 0.1

    def __post_init__(self) -> None:
        check(1 <= self.members <= 1024, "model.members", "between 1 and 1024", self.members)
        check(1 <= self.ensemble <= 64, "model.ensemble", "between 1 and 64", self.ensemble)
        check(
            self.ensemble > 1 or not self.folds, "model.ensemble", "at least 2 where model.folds is true", self.ensemble
        )
        check(1 <= self.width <= 8192, "model.width", "between 1 and 8192", self.width)
        check(1 <= self.depth <= 64, "model.depth", "between 1 and 64", self.depth)
        check(0 <= self.dropout < 1, "model.dropout", "at least 0 and below 1", self.dropout)
        check(1 <= self.embedding_width <= 512, "model.embedding_width", "between 1 and 512", self.embedding_width)
        check(2 <= self.bins <= 1024, "model.bins", "between 2 and 1024", self.bins)
        check(0 < self.scale < 1000, "model.scale", "a positive number below 1000", self.scale)
        known = self.own or (":" in self.builder and not self.builder.endswith(":"))
        check(known, "model.builder", "tabm, mlp, ft-transformer or my_module:function", self.builder)

    @property
    def own(self) -> bool:
        """Whether it is one of ours, which give log-probabilities rather than logits."""
        return self.builder in ("tabm", "mlp", "ft-transformer")
