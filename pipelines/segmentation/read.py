"""One image of any kind, upright and of the model's size: 8 or 16 bits, floats, one channel or many."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipelines.images import decode

MOST_CHANNELS = 64
TURNS = {
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip


@dataclass(frozen=True)
class Opened:
    """An image before it is resized: a PIL image of 8 bits, or float32 (H, W, C) between 0 and 255.

    Args:
        content: The pixels.
    """

    content: Any

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        if isinstance(self.content, np.ndarray):
            return self.content.shape[0], self.content.shape[1]
        return self.content.height, self.content.width

    @property
    def channels(self) -> int:
        """Channels as stored, transparency aside."""
        if isinstance(self.content, np.ndarray):
            return self.content.shape[-1]
        return 1 if decode.is_grey(self.content) else 3


def open_image(source: Any, white: float | None = None) -> Opened:
    """Opens an image upright: files that Pillow knows, .npy, .tif with any number of channels, and arrays.

    Args:
        source: A path, bytes, a PIL image or an array.
        white: Value that counts as white in images of more than 8 bits; None is the largest of their type.

    Raises:
        ValueError: It cannot be decoded.
    """
    if isinstance(source, np.ndarray):
        return Opened(_from_array(source, white))
    suffix = Path(source).suffix.lower() if isinstance(source, (str, os.PathLike)) else ""
    if suffix == ".npy":
        return Opened(_from_array(_npy(Path(source)), white))
    if suffix in (".tif", ".tiff") and (array := _tif(Path(source))) is not None:
        return Opened(_from_array(array, white))
    picture = decode.open_image(Path(source) if isinstance(source, str) else source)
    if picture.mode.startswith("I") or picture.mode == "F":
        values = np.asarray(picture)
        wide = values.astype(np.uint16) if picture.mode != "F" and values.max(initial=0) <= 65535 else values
        return Opened(_from_array(wide, white))
    return Opened(picture)


def _npy(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise ValueError("file not found") from None
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"no array of NumPy ({' '.join(str(error).split())})") from None


def _tif(path: Path) -> np.ndarray | None:
    """The array of a TIFF that Pillow cannot read whole: more than four channels, or three of 16 bits; else None."""
    try:
        with Image.open(path) as header:
            samples = int(getattr(header, "tag_v2", {}).get(277, 1))
            bits = max(getattr(header, "tag_v2", {}).get(258, (8,)))
            if samples <= 4 and (bits <= 8 or samples == 1) and getattr(header, "n_frames", 1) == 1:
                return None
    except FileNotFoundError:
        raise ValueError("file not found") from None
    except Exception:  # Pillow gives up on unusual layouts; tifffile knows more of them
        if not path.is_file():
            raise ValueError("file not found") from None
    try:
        import tifffile
    except ImportError:
        raise ValueError("a TIFF of several channels or pages, which needs tifffile: pip install tifffile") from None
    try:
        array = np.asarray(tifffile.imread(path))
    except Exception as error:
        raise ValueError(" ".join(str(error).split()) or "not a TIFF") from None
    return array


def _from_array(array: np.ndarray, white: float | None) -> Any:
    """A PIL image of grey or colour of 8 bits, or float32 (H, W, C) of anything else."""
    array = np.asarray(array)
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim == 3 and array.shape[-1] > MOST_CHANNELS >= array.shape[0]:
        array = np.moveaxis(array, 0, -1)  # channels first
    if array.ndim != 3 or not 1 <= array.shape[-1] <= MOST_CHANNELS or 0 in array.shape:
        raise ValueError(f"an image must be (H, W) or (H, W, C), got {array.shape}")
    if array.dtype.kind not in "buif" or (array.dtype.kind == "f" and not np.isfinite(array).all()):
        raise ValueError(f"pixels must be finite numbers, got {array.dtype}")
    if array.dtype == np.uint8 and array.shape[-1] in (1, 3):
        return Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array)
    if white is None:
        usual = {"b": 1.0, "u": float(np.iinfo(array.dtype).max) if array.dtype.kind == "u" else 1.0}
        top = 65535.0 if array.max() > 255 else 255.0
        white = usual.get(array.dtype.kind, 1.0 if array.dtype.kind == "f" and array.max() <= 1 else top)
    return np.ascontiguousarray(array, np.float32) * np.float32(255 / white)


def turned(mask: np.ndarray, image: Any) -> np.ndarray:
    """A mask (H, W) turned as the EXIF of its image's file says; without any, as it is."""
    try:
        with Image.open(image) as header:
            how = TURNS.get(header.getexif().get(0x0112, 1))
    except Exception:  # not a file that Pillow knows, so it has no EXIF
        how = None
    return mask if how is None else np.asarray(Image.fromarray(mask).transpose(how))


@dataclass(frozen=True)
class SegmentSpec:
    """How a raw image becomes the model's input.

    Args:
        height: Of the input.
        width: Of the input.
        channels: Of the input: 1 is grey, 3 colour, others as the files have them.
        white: Value of white in images of more than 8 bits, or None.
        wide: Whether the pixels are float32 rather than uint8.
    """

    height: int
    width: int
    channels: int
    white: float | None = None
    wide: bool = False

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C)"""
        return self.height, self.width, self.channels

    @property
    def dtype(self) -> Any:
        """Type of its pixels."""
        return np.float32 if self.wide else np.uint8

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def pixels(self, opened: Opened) -> np.ndarray:
        """The pixels with the right channels, not yet resized: uint8 or float32 (H, W, C), 0..255.

        Raises:
            ValueError: It has other channels.
        """
        content = opened.content
        if isinstance(content, np.ndarray):
            if content.shape[-1] != self.channels:
                if self.channels == 1 and content.shape[-1] == 3:
                    content = content @ np.array([[0.299], [0.587], [0.114]], np.float32)
                elif self.channels == 3 and content.shape[-1] in (1, 4):
                    content = content[..., :3] if content.shape[-1] == 4 else content.repeat(3, -1)
                else:
                    raise ValueError(f"it has {content.shape[-1]} channels, the model needs {self.channels}")
            return content if self.wide else np.clip(np.rint(content), 0, 255).astype(np.uint8)
        if self.channels not in (1, 3):
            raise ValueError(f"it has {opened.channels} channels, the model needs {self.channels}")
        array = np.asarray(decode.to_mode(content, "grey" if self.channels == 1 else "rgb"))
        array = array[..., None] if array.ndim == 2 else array
        return array.astype(np.float32) if self.wide else array

    def fit(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels (H, W, C) at the model's size."""
        if pixels.shape[:2] == (self.height, self.width):
            return pixels
        size = (self.width, self.height)
        if pixels.dtype == np.uint8:
            image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
            array = np.asarray(image.resize(size, Image.Resampling.BILINEAR))
            return array[..., None] if array.ndim == 2 else array
        planes = [Image.fromarray(np.ascontiguousarray(plane)) for plane in np.moveaxis(pixels, -1, 0)]
        return np.stack([np.asarray(plane.resize(size, Image.Resampling.BILINEAR)) for plane in planes], -1)

    def read(self, source: Any) -> np.ndarray:
        """A raw image at the model's size, uint8 or float32 (H, W, C).

        Raises:
            ValueError: It cannot be decoded, or has other channels.
        """
        return self.fit(self.pixels(open_image(source, self.white)))
