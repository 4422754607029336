"""What is in the direction of unrecognizable faces? Take it out of saved embeddings, and search again.

The poster's attention is taught embeddings without their part along û, the centre of unrecognizable faces. Here that
part, or the leading directions of those faces, is taken out exactly, of every face of a Faces file, and leave-one-out
retrieval is measured before and after, paired over people. The directions are those of the faces of the role
"unrecognizable", which `vlrface encode` adds.

    vlrface encode runs/NAME DIR/lfw-vlr/tinyface -o faces.npz
    python benchmarks/removal.py faces.npz [more.npz ...] [--resamples 1000] [--json FILE]

Several files are trainings of one recipe: figures are means over them, and the intervals count both.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from result import give

from vlrface.evaluate import Retrieval, compare
from vlrface.types import UNRECOGNIZABLE_ROLE, Faces, VlrfaceError

Removal = Callable[[Float[ndarray, "n d"], Float[ndarray, "m d"]], Float[ndarray, "n d"]]
"""(unit embeddings of faces, unit embeddings of unrecognizable ones) → embeddings without a part."""


def unit(rows: Float[ndarray, "n d"]) -> Float[ndarray, "n d"]:
    """Rows at norm 1."""
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def centre(faces: Float[ndarray, "n d"], lost: Float[ndarray, "m d"]) -> Float[ndarray, "n d"]:
    """v̂ - ⟨v̂, û⟩ û, the poster's projection."""
    direction = unit(lost.mean(axis=0, keepdims=True))
    return faces - (faces @ direction.T) * direction


def subspace(size: int) -> Removal:
    """Without the `size` leading directions of the unrecognizable faces."""

    def remove(faces: Float[ndarray, "n d"], lost: Float[ndarray, "m d"]) -> Float[ndarray, "n d"]:
        directions = np.linalg.svd(lost, full_matrices=False)[2][:size]
        return faces - (faces @ directions.T) @ directions

    return remove


REMOVALS: dict[str, Removal] = {
    "centre": centre,
    "1 direction": subspace(1),
    "4 directions": subspace(4),
    "16 directions": subspace(16),
}


def without(faces: Faces, removal: Removal) -> Faces:
    """The faces with that part taken out of all.

    Raises:
        VlrfaceError: there are no unrecognizable faces.
    """
    lost = faces.roles == UNRECOGNIZABLE_ROLE
    if not lost.any():
        raise VlrfaceError("no face has the role unrecognizable: encode a benchmark that has a gallery")
    rows = unit(faces.embeddings.astype(np.float64))
    return replace(faces, embeddings=removal(rows, rows[lost & faces.encoded]).astype(np.float32))


def main() -> None:
    """Print the table; end with one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faces", type=Path, nargs="+")
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    runs = [Faces.load(path) for path in options.faces]
    cosines = []
    for run in runs:
        rows = unit(run.embeddings[run.encoded].astype(np.float64))
        lost = run.roles[run.encoded] == UNRECOGNIZABLE_ROLE
        along = rows @ unit(rows[lost].mean(axis=0, keepdims=True)).T
        # The cosine of a unit vector to its projection is the length of the projection.
        kept = np.sqrt(1 - along[~lost] ** 2)
        cosines.append((along[~lost].mean(), along[~lost].std(), along[lost].mean(), kept.mean()))
    mean, deviation, own, kept = np.mean(cosines, axis=0)
    print(f"cosine to the centre: faces {mean:.3f} ± {deviation:.3f}, unrecognizable ones {own:.3f}; {len(runs)} runs")
    print(f"cosine of a face to its projection away from the centre: {kept:.3f}")
    print(f"{'taken out':<16}{'rank-1':>8}{'change':>9}  95 % interval")
    figures: dict[str, float] = {
        "cosine": mean,
        "cosine_deviation": deviation,
        "cosine_unrecognizable": own,
        "kept": kept,
    }
    for name, removal in REMOVALS.items():
        changed = [without(run, removal) for run in runs]
        found = compare(
            changed, runs, Retrieval(), resamples=options.resamples, names=("without", "with"), pair_runs=True
        ).figures
        change = found["rank1"]
        value, low, high = (100 * x for x in (change.difference.value, change.difference.low, change.difference.high))
        print(f"{name:<16}{100 * change.first.value:8.1f}{value:+9.2f}  [{low:.2f}, {high:.2f}]")
        figures[name] = value
    give(figures, options.json)


if __name__ == "__main__":
    main()
