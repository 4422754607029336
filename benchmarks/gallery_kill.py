"""Kill -9 during enrolments: is everybody there who was acknowledged, and nobody by halves?

Another process enrols a hundred people, one after the other, three faces each, and says of each when the gallery has
acknowledged it; it is killed at a random moment. Then the gallery is opened: everybody who was acknowledged must be
there with all three faces and be found, and at most one more, whole, who was not acknowledged yet. The next moment goes
on with the same gallery, which the last kill left.

    python benchmarks/gallery_kill.py [--moments 20] [--seed 0] [--json FILE]

The last line is JSON: `kills`, `acknowledged`, `there`, `unacknowledged`, `lost`, `halves` (both 0).
"""

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

from vlrface.gallery import Gallery, NewFace, Rules

DIM, FACES, PEOPLE = 64, 3, 100
LONGEST_S = 0.4


@dataclass(frozen=True)
class Found:
    """What the kills left.

    Attributes:
        kills: how many.
        acknowledged: people whose enrolment was acknowledged.
        there: people in the gallery.
        lost: acknowledged people who are not there, or are not found by their own faces.
        halves: people without all of their faces.
    """

    kills: int
    acknowledged: int
    there: int
    lost: int
    halves: int


def faces_of(number: int) -> Float32[ndarray, "n d"]:
    """The embeddings of a person, the same each time."""
    draw = np.random.default_rng(number)
    rows = draw.standard_normal(DIM) + 0.3 * draw.standard_normal((FACES, DIM))  # near to one another
    rows = rows.astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def enrol(path: Path, first: int) -> None:
    """Enrol people, and say so; to be killed in between."""
    with Gallery.open(path, space="made") as gallery:
        print("open", flush=True)
        for number in range(first, first + PEOPLE):
            gallery.enrol(f"person {number}", [NewFace(row, 1.0) for row in faces_of(number)])
            print(number, flush=True)


def killed(path: Path, first: int, wait_s: float) -> list[int]:
    """Enrol people in another process and kill it after a while; who was acknowledged."""
    words = [sys.executable, __file__, "--enrol", str(path), str(first)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        assert process.stdout is not None  # noqa: S101 (a pipe was asked for)
        process.stdout.readline()
        time.sleep(wait_s)
        process.kill()
        said = process.stdout.read().split("\n")
    return [int(line) for line in said[:-1]]  # what stands behind the last line's end was not said


def checked(path: Path, acknowledged: list[int], kills: int) -> Found:
    """Open what was left."""
    with Gallery.open(path, space="made") as gallery:
        people = {person.name: person.faces for person in gallery.people(limit=10**6)}
        lost = sum(f"person {number}" not in people for number in acknowledged)
        known = [number for number in acknowledged if f"person {number}" in people]
        for number in known:
            index = np.ones(FACES)
            answers = gallery.identify(faces_of(number), index, index, Rules(0.3))
            lost += any(not each.candidates or each.candidates[0].person != f"person {number}" for each in answers)
        halves = sum(faces != FACES for faces in people.values())
    return Found(kills, len(acknowledged), len(people), lost, halves)


def run(folder: Path, moments: int, seed: int) -> Found:
    """Kill so many times."""
    path = folder / "gallery.db"
    Gallery.create(path, space="made", dim=DIM, template="mean").close()
    draw = np.random.default_rng(seed)
    acknowledged: list[int] = []
    found = Found(0, 0, 0, 0, 0)
    for moment in range(moments):
        acknowledged += killed(path, PEOPLE * moment, float(draw.uniform(0, LONGEST_S)))
        found = checked(path, acknowledged, moment + 1)
        if found.lost or found.halves:
            break
    return found


def main() -> None:
    """Kill, check, and give the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moments", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--enrol", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.enrol:
        enrol(Path(options.enrol[0]), int(options.enrol[1]))
        return
    from result import give

    with tempfile.TemporaryDirectory() as folder:
        found = run(Path(folder), options.moments, options.seed)
    more = found.there - found.acknowledged + found.lost
    print(f"{found.kills} kills, {found.acknowledged} people acknowledged, {found.there} there, {more} more than those")
    give({**vars(found), "unacknowledged": more}, options.json)
    if found.lost or found.halves:
        sys.exit(1)


if __name__ == "__main__":
    main()
