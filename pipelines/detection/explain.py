"""Which pixels a detection depends on: parts of the image are hidden at random."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.detection.boxes import Detections, overlaps
from pipelines.detection.predict import BATCH, outputs_of

if TYPE_CHECKING:
    import keras

MASKS = 256
GRID = 8  # cells along a side of a mask
SEEN = 0.5  # chance of a cell to stay


def saliency(
    model: keras.Model, image: np.ndarray, found: Detections, *, seed: int = 0, masks: int = MASKS
) -> np.ndarray:
    """How much each pixel matters to each detection (D-RISE).

    Random masks hide parts of the image; a pixel matters where detections that are like this one, in place and class,
    have high confidences when it is seen.

    Args:
        model: The detector.
        image: uint8 (S, S, 3), of the model's size.
        found: N detections in pixels of it.
        seed: Seed of the masks.
        masks: Their number.

    Returns:
        float32 (N, S, S), 0 to 1.

    Reference:
        Petsiuk et al., "Black-box Explanation of Object Detectors via Saliency Maps", CVPR 2021.
    """
    from PIL import Image

    draw, size = np.random.default_rng(seed), image.shape[0]
    cell = -(-size // GRID)
    total, weights = np.zeros((len(found), size, size)), np.zeros((len(found), 1, 1))
    mean = image.mean((0, 1))
    seen_by_all = np.zeros((size, size))
    for start in range(0, masks, BATCH):
        number = min(BATCH, masks - start)
        hidden = []
        for _ in range(number):
            coarse = (draw.random((GRID + 1, GRID + 1)) < SEEN).astype(np.float32)
            large = Image.fromarray(coarse).resize(((GRID + 1) * cell,) * 2, Image.Resampling.BILINEAR)
            top, left = draw.integers(0, cell, 2)
            hidden.append(np.asarray(large)[top : top + size, left : left + size])
        cover = np.stack(hidden)
        shown = image * cover[..., None] + mean * (1 - cover[..., None])
        for output, mask in zip(outputs_of(model, shown.astype(np.uint8)), cover, strict=True):
            chances = 1 / (1 + np.exp(-np.clip(output[:, 4:][:, found.labels], -60, 60)))  # (A, N)
            like = (overlaps(output[:, :4].astype(float), found.boxes.astype(float)) * chances).max(0)
            total += like[:, None, None] * mask
            weights += like[:, None, None]
            seen_by_all += mask
    heat = total / np.maximum(weights, 1e-9) - seen_by_all / masks
    low, high = heat.min((1, 2), keepdims=True), heat.max((1, 2), keepdims=True)
    return ((heat - low) / np.maximum(high - low, 1e-9)).astype(np.float32)


def blocks(
    model: keras.Model, spec: dict[str, Any], images: Sequence[tuple[str, np.ndarray]], each: int = 2
) -> list[Any]:
    """A figure: the most confident detections of each image, and what each depends on."""
    from pipelines.detection.boxes import decode
    from pipelines.engine import report

    chosen: list[tuple[np.ndarray, np.ndarray, np.ndarray, str]] = []
    for name, image in images:
        output = outputs_of(model, image[None])[0]
        found = decode(output, least=0.05, threshold=spec["nms_iou"], most=each)
        if not len(found):
            continue
        for i, heat in enumerate(saliency(model, image, found)):
            label = f"{name}\n{spec['classes'][found.labels[i]]} {found.scores[i]:.0%}"
            chosen.append((image, heat, found.boxes[i], label))
    if not chosen:
        return [report.Text("There are no detections with a confidence of 5 % or more to explain.")]
    caption = (
        "Left an image with one of its most confident detections, right the pixels that it depends on (D-RISE, Petsiuk "
        "et al. 2021): bright where the detection is lost when they are hidden."
    )
    return [report.Figure("explanations", _figure(chosen), caption, "Detections and the pixels that they depend on")]


def _figure(chosen: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray, str]]) -> Any:
    from matplotlib import rc_context
    from matplotlib.patches import Rectangle

    from callbacks.figures import RED, new
    from pipelines.engine.figures import STYLE, show

    columns = min(2, len(chosen))
    lines = -(-len(chosen) // columns)
    with rc_context({**STYLE, "axes.grid": False}):
        figure = new(4.6 * columns, 2.5 * lines)
        axes = figure.subplots(lines, 2 * columns, squeeze=False).reshape(-1, 2)
        for pair in axes[len(chosen) :]:
            for one in pair:
                one.set_visible(False)
        for pair, (image, heat, box, label) in zip(axes, chosen, strict=False):
            show(pair[0], image)
            show(pair[1], image, alpha=0.5)
            pair[1].imshow(heat, cmap="inferno", alpha=0.6, vmin=0, vmax=1)
            for one in pair:
                left, top, right, bottom = (float(x) for x in box)
                one.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, ec=RED, lw=1.2))
            pair[0].set_title(label, fontsize=7)
            pair[1].set_title("depends on", fontsize=7)
    return figure
