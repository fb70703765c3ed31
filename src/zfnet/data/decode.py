"""One way from the bytes of an image file to upright RGB pixels, or a stated reason why not."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

# Formats that Pillow reads by itself; others (EPS, for one) would start foreign programs.
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "PPM", "JPEG2000")

# Twice the largest photo of ImageNet's; a file that claims more is taken for a decompression bomb.
MAX_PIXELS = 120_000_000

# What shows through transparent pixels: white, the page that such pictures are drawn for.
BACKGROUND = (255, 255, 255)

_EXIF_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class DecodeError(Exception):
    """A file that gives no trustworthy picture; `reason` says why in a few words."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def open_upright(
    source: Path | str | bytes, enough: int | None = None
) -> tuple[Image.Image, tuple[int, int]]:
    """Decode a file, or the bytes of one, into an upright RGB image; also the source's (W, H).

    EXIF orientation is applied; grey, palette and CMYK become RGB; transparency is laid over white;
    16-bit grey is scaled by 1/257, not clipped; of an animation the first frame is taken. With
    `enough`, a JPEG may be decoded at 1/2, 1/4 or 1/8 of its size as long as neither side
    falls under `enough` pixels, which saves most of the time on camera-size photos.
    """
    try:
        content = source if isinstance(source, bytes) else Path(source).read_bytes()
    except OSError as error:
        raise DecodeError(f"cannot be read: {error.strerror or error}") from error
    if not content:
        raise DecodeError("empty file")
    # Pillow's plugins raise nearly anything on hostile bytes (OSError, SyntaxError, ValueError,
    # struct.error, IndexError, zlib.error, MemoryError …): each means "no picture in here".
    try:
        with _strict_pillow():
            image = Image.open(io.BytesIO(content), formats=FORMATS)
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise DecodeError(f"{width}×{height} pixels, more than {MAX_PIXELS:,}")
            if image.format in ("JPEG", "MPO"):
                _check_jpeg(content)
                if enough is not None:
                    image.draft(None, (enough, enough))
            image.load()
            orientation = _orientation(image)  # after load, which turns a TIFF upright by itself
            if image.size != (width, height) and image.format == "TIFF":
                width, height = image.size
            upright = _to_rgb(image)
    except DecodeError:
        raise
    except UnidentifiedImageError as error:
        raise DecodeError("not an image in a known format") from error
    except Exception as error:
        raise DecodeError(f"{type(error).__name__}: {error}") from error
    if orientation in _UPRIGHT:
        upright = upright.transpose(_UPRIGHT[orientation])
    if orientation >= 5:
        width, height = height, width
    return upright, (width, height)


@contextmanager
def _strict_pillow() -> Iterator[None]:
    """Make Pillow raise on cut-off files whatever else in the process asked for, and not warn."""
    before = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd metadata; sizes are checked by MAX_PIXELS
            yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before


# libjpeg's warnings that mean damaged pixels. Stray bytes before a marker other than a restart
# marker (0xd0–0xd7) lie outside the compressed data and do no harm.
_DAMAGE = re.compile(
    r"Premature end|Inconsistent progression|"
    r"Corrupt JPEG data(?!: \d+ extraneous bytes before marker 0x(?!d[0-7]))"
)


def _check_jpeg(content: bytes) -> None:
    """Raise `DecodeError` for a JPEG whose compressed data are damaged.

    Pillow hides libjpeg's warnings and returns whatever the damaged data give: smears or grey. Here
    the data are read once more by a decoder that reports them, at 1/8 size to keep it cheap.
    """
    import simplejpeg

    try:
        space = simplejpeg.decode_jpeg_header(content, strict=False)[2]
        wanted = {"Gray": "GRAY", "CMYK": "CMYK", "YCCK": "CMYK"}.get(space, "RGB")
        simplejpeg.decode_jpeg(content, wanted, min_height=1, min_width=1, strict=True)
    except ValueError as error:
        if _DAMAGE.search(str(error)):
            raise DecodeError(f"damaged JPEG: {error}") from error


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 (upright) where the metadata are missing or broken."""
    try:
        value = image.getexif().get(_EXIF_ORIENTATION, 1)
        return int(value) if 1 <= int(value) <= 8 else 1
    except Exception:
        return 1  # broken metadata say nothing about the pixels


def _to_rgb(image: Image.Image) -> Image.Image:
    """Bring a loaded image of any mode to RGB."""
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        return Image.fromarray(_deep_grey(image)).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        below = Image.new("RGBA", rgba.size, (*BACKGROUND, 255))
        return Image.alpha_composite(below, rgba).convert("RGB")
    return image.convert("RGB")  # also CMYK: Pillow already undid Adobe's inversion


def _deep_grey(image: Image.Image) -> np.ndarray:
    """Scale grey of more than 8 bits to (H, W) uint8 by its full range.

    16 bits: 0..65535; floating point: 0..1. Wider ranges have no agreed meaning as a picture and
    raise `DecodeError`.
    """
    values = np.asarray(image)
    if image.mode == "F":
        if not np.isfinite(values).all() or values.min() < 0 or values.max() > 1:
            raise DecodeError("floating-point grey outside 0..1")
        return np.rint(values * 255).astype(np.uint8)
    values = values.astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise DecodeError("integer grey outside 0..65535")
    return ((values + 128) // 257).astype(np.uint8)


def fit_square(image: Image.Image, size: int) -> np.ndarray:
    """Scale the centre square of an RGB image to (size, size, 3) uint8, antialiased bicubic.

    The same as bringing the short side to `size` and cutting out the centre, in one step.
    """
    side = min(image.size)
    left, top = square_corner(*image.size)
    box = (left, top, left + side, top + side)
    if side == size:
        return np.asarray(image.crop(box))
    scaled = image.resize((size, size), Image.Resampling.BICUBIC, box=box, reducing_gap=3.0)
    return np.asarray(scaled)


def square_corner(width: int, height: int) -> tuple[int, int]:
    """Return the (left, top) pixel of the centre square of an image."""
    side = min(width, height)
    return (width - side) // 2, (height - side) // 2


def encode_jpeg(pixels: np.ndarray) -> bytes:
    """Encode (H, W, 3) uint8 as JPEG at quality 95 without chroma subsampling (4:4:4)."""
    import simplejpeg

    pixels = np.ascontiguousarray(pixels)
    return bytes(
        simplejpeg.encode_jpeg(pixels, quality=95, colorspace="RGB", colorsubsampling="444")
    )


def decode_jpeg(content: bytes | memoryview) -> np.ndarray:
    """Decode a JPEG that `encode_jpeg` wrote: (H, W, 3) uint8."""
    import simplejpeg

    return np.asarray(simplejpeg.decode_jpeg(content, "RGB"))


def fit_array(pixels: np.ndarray, size: int) -> np.ndarray:
    """`fit_square` of pixels (H, W, 3) uint8."""
    return fit_square(Image.fromarray(np.ascontiguousarray(pixels)), size)


def as_stored(pixels: np.ndarray, size: int, store: str) -> np.ndarray:
    """Pixels (H, W, 3) uint8 as a prepared set of `size` and `store` gives them back."""
    square = fit_array(pixels, size)
    return decode_jpeg(encode_jpeg(square)) if store == "jpeg" else square
