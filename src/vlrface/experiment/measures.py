"""Quality measures that a command asks for, kept beside the embeddings."""

from collections.abc import Sequence
from dataclasses import replace

from numpy import ndarray

from vlrface.data.manifest import Benchmark
from vlrface.experiment.model import Model
from vlrface.quality import from_file, measure_faces, parse_measure
from vlrface.quality.measure import PictureMeasure
from vlrface.types import UNRECOGNIZABLE_ROLE, Faces, VlrfaceError


def add_measures(
    faces: Faces, texts: Sequence[str], benchmark: Benchmark | None, model: Model | None, *, progress: bool
) -> Faces:
    """The faces with the measures that `--measure` names; see `vlrface.quality.parse_measure`.

    Args:
        faces: of the matcher.
        texts: what was asked for.
        benchmark: the pictures, for measures that need them.
        model: the matcher, for SER-FIQ.
        progress: show a progress bar.

    Raises:
        VlrfaceError: an unknown measure, or what it needs is not there.
    """
    requests = [parse_measure(text) for text in texts]
    names = [request.name for request in requests]
    if len(set(names)) < len(names):
        raise VlrfaceError(f"--measure {' '.join(texts)}: a name occurs twice; give each measure its own")
    built_in = [request.name for request in requests if request.path is None]
    if built_in:
        faces = measure_faces(
            faces,
            built_in,
            manifest=None if benchmark is None else benchmark.manifest,
            serfiq=_serfiq(model) if "serfiq" in built_in else None,
            center=_center(faces, model),
            progress=progress,
        )
    read = {request.name: from_file(request, faces) for request in requests if request.path is not None}
    return replace(faces, measures={**faces.measures, **read}) if read else faces


def _center(faces: Faces, model: Model | None) -> ndarray | None:
    """Centre of the unrecognizable faces: of those made with the faces (None), else the checkpoint's."""
    made = UNRECOGNIZABLE_ROLE in faces.roles
    if made or model is None or model.trained is None or model.trained.statistics is None:
        return None
    return model.trained.statistics.center.numpy()


def _serfiq(model: Model | None) -> PictureMeasure:
    if model is None or model.trained is None:
        raise VlrfaceError(
            "serfiq drops features inside the network, so it needs a checkpoint of ours: measure it when encoding, "
            "vlrface encode CHECKPOINT DATA -o faces.npz --measure serfiq"
        )
    from vlrface.quality.stochastic import SerFiq

    return SerFiq(model.trained.recognizer)
