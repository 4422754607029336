"""A training set of 5.8 million pictures of 85,742 people: described, shuffled and begun; seconds and peak memory.

    python benchmarks/large_index.py [--images 5800000] [--people 85742] [--figure FILE.svg] [--json FILE]

The set is a RecordIO file as insightface writes them. Every person has one small JPEG, and the index names its record
as often as the person has pictures; nothing else about the set is smaller than the real one. What is measured is what
`vlrface train` does, from the recipe to the first batch of augmented faces, in a process of its own for each size:

- describe: read the .idx file, tell who is on which picture, write the memory-mapped index into an empty cache folder;
  and the same again when it is there (`again_seconds`).
- shuffle: the order of a whole epoch, batch by batch, as training asks for it.
- first batch: hold people out, number classes, build the network and its prototypes, start the workers, and decode and
  augment a batch of 512.

Peak memory is the largest resident size of the training process, what it maps from the index included, and of a
worker; `import_mib` is what the process has before it begins. `--figure` measures smaller sets too, and draws memory
against the number of pictures. Linux only: peaks are read from /proc.
"""

import argparse
import json
import os
import platform
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from result import give

SIZES = (100_000, 500_000, 1_000_000, 2_000_000, 4_000_000)
BATCH = 512
SIDE = 112


def write_set(rec: Path, images: int, people: int) -> None:
    """A .rec and .idx file of so many pictures, with record 0 and the persons' records behind the pictures."""
    ends = np.linspace(0, images, people + 1).astype(np.int64) + 1
    rng = np.random.default_rng(0)
    with rec.open("wb") as file, rec.with_suffix(".idx").open("w") as index:

        def put(key: int, head: tuple[float, float], data: bytes) -> int:
            place = file.tell()
            body = struct.pack("<IfQQ2f", 2, 0.0, key, 0, *head) + data
            file.write(struct.pack("<II", 0xCED7230A, len(body)) + body + bytes(-len(body) % 4))
            return place

        for person in range(people):
            first, last = int(ends[person]), int(ends[person + 1])
            coarse = rng.integers(0, 256, (4, 4, 3), np.uint8)
            smooth = cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
            place = put(first, (person, 1.0), cv2.imencode(".jpg", smooth)[1].tobytes())
            index.write("".join(f"{key}\t{place}\n" for key in range(first, last)))
        index.write(f"0\t{put(0, (images + 1, images + 1 + people), b'')}\n")
        for person in range(people):
            key = images + 1 + person
            index.write(f"{key}\t{put(key, (float(ends[person]), float(ends[person + 1])), b'')}\n")


def peak_mib(pid: int | str = "self") -> float:
    """Largest resident size of a process so far, in MiB; what it maps counts as soon as it was looked at."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def children(pid: int) -> list[int]:
    """Processes that a process started, and those that they started."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *children(int(child))]
    return found


def measure(root: Path) -> dict[str, Any]:
    """What one process needs for the set in `root`."""
    from vlrface.experiment import config, sources
    from vlrface.experiment.build import build
    from vlrface.experiment.sources import Places
    from vlrface.images.augment import Chain, RandomDegradation
    from vlrface.images.degrade import SURVEILLANCE
    from vlrface.images.framing import Framing, RandomFraming
    from vlrface.losses.objective import ObjectiveWeights
    from vlrface.train import TrainingOptions

    figures: dict[str, Any] = {"import_mib": round(peak_mib())}
    places = Places(root, root / "cache", progress=False)
    faces = config.RecordSource("train.rec")
    for name in ("describe_seconds", "again_seconds"):
        began = time.perf_counter()
        loaded = sources.load_source(faces, places)
        figures[name] = round(time.perf_counter() - began, 2)
    figures |= {"images": len(loaded.crops), "identities": len(loaded.known), "describe_mib": round(peak_mib())}
    transform = Chain((RandomDegradation(SURVEILLANCE, 0.33), RandomFraming(Framing(), SIDE, SIDE)))
    experiment = config.Experiment(
        name="large",
        model=config.ModelConfig(config.MobileFaceNetConfig(SIDE), Framing(), regression=False, attention=False),
        data=config.DataConfig((config.PartConfig(faces, transform),), config.ValidationConfig(faces, 20)),
        head=config.ArcFaceConfig(),
        objective=config.ObjectiveConfig(ObjectiveWeights(regression=0.0, diversion=0.0, projection=0.0)),
        training=TrainingOptions(epochs=1, batch_size=BATCH, workers=2),
    )
    began = time.perf_counter()
    batches: Any = build(experiment, places).ingredients.batches
    figures["build_seconds"] = round(time.perf_counter() - began, 2)
    batch = next(epoch := batches.epoch(0))
    figures["first_batch_seconds"] = round(time.perf_counter() - began, 2)
    if batch.images.shape != (BATCH, SIDE, SIDE, 3):
        raise SystemExit(f"the first batch has shape {batch.images.shape}")
    figures["worker_peak_mib"] = round(max(peak_mib(pid) for pid in children(os.getpid())))
    epoch.close()
    began = time.perf_counter()
    seen = np.zeros(len(loaded.crops), np.bool_)
    for task in batches._tasks(0, 0):
        seen[task.rows] = True
    figures["shuffle_seconds"] = round(time.perf_counter() - began, 2)
    if seen.sum() != batches.steps_per_epoch * BATCH:  # every picture once, but for the last incomplete batch
        raise SystemExit("an epoch does not have every picture once")
    figures["peak_mib"] = round(peak_mib())
    return figures


def measured(images: int, people: int) -> dict[str, Any]:
    """Make a set and measure it in a process of its own, whose peak is its own."""
    with tempfile.TemporaryDirectory() as folder:
        write_set(Path(folder) / "train.rec", images, people)
        command = [sys.executable, __file__, "--measure", folder]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603 (ourselves)
    return json.loads(done.stdout.splitlines()[-1])


def draw(path: Path, found: list[dict[str, Any]]) -> None:
    """Peak memory against the number of pictures."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3.4), layout="constrained")
    millions = [each["images"] / 1e6 for each in found]
    curves = {
        "peak_mib": "training process",
        "worker_peak_mib": "each worker",
        "import_mib": "training process before it begins",
    }
    for (key, label), marker in zip(curves.items(), "so.", strict=True):
        axes.plot(millions, [each[key] for each in found], marker=marker, label=label)
    axes.set_xlabel("pictures, millions")
    axes.set_ylabel("peak memory, MiB")
    axes.set_ylim(bottom=0, top=1.35 * axes.get_ylim()[1])  # room for the legend
    axes.grid(visible=True, color="0.85")
    axes.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def main() -> None:
    """Measure, print a table, and one line of JSON last."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5_800_000)
    parser.add_argument("--people", type=int, default=85_742)
    parser.add_argument("--figure", type=Path, metavar="FILE", help="measure smaller sets too, and draw an SVG")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the last line to FILE")
    options = parser.parse_args()
    if options.measure is not None:
        print(json.dumps(measure(options.measure)))
        return
    sizes = [each for each in SIZES if options.figure is not None and each < options.images]
    found = [measured(each, max(100, options.people * each // options.images)) for each in sizes]
    found.append(measured(options.images, options.people))
    print(
        f"{'pictures':>10}{'people':>8}{'describe s':>12}{'again s':>9}{'shuffle s':>11}{'first batch s':>15}", end=""
    )
    print(f"{'peak MiB':>10}{'worker MiB':>12}")
    for each in found:
        print(f"{each['images']:>10,}{each['identities']:>8,}{each['describe_seconds']:>12}", end="")
        print(f"{each['again_seconds']:>9}{each['shuffle_seconds']:>11}{each['first_batch_seconds']:>15}", end="")
        print(f"{each['peak_mib']:>10,}{each['worker_peak_mib']:>12,}")
    if options.figure is not None:
        draw(options.figure, found)
    machine = {"machine": f"{platform.system()} {platform.machine()}", "cores": os.cpu_count()}
    sizes_found = {"by_images": found[:-1]} if len(found) > 1 else {}
    give({**found[-1], **machine, "load_average": round(os.getloadavg()[0], 1), **sizes_found}, options.json)


if __name__ == "__main__":
    main()
