"""A folder to try every command of the task pages on: people who do not exist, as a far camera sees them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from vlrface.files import written_atomically
from vlrface.images.decode import encode_png
from vlrface.images.degrade import SURVEILLANCE, DegradationRange, degraded
from vlrface.images.procedural import procedural_faces

Picture = UInt8[ndarray, "_ _ 3"]

_FIRST: Final = 200_000
"""Number of the first person; beyond those who are trained on and measured."""
_HELD_OUT, _ENROLLED, _OTHERS, _STRANGERS = 0, 1_000, 2_000, 3_000  # who is where, from `_FIRST` on
_EACH: Final = 9
"""Pictures of a person who is enrolled: four to enrol, one to search, the rest among the crops."""
_CHOICE: Final = 8
"""People drawn for each who is enrolled, where the best are chosen."""


def write_workplace(
    folder: Path,
    camera: DegradationRange = SURVEILLANCE,
    *,
    nearer: DegradationRange | None = None,
    index: Callable[[Sequence[Picture]], Float[ndarray, " n"]] | None = None,
    held_out: int = 60,
    enrolled: int = 6,
    crops: int = 60,
) -> None:
    """Write pictures as the task pages name them; what else is in the folder stays.

    - `held_out/ID/*.png`: four pictures each of people to calibrate with;
    - `people/Person N/*.png`: four pictures each of people to enrol;
    - `probe.png`: one more of Person 1; `stranger.png`: somebody else;
    - `crops/*.png`: pictures to score, of people from `people/` and others in turn.

    Args:
        folder: made if it is not there.
        camera: that sees them.
        nearer: camera of those who are enrolled and searched; None for the same.
        index: recognizability of pictures, to enrol and search those that can be recognised best, as one would with
            real ones; None to take them as they come.
        held_out: people to calibrate with.
        enrolled: people to enrol.
        crops: pictures to score.

    Raises:
        OSError: a file cannot be written.
    """
    near, choice = nearer or camera, _CHOICE if index else 1
    for person, pictures in enumerate(_seen(held_out, 4, _HELD_OUT, camera)):
        for number, picture in enumerate(pictures):
            _save(folder / "held_out" / f"{person:03d}" / f"{number}.png", picture)
    known = _best(_seen(enrolled * choice, _EACH, _ENROLLED, near), index)[:enrolled]
    for person, pictures in enumerate(known, start=1):
        for number, picture in enumerate(pictures[:4]):
            _save(folder / "people" / f"Person {person}" / f"{number}.png", picture)
    _save(folder / "probe.png", known[0][4])
    more = [picture for pictures in known for picture in pictures[5:]]
    ((stranger,), *_) = _best(_seen(choice, 1, _STRANGERS, near), index)
    _save(folder / "stranger.png", stranger)
    others = [picture for (picture,) in _seen(max(1, crops - len(more)), 1, _OTHERS, camera)]
    for number, picture in enumerate([*more, *others][:crops]):
        _save(folder / "crops" / f"{number:02d}.png", picture)


def _seen(people: int, each: int, first: int, camera: DegradationRange) -> list[list[Picture]]:
    """So many pictures each of people, as a camera sees them."""
    drawn = procedural_faces(people, each, seed=0, first_identity=_FIRST + first)
    pictures = degraded(list(drawn.images), camera, first)
    return [pictures[start : start + each] for start in range(0, len(pictures), each)]


def _best(
    people: list[list[Picture]], index: Callable[[Sequence[Picture]], Float[ndarray, " n"]] | None
) -> list[list[Picture]]:
    """The best pictures of each person first, and first the people whose fifth picture is best."""
    if index is None:
        return people
    each = len(people[0])
    found = index([picture for pictures in people for picture in pictures]).reshape(-1, each)
    order = np.argsort(-found, axis=1, kind="stable")
    least = np.take_along_axis(found, order, axis=1)[:, min(4, each - 1)]
    return [[people[person][number] for number in order[person]] for person in np.argsort(-least, kind="stable")]


def _save(path: Path, crop: Picture) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_atomically(path) as temporary:
        temporary.write_bytes(encode_png(crop))
