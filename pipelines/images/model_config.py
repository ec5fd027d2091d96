"""Options of picture models; nothing slow is imported here."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.engine.config import check


@dataclass
class ImageModelConfig:
    """The network.

    Args:
        builder: `convnet` (ours, small and quick), `applications:NAME` (any of keras.applications),
            `kerashub:PRESET_OR_FOLDER`, or my_module:function taking (input_shape, classes) and returning a Keras model
            from raw pictures 0..255 to logits.
        width: Channels of the first stage of `convnet`.
        depth: Blocks of a stage of `convnet`.
        dropout: Rate before the last layer.
        stochastic_depth: Rate at which the last residual block of `convnet` is dropped.
        weights: Pretrained weights of `applications:` and `kerashub:` models, or none.
        head_epochs: Epochs in which a pretrained model trains its last layer alone; then all layers are trained.
        finetune_rate: Learning rate of the second phase, as a part of that of the first.
        tta: Average the predictions over mirrored (with augment.flip) and shifted (with augment.crop) copies.
    """

    builder: str = "convnet"
    width: int = 32
    depth: int = 2
    dropout: float = 0.0
    stochastic_depth: float = 0.0
    weights: str = "imagenet"
    head_epochs: int = 3
    finetune_rate: float = 0.1
    tta: bool = False

    def __post_init__(self) -> None:
        check(1 <= self.width <= 2048, "model.width", "between 1 and 2048", self.width)
        check(1 <= self.depth <= 64, "model.depth", "between 1 and 64", self.depth)
        check(0 <= self.dropout < 1, "model.dropout", "at least 0 and below 1", self.dropout)
        check(
            0 <= self.stochastic_depth < 1,
            "model.stochastic_depth",
            "at least 0 and below 1",
            self.stochastic_depth,
        )
        check(self.weights in ("imagenet", "none"), "model.weights", "imagenet or none", self.weights)
        check(self.head_epochs >= 0, "model.head_epochs", "0 or more", self.head_epochs)
        check(0 < self.finetune_rate <= 1, "model.finetune_rate", "above 0 and at most 1", self.finetune_rate)
        known = self.builder == "convnet" or (":" in self.builder and not self.builder.endswith(":"))
        check(
            known,
            "model.builder",
            "convnet, applications:NAME, kerashub:PRESET or my_module:function",
            self.builder,
        )

    @property
    def pretrained(self) -> bool:
        """Whether the model has a part that can be frozen."""
        return self.weights != "none" and self.builder.startswith(("applications:", "kerashub:"))
