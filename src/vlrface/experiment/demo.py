"""`vlrface demo`: the whole method on built-in faces, without any data."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from vlrface import __version__
from vlrface.data.cache import crops_in_memory
from vlrface.data.manifest import Manifest
from vlrface.encode import encode_crops
from vlrface.evaluate import RejectionByMeasure, TinyFace, evaluate
from vlrface.experiment.benchmark import summarise
from vlrface.experiment.config import ProceduralSource, load_recipe
from vlrface.experiment.encoding import encode_destroyed
from vlrface.experiment.environment import environment
from vlrface.experiment.exporting import export_checkpoint
from vlrface.experiment.network import Trained, load_trained
from vlrface.experiment.pages import illustrations, write_pages
from vlrface.experiment.sources import Places
from vlrface.experiment.training import train_experiment
from vlrface.experiment.workplace import write_workplace
from vlrface.images.degrade import SURVEILLANCE, UNRECOGNIZABLE, DegradationRange, degrade, degraded
from vlrface.images.procedural import procedural_faces
from vlrface.metrics.correlation import spearman
from vlrface.quality import measure_faces
from vlrface.quality.pictures import sharpness
from vlrface.report import write_figures
from vlrface.train.loop import BEST_NAME
from vlrface.types import DISTRACTOR_IDENTITY, Faces, Report, VlrfaceError

_FIRST_TEST_IDENTITY = 100_000
"""Far beyond every training identity: a test person has never been seen."""

_NEXT: Final = """
Try the tools on built-in faces (docs/filter-a-folder.md, docs/watch-list.md, docs/page.md use these very files):
  cd {place}
  vlrface score model.onnx crops -o scores.html
  vlrface calibrate model.onnx held_out -o model.onnx --fpir 0.1
  vlrface gallery create people.db --model model.onnx
  vlrface gallery enrol people.db --model model.onnx --people people
  vlrface gallery identify people.db probe.png stranger.png crops --model model.onnx --fpir 0.1
  vlrface serve model.onnx --gallery people.db --fpir 0.1"""


@dataclass(frozen=True, eq=False)
class ProceduralTest:
    """A closed-set test in the TinyFace manner, of built-in faces as a camera gives them.

    Attributes:
        manifest: splits "gallery", "probe", "distractor"; truth "severity" in [0, 1].
        crops: the degraded crops.
    """

    manifest: Manifest
    crops: Sequence[UInt8[ndarray, "_ _ 3"]]


def procedural_test(
    camera: DegradationRange = SURVEILLANCE, identities: int = 100, distractors: int = 200, seed: int = 0
) -> ProceduralTest:
    """Two gallery crops and three probes of each identity, and distractors of one crop each, as `camera` gives them."""
    known = procedural_faces(identities, 5, seed=seed, first_identity=_FIRST_TEST_IDENTITY)
    others = procedural_faces(distractors, 1, seed=seed, first_identity=_FIRST_TEST_IDENTITY + identities)
    pictures = [*known.images, *others.images]
    drawn = [camera.draw(np.random.default_rng([seed, 77, i])) for i in range(len(pictures))]
    roles = np.array(["gallery", "gallery", "probe", "probe", "probe"] * identities + ["distractor"] * distractors)
    manifest = Manifest(
        sources=np.array([f"#{i}" for i in range(len(pictures))]),
        identities=np.concatenate([known.identities, np.full(distractors, DISTRACTOR_IDENTITY)]).astype(np.int64),
        splits=roles,
        truths={"severity": np.array([each.severity for each in drawn], np.float64)},
        root=None,
    )
    return ProceduralTest(manifest, [degrade(p, each) for p, each in zip(pictures, drawn, strict=True)])


def run_demo(folder: Path, *, figures: Path | None = None, only_report: bool = False, progress: bool = True) -> Report:
    """Train `recipes/demo.py` into `folder`, measure it on unseen built-in faces, write the report, print the gist.

    `folder/try` then holds an exported model, and pictures to try everything else on.

    Args:
        folder: of the run.
        figures: where figures for a paper go, with error versus reject of the index beside that of other measures.
        only_report: do not train, measure what the folder holds, by whichever version it was trained.
        progress: show progress bars.

    Raises:
        VlrfaceError: the folder holds a run of another recipe, or none although nothing is to be trained.
    """
    began = time.perf_counter()
    experiment = load_recipe(demo_recipe())
    if not only_report:
        print(f"training {experiment.name} on built-in faces ({folder})")
        train_experiment(experiment, folder, Places(folder, folder / "cache", progress))
    elif not (folder / BEST_NAME).is_file():
        raise VlrfaceError(f"{folder} holds no finished demo: run vlrface demo --out {folder} without --only-report")
    trained = load_trained(folder)
    source = experiment.data.validation.source
    camera = source.degradation if isinstance(source, ProceduralSource) else None
    camera = camera or SURVEILLANCE
    test = procedural_test(camera)
    faces = demo_faces(trained, test)
    faces.save(folder / "faces.npz")
    report = _report(trained, faces, test.manifest.truths["severity"])
    shown = illustrations(faces, trained=trained, open_crop=lambda _, name: test.crops[int(name.removeprefix("#"))])
    page = folder / "report.html"
    write_pages(report, page, folder / "report.json", shown, trained=trained)
    summarise(report)
    chance, correlation = (report.context[key] for key in ("chance_rank1", "spearman_recognizability_severity"))
    print(f"rank-1 {100 * report.figures['rank1'].value:.1f} % against {100 * chance:.2f} % by chance")
    print(f"Spearman correlation of predicted recognizability with true severity {correlation:+.2f} (below 0 is right)")
    if figures is not None:
        written = write_figures(report, figures, shown, start="demo")
        measured = evaluate(faces, RejectionByMeasure(fmrs=(0.01,)), seed=experiment.seed, context=report.context)
        written += write_figures(measured, figures, start="demo_measures")
        print(f"figures  {len(written)} files in {figures}")
    place = folder / "try"
    nearer = replace(camera, side_px=(14, 40), read_noise=(0.0, 8.0))
    write_workplace(
        place, camera, nearer=nearer, index=lambda seen: trained.recognizer.faces(seen, flip=True).recognizability
    )
    export_checkpoint(folder, place / "model.onnx")
    print(f"{(time.perf_counter() - began) / 60:.1f} minutes; report: {page.resolve()}")
    print(_NEXT.format(place=place))
    return report


def demo_faces(trained: Trained, test: ProceduralTest) -> Faces:
    """The faces of a test as a network sees them, with destroyed ones beside them, and with other measures of quality.

    Measures: "size", "sharpness", "norm", "ers". Destroyed faces have no sharpness.
    """
    faces = encode_crops(
        trained.recognizer, crops_in_memory(list(test.crops)), test.manifest, flip=True, meta=trained.meta()
    )
    gallery = [test.crops[i] for i in np.flatnonzero(test.manifest.splits == "gallery").tolist()]
    destroyed = encode_destroyed(trained.recognizer, degraded(gallery, UNRECOGNIZABLE, 0), flip=True)
    faces = measure_faces(faces.joined(destroyed), ("size", "norm", "ers"), progress=False)
    sharp = np.concatenate([sharpness(test.crops), np.full(len(destroyed), np.nan)])
    return replace(faces, measures={**faces.measures, "sharpness": sharp})


def _report(trained: Trained, faces: Faces, severity: Float[ndarray, " n"]) -> Report:
    """The figures of the demo; faces beyond those with a true severity are the destroyed ones."""
    seed = int(trained.card["config"]["seed"])
    context = {
        "version": __version__,
        "environment": environment(),
        "config": trained.card["config"],
        "seed": seed,
        "training_seconds": round(float(trained.card["seconds"]), 1),
        "chance_rank1": chance_rank1(faces),
        "spearman_recognizability_severity": spearman(
            faces.recognizability[: len(severity)].astype(np.float64), severity
        ),
        "faces": {
            **{key: value for key, value in faces.meta.items() if key not in ("config", "training_seconds")},
            "crops": "built-in procedural faces of identities never trained on",
        },
    }
    return replace(
        evaluate(faces, TinyFace(), seed=seed, context=context),
        title="The method on built-in faces, seen by a far camera",
        benchmark="built-in faces, by the TinyFace protocol",
    )


def chance_rank1(faces: Faces) -> float:
    """Rank-1 of a system that picks a gallery face blindly: the mean share of mates in the gallery."""
    gallery = faces.role("gallery", "distractor").identities
    return float(np.mean([(gallery == probe).mean() for probe in faces.role("probe").identities]))


def demo_recipe() -> Path:
    """The recipe of the demo: beside the package when installed, in the source tree otherwise."""
    package = Path(__file__).parents[1]
    for folder in (package / "recipes", package.parents[1] / "recipes"):
        if (folder / "demo.py").is_file():
            return folder / "demo.py"
    raise VlrfaceError("the recipe of the demo is missing from this installation: install vlrface again")
