"""Every odd file becomes a correct upright RGB picture or a `DecodeError` with its reason."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from zfnet.data.decode import (
    DecodeError,
    decode_jpeg,
    encode_jpeg,
    fit_square,
    open_upright,
    square_corner,
)


@pytest.fixture(scope="module")
def scene() -> np.ndarray:
    """A smooth (48, 64, 3) picture with a different colour in each corner."""
    y, x = np.mgrid[0:48, 0:64]
    return np.stack([x * 4, y * 5, 255 - (x + y) * 2], -1).astype(np.uint8)


def decode(source: Path | str | bytes) -> np.ndarray:
    return np.asarray(open_upright(source)[0])


def save(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def near(a: np.ndarray, b: np.ndarray, most: float) -> bool:
    return a.shape == b.shape and float(np.abs(a.astype(int) - b.astype(int)).mean()) < most


BACK: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_undone(scene: np.ndarray, orientation: int, kind: str) -> None:
    stored = Image.fromarray(np.ascontiguousarray(BACK[orientation](scene)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    image, size = open_upright(save(stored, kind, exif=exif))
    assert near(np.asarray(image), scene, 6)
    assert size == (64, 48)


def odd_jpegs(scene: np.ndarray) -> Iterator[bytes]:
    """JPEGs that are strange but whole."""
    image = Image.fromarray(scene)
    exif = Image.Exif()
    exif[0x0112] = 77  # no orientation
    yield save(image, "JPEG", exif=exif)
    yield save(image, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\xfe" * 20)
    exif[0x0112] = 1
    content = save(image, "JPEG", exif=exif)
    block = b"\xff\xe1" + (len(exif.tobytes()) + 2).to_bytes(2, "big") + exif.tobytes()
    yield content[:2] + block + content[2:]  # several EXIF blocks
    table = content.index(b"\xff\xdb")
    yield content[:table] + b"junk!" + content[table:]
    yield content + b"trailing rubbish"


def test_odd_jpegs_do_not_cost_the_picture(scene: np.ndarray) -> None:
    assert all(near(decode(content), scene, 6) for content in odd_jpegs(scene))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"])
def test_grey_becomes_three_equal_channels(scene: np.ndarray, kind: str) -> None:
    grey = Image.fromarray(scene).convert("L")
    got = decode(save(grey, kind, **({"lossless": True} if kind == "WEBP" else {})))
    assert (got == got[..., :1]).all()
    assert near(got[..., 0], np.asarray(grey), 4)


@pytest.mark.parametrize("mode", ["1", "P", "RGB"])
def test_palette_and_bitmap(scene: np.ndarray, mode: str) -> None:
    image = Image.fromarray(scene).convert(mode)
    assert np.array_equal(decode(save(image, "PNG")), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_not_clipped(kind: str) -> None:
    deep = np.linspace(0, 65535, 64 * 48).astype(np.uint16).reshape(48, 64)
    got = decode(save(Image.fromarray(deep), kind))
    assert np.array_equal(got[..., 0], np.rint(deep / 257).astype(np.uint8))


def test_float_grey() -> None:
    values = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    assert np.array_equal(decode(save(Image.fromarray(values), "TIFF"))[..., 0].ravel(), range(256))
    with pytest.raises(DecodeError, match=r"outside 0\.\.1"):
        decode(save(Image.fromarray(values * 9), "TIFF"))
    with pytest.raises(DecodeError, match=r"outside 0\.\.65535"):
        decode(save(Image.fromarray((values * 1e6).astype(np.int32)), "TIFF"))


def test_transparency_lies_over_white() -> None:
    rgba = np.zeros((2, 3, 4), np.uint8)
    rgba[..., 0] = 200
    rgba[:, 0, 3], rgba[:, 1, 3], rgba[:, 2, 3] = 0, 255, 51
    got = decode(save(Image.fromarray(rgba), "PNG"))
    assert got[0].tolist() == [[255, 255, 255], [200, 0, 0], [244, 204, 204]]
    grey = np.array([[[90, 0], [90, 255]]], np.uint8)
    assert decode(save(Image.fromarray(grey, "LA"), "PNG"))[0].tolist() == [[255] * 3, [90] * 3]


def test_transparent_colour_and_palette() -> None:
    rgb = Image.new("RGB", (2, 1), (9, 8, 7))
    rgb.putpixel((1, 0), (1, 2, 3))
    assert decode(save(rgb, "PNG", transparency=(9, 8, 7)))[0].tolist() == [[255] * 3, [1, 2, 3]]
    palette = rgb.quantize(2)
    see_through = palette.getpixel((0, 0))
    got = decode(save(palette, "GIF", transparency=see_through))
    assert got[0].tolist() == [[255] * 3, [1, 2, 3]]


def test_cmyk(scene: np.ndarray) -> None:
    cmyk = Image.fromarray(scene).convert("CMYK")  # Pillow writes Adobe's inverted form
    content = save(cmyk, "JPEG", quality=98)
    assert b"Adobe" in content
    assert near(decode(content), scene, 8)
    assert near(decode(save(cmyk, "TIFF")), scene, 1)


def test_animation_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "lime")]
    for kind in ("GIF", "WEBP"):
        more = {"lossless": True} if kind == "WEBP" else {}
        content = save(frames[0], kind, save_all=True, append_images=frames[1:], **more)
        assert (decode(content) == [255, 0, 0]).all()


def test_content_counts_not_the_name(tmp_path: Path, scene: np.ndarray) -> None:
    path = tmp_path / "really_a_png.JPEG"  # ImageNet has one such file
    path.write_bytes(save(Image.fromarray(scene), "PNG"))
    assert np.array_equal(decode(path), scene)


NOISE = np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_truncated_files_are_refused(kind: str, share: float) -> None:
    content = save(Image.fromarray(NOISE), kind)
    with pytest.raises(DecodeError):
        decode(content[: int(len(content) * share)])


@pytest.mark.parametrize("fault", ["cut off, but closed", "damaged"])
def test_jpegs_with_damaged_data_are_refused(fault: str) -> None:
    """Pillow fills the rest with grey, or returns smears, and says nothing."""
    content = bytearray(save(Image.fromarray(NOISE), "JPEG", restart_marker_rows=1))
    middle = len(content) // 2
    if fault == "damaged":
        content[middle : middle + 400] = b"\x55" * 400
    else:
        content[middle:] = b"\xff\xd9"
    Image.open(io.BytesIO(content)).load()
    with pytest.raises(DecodeError, match="damaged JPEG"):
        decode(bytes(content))


def test_pillow_left_lenient_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    content = save(Image.fromarray(np.eye(64, dtype=np.uint8) * 255), "PNG")
    with pytest.raises(DecodeError):
        decode(content[:-40])
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True  # ours to heed, not to change


def test_empty_random_foreign_and_missing(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(DecodeError, match="empty file"):
        decode(tmp_path / "empty.jpg")
    with pytest.raises(DecodeError, match="not an image"):
        decode(np.random.default_rng(0).bytes(4000))
    with pytest.raises(DecodeError, match="not an image"):  # Pillow would start Ghostscript
        decode(save(Image.new("RGB", (8, 8)), "EPS"))
    with pytest.raises(DecodeError, match="cannot be read: No such file"):
        decode(tmp_path / "gone.jpg")
    with pytest.raises(DecodeError, match="cannot be read"):
        decode(tmp_path)


def test_decompression_bomb() -> None:
    def chunk(name: bytes, body: bytes) -> bytes:
        return len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4)

    side = (20_000).to_bytes(4, "big")
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", side + side + b"\x08\0\0\0\0")
    bomb = png + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    with pytest.raises(DecodeError, match=r"pixels|Bomb"):
        decode(bomb)


def test_large_jpegs_may_be_decoded_smaller() -> None:
    smooth = Image.linear_gradient("L").resize((1200, 800)).convert("RGB")
    content = save(smooth, "JPEG", quality=95)
    image, size = open_upright(content, enough=128)
    assert size == (1200, 800)
    assert 128 <= min(image.size) < 800
    assert near(fit_square(image, 64), fit_square(open_upright(content)[0], 64), 1.5)


def test_fit_square_takes_the_centre() -> None:
    wide = np.zeros((10, 31, 3), np.uint8)
    wide[:, 10:20] = 200
    assert (fit_square(Image.fromarray(wide), 10) == 200).all()
    assert square_corner(31, 10) == (10, 0)
    assert square_corner(10, 31) == (0, 10)
    assert fit_square(Image.fromarray(wide), 40).shape == (40, 40, 3)


def test_fit_square_is_antialiased() -> None:
    checks = (np.indices((256, 256)).sum(0) % 2 * 255).astype(np.uint8)
    image = Image.fromarray(np.dstack([checks] * 3))
    small = fit_square(image, 64)
    assert np.abs(small.astype(int) - 127).max() <= 3


def test_stored_jpeg_is_fine_and_unsubsampled() -> None:
    stripes = np.zeros((32, 32, 3), np.uint8)
    stripes[:, ::2] = [255, 0, 0]
    stripes[:, 1::2] = [0, 0, 255]
    content = encode_jpeg(stripes)
    assert near(decode_jpeg(content), stripes, 4)  # 4:2:0 would smear these colours
    assert np.array_equal(decode_jpeg(memoryview(content)), decode(content))
