"""`vlrface export`: a checkpoint as one .onnx file, with its parity measured."""

import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy import ndarray

from vlrface import __version__
from vlrface.data.manifest import Manifest
from vlrface.encode.exported import ExportCard, Precision
from vlrface.encode.onnx import Engine, OnnxEncoder
from vlrface.experiment.layouts import read_layout
from vlrface.experiment.network import load_trained
from vlrface.experiment.outputs import check_suffix
from vlrface.export import cosines, to_graph, to_int8, write_export
from vlrface.images.decode import DecodeError
from vlrface.images.degrade import SURVEILLANCE, degraded
from vlrface.images.procedural import procedural_faces
from vlrface.metrics.correlation import spearman
from vlrface.metrics.identification import leave_one_out_ranks
from vlrface.models.recognizer import Recognizer
from vlrface.types import UNKNOWN_IDENTITY

MAX_CALIBRATION: Final = 512
MAX_PARITY: Final = 2000
"""Crops that are looked at, drawn by a fixed seed from what is given."""

_DRAWN_PEOPLE, _DRAWN_PER_PERSON = 60, 6
_ENGINES: Final[Mapping[Engine, str]] = {"openvino": "openvino", "onnxruntime": "onnxruntime"}


@dataclass(frozen=True, eq=False)
class Crops:
    """Framed crops, whose they are, and where they are from."""

    images: UInt8[ndarray, "n h w 3"]
    identities: Int[ndarray, " n"]
    origin: str


def export_checkpoint(
    source: Path,
    output: Path,
    *,
    precision: Precision = "float32",
    calibration_data: Path | None = None,
    parity_data: Path | None = None,
) -> ExportCard:
    """What `vlrface export` does; see there.

    Raises:
        VlrfaceError: no checkpoint, or data that cannot be used.
    """
    check_suffix(output, ".onnx")
    trained = load_trained(source)
    recognizer = trained.recognizer
    graph = to_graph(recognizer)
    if precision == "int8":
        given = calibration_data or parity_data
        crops = _crops(recognizer, given, MAX_CALIBRATION)
        print(f"int8        ranges measured on {len(crops.images)} {crops.origin}")
        if given is None:
            print("            drawn faces are no substitute for crops of your cameras: give --calibration-data FOLDER")
        graph = to_int8(graph, crops.images)
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
    )
    checked = _crops(recognizer, parity_data, MAX_PARITY)
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder) / "model.onnx"
        write_export(graph, card, trial)
        parity = measured_parity(recognizer, trial, card, checked)
    card = write_export(graph, replace(card, parity=parity), output)
    _print_parity(parity, checked)
    print(f"written     {output} ({output.stat().st_size / 1e6:.1f} MB, {precision}, space {card.space})")
    return card


def measured_parity(recognizer: Recognizer, path: Path, card: ExportCard, crops: Crops) -> dict[str, float]:
    """How an export agrees with its network, by each engine that is installed.

    Returns:
        "network:rank1" and for each engine "ENGINE:cosine_min", "cosine_median", "index_spearman" (where there is an
        index) and "rank1" of leave-one-out retrieval (where two crops show one person), without flip fusion.
    """
    embeddings, index = recognizer.embed_crops(crops.images)
    found = _rank1("network", embeddings, crops.identities)
    for engine, package in _ENGINES.items():
        if find_spec(package) is None:
            continue
        exported, seen = OnnxEncoder(path, card.model_card(), engine=engine).embed_crops(crops.images)
        cosine = cosines(embeddings, exported)
        found[f"{engine}:cosine_min"], found[f"{engine}:cosine_median"] = float(cosine.min()), float(np.median(cosine))
        if np.isfinite(index).all():
            found[f"{engine}:index_spearman"] = spearman(index, seen)
        found |= _rank1(engine, exported, crops.identities)
    return found


def _rank1(name: str, embeddings: Float[ndarray, "n d"], identities: Int[ndarray, " n"]) -> dict[str, float]:
    ranks = leave_one_out_ranks(embeddings, identities)
    mated = ranks.mates > 0
    return {f"{name}:rank1": float((ranks.first_mate[mated] == 1).mean())} if mated.any() else {}


def _print_parity(parity: Mapping[str, float], crops: Crops) -> None:
    print(f"parity      with the network, {len(crops.images)} {crops.origin}")
    print(f"  {'':<12} {'cosine min':>11} {'median':>9} {'index, Spearman':>16} {'rank-1':>8}")
    for name in ("network", *_ENGINES):
        if not any(key.startswith(f"{name}:") for key in parity):
            continue
        cells = [parity.get(f"{name}:{key}") for key in ("cosine_min", "cosine_median", "index_spearman", "rank1")]
        shown = [
            "–" if value is None else f"{value:.{digits}f}" for value, digits in zip(cells, (6, 6, 5, 4), strict=True)
        ]
        print(f"  {name:<12} {shown[0]:>11} {shown[1]:>9} {shown[2]:>16} {shown[3]:>8}")


def _crops(recognizer: Recognizer, data: Path | None, most: int) -> Crops:
    """Framed crops of a folder, or drawn ones."""
    if data is None:
        people = procedural_faces(identities=_DRAWN_PEOPLE, per_identity=_DRAWN_PER_PERSON, seed=0)
        small = degraded(list(people.images), SURVEILLANCE, 0)
        images = np.stack([recognizer.prepare(crop) for crop in small])
        return Crops(images, np.asarray(people.identities, np.int64), "drawn faces, degraded as a camera does")
    manifest: Manifest = read_layout(data, "auto").manifest
    chosen = np.sort(np.random.default_rng(0).permutation(len(manifest))[:most])
    framed: list[ndarray] = []
    kept: list[int] = []
    for row in chosen.tolist():
        with suppress(DecodeError):
            framed.append(recognizer.prepare(manifest.picture(row)))
            kept.append(row)
    size = (0, recognizer.input.height, recognizer.input.width, 3)
    identities = manifest.identities[kept].astype(np.int64) if kept else np.full(0, UNKNOWN_IDENTITY)
    return Crops(np.stack(framed) if framed else np.empty(size, np.uint8), identities, f"crops of {data.name}")
