"""A folder to try every command of the task pages on: people who do not exist, as a far camera sees them."""

from pathlib import Path
from typing import Final

from jaxtyping import UInt8
from numpy import ndarray

from vlrface.files import written_atomically
from vlrface.images.decode import encode_png
from vlrface.images.degrade import SURVEILLANCE, DegradationRange, degraded
from vlrface.images.procedural import procedural_faces

_FIRST: Final = 200_000
"""Number of the first person; beyond those who are trained on and measured."""
_HELD_OUT, _ENROLLED, _OTHERS = 0, 1_000, 2_000  # who is where, from `_FIRST` on


def write_workplace(
    folder: Path, camera: DegradationRange = SURVEILLANCE, *, held_out: int = 60, enrolled: int = 6, crops: int = 60
) -> None:
    """Write pictures as the task pages name them; what else is in the folder stays.

    - `held_out/ID/*.png`: four pictures each of people to calibrate with;
    - `people/Person N/*.png`: four pictures each of people to enrol;
    - `probe.png`: one more of Person 1; `stranger.png`: somebody else;
    - `crops/*.png`: pictures to score, of people from `people/` and others in turn.

    Args:
        folder: made if it is not there.
        camera: that sees them.
        held_out: people to calibrate with.
        enrolled: people to enrol.
        crops: pictures to score.

    Raises:
        OSError: a file cannot be written.
    """
    for number, (person, crop) in enumerate(_seen(held_out, 4, _HELD_OUT, camera)):
        _save(folder / "held_out" / f"{person:03d}" / f"{number % 4}.png", crop)
    known = _seen(enrolled, 9, _ENROLLED, camera)
    for number, (person, crop) in enumerate(known):
        if number % 9 < 4:
            _save(folder / "people" / f"Person {person + 1}" / f"{number % 9}.png", crop)
    _save(folder / "probe.png", known[4][1])
    more = [crop for number, (_, crop) in enumerate(known) if number % 9 > 4]
    others = [crop for _, crop in _seen(max(1, crops - len(more)) + 1, 1, _OTHERS, camera)]
    _save(folder / "stranger.png", others.pop())
    for number, crop in enumerate([*more, *others][:crops]):
        _save(folder / "crops" / f"{number:02d}.png", crop)


def _seen(people: int, each: int, first: int, camera: DegradationRange) -> list[tuple[int, UInt8[ndarray, "_ _ 3"]]]:
    """Number, from 0, and picture of people as a camera sees them."""
    drawn = procedural_faces(people, each, seed=0, first_identity=_FIRST + first)
    numbers = (drawn.identities - _FIRST - first).tolist()
    return list(zip(numbers, degraded(list(drawn.images), camera, first), strict=True))


def _save(path: Path, crop: UInt8[ndarray, "_ _ 3"]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_atomically(path) as temporary:
        temporary.write_bytes(encode_png(crop))
