"""One image, of whatever kind, to uint8."""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageOps

Channels = Literal["grey", "rgb"]
Resize = Literal["crop", "pad", "stretch"]
Source = Any  # a path, bytes, an open binary file, a PIL image or an array


def open_image(source: Source) -> Image.Image:
    """Opens an image and turns it upright.

    Raises:
        ValueError: It cannot be decoded: no image, cut off, or larger than Pillow's limit.
    """
    if isinstance(source, Image.Image):
        return source
    if isinstance(source, np.ndarray):
        return Image.fromarray(to_uint8(source))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            warnings.filterwarnings("ignore", message=".*Palette images with Transparency.*")
            file = io.BytesIO(source) if isinstance(source, bytes) else source
            with Image.open(file) as opened:
                opened.load()
                image = ImageOps.exif_transpose(opened)
                return image if image is not opened else opened.copy()
    except Image.UnidentifiedImageError:
        raise ValueError("not an image") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ValueError("more pixels than Pillow allows") from None
    except FileNotFoundError:
        raise ValueError("file not found") from None
    except IsADirectoryError:
        raise ValueError("a folder, not an image") from None
    except Exception as error:  # Pillow's decoders raise what they like on damaged files
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from None


def is_grey(image: Image.Image) -> bool:
    """Whether the file keeps one channel of brightness (transparency aside)."""
    return image.mode in ("1", "L", "LA", "La", "I", "F") or image.mode.startswith("I;16")


def to_mode(image: Image.Image, channels: Channels) -> Image.Image:
    """To 8-bit grey or RGB: 16-bit values are scaled, transparency is laid over white."""
    if image.mode.startswith("I") or image.mode == "F":
        image = Image.fromarray(_scale_wide(image))
    if image.mode in ("RGBA", "LA", "La", "PA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("L" if channels == "grey" else "RGB")


def _scale_wide(image: Image.Image) -> np.ndarray:
    values = np.asarray(image, np.float64)
    if image.mode == "F":
        low, high = np.nanmin(values), np.nanmax(values)
        if low >= 0 and high <= 1:
            values = values * 255
        elif high > 255 or low < 0:
            values = (values - low) / max(high - low, 1e-12) * 255
    elif values.max(initial=0) > 255 or image.mode.startswith("I;16"):
        values = values / 257  # 65535 becomes 255
    return np.clip(np.rint(np.nan_to_num(values)), 0, 255).astype(np.uint8)


def fit(image: Image.Image, height: int, width: int, resize: Resize) -> Image.Image:
    """Brings an image to a size: cut to the shape, padded with black, or stretched."""
    if image.size == (width, height):
        return image
    if resize == "crop":
        return ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
    if resize == "pad":
        return ImageOps.pad(image, (width, height), Image.Resampling.BILINEAR)
    return image.resize((width, height), Image.Resampling.BILINEAR)


def read(source: Source, height: int, width: int, channels: Channels, resize: Resize) -> np.ndarray:
    """An image as uint8 (height, width, 1 or 3).

    Raises:
        ValueError: It cannot be decoded.
    """
    if isinstance(source, (str, os.PathLike)):
        source = Path(source)
    array = np.asarray(fit(to_mode(open_image(source), channels), height, width, resize))
    return array[..., None] if array.ndim == 2 else array


def to_uint8(images: np.ndarray) -> np.ndarray:
    """Any usual number type to uint8: 16-bit is scaled, floats are taken as 0..1 when none is larger.

    Raises:
        ValueError: The values are not of an image.
    """
    if images.dtype == np.uint8:
        return images
    if images.dtype == bool:
        return images.astype(np.uint8) * 255
    if not np.issubdtype(images.dtype, np.number) or np.issubdtype(images.dtype, np.complexfloating):
        raise ValueError(f"images must be numbers, got the type {images.dtype}")
    if not np.isfinite(images).all():
        raise ValueError("images must be finite numbers, got NaN or infinity")
    low, high = images.min(initial=0), images.max(initial=0)
    if low < 0 or high > 65535:
        raise ValueError(f"images must be in 0..1, 0..255 or 0..65535, got {low:g}..{high:g}")
    if images.dtype == np.uint16 or high > 255:
        scale = 1 / 257
    else:
        scale = 255.0 if np.issubdtype(images.dtype, np.floating) and high <= 1 else 1.0
    return np.rint(images * scale).astype(np.uint8)
