"""Class colours, and masks drawn over images."""

from __future__ import annotations

import numpy as np

from pipelines.segmentation.masks import IGNORED

# Okabe & Ito's colours, which colour-blind people can tell apart, then a colour map for more classes.
COLOURS = (
    (0, 0, 0), (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0),
    (204, 121, 167),
)  # fmt: skip


def colours(number: int) -> np.ndarray:
    """uint8 (number, 3): black for the background, then a colour for each class."""
    from matplotlib import colormaps

    chosen = [COLOURS[k] for k in range(min(number, len(COLOURS)))]
    more = colormaps["turbo"](np.linspace(0.05, 0.95, max(number - len(COLOURS), 1)))[:, :3] * 255
    chosen += [tuple(colour) for colour in more.astype(int).tolist()][: max(number - len(COLOURS), 0)]
    return np.array(chosen, np.uint8)


def overlay(image: np.ndarray, mask: np.ndarray, palette: np.ndarray, opacity: float = 0.55) -> np.ndarray:
    """uint8 (H, W, 3): the image (H, W, 1 or 3) with the classes of a mask in colour; background and ignored stay."""
    base = np.repeat(image, 3, -1) if image.shape[-1] == 1 else image
    shown = (mask > 0) & (mask != IGNORED)
    mixed = base.astype(np.float32)
    mixed[shown] = (1 - opacity) * mixed[shown] + opacity * palette[mask[shown]]
    return mixed.astype(np.uint8)
