"""Kill -9 at random moments: does a training that was killed and started again end as if nothing had been?

A small training on built-in faces (drawn into a folder, so that its cache is part of it) is done once undisturbed.
Then, once for each moment, another one is killed that long after it began: while decoding, in a step, measuring the
unrecognizable faces, validating, writing a checkpoint or the log. Half of them augment in a process of their own. Every
checkpoint that the killed one left must be readable; the same training is started again, and what it ends with is
compared with the undisturbed one's, bit by bit: weights, prototypes, optimiser, averages, and the log line by line.

    python benchmarks/kill.py [--moments 20] [--seed 0] [--json FILE]
"""

import argparse
import multiprocessing
import os
import random
import tempfile
import time
from collections.abc import Mapping
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import cv2
import torch
from result import give

from vlrface.checkpoint import Checkpoint
from vlrface.experiment.config import (
    ArcFaceConfig,
    DataConfig,
    Experiment,
    FolderSource,
    MobileFaceNetConfig,
    ModelConfig,
    ObjectiveConfig,
    PartConfig,
    UnrecognizableConfig,
    ValidationConfig,
)
from vlrface.experiment.sources import Places
from vlrface.experiment.training import train_experiment
from vlrface.images.augment import Chain
from vlrface.images.framing import Framing, RandomFraming
from vlrface.images.procedural import procedural_faces
from vlrface.run_folder import LAST_NAME
from vlrface.train import TrainingOptions
from vlrface.train.journal import read_log
from vlrface.types import VlrfaceError

SIDE = 32
CONTEXT = multiprocessing.get_context("forkserver")


def experiment(workers: int) -> Experiment:
    """A training of some seconds in which everything happens often."""
    faces, framing = FolderSource("faces"), Framing(1.2, 0.5)
    return Experiment(
        name="killed",
        model=ModelConfig(MobileFaceNetConfig(size=SIDE), framing),
        data=DataConfig(
            (PartConfig(faces, Chain((RandomFraming(framing, SIDE, SIDE),))),),
            ValidationConfig(faces, 4),
            (UnrecognizableConfig(faces, count=16),),
        ),
        head=ArcFaceConfig(scale=32.0, margin_rad=0.3),
        objective=ObjectiveConfig(),
        training=TrainingOptions(
            epochs=4, batch_size=12, compiled=False, threads=1, average_decay=0.8, refresh_every=2, save_every=2,
            log_every=1, workers=workers,
        ),
    )  # fmt: skip


def draw_faces(folder: Path) -> None:
    """Pictures of 16 built-in people in identity folders."""
    made = procedural_faces(16, 5, size=48, seed=3)
    for number, (image, identity) in enumerate(zip(made.images, made.identities, strict=True)):
        place = folder / "faces" / str(identity)
        place.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(place / f"{number}.png"), image[:, :, ::-1])


def training(data: Path, place: Path, workers: int) -> None:
    """What the processes do that are killed: a folder for the run, and a cache, of its own."""
    train_experiment(experiment(workers), place / "run", Places(data, place / "cache", progress=False))


def started(data: Path, place: Path, workers: int) -> ForkServerProcess:
    """Such a process."""
    process = CONTEXT.Process(target=training, args=(data, place, workers))
    process.start()
    return process


def undisturbed(data: Path, place: Path, workers: int) -> float:
    """Train to the end; returns how many seconds that took."""
    began = time.perf_counter()
    process = started(data, place, workers)
    process.join()
    if process.exitcode:
        raise SystemExit(f"the training failed: exit code {process.exitcode}")
    return time.perf_counter() - began


def unreadable(run: Path) -> list[str]:
    """Checkpoints that cannot be read."""
    bad: list[str] = []
    for path in run.glob("[!.]*.safetensors"):
        try:
            Checkpoint.load(path)
        except VlrfaceError as error:
            bad.append(str(error))
    return bad


def outcome(run: Path) -> dict[str, Any]:
    """All that must be the same: every tensor, and the log without speeds."""
    held: dict[str, Any] = {}
    for name in ("last", "best"):
        checkpoint = Checkpoint.load(run / f"{name}.safetensors")
        held |= {f"{name}.{key}": value for key, value in checkpoint.tensors.items()}
        held[f"{name} card"] = {k: v for k, v in checkpoint.card.items() if k not in ("seconds", "config")}
    speeds = ("images_per_second", "waiting")
    held["log"] = [{k: v for k, v in line.items() if k not in speeds} for line in read_log(run / "log.jsonl")]
    return held


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """Names of what is not the same."""

    def same(one: Any, other: Any) -> bool:
        return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other

    return [
        k
        for k in sorted(ours.keys() | theirs.keys())
        if k not in ours or k not in theirs or not same(ours[k], theirs[k])
    ]


def killed_at(data: Path, place: Path, workers: int, seconds: float) -> bool:
    """Start a training and kill it after so many seconds; returns whether it was still at work."""
    process = started(data, place, workers)
    process.join(seconds)
    if process.exitcode is not None:
        return False
    process.kill()
    process.join()
    return True


def main() -> None:
    """Measure, print a line for each moment, and one line of JSON last."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moments", type=int, default=20, help="how often a training is killed")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the last line to FILE")
    options = parser.parse_args()
    CONTEXT.set_forkserver_preload(["vlrface.experiment.training", "torch.utils.tensorboard"])
    chance = random.Random(options.seed)  # noqa: S311
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        draw_faces(top)
        undisturbed(top, top / "warm", 0)  # the fork server starts
        lasting = [undisturbed(top, top / f"whole{workers}", workers) for workers in (0, 1)]
        wanted = [outcome(top / f"whole{workers}" / "run") for workers in (0, 1)]
        print(f"undisturbed: {lasting[0]:.1f} s, with a worker process {lasting[1]:.1f} s; {os.cpu_count()} cores\n")
        resumed = identical = 0
        bad: list[str] = []
        for moment in range(options.moments):
            workers, tries = moment % 2, 0
            while True:
                place = top / f"killed{moment}-{tries}"
                after = (moment + chance.random()) / options.moments * lasting[workers] * 0.8**tries
                if killed_at(top, place, workers, after):
                    break
                tries += 1  # it was quicker than the undisturbed one
            run = place / "run"
            saved = Checkpoint.load(run / LAST_NAME).card["step"] if (run / LAST_NAME).is_file() else 0
            bad += unreadable(run)
            undisturbed(top, place, workers)
            resumed += 1
            other = differences(outcome(run), wanted[workers])
            identical += not other
            found = f"differs: {other[0]}" if other else "same"
            print(f"killed after {after:5.2f} s: went on from step {saved:2}, {found}")
        for each in bad:
            print(f"unreadable: {each}")
        give(
            {
                "moments": options.moments,
                "resumed": resumed,
                "identical": identical,
                "unreadable": len(bad),
                "seed": options.seed,
            },
            options.json,
        )
        if bad or identical != options.moments:
            raise SystemExit(1)


if __name__ == "__main__":
    main()
