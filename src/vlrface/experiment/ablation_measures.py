"""What is measured of each training of an ablation, and the files beside the training that keep it.

`<faces>.npz` holds encoded faces, `<measurement>.json` the report, `<measurement>.samples.npz` the figures with their
resamples, from which tables are made: a difference of two trainings is paired resample by resample.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from vlrface import __version__
from vlrface.evaluate import BenchmarkProtocol, measured, report_of
from vlrface.evaluate.ablation import RunFigures
from vlrface.evaluate.findings import Findings
from vlrface.experiment.config import Experiment
from vlrface.experiment.environment import environment
from vlrface.experiment.layouts import data_set_name
from vlrface.experiment.options import BenchmarkName, ProtocolOptions
from vlrface.experiment.protocols import protocol_of
from vlrface.experiment.source_config import place_of
from vlrface.files import written_atomically
from vlrface.metrics.intervals import Sampled
from vlrface.npz import read_arrays
from vlrface.types import UNRECOGNIZABLE_ROLE, Faces, VlrfaceError

HELD_OUT: Final = "held-out"
"""Faces of the training identities that the recipe holds out."""


class Measurement(NamedTuple):
    """A protocol on encoded faces, and its figures that a table shows.

    Attributes:
        name: of the measurement and its files.
        faces: which faces.
        protocol: of which benchmark.
        figures: for the table.
    """

    name: str
    faces: str
    protocol: BenchmarkName
    figures: tuple[str, ...]


_AREAS: Final = ("normalised_pauc@fmr=0.01,measure=recognizability",)
"""Of the index, where a variant predicts one; by it the settings of the index are chosen."""

MEASUREMENTS: Final = (
    Measurement(HELD_OUT, HELD_OUT, "retrieval", ("rank1", "mAP")),
    Measurement("held-out.rejection", HELD_OUT, "rejection", _AREAS),
    Measurement("tinyface", "tinyface", "tinyface", ("rank1", "rank20", "mAP")),
    Measurement("tinyface.retrieval", "tinyface", "retrieval", ("rank1", "mAP")),
    Measurement("tinyface.rejection", "tinyface", "rejection", _AREAS),
    Measurement("survface-id", "survface-id", "survface-id", ("tpir20@fpir=0.3",)),
    Measurement("survface-verif", "survface-verif", "survface-verif", ("tpr@far=0.1",)),
    Measurement("survface-verif.rejection", "survface-verif", "rejection", _AREAS),
    Measurement("scface", "scface", "scface", ("rank1",)),
    Measurement("pairs", "pairs", "pairs", ("accuracy",)),
    Measurement("cross-resolution", "cross-resolution", "cross-resolution", ("rank1@side=14",)),
    Measurement("retrieval", "retrieval", "retrieval", ("rank1", "mAP")),
)
"""Everything that can be measured, in the order of a table's columns."""


@dataclass(frozen=True)
class Settings:
    """How figures are resampled; figures of other settings cannot be paired.

    Attributes:
        resamples: of the bootstrap over people.
        seed: of the bootstrap.
    """

    resamples: int = 1000
    seed: int = 0


def parse_benchmarks(texts: Sequence[str]) -> dict[str, Path]:
    """Folders by benchmark from "NAME=FOLDER".

    Raises:
        VlrfaceError: no such benchmark or folder, or a benchmark twice.
    """
    known = [each.faces for each in MEASUREMENTS if each.faces == each.name != HELD_OUT]
    found: dict[str, Path] = {}
    for text in texts:
        name, equals, folder = text.partition("=")
        if not equals or name not in known:
            raise VlrfaceError(f"--benchmark {text}: write NAME=FOLDER, NAME being one of {', '.join(known)}")
        if name in found:
            raise VlrfaceError(f"--benchmark {text}: {name} is there already; one ablation measures one of each")
        if not Path(folder).exists():
            raise VlrfaceError(f"--benchmark {text}: {folder} is not there")
        found[name] = Path(folder)
    return found


def faces_up_to_date(path: Path, fingerprint: str, data: str) -> Faces | None:
    """The saved faces, if they are flip-fused, of this checkpoint and of this data set (as `Faces.meta` names it)."""
    if not path.is_file():
        return None
    try:
        faces = Faces.load(path)
    except VlrfaceError:
        return None  # they are made again
    meta = faces.meta
    same = meta.get("fingerprint") == fingerprint and meta.get("data") == data and meta.get("flip") is True
    return faces if same else None


def data_name(measurement: Measurement, experiment: Experiment, benchmarks: Mapping[str, Path]) -> str:
    """What the faces of a measurement call their data set, of those that are `wanted`."""
    if measurement.faces == HELD_OUT:
        return held_out_name(experiment)
    return data_set_name(benchmarks[measurement.faces])


def held_out_name(experiment: Experiment) -> str:
    """What the faces of held-out identities call their data set."""
    config = experiment.data.validation
    source = place_of(config.source) or "procedural faces"
    return f"{config.identities} held-out identities of {source}, seed {config.seed}"


def samples_path(folder: Path, measurement: Measurement) -> Path:
    """Where a training keeps the figures of a measurement."""
    return folder / f"{measurement.name}.samples.npz"


def measure_training(folder: Path, measurement: Measurement, faces: Faces, settings: Settings) -> None:
    """Measure the faces of a training; write its report and its figures with their resamples.

    Raises:
        VlrfaceError: the faces lack what the protocol needs.
    """
    protocol: BenchmarkProtocol = protocol_of(measurement.protocol, ProtocolOptions())
    found = measured(faces, protocol, seed=settings.seed, resamples=settings.resamples)
    context = {"version": __version__, "environment": environment(), "data": faces.meta.get("data")}
    kept = ("experiment", "seed", "fingerprint", "step", "flip", "crops")
    context["faces"] = {key: faces.meta[key] for key in kept if faces.meta.get(key) is not None}
    report_of(found, faces, protocol, context).save(folder / f"{measurement.name}.json")
    _save_samples(samples_path(folder, measurement), found, faces)


def _save_samples(path: Path, found: Findings, faces: Faces) -> None:
    names = list(found.figures)
    samples = np.full((found.resamples, len(names)), np.nan)
    for column, figure in enumerate(found.figures.values()):
        if len(figure.samples) == found.resamples:  # a single person has none
            samples[:, column] = figure.samples[:, 0]
    meta = {
        "fingerprint": faces.meta.get("fingerprint"),
        "data": faces.meta.get("data"),
        "seed": found.seed,
        "resamples": found.resamples,
        "crops": _crops(faces),
        "counts": found.counts,
    }
    with written_atomically(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            names=np.array(names),
            value=np.array([float(each.value[0]) for each in found.figures.values()]),
            samples=samples,
            people=np.array([each.people for each in found.figures.values()], np.int64),
            meta=np.array(json.dumps(meta)),
        )


def load_samples(path: Path, fingerprint: str | None, data: str | None, settings: Settings) -> RunFigures | None:
    """The figures that a training keeps.

    Args:
        path: of the file.
        fingerprint: of the training's checkpoint; None where that is gone and its figures are taken as they are.
        data: name of the data set, as `data_name`; None for whatever was measured.
        settings: what they must have been made with.

    Returns:
        None where they are not there, or are of another checkpoint, another data set or other settings.
    """
    try:
        arrays = read_arrays(path)
        meta: dict[str, Any] = json.loads(str(arrays["meta"]))
        if (meta["resamples"], meta["seed"]) != (settings.resamples, settings.seed):
            return None
        if fingerprint is not None and meta["fingerprint"] != fingerprint:
            return None
        if data is not None and meta["data"] != data:
            return None
        columns = zip(arrays["names"].tolist(), arrays["value"], arrays["samples"].T, arrays["people"], strict=True)
        figures = {
            str(name): Sampled(np.array([value]), samples[:, None].copy(), int(people))
            for name, value, samples, people in columns
        }
        return RunFigures(figures, str(meta["crops"]), str(meta["data"] or ""), dict(meta["counts"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _crops(faces: Faces) -> str:
    """Changes with the crops, people and listed pairs that figures count, not with the order of rows."""
    digest = hashlib.sha256()
    keys = [f"{role}\n{name}" for role, name in zip(faces.roles.tolist(), faces.names.tolist(), strict=True)]
    counted = (faces.roles != UNRECOGNIZABLE_ROLE).tolist()
    rows = zip(keys, faces.identities.tolist(), counted, strict=True)
    for row in sorted(f"{key}\n{person}" for key, person, is_counted in rows if is_counted):
        digest.update(f"{row}\0".encode("utf-8", "surrogateescape"))
    if faces.pairing is not None:
        listed = zip(faces.pairing.first.tolist(), faces.pairing.second.tolist(), strict=True)
        for one, other in listed:
            digest.update(f"{keys[one]}\n{keys[other]}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]


def wanted(benchmarks: Mapping[str, Path], *, held_out: bool) -> Iterator[Measurement]:
    """What is measured of every training."""
    for each in MEASUREMENTS:
        if (held_out and each.faces == HELD_OUT) or each.faces in benchmarks:
            yield each
