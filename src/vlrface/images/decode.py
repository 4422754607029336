"""Picture files in, RGB out, safely: nothing in a file may crash the process, fill its memory or print a warning.

Pillow reads every format, one path for all, so that the same file gives the same pixels everywhere. (OpenCV reads small
JPEG files faster, but fills the missing half of a truncated one with grey and says nothing.)
"""

import math
import struct
import threading
import warnings
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image

from vlrface.types import VlrfaceError

FORMATS: Final = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "PPM")
"""Formats that are read, by Pillow's names. Everything else is refused without being looked into."""


class DecodeError(VlrfaceError):
    """A picture that cannot be used. The message names the file, the reason and the remedy."""


class PictureTooLargeError(DecodeError):
    """A picture that costs more than the limits allow; it may be sound."""


@dataclass(frozen=True)
class DecodeLimits:
    """What a picture may cost. Checked on the file size and the header, before any pixel is decoded.

    Decoding holds up to 22 bytes per pixel at once (measured: WebP with transparency 22, progressive CMYK JPEG 14), so
    the defaults stay under 1 GB.

    Attributes:
        max_bytes: of the file.
        max_pixels: height x width, of the picture and of each tile of a TIFF.
        min_side: height and width must both reach it, in pixels.

    Raises:
        VlrfaceError: a limit is below 1.
    """

    max_bytes: int = 64 * 2**20
    max_pixels: int = 40_000_000
    min_side: int = 4

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 1:
                raise VlrfaceError(f"DecodeLimits.{name} is {value}: give at least 1")


DEFAULT_LIMITS: Final = DecodeLimits()

_UPRIGHT: Final[dict[int, Callable[[ndarray], ndarray]]] = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: a.transpose(1, 0, 2)[:, ::-1],
    7: lambda a: a.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda a: a.transpose(1, 0, 2)[::-1],
}
"""EXIF orientation → how to turn the stored pixels upright."""

_ORIENTATION_TAG: Final = 0x0112
_TIFF_TILE_TAGS: Final = (322, 323)


class _Silence:
    """No warnings while anybody is inside.

    Pillow warns through the process-wide filters of `warnings`. Threads that each replace and restore them can leave
    the wrong ones behind; here the first one in replaces them, and the last one out restores them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._kept = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._kept = warnings.catch_warnings()
                self._kept.__enter__()
                warnings.simplefilter("ignore")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._kept.__exit__(None, None, None)


_SILENCE: Final = _Silence()


def decode(path: Path, limits: DecodeLimits = DEFAULT_LIMITS) -> UInt8[ndarray, "h w 3"]:
    """Read a picture file as upright RGB.

    Args:
        path: a regular file, at most `limits.max_bytes` long.
        limits: what the picture may cost.

    Returns:
        As `decode_bytes`.

    Raises:
        DecodeError: the file cannot be read, or as `decode_bytes`.
    """
    try:
        if not path.is_file():
            reason = "not a regular file" if path.exists() else "no such file"
            raise DecodeError(f"{path}: {reason}. Give the path of a picture file")
        size = path.stat().st_size
        _check_bytes(size, str(path), limits)
        with path.open("rb") as file:
            data = file.read(size)
    except OSError as error:
        reason = error.strerror or str(error)
        raise DecodeError(f"{path}: cannot be read ({reason}). Check the path and its permissions") from error
    return decode_bytes(data, str(path), limits)


def decode_bytes(data: bytes, name: str, limits: DecodeLimits = DEFAULT_LIMITS) -> UInt8[ndarray, "h w 3"]:
    """Decode a picture held in memory as upright RGB.

    Grey, palette, CMYK and LAB pictures are converted. 16-bit values are divided by 257 or 256, never clipped.
    Transparent pixels are composited over black. The first picture of an animated or multi-page file is taken. The EXIF
    orientation is applied; other metadata, colour profiles among it, is ignored.

    Args:
        data: the whole file.
        name: what an error calls it.
        limits: what the picture may cost.

    Returns:
        A C-contiguous array with both sides at least `limits.min_side`.

    Raises:
        DecodeError: empty, too large, too small, truncated, damaged, or not one of `FORMATS`.
    """
    with _explained(data, name, limits):
        return _decoded(data, name, limits)


def pixels_in(data: bytes, name: str, limits: DecodeLimits = DEFAULT_LIMITS) -> int:
    """How many pixels decoding a picture will hold, by its header; of a TIFF, those of a tile if that is larger.

    Raises:
        DecodeError: as `decode_bytes`, as far as the header tells.
    """
    with _explained(data, name, limits), _headed(data, name, limits) as picture:
        return max(math.prod(picture.size), math.prod(_tile(picture)))


@contextmanager
def _explained(data: bytes, name: str, limits: DecodeLimits) -> Generator[None]:
    """Check a file's length, silence warnings, and turn what a parser raises into a DecodeError."""
    if not data:
        raise DecodeError(f"{name}: the file is empty. Copy or download it again")
    _check_bytes(len(data), name, limits)
    try:
        with _SILENCE:
            yield
    except DecodeError:
        raise
    except Image.DecompressionBombError as error:  # some formats find their true size late, and check it themselves
        raise PictureTooLargeError(f"{name}: asks for far too many pixels ({error}). Shrink or cut it") from error
    except Exception as error:  # a parser of foreign bytes may raise anything, MemoryError included
        reason = str(error) or type(error).__name__
        raise DecodeError(f"{name}: truncated or damaged ({reason}). Copy or download it again") from error


def encode_png(image: UInt8[ndarray, "h w 3"]) -> bytes:
    """The bytes of an RGB picture as a PNG file, lossless.

    Raises:
        VlrfaceError: the picture is empty.
    """
    if 0 in image.shape:
        raise VlrfaceError(f"cannot save an empty picture of {image.shape[0]} x {image.shape[1]} pixels")
    return cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()


def _check_bytes(size: int, name: str, limits: DecodeLimits) -> None:
    if size > limits.max_bytes:
        raise PictureTooLargeError(
            f"{name}: the file has {size:,} bytes, more than {limits.max_bytes:,}, the limit. "
            "Save it smaller, or raise DecodeLimits.max_bytes"
        )


@contextmanager
def _headed(data: bytes, name: str, limits: DecodeLimits) -> Generator[Image.Image]:
    """A picture whose header is read and within the limits."""
    # Before anything is opened: opening a WebP reserves its whole canvas.
    check_size(_webp_size(data), name, limits)
    with _opened(data, name) as picture:
        check_size(picture.size, name, limits)
        _check_tiles(picture, name, limits)
        yield picture


def _decoded(data: bytes, name: str, limits: DecodeLimits) -> ndarray:
    with _headed(data, name, limits) as picture:
        picture.load()
        # After the pixels: a PNG may name its orientation last, and a TIFF has by now been turned and lost the tag.
        turn = _UPRIGHT.get(_orientation(picture))
        rgb = _rgb(picture, name)
    return np.ascontiguousarray(rgb if turn is None else turn(rgb))


def _opened(data: bytes, name: str) -> Image.Image:
    # Not by Image.open: its check would refuse large pictures by a limit that is not ours, and warn below it.
    Image.init()
    for each in FORMATS:
        factory, accept = Image.OPEN[each]
        # A text instead of a truth value says why this build of Pillow cannot read the format.
        if accept is not None and accept(data[:16]) and not isinstance(accept(data[:16]), str):
            return factory(BytesIO(data), "")
    raise DecodeError(
        f"{name}: not a picture in a known format ({', '.join(FORMATS)}). Check what the file is, or convert it"
    )


def _webp_size(data: bytes) -> tuple[int, int] | None:
    # WebP container specification; "VP8X" holds the canvas, the other two chunks a single picture.
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP" or len(data) < 30:
        return None
    match data[12:16]:
        case b"VP8X":
            width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
        case b"VP8L":
            bits = int.from_bytes(data[21:25], "little")
            width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case _:
            width, height = (value & 0x3FFF for value in struct.unpack_from("<HH", data, 26))
    return width, height


def check_size(size: tuple[int, int] | None, name: str, limits: DecodeLimits = DEFAULT_LIMITS) -> None:
    """Refuse a picture that has too many pixels or too few; None passes.

    Args:
        size: width and height, in pixels.
        name: what an error calls it.
        limits: what the picture may cost.

    Raises:
        DecodeError: it has.
    """
    if size is None:
        return
    width, height = size
    if width * height > limits.max_pixels:
        raise PictureTooLargeError(
            f"{name}: {width:,} x {height:,} pixels are more than {limits.max_pixels:,}, the limit. "
            "Shrink or cut it, or raise DecodeLimits.max_pixels"
        )
    if min(width, height) < limits.min_side:
        raise DecodeError(
            f"{name}: {width} x {height} pixels, but both sides must reach {limits.min_side}. "
            "Cut the face larger, or lower DecodeLimits.min_side"
        )


def _check_tiles(picture: Image.Image, name: str, limits: DecodeLimits) -> None:
    # A small TIFF may be stored as a part of one enormous tile, which is decoded whole.
    width, height = _tile(picture)
    if width * height > limits.max_pixels:
        raise PictureTooLargeError(
            f"{name}: tiles of {width:,} x {height:,} pixels are more than {limits.max_pixels:,}, the limit. "
            "Save it again without tiles, or raise DecodeLimits.max_pixels"
        )


def _tile(picture: Image.Image) -> tuple[int, int]:
    """Width and height of a TIFF's tiles; 1 x 1 without."""
    tags: Mapping[int, Any] = getattr(picture, "tag_v2", {})
    width, height = (int(tags.get(tag, 1)) for tag in _TIFF_TILE_TAGS)
    return width, height


def _orientation(picture: Image.Image) -> int:
    try:
        return int(picture.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # damaged metadata says nothing about the pixels: they are taken as stored
        return 1


def _rgb(picture: Image.Image, name: str) -> ndarray:
    if picture.mode.startswith("I"):
        return cv2.cvtColor(_eight_bit(np.asarray(picture), name), cv2.COLOR_GRAY2RGB)
    if picture.mode == "F":
        raise DecodeError(f"{name}: floating-point pixels have no agreed white. Convert it to 8 or 16 bits")
    if picture.mode in ("P", "PA", "LA", "La", "RGBA", "RGBa") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        black = Image.new("RGB", picture.size)
        black.paste(picture, mask=picture.getchannel("A"))
        return np.asarray(black)
    return np.asarray(picture.convert("RGB"))


def _eight_bit(values: ndarray, name: str) -> ndarray:
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 0xFFFF:
        raise DecodeError(f"{name}: 32-bit pixels have no agreed white. Convert it to 8 or 16 bits")
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
