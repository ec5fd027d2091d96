import io

import numpy as np
import pytest
from PIL import Image

from pipelines.images import decode

RAMP = np.arange(0, 256, 4, dtype=np.uint8).reshape(8, 8)
COLOURS = np.stack([RAMP, RAMP[::-1], RAMP.T], -1)


def encoded(image, kind="PNG", **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def rgba():
    alpha = np.zeros((8, 8), np.uint8)
    alpha[:, 4:] = 255
    return Image.fromarray(np.dstack([COLOURS, alpha]))


def palette():
    return Image.fromarray(COLOURS).quantize(64)


OVER_WHITE = np.where(np.arange(8)[None, :, None] < 4, 255, COLOURS)

CASES = {
    "grey": (lambda: encoded(Image.fromarray(RAMP)), "grey", RAMP[..., None], 0),
    "grey as rgb": (lambda: encoded(Image.fromarray(RAMP)), "rgb", np.dstack([RAMP] * 3), 0),
    "rgb": (lambda: encoded(Image.fromarray(COLOURS)), "rgb", COLOURS, 0),
    "rgba over white": (lambda: encoded(rgba()), "rgb", OVER_WHITE, 0),
    "palette": (lambda: encoded(palette()), "rgb", np.asarray(palette().convert("RGB")), 0),
    "one bit": (lambda: encoded(Image.fromarray(RAMP > 100)), "grey", ((RAMP > 100) * 255)[..., None], 0),
    "16 bit": (lambda: encoded(Image.fromarray(RAMP.astype(np.uint16) * 257)), "grey", RAMP[..., None], 0),
    "16 bit tiff": (lambda: encoded(Image.fromarray(RAMP.astype(np.uint16) * 257), "TIFF"), "grey", RAMP[..., None], 0),
    "float tiff": (lambda: encoded(Image.fromarray(RAMP / np.float32(255)), "TIFF"), "grey", RAMP[..., None], 0),
    "cmyk": (lambda: encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"), "rgb", [254, 0, 0], 3),
    "jpeg": (lambda: encoded(Image.new("RGB", (8, 8), (10, 200, 30)), "JPEG", quality=95), "rgb", [10, 200, 30], 4),
    "webp": (lambda: encoded(Image.fromarray(COLOURS), "WEBP", lossless=True), "rgb", COLOURS, 0),
    "bmp": (lambda: encoded(Image.fromarray(COLOURS), "BMP"), "rgb", COLOURS, 0),
    "gif": (lambda: encoded(Image.fromarray(RAMP), "GIF"), "grey", RAMP[..., None], 1),
}


@pytest.mark.parametrize("name", CASES)
def test_kinds_of_pictures(name):
    make, channels, expected, tolerance = CASES[name]
    got = decode.read(make(), 8, 8, channels, "stretch")
    assert got.dtype == np.uint8
    assert got.shape == (8, 8, 1 if channels == "grey" else 3)
    assert np.abs(got.astype(int) - np.asarray(expected)).max() <= tolerance


def test_transparent_palette_is_laid_over_white():
    image = palette()
    first = image.getpixel((0, 0))
    got = decode.read(encoded(image, transparency=first), 8, 8, "rgb", "stretch")
    assert (got[0, 0] == 255).all()


@pytest.mark.parametrize(("orientation", "turn"), [(3, 2), (6, 3), (8, 1)])
def test_turned_by_exif(orientation, turn):
    exif = Image.Exif()
    exif[0x0112] = orientation
    got = decode.read(encoded(Image.fromarray(RAMP), exif=exif), 8, 8, "grey", "stretch")
    np.testing.assert_array_equal(got[..., 0], np.rot90(RAMP, turn))


@pytest.mark.parametrize(("resize", "corner", "middle"), [("crop", 200, 200), ("pad", 0, 200), ("stretch", 200, 200)])
def test_other_shapes(resize, corner, middle):
    wide = Image.new("L", (40, 10), 200)
    got = decode.read(encoded(wide), 20, 20, "grey", resize)
    assert (got[0, 0, 0], got[10, 10, 0]) == (corner, middle)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not an image"),
        (b"hello", "not an image"),
        (encoded(Image.fromarray(COLOURS).resize((64, 64)))[:200], "."),
        (encoded(Image.fromarray(COLOURS).resize((64, 64)), "JPEG")[:300], "(?i)truncated"),
    ],
)
def test_broken_files_say_why(content, reason):
    with pytest.raises(ValueError, match=reason):
        decode.read(content, 8, 8, "rgb", "crop")


def test_bombs_are_refused(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    with pytest.raises(ValueError, match="pixels"):
        decode.read(encoded(Image.fromarray(COLOURS)), 8, 8, "rgb", "crop")


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.array([0, 255], np.uint8), [0, 255]),
        (np.array([False, True]), [0, 255]),
        (np.array([0, 65535], np.uint16), [0, 255]),
        (np.array([0.0, 0.5, 1.0]), [0, 128, 255]),
        (np.array([0.0, 254.6]), [0, 255]),
        (np.array([0, 200], np.int64), [0, 200]),
    ],
)
def test_number_types(array, expected):
    assert decode.to_uint8(array).tolist() == expected


@pytest.mark.parametrize("array", [np.array([-1.0]), np.array([1e6]), np.array([np.nan]), np.array(["a"])])
def test_numbers_that_are_no_pictures(array):
    with pytest.raises(ValueError, match="images must be"):
        decode.to_uint8(array)
