"""Crops decoded once, each in its own size, in one memory-mapped buffer.

A cache is two files in a folder: `crops-<key>.npy`, an ordinary flat array of all pixels, and a .json beside it with
the sizes and the failures. The key is a hash of all that the pixels depend on, so a changed picture or option makes a
new cache and an old one never answers for it. Old ones are not deleted; the folder may be, between two runs.
"""

import hashlib
import io
import json
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol, SupportsIndex, runtime_checkable

import numpy as np
from jaxtyping import Bool, Int, UInt8
from numpy import ndarray

from vlrface.data.manifest import Manifest
from vlrface.files import checksum, written_atomically
from vlrface.images.decode import DEFAULT_LIMITS, DecodeError, DecodeLimits
from vlrface.images.resize import resize
from vlrface.types import VlrfaceError

_VERSION: Final = 1  # raise it when decoding gives other pixels for the same file
_KEEP_FOLDER: Final = "Do not clear the cache folder during a run"

MAX_SIDE: Final = 160
"""Longer side, in pixels, to which pictures are shrunk before training sees them."""


@runtime_checkable
class Pictures(Protocol):
    """What training draws from: `Crops`, all decoded, or `vlrface.data.streamed.StreamedCrops`."""

    def __len__(self) -> int: ...

    def __getitem__(self, row: SupportsIndex) -> UInt8[ndarray, "_ _ 3"]:
        """One picture, RGB; not to be written to.

        Raises:
            VlrfaceError: it could not be decoded.
        """
        ...

    @property
    def failures(self) -> ndarray:
        """(n,) str, "" for a picture that is not known to be broken, else the reason."""
        ...

    def name(self, row: SupportsIndex) -> str:
        """How a message names a picture."""
        ...


@dataclass(frozen=True, eq=False)
class Crops:
    """Pictures of any sizes. `crops[i]` is one of them, (h, w, 3) uint8 RGB: a read-only view, not a copy.

    Attributes:
        pixels: (bytes,) all pictures one after another, rows first, three values per pixel.
        offsets: (n,) where each picture begins in `pixels`.
        shapes: (n, 2) its height and width in `pixels`.
        sizes: (n, 2) the original height and width, before any shrinking, in pixels; (0, 0) where decoding failed.
        failures: (n,) str, "" for a good picture, else why it could not be decoded.
        names: (n,) str, the source of each picture in its manifest; None for pictures without names.
        file: the .npy file that `pixels` maps, else None. Mapped crops are pickled by path, not by content.

    Raises:
        VlrfaceError: lengths differ, or a picture does not lie in `pixels`.
    """

    pixels: UInt8[ndarray, " bytes"]
    offsets: Int[ndarray, " n"]
    shapes: Int[ndarray, "n 2"]
    sizes: Int[ndarray, "n 2"]
    failures: ndarray
    names: ndarray | None = None
    file: Path | None = None

    def __post_init__(self) -> None:
        for name in ("shapes", "sizes", "failures", "names"):
            column = getattr(self, name)
            if column is not None and len(column) != len(self.offsets):
                raise VlrfaceError(f"Crops.{name} has {len(column)} rows, offsets has {len(self.offsets)}")
        ends = self.offsets + 3 * self.shapes.astype(np.int64).prod(axis=1)
        if (self.shapes < 0).any() or (self.offsets < 0).any() or (ends > len(self.pixels)).any():
            raise VlrfaceError(f"Crops: a picture does not lie within the {len(self.pixels)} bytes of pixels")

    def __len__(self) -> int:
        return len(self.offsets)

    def __getitem__(self, row: SupportsIndex) -> UInt8[ndarray, "_ _ 3"]:
        """One picture.

        Raises:
            IndexError: there is no such row.
            VlrfaceError: it could not be decoded.
        """
        height, width = self.shapes[row].tolist()
        if height * width == 0:
            raise VlrfaceError(f"{self.name(row)}: {self.failures[row]}")
        start = int(self.offsets[row])
        picture = self.pixels[start : start + 3 * height * width].reshape(height, width, 3)
        picture.flags.writeable = False  # a transform that works in place would spoil the crop for all later epochs
        return picture

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ if self.file is None else {**self.__dict__, "pixels": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        pixels = state["pixels"] if state["file"] is None else _mapped(state["file"])
        self.__dict__.update({**state, "pixels": pixels})

    def rows(self, index: Bool[ndarray, " n"] | Int[ndarray, " m"]) -> "Crops":
        """Some of the pictures, by mask or by index; they share the pixels."""
        names = None if self.names is None else self.names[index]
        columns = (self.offsets[index], self.shapes[index], self.sizes[index], self.failures[index])
        return Crops(self.pixels, *columns, names, self.file)

    def name(self, row: SupportsIndex) -> str:
        """The source of a picture; "#row" for one without a name."""
        return f"#{row.__index__()}" if self.names is None else str(self.names[row])


def crops_in_memory(images: Sequence[UInt8[ndarray, "_ _ 3"]], *, names: Sequence[str] | None = None) -> Crops:
    """Crops of pictures that are in memory already; they are copied.

    Args:
        images: pictures of any sizes, at least one pixel each.
        names: of the pictures, for messages.

    Returns:
        Crops without failures.

    Raises:
        VlrfaceError: there is no picture, one is empty, or there is another number of names.
    """
    shapes = np.array([image.shape[:2] for image in images], np.int64)
    if len(images) == 0 or (shapes == 0).any():
        raise VlrfaceError(f"cannot make crops of {len(images)} pictures, {int((shapes == 0).sum())} of them empty")
    pixels = np.concatenate([image.reshape(-1) for image in images])
    failures = np.full(len(images), "", np.str_)
    return Crops(
        pixels, _offsets(shapes), shapes, shapes, failures, None if names is None else np.array(names, np.str_)
    )


def cached_crops(
    manifest: Manifest,
    folder: Path,
    *,
    max_side: int = MAX_SIDE,
    limits: DecodeLimits = DEFAULT_LIMITS,
    progress: bool = True,
) -> Crops:
    """Decode all files of a manifest once; later calls map the result.

    Built anew when the list of sources, the size or mtime of a file, an option or the resize has changed; when the
    cache is damaged (with a warning; pixels have a checksum); and when a file that could not be decoded now can.
    Several processes may build the same cache at once: each ends with a whole one.

    Args:
        manifest: with a root. Its identities and splits do not matter here.
        folder: where caches are kept; made if needed.
        max_side: a picture whose longer side exceeds so many pixels is shrunk to it, with its aspect kept.
        limits: what one picture may cost; others become failures.
        progress: show a progress bar on stderr while decoding.

    Returns:
        One picture per row of the manifest, memory-mapped read-only.

    Raises:
        VlrfaceError: the manifest has no files, `max_side` is below 1, or the cache cannot be written (no half-written
            file stays).
    """
    if manifest.root is None and manifest.archive is None:
        raise VlrfaceError("a manifest without files needs no cache; use crops_in_memory")
    if max_side < 1:
        raise VlrfaceError(f"max_side is {max_side}: give at least 1 pixel")
    depends = [_VERSION, manifest.fingerprint(), max_side, asdict(limits), _resize_signature()]
    pixels = folder / f"crops-{hashlib.sha256(json.dumps(depends).encode()).hexdigest()[:24]}.npy"
    crops = _opened(pixels, manifest)
    if crops is None or _recovered(crops, manifest, limits):
        _build(pixels, manifest, max_side, limits, progress)
        crops = _opened(pixels, manifest)
        if crops is None:
            raise VlrfaceError(f"{pixels} went away while it was used. {_KEEP_FOLDER}")
    return crops


def _resize_signature() -> str:
    """Hash of what `resize` makes of a pattern: it changes with the method and with OpenCV's arithmetic."""
    pattern = (np.arange(24 * 17 * 3) * 37 % 256).astype(np.uint8).reshape(24, 17, 3)
    return hashlib.sha256(resize(pattern, 11, 8).tobytes()).hexdigest()


def _header(length: int) -> bytes:
    # Equally long for any length: the format leaves room for a first axis that grows.
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (length,)})
    return file.getvalue()


def _mapped(file: Path) -> UInt8[ndarray, " bytes"]:
    try:
        return np.load(file, mmap_mode="r").view(ndarray)
    except (OSError, ValueError) as error:
        raise VlrfaceError(f"{file}: the cache of decoded crops is gone ({error}). {_KEEP_FOLDER}") from error


def _offsets(shapes: Int[ndarray, "n 2"]) -> Int[ndarray, " n"]:
    lengths = 3 * shapes.astype(np.int64).prod(axis=1)
    return np.cumsum(lengths) - lengths


def _opened(pixels: Path, manifest: Manifest) -> Crops | None:
    """The cache if it is there and whole, else None."""
    card = pixels.with_suffix(".json")
    if not card.exists():  # it is written last: without it there is no cache yet
        return None
    try:
        return _read(pixels, card, manifest)
    except (OSError, ValueError, KeyError, TypeError, IndexError, OverflowError, RecursionError) as error:
        warnings.warn(f"{pixels}: damaged cache ({error}); it is built again", stacklevel=3)
        return None


def _read(pixels: Path, card: Path, manifest: Manifest) -> Crops:
    n = len(manifest)
    facts = json.loads(card.read_text(encoding="utf-8"))
    sizes, shapes = np.array(facts["sizes"], np.int64), np.array(facts["shapes"], np.int64)
    if sizes.shape != (n, 2) or shapes.shape != (n, 2):
        raise ValueError(f"{card.name} does not hold {n} sizes and shapes")
    reasons = [""] * n
    for row, _, reason in facts["failures"]:
        reasons[row] = reason
    # Compared, not parsed: the file must be exactly what was written.
    length = int(3 * shapes.prod(axis=1).sum())
    header = _header(length)
    found = pixels.stat().st_size
    if found != len(header) + length:
        raise ValueError(f"{found} bytes instead of {len(header) + length}")
    with pixels.open("rb") as file:
        if file.read(len(header)) != header:
            raise ValueError("its header is not the one that was written")
    # Caches of earlier versions have none.
    if "checksum" in facts and facts["checksum"] != checksum(pixels):
        raise ValueError("its checksum is another")
    failures = np.array(reasons, np.str_)
    return Crops(_mapped(pixels), _offsets(shapes), shapes, sizes, failures, manifest.sources, pixels)


def _recovered(crops: Crops, manifest: Manifest, limits: DecodeLimits) -> bool:
    """Whether a file that failed can be decoded now: it may have been made readable, which leaves its mtime alone."""
    failed = np.flatnonzero(crops.failures != "").tolist()
    return any(not isinstance(_decoded(manifest, row, limits), str) for row in failed)


def _build(pixels: Path, manifest: Manifest, max_side: int, limits: DecodeLimits, progress: bool) -> None:
    try:
        # Written, not mapped: a full disk is then an error instead of a crash of the process.
        with written_atomically(pixels) as temporary, temporary.open("wb") as file:
            facts = _write_pictures(file, manifest, max_side, limits, progress)
            file.flush()
            facts["checksum"] = checksum(temporary)
        with written_atomically(pixels.with_suffix(".json")) as temporary:
            temporary.write_text(json.dumps(facts) + "\n", encoding="utf-8")
    except OSError as error:
        raise VlrfaceError(f"the cache of decoded crops: {error.strerror or error}") from error


def _write_pictures(
    file: BinaryIO, manifest: Manifest, max_side: int, limits: DecodeLimits, progress: bool
) -> dict[str, Any]:
    """Decode and write one picture after another; returns what the .json file says of them."""
    from tqdm import tqdm

    sizes: list[tuple[int, int]] = []
    shapes: list[tuple[int, int]] = []
    failures: list[tuple[int, str, str]] = []
    file.write(_header(0))
    rows = tqdm(range(len(manifest)), desc="decode", unit="img", disable=not progress, dynamic_ncols=True)
    for row in rows:
        picture = _decoded(manifest, row, limits)
        if isinstance(picture, str):
            sizes.append((0, 0))
            shapes.append((0, 0))
            failures.append((row, str(manifest.sources[row]), picture))
            continue
        kept = shrunk_to(picture, max_side)
        sizes.append((picture.shape[0], picture.shape[1]))
        shapes.append((kept.shape[0], kept.shape[1]))
        file.write(np.ascontiguousarray(kept).data)
    length = sum(3 * height * width for height, width in shapes)
    file.seek(0)
    file.write(_header(length))
    return {"sizes": sizes, "shapes": shapes, "failures": failures}


def _decoded(manifest: Manifest, row: int, limits: DecodeLimits) -> UInt8[ndarray, "_ _ 3"] | str:
    """The picture, or why there is none."""
    try:
        return manifest.picture(row, limits)
    except DecodeError as error:
        return str(error).removeprefix(f"{manifest.shown(row)}: ")


def shrunk_to(picture: UInt8[ndarray, "_ _ 3"], max_side: int) -> UInt8[ndarray, "_ _ 3"]:
    """A picture whose longer side is at most so many pixels, its aspect kept; itself if it is no larger."""
    longer = max(picture.shape[:2])
    if longer <= max_side:
        return picture
    height, width = (max(1, (2 * side * max_side + longer) // (2 * longer)) for side in picture.shape[:2])
    return resize(picture, height, width)
