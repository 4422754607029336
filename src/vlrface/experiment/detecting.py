"""`vlrface detect`: whole pictures to numbered crops and a table of faces."""

import csv
import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path, PurePosixPath
from typing import Any, Final, Literal, TextIO

import numpy as np
from numpy import ndarray
from tqdm import tqdm

from vlrface.data.folder import read_images
from vlrface.encode.served import ServedModel
from vlrface.experiment.fetching import YUNET, fetched, kept
from vlrface.files import table_written_atomically, written_atomically
from vlrface.images.aligning import Aligned, aligned
from vlrface.images.annotating import numbered
from vlrface.images.decode import DecodeError, decode, encode_png
from vlrface.images.detect import SMALLEST_PX, Detection, Detector, cut
from vlrface.images.thumbnail import encode_jpeg
from vlrface.types import VlrfaceError

Cutting = Literal["loose", "aligned"]

TABLE: Final = "faces.csv"
_PROGRESS: Final = ".faces.jsonl"
_POINTS: Final = ("eye_left", "eye_right", "nose", "mouth_left", "mouth_right")
"""Left and right as the viewer sees them."""

COLUMNS: Final = (
    *("picture", "number", "left", "top", "width", "height"),
    *(f"{point}_{axis}" for point in _POINTS for axis in ("x", "y")),
    *("confidence", "crop", "cut", "recognizability", "score", "verdict", "reason"),
)
"""Of the table. Empty where there is none: of a picture without a face all but its name and the reason."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Finding:
    """How faces are found and cut.

    Attributes:
        smallest_px: height of the smallest face to look for.
        least_confidence: below which a face is none, in [0, 1].
        cutting: "loose" crops, as the networks for small faces are trained on; or "aligned" ones where the landmarks
            allow it.
        size: side of aligned crops, in pixels.

    Raises:
        VlrfaceError: a value is out of its range.
    """

    smallest_px: int = SMALLEST_PX
    least_confidence: float = 0.6
    cutting: Cutting = "loose"
    size: int = 112

    def __post_init__(self) -> None:
        if not 0 <= self.least_confidence <= 1:
            raise VlrfaceError(f"the least confidence must lie in [0, 1], is {self.least_confidence}")
        if not 16 <= self.size <= 1024:
            raise VlrfaceError(f"the side of an aligned crop must lie in [16, 1024] pixels, is {self.size}")


@dataclass(frozen=True)
class Summary:
    """What came of it.

    Attributes:
        pictures: looked at.
        faces: found.
        failed: pictures that could not be read.
        empty: pictures without a face.
        table: the file.
    """

    pictures: int
    faces: int
    failed: int
    empty: int
    table: Path


def detector_file(given: Path | None) -> Path:
    """The file of the detector.

    Args:
        given: a file; "auto" for OpenCV's YuNet, fetched once (the only use of the network); None for that one if it
            was fetched before.

    Raises:
        VlrfaceError: there is none, or it cannot be fetched.
    """
    if given is not None and str(given) != "auto":
        return given
    if given is not None:
        return fetched(YUNET)
    before = kept(YUNET)
    if before is None:
        raise VlrfaceError(
            "which face detector? Give --detector FILE, a YuNet .onnx file, or --detector auto to fetch one "
            f"({YUNET.length // 1024} KiB from {YUNET.url.split('/')[2]}), once"
        )
    return before


def open_detector(given: Path | None, finding: Finding | None = None) -> Detector:
    """The detector of a file, or as `detector_file`.

    Raises:
        VlrfaceError: as there, or it is no detector.
    """
    how = finding or Finding()
    return Detector(detector_file(given), least_confidence=how.least_confidence, smallest_px=how.smallest_px)


def detect_faces(
    paths: Sequence[Path],
    output: Path,
    *,
    detector: Path | None = None,
    finding: Finding | None = None,
    annotate: Path | None = None,
    model: Path | None = None,
    progress: bool = True,
) -> Summary:
    """What `vlrface detect` does; see there. Killed and started again, it goes on where it was.

    Raises:
        VlrfaceError: no picture, no detector, a model that does not encode, an output that another run wrote or that
            holds other things, an output that would replace a file, or not one picture that could be read.
        OSError: the output cannot be written.
    """
    how = finding or Finding()
    if not paths:
        raise VlrfaceError("give pictures, or folders of pictures")
    _check_places(paths, output, annotate)
    manifest = read_images(paths)
    file = detector_file(detector)
    finder = open_detector(file, how)
    served = None if model is None else _served(model)
    settings: dict[str, Any] = {
        "detector": detector_sha256(file),
        "model": None if served is None else served.space,
        "calibration": None if served is None or served.calibration is None else served.calibration.to_json(),
        "annotate": None if annotate is None else str(annotate.resolve()),
        "root": str(Path(manifest.root or ".").resolve()),
        **asdict(how),
    }
    sources = [str(source) for source in manifest.sources]
    stems = crop_stems(sources)
    root = Path(manifest.root or ".")
    table, (done, begun) = output / TABLE, _begun(output, settings)
    if annotate is not None:
        _check_free(
            _numbered(annotate, stem) for source, stem in zip(sources, stems, strict=True) if source not in begun
        )
    _begin(output, settings)
    with (output / _PROGRESS).open("a", encoding="utf-8") as journal:
        for source, stem in tqdm(
            list(zip(sources, stems, strict=True)), unit="picture", disable=not progress, desc="detect"
        ):
            if source not in done:
                _note(journal, {"picture": source})
                done[source] = _one(root / source, source, stem, finder, served, how, output, annotate)
                _note(journal, {"picture": source, "rows": done[source]})
    rows = [row for source in sources for row in done[source]]
    _write_table(table, rows)
    (output / _PROGRESS).unlink()
    return _summary(sources, done, table)


def detector_sha256(file: Path) -> str:
    """Of a detector's file, in hexadecimal.

    Raises:
        VlrfaceError: it cannot be read.
    """
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise VlrfaceError(f"{file}: cannot be read ({error.strerror}). Give the .onnx file of a detector") from error


def crop_stems(sources: Sequence[str]) -> list[str]:
    """What the crops of each picture are called before their number: its path, without ending unless two share it."""
    bare = [str(PurePosixPath(source).with_suffix("")) for source in sources]
    # Without regard to case: some file systems have none.
    shared = Counter(name.casefold() for name in (*bare, *sources))
    return [source if shared[stem.casefold()] > 1 else stem for source, stem in zip(sources, bare, strict=True)]


def _check_places(paths: Sequence[Path], output: Path, annotate: Path | None) -> None:
    """What is written must not be read: not as a picture by the next run, nor as a crop by `vlrface score`.

    Nor may it lie in the same place as what is read, where a crop could replace a picture of the same name.
    """
    if annotate is not None and _within(annotate, output):
        raise VlrfaceError(f"{annotate}: choose a folder outside {output}, which holds crops and nothing else")
    for path, written in product(paths, (output, annotate)):
        if written is None:
            continue
        if path.is_dir() and _within(written, path):
            raise VlrfaceError(f"{written}: choose a folder outside {path}, whose pictures are all looked at")
        if _within(path.absolute().parent if path.is_file() else path, written):
            raise VlrfaceError(
                f"{written}: holds {path}, which is looked at, and could be replaced. Choose a new folder"
            )


def _within(path: Path, folder: Path) -> bool:
    return folder.resolve() in (path.resolve(), *path.resolve().parents)


def _served(model: Path) -> ServedModel:
    from vlrface.experiment.served import load_served

    return load_served(model)


def _begun(output: Path, settings: Mapping[str, Any]) -> tuple[dict[str, list[Row]], set[str]]:
    """What an interrupted run has finished, and all that it has begun; its torn last line is cut away.

    Nothing that was there before the first run is replaced: a folder that holds other things is refused.
    """
    table, journal = output / TABLE, output / _PROGRESS
    if table.exists():
        raise VlrfaceError(
            f"{table}: there already, with the crops of another run. Choose another folder, or remove it"
        )
    if not journal.exists():
        # Hidden entries are not counted: systems leave them in every folder, and no crop is called so.
        if output.is_dir() and any(not each.name.startswith(".") for each in output.iterdir()):
            raise VlrfaceError(f"{output}: holds other things. Give an empty folder, or a name that is free")
        return {}, set()
    data = journal.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        os.truncate(journal, len(whole))
    lines = whole.decode("utf-8").splitlines()
    if json.loads(lines[0]) != settings:
        raise VlrfaceError(
            f"{output}: an interrupted run with other options began here. Give the same, or another folder"
        )
    entries = [json.loads(line) for line in lines[1:]]
    done = {entry["picture"]: entry["rows"] for entry in entries if "rows" in entry}
    return done, {entry["picture"] for entry in entries}


def _check_free(paths: Iterable[Path]) -> None:
    """Refuse to replace annotated pictures that this run has not begun."""
    for path in paths:
        if os.path.lexists(path):
            raise VlrfaceError(f"{path}: there already, and would be replaced. Choose another folder to annotate in")


def _begin(output: Path, settings: Mapping[str, Any]) -> None:
    """Make the folder and its journal, unless an interrupted run has."""
    if not (output / _PROGRESS).exists():
        output.mkdir(parents=True, exist_ok=True)
        with written_atomically(output / _PROGRESS) as temporary:
            temporary.write_text(json.dumps(settings) + "\n", encoding="utf-8")


def _note(journal: TextIO, entry: Mapping[str, Any]) -> None:
    journal.write(json.dumps(entry) + "\n")
    journal.flush()


def _one(
    path: Path,
    source: str,
    stem: str,
    finder: Detector,
    served: ServedModel | None,
    how: Finding,
    output: Path,
    annotate: Path | None,
) -> list[Row]:
    """Find, cut and write the faces of a picture; its rows."""
    try:
        picture = decode(path)
    except DecodeError as error:
        return [{"picture": source, "verdict": "failed", "reason": str(error).removeprefix(f"{path}: ")}]
    faces = finder.detect(picture)
    if annotate is not None:
        _write_jpeg(_numbered(annotate, stem), numbered(picture, faces))
    if not faces:
        return [{"picture": source, "reason": "no face was found in it"}]
    crops = [cut_as(picture, face, how.cutting, how.size) for face in faces]
    rows: list[Row] = []
    for number, (face, crop) in enumerate(zip(faces, crops, strict=True), start=1):
        name = f"{stem}-{number:02d}.png"
        with written_atomically(output / name) as temporary:
            temporary.write_bytes(encode_png(crop.crop))
        rows.append(_row(source, number, face, crop, name))
    if served is not None:
        _score(rows, served, [crop.crop for crop in crops])
    return rows


def cut_as(picture: ndarray, face: Detection, cutting: Cutting, size: int = 112) -> Aligned:
    """A found face, cut in one of the two ways."""
    return aligned(picture, face, size) if cutting == "aligned" else Aligned(cut(picture, face), "loose")


def _row(source: str, number: int, face: Detection, crop: Aligned, name: str) -> Row:
    row: Row = {"picture": source, "number": number}
    row |= {side: round(value, 1) for side, value in zip(("left", "top", "width", "height"), face.box, strict=True)}
    for point, (x, y) in zip(_POINTS, face.landmarks.tolist(), strict=True):
        row |= {f"{point}_x": round(x, 1), f"{point}_y": round(y, 1)}
    reason = f"not aligned: {crop.reason}" if crop.reason else ""
    return row | {"confidence": round(face.confidence, 3), "crop": name, "cut": crop.way, "reason": reason}


def _score(rows: list[Row], served: ServedModel, crops: Sequence[ndarray]) -> None:
    looks = served.look(crops)
    for i, row in enumerate(rows):
        index, score = float(looks.recognizability[i]), float(looks.scores[i])
        row["recognizability"] = None if np.isnan(index) else round(index, 5)
        row["score"] = None if np.isnan(score) else round(score, 4)
        row["verdict"] = str(looks.verdicts[i])


def _numbered(folder: Path, stem: str) -> Path:
    return folder / f"{stem}.jpg"


def _write_jpeg(path: Path, picture: ndarray) -> None:
    with written_atomically(path) as temporary:
        temporary.write_bytes(encode_jpeg(picture))


def _write_table(path: Path, rows: Sequence[Row]) -> None:
    with table_written_atomically(path) as file:
        writer = csv.DictWriter(file, COLUMNS, restval="")
        writer.writeheader()
        writer.writerows(rows)


def _summary(sources: Sequence[str], done: Mapping[str, list[Row]], table: Path) -> Summary:
    def count(which: Callable[[Row], bool]) -> int:
        return sum(which(row) for source in sources for row in done[source])

    return Summary(
        pictures=len(sources),
        faces=count(lambda row: "number" in row),
        failed=count(lambda row: "number" not in row and row.get("verdict") == "failed"),
        empty=count(lambda row: "number" not in row and row.get("verdict") != "failed"),
        table=table,
    )


def detect_command(paths: Sequence[Path], output: Path, **options: Any) -> int:
    """`detect_faces`, and what it says when it is done.

    Returns:
        How many pictures could not be read.
    """
    done = detect_faces(paths, output, **options)
    print(f"pictures    {done.pictures}, of which {done.empty} show no face and {done.failed} could not be read")
    print(f"faces       {done.faces}, numbered in each picture from top to bottom, then left to right")
    print(f"written     {done.table} and {done.faces} crops beside it")
    if done.failed == done.pictures:
        raise VlrfaceError(f"none of {done.pictures} pictures could be read; the reasons are in {done.table}")
    return done.failed
