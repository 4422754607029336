"""Every way a picture file can be odd, small or hostile, made here by hand or by Pillow."""

import contextlib
import io
import os
import struct
import threading
import tracemalloc
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vlrface.images import decode as decoding
from vlrface.images.decode import (
    DecodeError,
    DecodeLimits,
    PictureTooLargeError,
    decode,
    decode_bytes,
    encode_png,
    pixels_in,
)
from vlrface.types import VlrfaceError


def png(width, height, depth, colour, rows, chunks=()):
    """A PNG by the specification: `rows` is the unfiltered pixel data, one bytes object per row."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(b"\0" + row) for row in rows) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    middle = b"".join(chunk(kind, body) for kind, body in chunks)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + middle + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def saved(picture, kind, **options):
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


@pytest.fixture
def rgb():
    """A smooth picture without symmetry, 24 high and 20 wide."""
    y, x = np.mgrid[0:24, 0:20]
    return np.stack([x * 12, y * 10, (x + y) * 5], axis=2).astype(np.uint8)


def read(data, **limits):
    return decode_bytes(data, "face", DecodeLimits(**limits))


def test_lossless_formats_come_back_exactly(rgb, tmp_path):
    for kind in ("PNG", "BMP", "TIFF", "PPM"):
        path = tmp_path / f"face.{kind.lower()}"
        Image.fromarray(rgb).save(path)
        np.testing.assert_array_equal(decode(path), rgb)
    np.testing.assert_array_equal(read(saved(Image.fromarray(rgb), "WEBP", lossless=True)), rgb)


def test_the_content_decides_and_not_the_name(rgb, tmp_path):
    path = tmp_path / "face.jpg"
    path.write_bytes(saved(Image.fromarray(rgb), "PNG"))
    np.testing.assert_array_equal(decode(path), rgb)


@pytest.mark.parametrize(("kind", "options"), [("JPEG", {"quality": 95}), ("WEBP", {"quality": 95})])
def test_lossy_formats_come_back_nearly(rgb, kind, options):
    assert np.abs(read(saved(Image.fromarray(rgb), kind, **options)).astype(int) - rgb).mean() < 5


def test_jpeg_agrees_with_opencv(rgb):
    data = saved(Image.fromarray(rgb), "JPEG", quality=80)
    other = cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    assert np.abs(read(data).astype(int) - other).max() <= 2


def test_grey_becomes_three_equal_channels(rgb):
    grey = rgb[..., 0]
    out = read(saved(Image.fromarray(grey), "PNG"))
    np.testing.assert_array_equal(out, np.repeat(grey[..., None], 3, axis=2))
    bits = Image.fromarray(grey > 100)
    np.testing.assert_array_equal(read(saved(bits, "PNG"))[..., 1], np.where(grey > 100, 255, 0))


def test_grey_of_16_bits_is_scaled_by_hand():
    values = np.array([[0, 1, 128, 129], [257, 32768, 65534, 65535]] * 2, np.uint16)
    want = [[0, 0, 0, 1], [1, 128, 255, 255]] * 2
    rows = [row.astype(">u2").tobytes() for row in values]
    for data in (png(4, 4, 16, 0, rows), saved(Image.fromarray(values), "TIFF"), saved(Image.fromarray(values), "PPM")):
        np.testing.assert_array_equal(read(data)[..., 2], want)


def test_rgb_of_16_bits_is_scaled_not_clipped():
    values = np.random.default_rng(0).integers(0, 65536, (5, 6, 3)).astype(np.uint16)
    out = read(png(6, 5, 16, 2, [row.astype(">u2").tobytes() for row in values]))
    assert np.abs(out - values / 257).max() <= 1
    alpha = np.concatenate([values, np.full((5, 6, 1), 65535, np.uint16)], axis=2)
    assert np.abs(read(png(6, 5, 16, 6, [r.astype(">u2").tobytes() for r in alpha])) - values / 257).max() <= 1


def test_transparent_pixels_are_composited_over_black(rgb):
    alpha = np.zeros(rgb.shape[:2], np.uint8)
    alpha[:, :10], alpha[:, 10:15] = 255, 128
    out = read(saved(Image.fromarray(np.dstack([rgb, alpha])), "PNG"))
    np.testing.assert_array_equal(out[:, :10], rgb[:, :10])
    assert np.abs(out[:, 10:15] - rgb[:, 10:15] * (128 / 255)).max() <= 1
    assert not out[:, 15:].any()


def test_transparent_grey_and_a_transparent_colour(rgb):
    grey = np.dstack([rgb[..., 0], np.full(rgb.shape[:2], 0, np.uint8)])
    assert not read(saved(Image.fromarray(grey), "PNG")).any()
    flat = np.full((6, 6, 3), 200, np.uint8)
    flat[0, 0] = 9
    key = struct.pack(">HHH", 200, 200, 200)
    out = read(png(6, 6, 8, 2, [row.tobytes() for row in flat], [(b"tRNS", key)]))
    assert out[0, 0].tolist() == [9, 9, 9]
    assert not out[1:].any()


def test_palette_with_and_without_transparency(rgb):
    palette = Image.fromarray(rgb).quantize(16)
    want = np.asarray(palette.convert("RGB"))
    np.testing.assert_array_equal(read(saved(palette, "PNG")), want)
    np.testing.assert_array_equal(read(saved(palette, "GIF")), want)
    clear = read(saved(palette, "PNG", transparency=bytes([0] * 16)))
    assert not clear.any()


def test_animation_gives_its_first_frame():
    first, second = (Image.new("RGB", (8, 8), c) for c in ("red", "blue"))
    for kind in ("GIF", "WEBP", "PNG", "TIFF"):
        out = read(saved(first, kind, save_all=True, append_images=[second]))
        assert out[4, 4, 0] > 240
        assert out[4, 4, 2] < 15


def test_cmyk_jpeg_has_the_right_colours():
    cmyk = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # no cyan, all magenta and yellow: red
    out = read(saved(cmyk, "JPEG", quality=95)).reshape(-1, 3).mean(axis=0)
    assert out[0] > 240
    assert out[1:].max() < 15
    assert read(saved(Image.new("LAB", (8, 8), (128, 128, 128)), "TIFF")).shape == (8, 8, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_orientation_is_applied(rgb, orientation, kind):
    upright = Image.fromarray(rgb)
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Pillow's transpose numbers that store it turned
    stored = upright if orientation == 1 else upright.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95, "subsampling": 0} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    out = read(saved(stored, kind, exif=exif, **options))
    assert out.shape == rgb.shape
    assert out.flags.c_contiguous
    assert np.abs(out.astype(int) - rgb).mean() < 4


@pytest.mark.parametrize("value", [0, 9, 77])
def test_senseless_orientation_is_ignored(rgb, value):
    exif = Image.Exif()
    exif[0x0112] = value
    np.testing.assert_array_equal(read(saved(Image.fromarray(rgb), "PNG", exif=exif)), rgb)
    np.testing.assert_array_equal(read(saved(Image.fromarray(rgb), "PNG", exif=b"Exif\0\0MM\0*garbage")), rgb)


def bombs():
    zeros = png(30_000, 30_000, 1, 0, (bytes(3750) for _ in range(30_000)))
    huge = struct.pack("<BBB", *(16_383 - 1).to_bytes(3, "little"))
    vp8x = b"VP8X" + struct.pack("<IB3x", 10, 0) + huge + huge
    gif = b"GIF89a" + struct.pack("<HHBBB", 65_535, 65_535, 0x80, 0, 0) + bytes(6)
    gif += b"," + struct.pack("<HHHHB", 0, 0, 65_535, 65_535, 0) + b"\x02\x02\x44\x01\x00;"
    small, large = (struct.pack("<HH", side, side) for side in (8, 7_000))
    frame = gif.replace(struct.pack("<HH", 65_535, 65_535), small, 1).replace(struct.pack("<HH", 65_535, 65_535), large)
    jpeg = bytearray(saved(Image.new("RGB", (8, 8)), "JPEG"))
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = struct.pack(">HH", 65_500, 65_500)
    bmp = bytearray(saved(Image.new("RGB", (8, 8)), "BMP"))
    bmp[18:26] = struct.pack("<ii", 30_000, 30_000)
    return {
        "png": zeros,
        "webp": b"RIFF" + struct.pack("<I", len(vp8x) + 4) + b"WEBP" + vp8x,
        "webp lossless": b"RIFF\x20\0\0\0WEBPVP8L\x14\0\0\0\x2f\xff\xff\xff\x0f" + bytes(16),
        "webp lossy": b"RIFF\x20\0\0\0WEBPVP8 \x14\0\0\0\x10\0\0\x9d\x01\x2a\xff\x3f\xff\x3f" + bytes(16),
        "gif": gif,
        "gif frame": frame,
        "jpeg": bytes(jpeg),
        "bmp": bytes(bmp),
        "ppm": b"P6 30000 30000 255 ",
    }


BOMBS = bombs()


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_costs_nothing(name, tmp_path):
    path = tmp_path / "face.png"
    path.write_bytes(BOMBS[name])
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError, match=r"face\.png: [\d,]+ x [\d,]+ pixels are more than 40,000,000"):
            decode(path)
        assert tracemalloc.get_traced_memory()[1] < 2e6
    finally:
        tracemalloc.stop()


def test_a_picture_that_pillow_would_warn_of_is_judged_by_our_limit_alone():
    data = png(10_000, 10_000, 1, 0, (bytes(1250) for _ in range(10_000)))  # between Pillow's warning and its error
    with pytest.raises(DecodeError, match="10,000 x 10,000"):
        read(data)


def test_one_enormous_tile_is_refused():
    tags = [
        (256, 16),
        (257, 16),
        (258, 8),
        (259, 5),
        (262, 1),
        (277, 1),
        (322, 30_000),
        (323, 30_000),
        (324, 8),
        (325, 9),
    ]
    body = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    data = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags)) + body + bytes(64)
    with pytest.raises(DecodeError, match="tiles of 30,000 x 30,000"):
        read(data)


def test_compressed_text_does_not_expand():
    data = png(8, 8, 8, 0, [bytes(8)] * 8, [(b"zTXt", b"a\0\0" + zlib.compress(bytes(50_000_000)))])
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError, match="damaged"):
            read(data)
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "TIFF", "GIF", "WEBP", "PPM"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_truncated_files_are_refused(kind, share):
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    data = saved(Image.fromarray(noise), kind)
    with pytest.raises(DecodeError, match=r"^face: .*(truncated|damaged).*again"):
        read(data[: int(len(data) * share)])


def test_damaged_pixels_are_refused_or_decoded_but_never_crash(rgb):
    rng = np.random.default_rng(2)
    for kind in ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "PPM"):
        good = saved(Image.fromarray(rgb), kind)
        for _ in range(60):
            bad = bytearray(good)
            for at in rng.integers(0, len(bad), 3):
                bad[at] = rng.integers(0, 256)
            with contextlib.suppress(DecodeError):
                assert read(bytes(bad)).dtype == np.uint8


@given(
    st.binary(max_size=200),
    st.sampled_from(
        [
            b"",
            b"\xff\xd8\xff",
            b"\x89PNG\r\n\x1a\n",
            b"GIF89a",
            b"BM",
            b"II*\0",
            b"RIFF\x40\0\0\0WEBPVP8 ",
            b"P6 8 8 ",
            b"P2 4 4 9 ",
        ]
    ),
)
def test_any_bytes_give_a_picture_or_a_decode_error(body, magic):
    with contextlib.suppress(DecodeError):
        assert read(magic + body, max_pixels=10**6).ndim == 3


def test_text_named_jpg(tmp_path):
    path = tmp_path / "text.jpg"
    path.write_text("This is no picture.\n" * 20)
    with pytest.raises(DecodeError, match=r"text\.jpg: not a picture in a known format .*JPEG.*convert it"):
        decode(path)


def test_formats_outside_the_list_are_refused(rgb):
    for kind in ("ICO", "TGA", "EPS", "PDF", "PCX"):
        with pytest.raises(DecodeError, match=r"known format|damaged"):
            read(saved(Image.fromarray(rgb), kind))


def test_empty_file(tmp_path):
    path = tmp_path / "empty.png"
    path.touch()
    with pytest.raises(DecodeError, match=r"empty\.png: the file is empty\. Copy"):
        decode(path)


@pytest.mark.parametrize("size", [(1, 1), (100, 3), (3, 100)])
def test_pictures_too_small_for_a_face(size):
    for kind in ("JPEG", "PNG", "WEBP"):
        with pytest.raises(DecodeError, match=rf"face: {size[0]} x {size[1]} pixels, but both sides must reach 4"):
            read(saved(Image.new("RGB", size), kind))
    assert read(saved(Image.new("RGB", size), "PNG"), min_side=1).shape == (size[1], size[0], 3)


def test_pixels_without_a_known_white_are_refused():
    real = Image.fromarray(np.zeros((8, 8), np.float32))
    wide = Image.fromarray(np.full((8, 8), 70_000, np.int32))
    for picture, bits in ((real, "floating"), (wide, "32-bit")):
        with pytest.raises(DecodeError, match=f"{bits}.*Convert it"):
            read(saved(picture, "TIFF"))


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(DecodeError, match="no such file"):
        decode(tmp_path / "absent.jpg")
    with pytest.raises(DecodeError, match="not a regular file"):
        decode(tmp_path)
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(DecodeError, match="not a regular file"):
        decode(tmp_path / "pipe.jpg")
    with pytest.raises(DecodeError, match=r"cannot be read|no such file"):
        decode(tmp_path / ("x" * 3000))


def test_a_file_over_the_limit_is_not_decoded(rgb, tmp_path):
    path = tmp_path / "face.png"
    data = saved(Image.fromarray(rgb), "PPM")
    path.write_bytes(data)
    with pytest.raises(DecodeError, match="more than 100, the limit"):
        decode(path, DecodeLimits(max_bytes=100))
    assert decode(path, DecodeLimits(max_bytes=len(data))).shape == rgb.shape


@pytest.mark.parametrize("name", ["max_bytes", "max_pixels", "min_side"])
def test_limits_below_one_are_refused(name):
    with pytest.raises(VlrfaceError, match=name):
        DecodeLimits(**{name: 0})


def test_threads_leave_the_warning_filters_as_they_were(rgb):
    before = list(warnings.filters)
    good, bad = saved(Image.fromarray(rgb), "PNG"), b"\xff\xd8\xff" + bytes(100)

    def work():
        for _ in range(30):
            read(good)
            with pytest.raises(DecodeError):
                read(bad)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == before


def test_threads_decode_at_the_same_time(rgb, monkeypatch):
    together = threading.Barrier(2)
    one_by_one = decoding._decoded

    def both(*given):
        together.wait(10)
        return one_by_one(*given)

    monkeypatch.setattr(decoding, "_decoded", both)
    with ThreadPoolExecutor(2) as pool:
        for found in pool.map(read, [saved(Image.fromarray(rgb), "PNG")] * 2):
            np.testing.assert_array_equal(found, rgb)


def test_pixels_are_told_by_the_header(rgb):
    height, width = rgb.shape[:2]
    for form in ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP"):
        data = saved(Image.fromarray(rgb), form)
        assert pixels_in(data, "made") == height * width
    assert pixels_in(saved(Image.fromarray(rgb), "PNG")[:60], "cut") == height * width
    with pytest.raises(PictureTooLargeError):
        pixels_in(data, "made", DecodeLimits(max_pixels=height * width - 1))
    with pytest.raises(DecodeError, match="not a picture"):
        pixels_in(b"text", "made")


def test_encode_png_is_lossless(rgb):
    np.testing.assert_array_equal(read(encode_png(rgb)), rgb)
    np.testing.assert_array_equal(read(encode_png(rgb[:, ::-1])), rgb[:, ::-1])
    with pytest.raises(VlrfaceError, match="empty picture"):
        encode_png(rgb[:0])


def test_decode_error_is_a_user_error():
    assert issubclass(DecodeError, VlrfaceError)


@pytest.mark.real
def test_real_crops_agree_with_opencv(real_data):
    paths: list[Path] = sorted((real_data / "lfw-vlr" / "pool").glob("*.jpg"))[:50]
    assert paths
    for path in paths:
        other = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        assert np.abs(decode(path).astype(int) - other).max() <= 3
