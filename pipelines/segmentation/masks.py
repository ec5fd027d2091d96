"""From a mask as it is stored (numbers, palette, colours, polygons) to class numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from pipelines.core.errors import UserError
from pipelines.core.files import one_line
from pipelines.images.decode import open_image

IGNORED = 255  # how ignored pixels are coded inside the pipeline
MOST_COLOURS = 64
RARE = 0.002  # fraction of the pixels below which a colour looks like a damaged border
CROWD = -1  # value of pixels that are ignored because they are of a crowd
APART = 32  # distance at which two frequent values are two classes, not a class and its blurred border
FREQUENT = 0.01  # fraction of the pixels from which on a value of a damaged mask is a class
BLURRED = 0.1  # most pixels that blurring and JPEG change; with more of them the values are classes


@dataclass(frozen=True)
class Polygons:
    """A mask as COCO has it: segments (polygons or RLE) with their category, drawn the largest first.

    Args:
        height: Of the image.
        width: Of the image.
        segments: (category value, polygons or RLE) of each annotation; the value of a crowd is `CROWD`.
    """

    height: int
    width: int
    segments: Sequence[tuple[int, Any]]

    def values(self) -> np.ndarray:
        """int32 (H, W): the category value of each pixel, 0 where there is none.

        Crowds are ignored where no single object lies on them. Where objects overlap, the smaller one is on top. The
        parts of a polygon may touch or overlap; one that crosses itself is filled by the even-odd rule.

        Raises:
            ValueError: A segment cannot be read.
        """
        from pycocotools import mask as coco

        drawn = []
        for value, segment in self.segments:
            try:
                if isinstance(segment, dict):
                    rle = segment
                    if isinstance(segment["counts"], list):
                        rle = coco.frPyObjects(segment, self.height, self.width)
                else:
                    parts = [[float(number) for number in part] for part in segment]
                    rle = coco.merge(coco.frPyObjects(parts, self.height, self.width))
                inside = coco.decode(rle).astype(bool)
            except Exception as error:  # pycocotools raises what it likes
                raise ValueError(f"a segment cannot be read: {one_line(error)}") from None
            if inside.shape != (self.height, self.width):
                raise ValueError(f"its segment has the size {inside.shape}, the image {(self.height, self.width)}")
            drawn.append((int(inside.sum()), value, inside))
        values = np.zeros((self.height, self.width), np.int32)
        for _, value, inside in sorted(drawn, key=lambda item: (item[1] != CROWD, -item[0])):
            values[inside] = value
        return values


def raw_values(source: Any, colours: bool) -> np.ndarray:
    """Numbers (H, W) of a mask; with `colours` its colours as red * 65536 + green * 256 + blue.

    Raises:
        ValueError: It cannot be read, or is no mask.
    """
    if isinstance(source, Polygons):
        return source.values()
    if isinstance(source, np.ndarray):
        array = source[..., 0] if source.ndim == 3 and source.shape[-1] == 1 else source
        return pack(array) if array.ndim == 3 else array.astype(np.int32)
    if str(source).lower().endswith(".npy"):
        return raw_values(np.load(source, allow_pickle=False), colours)
    image = _open(source)
    if colours:
        return pack(np.asarray(image.convert("RGB")))
    if image.mode in ("P", "L", "1", "I", "F") or image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.int32)
    array = np.asarray(image.convert("RGB"))
    return pack(array)


def has_colours(source: Any) -> bool | None:
    """Whether a mask file stores colours; None for a palette, which may be read either way."""
    if isinstance(source, np.ndarray):
        return source.ndim == 3 and source.shape[-1] >= 3
    if isinstance(source, Polygons) or str(source).lower().endswith(".npy"):
        return False
    mode = _open(source).mode
    return None if mode == "P" else mode not in ("L", "1", "I", "F") and not mode.startswith("I;16")


def palette_of(source: Any) -> tuple[tuple[int, int], ...]:
    """The colours (packed) of the palette entries that a mask uses, by entry."""
    image = _open(source)
    table = np.asarray(image.getpalette() or [], np.int64).reshape(-1, 3)
    return tuple((int(i), int(pack(table[i]))) for i in np.unique(np.asarray(image)) if i < len(table))


def _open(source: Any) -> Image.Image:
    """A mask file, upright; colours that are all grey are values."""
    image = open_image(source)
    if image.mode in ("RGB", "RGBA"):
        array = np.asarray(image)
        if (array[..., 0] == array[..., 1]).all() and (array[..., 0] == array[..., 2]).all():
            return Image.fromarray(np.ascontiguousarray(array[..., 0]))
    return image


def pack(colours: np.ndarray) -> np.ndarray:
    """RGB (..., 3) to int32 (...)."""
    parts = colours.astype(np.int32)
    return parts[..., 0] * 65536 + parts[..., 1] * 256 + parts[..., 2]


def unpack(values: np.ndarray) -> np.ndarray:
    """int32 (...) to RGB uint8 (..., 3)."""
    return np.stack([values >> 16 & 255, values >> 8 & 255, values & 255], -1).astype(np.uint8)


@dataclass(frozen=True)
class Encoding:
    """Which stored value is which class.

    Args:
        values: Stored value to class number.
        colours: Whether the values are packed colours.
        nearest: Whether a colour or value that is not known gets the nearest known one; else a colour is ignored, and a
            value is an error.
        ignore: Stored value that is ignored, or None.
    """

    values: Mapping[int, int]
    colours: bool = False
    nearest: bool = False
    ignore: int | None = 255

    def encode(self, source: Any) -> np.ndarray:
        """uint8 (H, W) of class numbers, 255 where ignored.

        Raises:
            ValueError: It cannot be read, or has a value that is no class.
        """
        stored = raw_values(source, self.colours)
        found = np.full(stored.shape, IGNORED, np.uint8)
        unknown = stored >= 0
        for value, number in self.values.items():
            here = stored == value
            found[here] = number
            unknown &= ~here
        if self.ignore is not None:
            unknown &= stored != self.ignore
        if not unknown.any():
            return found
        if self.nearest:
            strange, places = np.unique(stored[unknown], return_inverse=True)
            known = np.array(list(self.values))
            nearest = [_distances(int(value), known, self.colours).argmin() for value in strange]
            found[unknown] = np.array(list(self.values.values()), np.uint8)[nearest][places.reshape(-1)]
        elif not self.colours:
            value = int(stored[unknown][0])
            raise ValueError(f"mask value {value} is no class: expected {', '.join(map(str, self.values))}")
        return found


def _distances(value: int, known: np.ndarray, colours: bool) -> np.ndarray:
    """How far a value, or a packed colour, is from each known one, (K,)."""
    if not colours:
        return np.abs(known - value)
    return ((unpack(known).astype(int) - unpack(np.array(value)).astype(int)) ** 2).sum(-1)


def find_encoding(
    masks: Iterable[Any], *, classes: Sequence[str] | None, palette: Mapping[str, str], ignore: int, nearest: bool,
    names: Mapping[int, str] | None, notes: list[str],
) -> tuple[tuple[str, ...], Encoding]:  # fmt: skip
    """The classes and how they are stored, from the options or from the masks of the training set.

    Args:
        masks: The masks that may be looked at.
        classes: Names that the user gave, in the order of the values.
        palette: Colours that the user gave, by class.
        ignore: Stored value that is ignored.
        nearest: See `Encoding`.
        names: Names of stored values that the source gave.
        notes: Gets what was guessed.

    Raises:
        UserError: There are fewer than two classes, or too many colours.
    """
    if palette:
        colours = {name: parse_colour(text) for name, text in palette.items()}
        order = tuple(classes) if classes else tuple(colours)
        if lacking := [name for name in order if name not in colours]:
            raise UserError(f"data.palette has no colour for the class {lacking[0]!r}")
        return order, Encoding({colours[name]: i for i, name in enumerate(order)}, True, nearest, None)
    if names is not None:
        stored = sorted(names)
        return tuple(names[v] for v in stored), Encoding({v: i for i, v in enumerate(stored)}, ignore=ignore)
    masks = list(masks)
    kinds = {has_colours(mask) for mask in masks}
    by_colour = True in kinds
    if None in kinds and not by_colour:
        entries: dict[int, int] = {}
        for mask in masks:
            if any(entries.setdefault(i, colour) != colour for i, colour in palette_of(mask)):
                notes.append("the palettes of the masks differ from file to file, so classes are told by colour")
                by_colour = True
                break
    counts: Counter[int] = Counter()
    for mask in masks:
        values, pixels = np.unique(raw_values(mask, by_colour), return_counts=True)
        counts.update(dict(zip(values.tolist(), pixels.tolist(), strict=True)))
    if by_colour:
        return _by_colour(counts, classes, nearest, notes)
    if classes is not None and not (len(classes) == 2 and {255} < set(counts) <= {0, 255}):
        return tuple(classes), Encoding({i: i for i in range(len(classes))}, nearest=nearest, ignore=ignore)
    if set(counts) == {0, 255}:
        notes.append("the masks hold 0 and 255 only, so 255 is the class foreground and no pixel is ignored")
        return tuple(classes or ("background", "foreground")), Encoding({0: 0, 255: 1}, nearest=nearest, ignore=None)
    found = sorted(value for value in counts if value != ignore and value >= 0)
    clean = _clean(counts, found if len(found) < 2 or ignore not in counts else [*found, ignore])
    if len(clean) < len(found):
        shown = ", ".join(map(str, clean))
        if not nearest:
            raise UserError(
                f"the masks hold {len(found)} values, all but {shown} rare: anti-aliased or JPEG-damaged borders? "
                "--data.nearest_colour true gives each pixel the nearest of these; --data.classes names true classes"
            )
        notes.append(f"the masks have damaged borders: each pixel has the nearest of the values {shown}")
        if clean == [0, 255]:
            return ("background", "foreground"), Encoding({0: 0, 255: 1}, nearest=True, ignore=None)
        found = [value for value in clean if value != ignore]
    if len(found) < 2:
        raise UserError(
            f"the masks hold only the value {found[0] if found else ignore}; at least two classes are needed"
        )
    if len(found) > 255:
        raise UserError(f"the masks hold {len(found)} values; at most 255 classes are possible: are they images?")
    notes.append(f"classes are the mask values {', '.join(map(str, found))}; name them with --data.classes")
    labels = tuple("background" if v == 0 else f"class_{v}" for v in found)
    return labels, Encoding({v: i for i, v in enumerate(found)}, nearest=nearest, ignore=ignore)


def _clean(counts: Mapping[int, int], values: Sequence[int]) -> list[int]:
    """The values without those that blurring or JPEG made: rare ones, between frequent ones that are far apart."""
    total = sum(counts[v] for v in values)
    frequent: list[int] = []
    for value in sorted(values, key=lambda v: -counts[v]):
        if counts[value] >= FREQUENT * total and all(abs(value - other) >= APART for other in frequent):
            frequent.append(value)
    strays = [value for value in values if value not in frequent]
    damaged = len(strays) > max(len(frequent), 2) and len(frequent) > 1 and max(strays) > 2 * APART
    if damaged and sum(counts[v] for v in strays) < BLURRED * total:
        return sorted(frequent)
    return sorted(values)


def _by_colour(
    counts: Counter[int], classes: Sequence[str] | None, nearest: bool, notes: list[str]
) -> tuple[tuple[str, ...], Encoding]:
    total = sum(counts.values())
    main = [colour for colour, pixels in counts.most_common() if pixels >= RARE * total]
    rare = len(counts) - len(main)
    if len(main) > MOST_COLOURS or len(main) < 2:
        raise UserError(
            f"the colour masks hold {len(counts)} colours, {len(main)} of them frequent: give the colours of the "
            "classes with --data.palette '{road: \"#804080\", …}', and --data.nearest_colour true for damaged borders"
        )
    if rare:
        what = "get the nearest class" if nearest else "are ignored; --data.nearest_colour true gives the nearest class"
        notes.append(f"{rare} rare colours (damaged or anti-aliased borders) {what}")
    if classes is not None and len(classes) != len(main):
        raise UserError(
            f"data.classes has {len(classes)} names, but the masks have {len(main)} colours: use data.palette"
        )
    shown = [f"#{colour:06x}" for colour in main]
    notes.append(f"classes are the mask colours {', '.join(shown)}, by frequency; name them with --data.palette")
    labels = tuple(classes) if classes else tuple(shown)
    return labels, Encoding({colour: i for i, colour in enumerate(main)}, True, nearest, None)


def parse_colour(text: str) -> int:
    """`#804080`, `128,64,128` or a colour's name to a packed number.

    Raises:
        UserError: It is none of these.
    """
    from PIL import ImageColor

    try:
        if "," in text:
            red, green, blue = (int(part) for part in text.split(","))
            return red * 65536 + green * 256 + blue
        return int(pack(np.array(ImageColor.getrgb(text)[:3])))
    except ValueError:
        raise UserError(f"data.palette: {text!r} is no colour; expected #rrggbb, r,g,b or a name") from None


def resize(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """Class numbers uint8 (H, W) to another size; no class is made up at the borders."""
    if mask.shape == (height, width):
        return mask
    return np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))
