"""`vlrface calibrate`: what the score of a model means, and its thresholds for wished rates, from held-out people."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np

from vlrface import __version__
from vlrface.calibrate import (
    Calibration,
    Searched,
    Wishes,
    calibrate,
    described,
    judged_reliability,
    known_people,
    search_held_out,
    wished_points,
)
from vlrface.encode import encode
from vlrface.encode.exported import read_export_card, write_card
from vlrface.encode.served import ServedModel
from vlrface.experiment.environment import environment
from vlrface.experiment.layouts import read_layout
from vlrface.experiment.model_files import check_model
from vlrface.experiment.options import EngineChoice
from vlrface.experiment.outputs import check_suffix
from vlrface.experiment.served import load_served, space_of
from vlrface.files import write_json
from vlrface.metrics.operating import Point
from vlrface.metrics.verification import auc
from vlrface.types import UNRECOGNIZABLE_ROLE, Faces, VlrfaceError

_TELLING_AREA = 0.6

USUAL: Final = Wishes(fmr=(0.01, 0.001), fpir=(0.1, 0.01), accept=(0.9, 0.7, 0.5), fnmr=(0.2, 0.1))
"""What is measured when nothing is asked for: as much of it as the faces can answer."""

FEWEST_PEOPLE: Final = 10
"""Of fewer, intervals over people say nothing."""


@dataclass(frozen=True)
class Written:
    """Where the results go.

    Attributes:
        model: the calibrated model; may be the given one.
        report: page with the reliability diagram; None writes none.
        json: numbers; None writes none.
    """

    model: Path
    report: Path | None = None
    json: Path | None = None


def calibrate_model(
    source: Path,
    data: Path,
    written: Written,
    *,
    wishes: Wishes = USUAL,
    strict: bool = False,
    gallery_size: int | None = None,
    engine: EngineChoice = "auto",
    flip: bool = True,
    resamples: int = 1000,
    seed: int = 0,
    progress: bool = True,
) -> Calibration:
    """What `vlrface calibrate` does; see there.

    Args:
        source: a checkpoint, a run's folder or an exported model.
        data: held-out people: a folder in any layout, or a Faces file of this model.
        written: where the results go.
        wishes: rates asked for.
        strict: refuse to go on where these faces cannot answer one of them.
        gallery_size: faces that a face is searched among, for the score; None for all.
        engine: what runs an exported model.
        flip: flip fusion, as it will be used.
        resamples: draws of people for the intervals.
        seed: of the draws.
        progress: show a progress bar.

    Raises:
        VlrfaceError: no calibratable model, faces of another one, or a rate that these faces cannot answer.
    """
    check_model(source)
    if not data.exists():
        raise VlrfaceError(f"{data}: no such folder or Faces file. Give held-out people, a folder each")
    source = source / "best.safetensors" if source.is_dir() else source
    check_suffix(written.model, source.suffix)
    check_suffix(written.report, ".html")
    check_suffix(written.json, ".json")
    if written.report is not None and not (find_spec("matplotlib") and find_spec("jinja2")):
        raise VlrfaceError("--report needs the extra \"report\": pip install 'vlrface[report]', or leave it out")
    if source.suffix == ".onnx" and source.is_file() and read_export_card(source) is None:
        raise VlrfaceError(f"{source}: only a checkpoint or an exported model keeps a calibration (vlrface export)")
    served = load_served(source, engine=engine, flip=flip)
    faces = _held_out(served, data, progress=progress)
    if known_people(faces) < FEWEST_PEOPLE:
        raise VlrfaceError(
            f"{data}: {known_people(faces)} people, from whom nothing can be said about others. Give at least "
            f"{FEWEST_PEOPLE}, better hundreds, in a folder each"
        )
    before = served.calibration
    limit = None if before is None else before.unrecognizable_index
    calibration = replace(calibrate(faces, gallery_size=gallery_size), unrecognizable_index=limit)
    points, refused = wished_points(
        faces, calibration, wishes, gallery_size=gallery_size, resamples=resamples, seed=seed
    )
    if strict and refused:
        raise VlrfaceError("; ".join(refused))
    said = described(faces, data.name)
    calibration = replace(calibration, points=tuple(points), space=served.space, data=said)
    searched = search_held_out(faces, gallery_size)
    judged = judged_reliability(calibration, searched, seed=seed)
    _print(calibration, refused, said)
    _warn(searched)
    if written.json is not None:
        context = {"data": said, "seed": seed, "resamples": resamples, "environment": environment()}
        write_json(written.json, {**context, "calibration": calibration.to_json(), "refused": refused})
    if written.report is not None:
        from vlrface.report import write_calibration

        title = f"Calibration of {served.name}"
        write_calibration(written.report, calibration, judged, title=title, data=said, refused=refused)
    _store(source, calibration, written.model)
    print(f"written     {written.model}" + (f", {written.report}" if written.report else ""))
    return calibration


def _held_out(served: ServedModel, data: Path, *, progress: bool) -> Faces:
    """The faces, encoded by the model; without those that were destroyed to show what nobody can recognise."""
    if data.suffix == ".npz":
        faces = Faces.load(data)
        if space_of(faces) != served.space:
            raise VlrfaceError(f"{data}: faces of another model or other fusion. Encode them with this one")
        return faces.rows(faces.roles != UNRECOGNIZABLE_ROLE)
    manifest = read_layout(data, "auto").manifest
    return encode(served.encoder, manifest, flip=served.flip, progress=progress, meta=served.meta)


def _store(source: Path, calibration: Calibration, output: Path) -> None:
    """The same model with the calibration; its weights and so its space stay."""
    if source.suffix == ".onnx":
        exported = read_export_card(source)
        assert exported is not None  # calibrate_model has looked  # noqa: S101
        write_card(source, replace(exported, calibration=calibration), output)
        return
    from vlrface.checkpoint import Checkpoint

    checkpoint = Checkpoint.load(source)
    card: dict[str, Any] = {**checkpoint.card, "calibration": calibration.to_json(), "calibrated_by": __version__}
    Checkpoint(checkpoint.tensors, card).save(output)


def _print(calibration: Calibration, refused: Sequence[str], data: str) -> None:
    print(f"data        {data}")
    print(
        f"score       probability that the best match is right among {calibration.gallery_size:,} faces; found first "
        f"{100 * calibration.rank1:.1f} %, calibration error {calibration.calibration_error:.3f} on people left out"
    )
    print(f"\n{'wish':<14} {'threshold':>9} {'95 % interval':>19} {'measured':>10} {'95 % interval':>19} {'costs':>8}")
    for point in calibration.points:
        print(_line(point))
    print("costs: fmr, missed genuine pairs; fpir, enrolled not found first; accept, accepted faces matched wrongly;")
    print("       fnmr, faces rejected. Thresholds of fmr and fpir are cosines, those of accept and fnmr scores.")
    print("       Intervals are over people; ? where the faces do not bound it.")
    for each in refused:
        print(f"not measured: {each}")


def _warn(searched: Searched) -> None:
    """Say so where the index does not tell which best matches are right."""
    right = searched.correct > 0.5
    if right.all() or not right.any():
        return
    area = auc(searched.index[right].astype(np.float64), searched.index[~right].astype(np.float64))
    if area < _TELLING_AREA:
        print(
            f"warning: on these faces the index hardly tells which matches are right (area under the ROC curve "
            f"{area:.2f}; chance is 0.50). Scores and the thresholds of accept and fnmr are of little use here"
        )


def _line(point: Point) -> str:
    threshold = f"[{point.threshold_low:.4f}, {point.threshold_high:.4f}]".replace("nan", "?")
    rate = f"[{point.rate_low:.3g}, {point.rate_high:.3g}]".replace("nan", "?")
    head = f"{point.wish} {point.wished:g}"
    return f"{head:<14} {point.threshold:>9.4f} {threshold:>19} {point.rate:>10.3g} {rate:>19} {point.cost:>8.3f}"
