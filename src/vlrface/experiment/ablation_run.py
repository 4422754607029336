"""One training of an ablation: trained, or gone on with; encoded; measured. Each runs in a process of its own.

    python -m vlrface.experiment.ablation_run JOB

JOB is a `Job` as JSON; `vlrface ablate` starts these.
"""

import json
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from vlrface.checkpoint import read_card
from vlrface.encode import encode_crops
from vlrface.experiment.ablation import Training, is_finished, load_ablation
from vlrface.experiment.ablation_jobs import INTERRUPTED, stop_with_parent
from vlrface.experiment.ablation_measures import (
    HELD_OUT,
    Measurement,
    Settings,
    data_name,
    faces_up_to_date,
    held_out_name,
    load_samples,
    measure_training,
    samples_path,
    wanted,
)
from vlrface.experiment.config import Experiment
from vlrface.experiment.encoding import encode_benchmark
from vlrface.experiment.layouts import LAYOUT_OF, read_layout
from vlrface.experiment.model import Model, load_model
from vlrface.experiment.options import Layout, ModelOptions
from vlrface.experiment.sources import Places, held_people, load_source
from vlrface.experiment.stem import remembering
from vlrface.experiment.training import train_experiment
from vlrface.locks import InUseError, locked
from vlrface.train.loop import BEST_NAME, TrainingInterruptedError
from vlrface.train.stopping import terminable
from vlrface.types import Faces, VlrfaceError

_BATCH: Final = 64
_LOCK_SECONDS: Final = 60.0
_LAYOUTS: Final[dict[str, Layout]] = {**LAYOUT_OF, "pairs": "bin"}


@dataclass(frozen=True)
class Job:
    """What one process does.

    Attributes:
        recipe: file of the ablation.
        out: folder of the ablation.
        data: folder to which the recipe's paths are relative.
        cache: folder for decoded crops.
        variant: which variant.
        seed: of the training.
        benchmarks: folders by benchmark.
        held_out: whether to measure on held-out training identities.
        settings: of resampling.
    """

    recipe: Path
    out: Path
    data: Path
    cache: Path
    variant: str
    seed: int
    benchmarks: dict[str, Path]
    held_out: bool
    settings: Settings

    def to_text(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_text(cls, text: str) -> "Job":
        """From JSON."""
        values: dict[str, Any] = json.loads(text)
        for key in ("recipe", "out", "data", "cache"):
            values[key] = Path(values[key])
        values["benchmarks"] = {name: Path(folder) for name, folder in values["benchmarks"].items()}
        values["settings"] = Settings(**values["settings"])
        return cls(**values)


def run_job(job: Job) -> None:
    """Train what is not finished, encode and measure what is not up to date.

    A measurement that is refused does not keep others from being made.

    Raises:
        TrainingInterruptedError: asked to stop while training; the run is saved.
        VlrfaceError: whatever training, encoding or measuring refuses.
    """
    training = Training(job.variant, job.seed)
    experiment = load_ablation(job.recipe).experiment(training)
    folder = training.folder(job.out)
    places = Places(job.data, job.cache, progress=False)
    with _alone(folder):
        if not is_finished(folder, experiment):
            train_experiment(experiment, folder, places)
        fingerprint = str((read_card(folder / BEST_NAME) or {}).get("fingerprint"))
        made: dict[str, Faces] = {}
        refused: list[str] = []
        for each in wanted(job.benchmarks, held_out=job.held_out):
            data = data_name(each, experiment, job.benchmarks)
            if load_samples(samples_path(folder, each), fingerprint, data, job.settings) is None:
                try:
                    if each.faces not in made:
                        made[each.faces] = _faces(folder, each, fingerprint, data, experiment, places, job.benchmarks)
                    measure_training(folder, each, made[each.faces], job.settings)
                    print(f"measured {each.name}", flush=True)
                except VlrfaceError as error:
                    refused.append(f"{each.name}: {error}")
    if refused:
        raise VlrfaceError("; ".join(refused))


def _faces(
    folder: Path,
    measurement: Measurement,
    fingerprint: str,
    data: str,
    experiment: Experiment,
    places: Places,
    benchmarks: dict[str, Path],
) -> Faces:
    """The encoded faces of a measurement, from disk where they are up to date."""
    path = folder / f"{measurement.faces}.npz"
    faces = faces_up_to_date(path, fingerprint, data)
    if faces is not None:
        return faces
    with remembering(load_model(folder, ModelOptions()), data, places.cache) as model:
        if measurement.faces == HELD_OUT:
            faces = encode_held_out(model, experiment, places)
        else:
            place = benchmarks[measurement.faces]
            benchmark = read_layout(place, _LAYOUTS.get(measurement.faces, "auto"))
            faces = encode_benchmark(model, benchmark, place, flip=True, batch_size=_BATCH, progress=False)
        faces.save(path)  # before the memory is written, which may fail without loss
    return faces


def encode_held_out(model: Model, experiment: Experiment, places: Places) -> Faces:
    """The crops of the held-out training identities, by which the recipe's choices are made: flip-fused."""
    config = experiment.data.validation
    source = load_source(config.source, places)
    source = source.rows(source.usable(held_people(source, config)))
    meta = {**model.meta, "data": held_out_name(experiment), "crops": "as given, unaligned"}
    manifest, crops = source.decoded(places)
    return encode_crops(model.encoder, crops, manifest, flip=True, batch_size=_BATCH, meta=meta)


@contextmanager
def _alone(folder: Path) -> Generator[None]:
    """Keep other processes out of a run's folder; one that is just saving itself is waited for.

    Raises:
        VlrfaceError: another process works there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with locked(folder / ".lock", _LOCK_SECONDS):
            yield
    except InUseError:
        raise VlrfaceError(
            f"{folder}: another process works there. Wait for it, or stop it; then run the command again"
        ) from None


def main() -> None:
    """The process: exit code 0, 1 after an expected error, 130 if it was asked to stop and saved itself."""
    stop_with_parent()
    try:
        with terminable():
            run_job(Job.from_text(sys.argv[1]))
    except (TrainingInterruptedError, KeyboardInterrupt) as error:
        print(str(error) or "stopped")
        sys.exit(INTERRUPTED)
    except (VlrfaceError, OSError) as error:
        print(f"error: {error}")
        sys.exit(1)


if __name__ == "__main__":
    main()
