"""Speed of drawing, degrading and decoding faces, on one core.

Rates count processor time of this process, all its threads included, so other work on the machine matters little (it
still shares the caches). Each is measured in short rounds; the table gives the median round and the best one, the JSON
line the median. `faces` includes the drawing of the identities: with ten pictures of each unless the row says another
number. Degraded are procedural faces of 112 pixels, decoded the same faces as JPEG.

    python benchmarks/procedural.py [--rounds 30] [--json FILE]
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from result import give

from vlrface.images.decode import decode_bytes
from vlrface.images.degrade import SURVEILLANCE, UNRECOGNIZABLE, DegradationRange, degrade
from vlrface.images.procedural import View, identity_vectors, procedural_faces, render

SIZE = 112

Round = Callable[[int], int]
"""Does one round, given its number, and says how many pictures that were."""


def faces(per_identity: int, size: int) -> Round:
    """New people every round, about twenty pictures."""
    people = max(1, 20 // per_identity)

    def work(number: int) -> int:
        return len(procedural_faces(people, per_identity, size=size, first_identity=number * people))

    return work


def views() -> Round:
    """Many pictures of one person: what a picture costs once the identity is drawn."""
    identity = identity_vectors(1, 0)[0]
    shown = [View(yaw_rad=0.01 * i, background=i) for i in range(200)]
    return lambda _: len(render(identity, shown, SIZE))


def degraded(preset: DegradationRange, images: np.ndarray) -> Round:
    """Every picture once, each with its own degradation."""

    def work(number: int) -> int:
        rng = np.random.default_rng(number)
        for image in images:
            degrade(image, preset.draw(rng))
        return len(images)

    return work


def decoded(images: np.ndarray, side: int) -> Round:
    """The pictures as JPEG files in memory."""
    files = [
        cv2.imencode(".jpg", cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA))[1].tobytes()
        for image in images
    ]

    def work(_: int) -> int:
        for file in files:
            decode_bytes(file, "face")
        return len(files)

    return work


def measure(work: Round, rounds: int) -> tuple[float, float]:
    """Pictures per second of processor time: the median round and the best one."""
    work(0)
    rates: list[float] = []
    for number in range(1, rounds + 1):
        start = time.process_time()
        count = work(number)
        rates.append(count / (time.process_time() - start))
    return statistics.median(rates), max(rates)


def main() -> None:
    """Measure, print a table, and one line of JSON last."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30, help="rounds of each measurement")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the last line to FILE")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    images = procedural_faces(20, 2, size=SIZE).images
    jobs = {
        f"faces, {SIZE} px": faces(10, SIZE),
        f"faces, {SIZE} px, 1 per identity": faces(1, SIZE),
        f"faces, {SIZE} px, 200 of one": views(),
        "faces, 64 px": faces(10, 64),
        f"degrade {SIZE} to 12-40 px": degraded(SURVEILLANCE, images),
        f"degrade {SIZE} to 7-18 px": degraded(UNRECOGNIZABLE, images),
        f"decode JPEG, {SIZE} px": decoded(images, SIZE),
        "decode JPEG, 22 px": decoded(images, 22),
    }
    found = {name: measure(work, options.rounds) for name, work in jobs.items()}
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, load average {load:.1f}; pictures per second of one core\n")
    print(f"{'job':32}{'median':>10}{'best':>10}")
    for name, (median, best) in found.items():
        print(f"{name:32}{median:10,.0f}{best:10,.0f}")
    give(
        {
            "faces_per_second": round(found[f"faces, {SIZE} px"][0], 1),
            "degrade_per_second": round(found[f"degrade {SIZE} to 12-40 px"][0], 1),
            "decode_per_second": round(found[f"decode JPEG, {SIZE} px"][0], 1),
            "best": {name: round(best, 1) for name, (_, best) in found.items()},
            "load_average": load,
        },
        options.json,
    )


if __name__ == "__main__":
    main()
