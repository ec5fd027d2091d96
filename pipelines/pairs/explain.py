"""Which pieces of the source the decoder looks at for each piece that it writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from keras import ops
from matplotlib import rc_context

from callbacks.figures import new
from pipelines.engine.figures import STYLE
from pipelines.engine.report import Figure
from pipelines.pairs.models import Translator
from pipelines.pairs.pieces import END

if TYPE_CHECKING:
    from pipelines.pairs.decoding.decoder import Decoder

MOST = 40  # pieces of a map that can be read


def attention(model: Translator, source: Sequence[int], target: Sequence[int]) -> np.ndarray:
    """Weights of the last block's attention to the source, the mean over its heads.

    Args:
        model: The network.
        source: S pieces, with the end.
        target: T pieces, with the end.

    Returns:
        float32 (T, S); a row sums to 1.
    """
    states, mask = model.encode(ops.convert_to_tensor([list(source)], "int32"))
    before = ops.convert_to_tensor([[model.begin, *target[:-1]]], "int32")
    _, weights = model.decode(before, model.memories(states), mask)
    return ops.convert_to_numpy(ops.mean(weights, axis=1))[0]


def attention_maps(decoder: Decoder, texts: Sequence[str], name: str = "attention") -> list[Any]:
    """A map for each text whose translation is short enough to be drawn.

    Raises:
        ValueError: The model has no attention that can be reached.
    """
    model, subwords = decoder.model, decoder.subwords
    if not isinstance(model, Translator):
        raise ValueError("a model of your own has no attention that can be reached here")
    blocks: list[Any] = []
    for text, ids in zip(texts, subwords.encode(list(texts)), strict=True):
        source = ids[: min(MOST, decoder.most)]
        found = decoder.search([source])[0][0]
        target = subwords.encode([found.text], 1)[0][:MOST]
        weights = attention(model, [*source, END], [*target, END])
        figure = heat_map(weights, [*subwords.pieces(source), "end"], [*subwords.pieces(target), "end"])
        blocks.append(
            Figure(
                f"{name}_{len(blocks) + 1}", figure, f"{text} → {found.text}",
                "Attention of each piece of the translation (rows) to the pieces of the source (columns)",
            )
        )  # fmt: skip
    return blocks


def heat_map(weights: np.ndarray, columns: Sequence[str], rows: Sequence[str]) -> Any:
    """Weights (T, S) with the pieces of the source above and those of the translation on the left."""
    with rc_context({**STYLE, "axes.grid": False}):
        figure = new(1.6 + 0.23 * len(columns), 1.1 + 0.2 * len(rows))
        axes = figure.add_subplot()
        axes.imshow(weights, cmap="Blues", vmin=0, vmax=max(float(weights.max()), 1e-6), aspect="auto")
        axes.set_xticks(range(len(columns)), columns, rotation=60, ha="left", rotation_mode="anchor", fontsize=8)
        axes.set_yticks(range(len(rows)), rows, fontsize=8)
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
    return figure
