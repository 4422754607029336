"""Whether a data set on disk is whole: what is there beside what was published, and each file that does not fit.

A set is sound when no listed picture is missing and every picture that is used can be decoded. (A list that names a
picture twice is refused by its reader.) Reported, and no fault: counts that differ from the published ones, since
archives differ; surplus pictures, which are not used; equal stems, since sources keep their folders, though code that
files its results by stem would mix them up.
"""

import posixpath
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, get_args

import numpy as np

from vlrface.data import scface, survface, tinyface
from vlrface.data.folder import read_identity_folder, read_images
from vlrface.data.insightface_bin import read_bin
from vlrface.data.listed import missing_below, part
from vlrface.data.manifest import Benchmark, Manifest
from vlrface.data.pairs import read_pairs
from vlrface.data.recordio import read_records
from vlrface.data.table import read_table
from vlrface.images.decode import DecodeError
from vlrface.types import VlrfaceError

Kind = Literal["tinyface", "survface-id", "survface-verif", "scface", "pairs", "bin", "rec", "identities", "table"]
"""Layouts that can be checked."""

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
_LISTS: Final = {"pairs": "the pair list", "table": "the CSV or Parquet file"}
_SHOWN: Final = 10


@dataclass(frozen=True)
class Count:
    """One count of a data set.

    Attributes:
        name: what is counted.
        found: how many are there; None where that cannot be told from what is there.
        published: how many its authors state; None where they state nothing.
    """

    name: str
    found: int | None
    published: int | None


@dataclass(frozen=True)
class Checked:
    """What `check` found.

    Attributes:
        kind: the layout.
        place: the folder or file that was checked.
        counts: in the order of the layout; pictures that are missing are not counted as found.
        missing: sources that a list names, or the naming implies, and that are not there.
        surplus: images that lie there and are not used.
        equal_stems: groups of sources, used or surplus, whose file names are equal but for folder and ending.
        undecodable: sources that cannot be decoded, each with the reason; in a "rec" also those beyond its end.
    """

    kind: Kind
    place: Path
    counts: tuple[Count, ...]
    missing: tuple[str, ...] = ()
    surplus: tuple[str, ...] = ()
    equal_stems: tuple[tuple[str, ...], ...] = ()
    undecodable: tuple[tuple[str, str], ...] = ()

    @property
    def sound(self) -> bool:
        """Whether nothing is missing and every picture can be decoded."""
        return self.passes(allow_missing=False)

    def passes(self, allow_missing: bool) -> bool:
        """Whether the set is sound, with missing pictures allowed or not."""
        return not self.undecodable and (allow_missing or not self.missing)

    def text(self) -> str:
        """Lines for a terminal: all counts, and of each list, and each group in it, the first ten and the number."""
        width = max(len(count.name) for count in self.counts)
        lines = [f"{self.kind}: {self.place}", f"  {'':{width}}  {'found':>9}  {'published':>9}"]
        for count in self.counts:
            cells = ("–" if number is None else f"{number:,}" for number in (count.found, count.published))
            lines.append(f"  {count.name:{width}}  {'  '.join(f'{cell:>9}' for cell in cells)}")
        lines += _listing("missing", self.missing)
        lines += _listing("surplus (not used)", self.surplus)
        lines += _listing("equal stems", [_group(group) for group in self.equal_stems])
        lines += _listing("undecodable", [f"{source}: {reason}" for source, reason in self.undecodable])
        faults = {"missing": len(self.missing), "undecodable": len(self.undecodable)}
        wrong = ", ".join(f"{number} {name}" for name, number in faults.items() if number)
        lines.append(f"not sound: {wrong}" if wrong else "sound")
        return "\n".join(lines)


def check(kind: Kind, data: Path, list_file: Path | None = None, *, progress: bool = False) -> Checked:
    """Compare a data set with its lists and with what was published, and decode every picture.

    Args:
        kind: the layout. For "tinyface" and "survface-id" the training set belongs to it where it is there.
        data: the folder of the set; the file of a "bin" or "rec"; the folder of the pictures of "pairs" or "table".
        list_file: the list of "pairs" or "table".
        progress: show a progress bar on stderr while decoding.

    Raises:
        VlrfaceError: not in this layout, or a list is needed, not given or cannot be read.
    """
    if (list_file is None) == (kind in _LISTS):
        needs = f"needs its list: {_LISTS[kind]}" if kind in _LISTS else "has its lists inside: give none"
        raise VlrfaceError(f"checking {kind} {needs}")
    found = _FINDERS[kind](data, list_file or data, progress)
    names = [name for name in found.counts if name not in ("missing", "surplus")]
    names += [name for name in found.published if name not in found.counts]
    return Checked(
        kind,
        data,
        tuple(Count(name, found.counts.get(name), found.published.get(name)) for name in names),
        tuple(found.missing),
        tuple(found.surplus),
        _equal_stems(found),
        tuple(_undecodable(found, progress)),
    )


@dataclass(frozen=True, eq=False)
class _Found:
    """What is there before anything is decoded. Manifests come with the folder that goes before their sources."""

    counts: Mapping[str, int]
    published: Mapping[str, int]
    manifests: Sequence[tuple[str, Manifest]]
    missing: Sequence[str] = ()
    surplus: Sequence[str] = ()


def _benchmark(read: Benchmark) -> _Found:
    """Rows are counted without the missing ones, which a benchmark keeps."""
    manifest = read.manifest
    there = ~np.isin(manifest.sources, read.missing)
    rows = {split: int((there & (manifest.splits == split)).sum()) for split in np.unique(manifest.splits).tolist()}
    rows |= {"test_images": int(there.sum()), "subjects": len(np.unique(manifest.identities[there]))}
    counts = {name: rows.get(name, count) for name, count in read.counts.items()}
    return _Found(counts, read.published, [("", manifest)], read.missing, read.surplus)


def _manifest(read: Manifest, *, missing: Sequence[str] = (), surplus: Sequence[str] = ()) -> _Found:
    persons = read.identities[read.identities >= 0]
    counts = {"identities": len(np.unique(persons)), "images": len(read) - len(missing)}
    return _Found(counts, {}, [("", read)], missing, surplus)


def _with_training(found: _Found, root: Path, read_training: Callable[[Path], Manifest]) -> _Found:
    """The training set too, where it is there."""
    try:
        folder = part(root, "Training_Set").name
    except VlrfaceError:
        return found
    training = read_training(root)
    counts = {"train_identities": len(np.unique(training.identities)), "train_images": len(training)}
    manifests = [*found.manifests, (f"{folder}/", training)]
    return _Found({**found.counts, **counts}, found.published, manifests, found.missing, found.surplus)


def _tinyface(data: Path, _: Path, __: bool) -> _Found:
    return _with_training(_benchmark(tinyface.read_testing(data, allow_missing=True)), data, tinyface.read_training)


def _survface_id(data: Path, _: Path, __: bool) -> _Found:
    return _with_training(
        _benchmark(survface.read_identification(data, allow_missing=True)), data, survface.read_training
    )


def _survface_verif(data: Path, _: Path, __: bool) -> _Found:
    return _benchmark(survface.read_verification(data, allow_missing=True))


def _scface(data: Path, _: Path, __: bool) -> _Found:
    return _benchmark(scface.read(data, allow_missing=True))


def _pairs(data: Path, list_file: Path, _: bool) -> _Found:
    read = read_pairs(list_file, data, allow_missing=True)
    return replace(_benchmark(read), surplus=_unused(data, read.manifest))


def _bin(data: Path, _: Path, __: bool) -> _Found:
    return _benchmark(read_bin(data))


def _rec(data: Path, _: Path, progress: bool) -> _Found:
    return _manifest(read_records(data, allow_missing=True, progress=progress))


def _identities(data: Path, _: Path, __: bool) -> _Found:
    read = read_identity_folder(data)
    return _manifest(read, surplus=_unused(data, read))


def _table(data: Path, list_file: Path, _: bool) -> _Found:
    read = read_table(list_file, data)
    missing = missing_below(data, dict.fromkeys(read.sources.tolist()))
    return _manifest(read, missing=missing, surplus=_unused(data, read))


_FINDERS: Final[dict[Kind, Callable[[Path, Path, bool], _Found]]] = {
    "tinyface": _tinyface,
    "survface-id": _survface_id,
    "survface-verif": _survface_verif,
    "scface": _scface,
    "pairs": _pairs,
    "bin": _bin,
    "rec": _rec,
    "identities": _identities,
    "table": _table,
}


def _unused(root: Path, used: Manifest) -> list[str]:
    """Images anywhere below the root that a manifest does not name."""
    known = set(used.sources.tolist())
    try:
        there = read_images([root]).sources.tolist()
    except VlrfaceError:  # there is none at all: each listed one is then missing
        there = []
    return [source for source in there if source not in known]


def _equal_stems(found: _Found) -> tuple[tuple[str, ...], ...]:
    by_stem: dict[str, dict[str, None]] = {}
    sources = [prefix + s for prefix, each in found.manifests if each.root is not None for s in each.sources.tolist()]
    for source in (*sources, *found.surplus):
        stem = posixpath.splitext(posixpath.basename(source))[0]
        by_stem.setdefault(stem, {})[source] = None
    return tuple(tuple(group) for _, group in sorted(by_stem.items()) if len(group) > 1)


def _undecodable(found: _Found, progress: bool) -> Iterator[tuple[str, str]]:
    """Decode each picture that is there; sources that cannot be decoded, with the reason."""
    from tqdm import tqdm

    missing = set(found.missing)
    rows = [(f"{prefix}{each.sources[row]}", each, row) for prefix, each in found.manifests for row in range(len(each))]
    for source, manifest, row in tqdm(rows, desc="decode", unit="img", disable=not progress, dynamic_ncols=True):
        if source in missing:
            continue
        try:
            manifest.picture(row)
        except DecodeError as error:
            yield source, str(error).removeprefix(f"{manifest.shown(row)}: ")


def _group(sources: Sequence[str]) -> str:
    more = f" = … ({len(sources):,} in all)" if len(sources) > _SHOWN else ""  # one per person where all have a 1.jpg
    return " = ".join(sources[:_SHOWN]) + more


def _listing(name: str, entries: Sequence[str]) -> list[str]:
    if not entries:
        return [f"{name}: none"]
    # File names come from anywhere: one that would steer the terminal is shown in escaped form.
    shown = [entry if entry.isprintable() else ascii(entry) for entry in entries[:_SHOWN]]
    more = [f"… and {len(entries) - _SHOWN:,} more"] if len(entries) > _SHOWN else []
    return [f"{name}: {len(entries):,}", *(f"  {line}" for line in shown + more)]
