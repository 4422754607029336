"""Which reader reads which layout of pictures, and how a layout is recognised."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from vlrface.data import scface, survface, tinyface
from vlrface.data.cross_resolution import read_cross_resolution
from vlrface.data.folder import is_image_name, read_identity_folder, read_images
from vlrface.data.insightface_bin import read_bin
from vlrface.data.manifest import Benchmark, Manifest
from vlrface.data.pairs import read_pairs
from vlrface.data.recordio import read_records
from vlrface.data.table import read_table
from vlrface.experiment.options import BenchmarkName, Layout
from vlrface.types import VlrfaceError

LAYOUT_OF: Final[dict[BenchmarkName, Layout]] = {
    "tinyface": "tinyface",
    "survface-id": "survface-id",
    "survface-verif": "survface-verif",
    "scface": "scface",
    "cross-resolution": "cross-resolution",
}
"""The layout of the benchmarks that have one of their own."""

_ENDINGS: Final[dict[str, Layout]] = {".bin": "bin", ".rec": "rec"}
_TELLING: Final[tuple[tuple[str, Layout], ...]] = (
    ("Testing_Set", "tinyface"),
    ("Face_Identification_Test_Set", "survface-id"),
    ("Face_Verification_Test_Set", "survface-verif"),
    ("mugshot_frontal_cropped_all", "scface"),
)
_INSIDE: Final[dict[str, Layout]] = {
    "Gallery_Match": "tinyface",
    "mated_probe": "survface-id",
    "verification_images": "survface-verif",
}
"""Folders that stand one level inside a layout: what lies beside them are roles, not people."""

_NEEDS_LIST: Final = {"pairs": "the pair list", "table": "the CSV or Parquet file"}


def data_set_name(folder: Path) -> str:
    """What a data set is called: its folder's name and the parent's, for it may lie elsewhere next time."""
    return "/".join(folder.resolve().parts[-2:])


def read_layout(data: Path, layout: Layout, list_file: Path | None = None, *, allow_missing: bool = False) -> Benchmark:
    """What there is to encode; a plain set of pictures is a benchmark without counts.

    Args:
        data: the folder of the set, or its file for "bin" and "rec".
        layout: how it lies there.
        list_file: the list of a layout that has it apart from its pictures: "pairs" and "table".
        allow_missing: keep listed pictures that are not on disk; they count as misses.

    Raises:
        VlrfaceError: nothing there, not in that layout, or a list is needed and not given.
    """
    if not data.exists():
        raise VlrfaceError(f"{data}: no such file or folder")
    if layout == "auto":
        layout = told_layout(data, list_file)
        print(f"layout: {layout}")
    if layout in _NEEDS_LIST and list_file is None:
        raise VlrfaceError(f"layout {layout} needs --list FILE, {_NEEDS_LIST[layout]}")
    return _READERS[layout](data, list_file, allow_missing)


def told_layout(data: Path, list_file: Path | None = None) -> Layout:
    """The layout that the entries of a folder, or the ending of a file, tell.

    Raises:
        VlrfaceError: a folder of roles inside a layout.
    """
    if list_file is not None:
        return "table" if list_file.suffix.lower() in (".csv", ".tsv", ".parquet") else "pairs"
    if data.is_file():
        return _ENDINGS.get(data.suffix, "pictures")
    for entry, layout in _TELLING:
        if (data / entry).is_dir():
            return layout
    for entry, layout in _INSIDE.items():
        if (data / entry).is_dir():
            raise VlrfaceError(
                f"{data}: the inside of the layout {layout}, whose folders are no people: give its parent"
            )
    entries = list(data.iterdir())
    # A folder with loose pictures is no folder of identities, whatever else it holds: nothing is left out.
    loose = not any(each.is_dir() for each in entries) or any(is_image_name(each.name) for each in entries)
    return "pictures" if loose else "identities"


def _plain(name: str, manifest: Manifest) -> Benchmark:
    return Benchmark(name, manifest, counts={}, published={})


def _given(list_file: Path | None) -> Path:
    assert list_file is not None  # noqa: S101 (checked by read_layout)
    return list_file


# Where nothing can be missing, that is not asked: folders are listed, a .bin holds its pictures. The files of a table
# are looked for when they are decoded, and are then misses.
_READERS: Final[dict[Layout, Callable[[Path, Path | None, bool], Benchmark]]] = {
    "tinyface": lambda data, _, allow: tinyface.read_testing(data, allow_missing=allow),
    "survface-id": lambda data, _, allow: survface.read_identification(data, allow_missing=allow),
    "survface-verif": lambda data, _, allow: survface.read_verification(data, allow_missing=allow),
    "scface": lambda data, _, allow: scface.read(data, allow_missing=allow),
    "pairs": lambda data, listed, allow: read_pairs(_given(listed), data, allow_missing=allow),
    "bin": lambda data, _, __: read_bin(data),
    "cross-resolution": lambda data, _, __: read_cross_resolution(data),
    "rec": lambda data, _, allow: _plain("rec", read_records(data, allow_missing=allow)),
    "table": lambda data, listed, _: _plain("table", read_table(_given(listed), data)),
    "identities": lambda data, _, __: _plain("identities", read_identity_folder(data)),
    "pictures": lambda data, _, __: _plain("pictures", read_images([data])),
}
