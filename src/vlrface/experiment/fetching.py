"""A file that is fetched once, checked, and kept; only when somebody asked for it."""

import hashlib
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Final

from vlrface.files import written_atomically
from vlrface.types import VlrfaceError

_PIECE: Final = 1 << 16
_TIMEOUT_S: Final = 30.0


@dataclass(frozen=True)
class Download:
    """A file on the network that cannot change unnoticed.

    Attributes:
        name: of the file where it is kept.
        url: where it is.
        sha256: of its bytes, in hexadecimal.
        length: in bytes.
    """

    name: str
    url: str
    sha256: str
    length: int


YUNET: Final = Download(
    "face_detection_yunet_2023mar.onnx",
    "https://media.githubusercontent.com/media/opencv/opencv_zoo/main/models/face_detection_yunet/"
    "face_detection_yunet_2023mar.onnx",
    # Both as the pointer file says that stands for it in the repository opencv/opencv_zoo.
    "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
    232_589,
)
"""YuNet of March 2023, MIT licence."""


def cache_folder() -> Path:
    """Where fetched files are kept: VLRFACE_CACHE, else the place that the system has for such files."""
    given = os.environ.get("VLRFACE_CACHE")
    if given:
        return Path(given)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "vlrface"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "vlrface" / "Cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vlrface"


def kept(download: Download, folder: Path | None = None) -> Path | None:
    """The file, if it was fetched before and is still what it should be; no network."""
    path = (folder or cache_folder()) / download.name
    if not path.is_file() or path.stat().st_size != download.length:
        return None
    return path if hashlib.sha256(path.read_bytes()).hexdigest() == download.sha256 else None


def fetched(download: Download, folder: Path | None = None, *, timeout_s: float = _TIMEOUT_S) -> Path:
    """The file, fetched if it is not kept yet. Says on standard error what it fetches, and from where.

    Args:
        download: what to fetch.
        folder: where to keep it; None is `cache_folder`.
        timeout_s: after so long without a byte it is given up.

    Returns:
        The kept file. Bytes that differ from what was announced are never kept.

    Raises:
        VlrfaceError: it cannot be reached, breaks off, or is another file.
        OSError: it cannot be kept there.
    """
    path = kept(download, folder)
    if path is not None:
        return path
    path = (folder or cache_folder()) / download.name
    print(f"fetching {download.url} ({download.length:,} bytes), once, into {path.parent}", file=sys.stderr, flush=True)
    found, length = hashlib.sha256(), 0
    with written_atomically(path) as temporary, temporary.open("wb") as file:
        for piece in _pieces(download, timeout_s):
            file.write(piece)
            found.update(piece)
            length += len(piece)
        if length < download.length:
            raise VlrfaceError(
                f"{download.url}: broke off after {length:,} of {download.length:,} bytes. {_remedy(download)}"
            )
        if length > download.length or found.hexdigest() != download.sha256:
            raise VlrfaceError(
                f"{download.url}: this is not the file that was expected (SHA-256 {download.sha256}), so it was not "
                f"kept: it changed, or something on the way did. {_remedy(download)}"
            )
    return path


def _pieces(download: Download, timeout_s: float) -> Iterator[bytes]:
    """What the network gives, up to one byte more than announced."""
    left = download.length + 1
    try:
        with urllib.request.urlopen(download.url, timeout=timeout_s) as answer:  # noqa: S310 (our own addresses)
            while left > 0 and (piece := answer.read(min(_PIECE, left))):
                left -= len(piece)
                yield piece
    except (OSError, HTTPException) as error:  # URLError and timeouts are OSErrors
        reason = getattr(error, "reason", None) or str(error) or type(error).__name__
        code = f"HTTP {error.code}, " if isinstance(error, urllib.error.HTTPError) else ""
        raise VlrfaceError(f"{download.url}: cannot be fetched ({code}{reason}). {_remedy(download)}") from error


def _remedy(download: Download) -> str:
    return f"Try again, or bring {download.name} here by other means and give its path"
