"""What a data set consists of: one row per crop, before anything is decoded."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray

from vlrface.images.decode import DEFAULT_LIMITS, DecodeLimits, decode, decode_bytes
from vlrface.types import DISTRACTOR_IDENTITY, UNKNOWN_IDENTITY, Pairing, VlrfaceError


@runtime_checkable
class Archive(Protocol):
    """One file that holds many pictures, still encoded: an insightface .bin, a RecordIO .rec."""

    @property
    def path(self) -> Path:
        """The file, for messages and for the fingerprint."""
        ...

    def contents(self) -> bytes:
        """Changes with the places at which the pictures lie in the file: an index of its own may be corrected."""
        ...

    def read(self, source: str) -> bytes:
        """The encoded bytes of a picture.

        Raises:
            VlrfaceError: the archive has no such picture, or changed since it was opened.
        """
        ...


@dataclass(frozen=True, eq=False)
class Manifest:
    """The crops of a data set, in a fixed order.

    Attributes:
        sources: (n,) str. With a root: the path of the image file relative to it, with forward slashes. With an
            archive: its name of the picture. With neither: "#k", row k of an array of crops that lies in memory.
        identities: (n,) integers ≥ 0, or `UNKNOWN_IDENTITY`, or `DISTRACTOR_IDENTITY`.
        splits: (n,) str, the part of the data set: "train", "gallery", "probe", "distractor", ...
        truths: what is known of each crop beyond its person, e.g. "yaw_rad"; (n,) each, NaN where unknown.
        root: folder of the sources, or None.
        archive: the file that holds the pictures, or None; never beside a root.

    Raises:
        VlrfaceError: no row; lengths differ; an identity that is none; a source that occurs twice in a split; a source
            that does not fit the root.
    """

    sources: ndarray
    identities: Int[ndarray, " n"]
    splits: ndarray
    truths: Mapping[str, Float[ndarray, " n"]] = field(default_factory=dict[str, ndarray])
    root: Path | None = None
    archive: Archive | None = None

    def __post_init__(self) -> None:
        n = len(self.sources)
        if n == 0:
            raise VlrfaceError("a manifest needs at least one crop")
        if self.root is not None and self.archive is not None:
            raise VlrfaceError("a manifest has a root or an archive, not both")
        columns = {"identities": self.identities, "splits": self.splits, **self.truths}
        for name, column in columns.items():
            if column.shape != (n,):
                raise VlrfaceError(f"manifest: {name} has shape {column.shape}, there are {n} sources")
        for name, column in (("sources", self.sources), ("splits", self.splits)):
            if column.dtype.kind != "U":
                raise VlrfaceError(f"manifest: {name} must be an array of str, not {column.dtype}")
        self._check_identities()
        self._check_sources()

    def _check_identities(self) -> None:
        bad = (self.identities < 0) & ~np.isin(self.identities, (UNKNOWN_IDENTITY, DISTRACTOR_IDENTITY))
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise VlrfaceError(
                f"manifest: identity {self.identities[row]} of {self.sources[row]}: give a number ≥ 0, "
                f"{UNKNOWN_IDENTITY} for an unknown person or {DISTRACTOR_IDENTITY} for a distractor"
            )

    def _check_sources(self) -> None:
        twice = _first_twice(self.sources, self.splits)
        if twice is not None:
            raise VlrfaceError(
                f"manifest: {self.sources[twice]} occurs more than once in split {str(self.splits[twice])!r}"
            )
        if self.root is None and self.archive is None:
            for source in self.sources.tolist():
                if not (source[:1] == "#" and source[1:].isdecimal()):
                    raise VlrfaceError(
                        f"manifest: source {source!r} is no array row such as '#17', and there is no root"
                    )

    def __len__(self) -> int:
        return len(self.sources)

    def rows(self, index: Bool[ndarray, " n"] | Int[ndarray, " m"]) -> "Manifest":
        """Some of the crops, by mask or by index, with the same root."""
        return Manifest(
            self.sources[index],
            self.identities[index],
            self.splits[index],
            {name: values[index] for name, values in self.truths.items()},
            self.root,
            self.archive,
        )

    def split(self, *names: str) -> "Manifest":
        """The crops of one or several splits, in row order.

        Raises:
            VlrfaceError: a split has no crop.
        """
        there = np.unique(self.splits).tolist()
        for name in names:
            if name not in there:
                raise VlrfaceError(f"manifest: no split {name!r}; there are {', '.join(there)}")
        return self.rows(np.isin(self.splits, names))

    def path(self, row: int) -> Path:
        """Where the file of a row is.

        Raises:
            VlrfaceError: the row stands for an array in memory, or for a part of an archive.
        """
        if self.root is None:
            raise VlrfaceError(f"manifest: {self.sources[row]} is no file of its own")
        return self.root / str(self.sources[row])

    def shown(self, row: int) -> str:
        """How a message names the picture of a row."""
        if self.archive is not None:
            return f"{self.archive.path}: {self.sources[row]}"
        return str(self.sources[row]) if self.root is None else str(self.path(row))

    def picture(self, row: int, limits: DecodeLimits = DEFAULT_LIMITS) -> UInt8[ndarray, "_ _ 3"]:
        """Decode the picture of a row, RGB.

        Raises:
            DecodeError: it cannot be decoded.
            VlrfaceError: the row stands for an array in memory.
        """
        if self.archive is not None:
            return decode_bytes(self.archive.read(str(self.sources[row])), self.shown(row), limits)
        return decode(self.path(row), limits)

    def fingerprint(self) -> str:
        """64 hexadecimal digits that change with the list of sources, or with the size or mtime of a file or archive.

        Neither the place of the root nor identities, splits and truths count: the same pictures, the same fingerprint.
        A missing file counts as such, so the fingerprint changes when it appears. A file that is overwritten with as
        many bytes and given its old mtime goes unnoticed.
        """
        digest = hashlib.sha256()
        root = None if self.root is None else os.fspath(self.root)
        if self.archive is not None:
            digest.update(_file_state(os.fspath(self.archive.path)).encode() + self.archive.contents())
        for source in self.sources.tolist():
            state = "" if root is None else _file_state(f"{root}/{source}")
            digest.update(f"{source}\0{state}\n".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()


def _first_twice(sources: ndarray, splits: ndarray) -> int | None:
    """The first row whose source and split an earlier row has; None if there is none.

    By hashes of 64 bits, made column by column and sorted; only rows with equal hashes are compared.
    """
    hashes = np.zeros(len(sources), np.uint64)
    for column in (sources, splits):
        width = column.dtype.itemsize // 4
        letters = np.ascontiguousarray(column).view(np.uint32).reshape(len(column), width)
        for at in range(width):
            # FNV-1a over code points, with a shift that mixes high bits into low ones; arithmetic is modulo 2**64.
            hashes = (hashes ^ letters[:, at]) * np.uint64(0x100000001B3)
            hashes ^= hashes >> np.uint64(29)
        hashes ^= np.uint64(0xCBF29CE484222325)
    ordered = np.sort(hashes)
    alike = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    seen: set[tuple[str, str]] = set()
    for row in np.flatnonzero(np.isin(hashes, alike)).tolist() if len(alike) else ():
        entry = (str(splits[row]), str(sources[row]))
        if entry in seen:
            return row
        seen.add(entry)
    return None


def _file_state(path: str) -> str:
    try:
        found = os.stat(path)
    except OSError:
        return "missing"
    return f"{found.st_size} {found.st_mtime_ns}"


def lot(seed: int, what: object) -> bytes:
    """The place of a person or picture in a seeded draw: who has the lowest lots is drawn.

    A hash (own choice), so that it is the same with every version of numpy and does not depend on who else is there;
    drawing more with the same seed keeps those who were drawn before.
    """
    return hashlib.sha256(f"{seed} {what}".encode("utf-8", "surrogateescape")).digest()


def hold_out(manifest: Manifest, identities: int, seed: int, *, min_images: int = 2) -> tuple[Manifest, Manifest]:
    """Split by person: some identities are taken out of a manifest, with all their images.

    Who is held out depends on the identity numbers and the seed alone, by `lot`.

    Args:
        manifest: what to split. Crops of unknown persons and distractors stay in the first result.
        identities: how many persons to hold out.
        seed: any integer.
        min_images: only persons with at least so many images are held out; with the default of 2 each held-out image
            has a mate.

    Returns:
        The remaining crops and the held-out crops, each in the order of the manifest.

    Raises:
        VlrfaceError: too few persons have so many images, or nobody would remain.
    """
    numbers, counts = np.unique(manifest.identities[manifest.identities >= 0], return_counts=True)
    held = np.isin(manifest.identities, drawn_persons(numbers, counts, identities, seed, min_images=min_images))
    if held.all():
        raise VlrfaceError(f"holding out {identities} identities would leave no crop to train on; hold out fewer")
    return manifest.rows(~held), manifest.rows(held)


def drawn_persons(
    numbers: Int[ndarray, " k"], counts: Int[ndarray, " k"], identities: int, seed: int, *, min_images: int = 2
) -> list[int]:
    """Who is held out; see `hold_out`.

    Args:
        numbers: of all persons, each once.
        counts: images of each.
        identities: how many persons to hold out.
        seed: any integer.
        min_images: only persons with at least so many images.

    Raises:
        VlrfaceError: too few persons have so many images.
    """
    candidates = numbers[counts >= min_images].tolist()
    if not 0 < identities <= len(candidates):
        raise VlrfaceError(
            f"cannot hold out {identities} identities: {len(candidates)} of {len(numbers)} have at least "
            f"{min_images} images. Ask for between 1 and {len(candidates)}, or lower min_images"
        )
    return sorted(candidates, key=lambda number: lot(seed, number))[:identities]


@dataclass(frozen=True, eq=False)
class Benchmark:
    """A protocol's crops with the counts that a report prints.

    Attributes:
        name: e.g. "tinyface".
        manifest: its crops; the splits are the roles of the protocol.
        counts: what was found here.
        published: what the authors of the data set say there is, under the same names where both are known.
        missing: sources that a protocol list names and that are not on disk. They stay in the manifest, and so count as
            misses.
        surplus: images in a folder of a protocol list that the list does not name; they are not used.
        pairing: the pairs of a verification list, by row of the manifest.

    Raises:
        VlrfaceError: a missing source is not in the manifest, or a pair names a row that is not there.
    """

    name: str
    manifest: Manifest
    counts: Mapping[str, int]
    published: Mapping[str, int]
    missing: tuple[str, ...] = ()
    surplus: tuple[str, ...] = ()
    pairing: Pairing | None = None

    def __post_init__(self) -> None:
        if self.pairing is not None and len(self.pairing):
            last = int(max(self.pairing.first.max(), self.pairing.second.max()))
            if last >= len(self.manifest):
                raise VlrfaceError(f"benchmark {self.name}: a pair names row {last} of {len(self.manifest)}")
        strangers = set(self.missing).difference(self.manifest.sources.tolist())
        if strangers:
            raise VlrfaceError(f"benchmark {self.name}: missing {min(strangers)} is not in the manifest")
