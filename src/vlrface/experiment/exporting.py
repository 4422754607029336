"""`vlrface export`: a checkpoint as one .onnx file, with its parity measured."""

import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy import ndarray

from vlrface import __version__
from vlrface.data.manifest import Manifest
from vlrface.encode.exported import ExportCard, Precision
from vlrface.encode.views import Views, space_of_views
from vlrface.experiment.layouts import read_layout
from vlrface.experiment.network import load_trained
from vlrface.experiment.outputs import check_suffix
from vlrface.experiment.parity import Crops, measured_parity, more_than_rounding, print_parity
from vlrface.export import to_graph, to_int8, write_export
from vlrface.images.decode import DecodeError
from vlrface.images.degrade import SURVEILLANCE, degraded
from vlrface.images.procedural import procedural_faces
from vlrface.models.recognizer import Recognizer
from vlrface.types import VlrfaceError

MAX_CALIBRATION: Final = 512
MAX_PARITY: Final = 2000
"""Crops that are looked at, drawn by a fixed seed from what is given."""

_DRAWN_PEOPLE, _DRAWN_PER_PERSON = 60, 6


def export_checkpoint(
    source: Path,
    output: Path,
    *,
    precision: Precision = "float32",
    views: Views = 1,
    calibration_data: Path | None = None,
    parity_data: Path | None = None,
) -> ExportCard:
    """What `vlrface export` does; see there.

    Raises:
        VlrfaceError: no checkpoint, data that cannot be used, or a float32 graph that differs from the network by more
            than rounding; then nothing is written.
    """
    check_suffix(output, ".onnx")
    trained = load_trained(source)
    recognizer = trained.recognizer
    graph = to_graph(recognizer)
    checked = None
    if precision == "int8":
        crops, checked = _both_crops(recognizer, calibration_data or parity_data, parity_data)
        print(f"int8        ranges measured on {len(crops.images)} {crops.origin}; parity on others")
        if calibration_data is None and parity_data is None:
            print("            drawn faces are no substitute for crops of your cameras: give --calibration-data FOLDER")
        graph = to_int8(graph, crops.images)
    checked = checked or _parity_crops(recognizer, parity_data)
    card = ExportCard(
        version=__version__,
        experiment=str(trained.card["config"]["name"]),
        fingerprint=str(trained.card["fingerprint"]),
        precision=precision,
        config=trained.card["config"],
        framing=recognizer.framing,
        recognizability=recognizer.regression is not None,
        calibration=trained.calibration,
        graph="",
        parity={},
        views=views,
    )
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder) / "model.onnx"
        write_export(graph, card, trial)
        parity = measured_parity(recognizer, trial, card, checked)
    print_parity(parity, checked)
    differences = more_than_rounding(parity) if precision == "float32" else []
    if differences:
        raise VlrfaceError(
            f"{output}: not written, the graph does not say what the network says: {'; '.join(differences)}. That is "
            "a fault of the export or of an engine: try other versions of torch, onnxscript and the engine, or use the "
            f"checkpoint itself, {trained.path}"
        )
    card = write_export(graph, replace(card, parity=parity), output)
    space = space_of_views(card.space, views)
    print(f"written     {output} ({output.stat().st_size / 1e6:.1f} MB, {precision}, space {space})")
    if views > 1 and card.calibration is not None:
        print("            its scores were measured on one view: measure them anew with vlrface calibrate")
    return card


def _parity_crops(recognizer: Recognizer, data: Path | None) -> Crops:
    if data is None:
        return _drawn(recognizer, first=0)
    manifest = _manifest(data)
    return _framed(recognizer, manifest, _shuffled(manifest)[:MAX_PARITY], data)


def _both_crops(recognizer: Recognizer, ranges: Path | None, parity: Path | None) -> tuple[Crops, Crops]:
    """Crops for ranges and crops for parity; none is among both, or parity would praise what was fitted to it."""
    if ranges is None:
        return _drawn(recognizer, first=_DRAWN_PEOPLE), _drawn(recognizer, first=0)
    manifest = _manifest(ranges)
    rows = _shuffled(manifest)
    if parity is None:
        return _framed(recognizer, manifest, rows[:MAX_CALIBRATION], ranges), _drawn(recognizer, first=0)
    others = _manifest(parity)
    if ranges.resolve() == parity.resolve():
        rows = rows[: max(1, len(rows) // 2)]
    rows = rows[:MAX_CALIBRATION]
    taken = set(_places(manifest, rows))
    left = _shuffled(others)
    left = left[[place not in taken for place in _places(others, left)]]
    if not len(left):
        raise VlrfaceError(f"{parity}: every crop is among those that ranges are measured on. Give other --parity-data")
    seen = _framed(recognizer, others, left[:MAX_PARITY], parity)
    return _framed(recognizer, manifest, rows, ranges), seen


def _drawn(recognizer: Recognizer, first: int) -> Crops:
    people = procedural_faces(_DRAWN_PEOPLE, _DRAWN_PER_PERSON, seed=0, first_identity=first)
    small = degraded(list(people.images), SURVEILLANCE, 0)
    images = np.stack([recognizer.prepare(crop) for crop in small])
    return Crops(images, np.asarray(people.identities, np.int64), "drawn faces, degraded as a camera does")


def _manifest(data: Path) -> Manifest:
    return read_layout(data, "auto").manifest


def _shuffled(manifest: Manifest) -> ndarray:
    return np.random.default_rng(0).permutation(len(manifest))


def _places(manifest: Manifest, rows: ndarray) -> list[str]:
    """Where each picture lies, whichever folder it was found by."""
    base = manifest.root if manifest.archive is None else manifest.archive.path
    root = "" if base is None else base.resolve()
    return [f"{root}/{source}" for source in manifest.sources[rows].tolist()]


def _framed(recognizer: Recognizer, manifest: Manifest, rows: ndarray, data: Path) -> Crops:
    """The crops of rows that can be read, in the order of the manifest."""
    framed: list[ndarray] = []
    kept: list[int] = []
    for row in np.sort(rows).tolist():
        with suppress(DecodeError):
            framed.append(recognizer.prepare(manifest.picture(row)))
            kept.append(row)
    if not framed:
        raise VlrfaceError(f"{data}: none of {len(rows)} pictures could be read. Give a folder of face crops")
    return Crops(np.stack(framed), manifest.identities[kept].astype(np.int64), f"crops of {data.name}")
