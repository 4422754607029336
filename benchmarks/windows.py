"""Which windows of a loose crop are best seen together, and should their index weigh them?

Each run of an ablation keeps the faces of its held-out people. Their crops are seen through eleven windows: the crop's
own, smaller and larger ones, ones moved a little, and turned ones. Sets of them are averaged, evenly or by the
recognizability index of each, and measured by leave-one-out retrieval, paired with the crop's own window. No test
picture is looked at: this is what `vlrface.encode.views` was chosen by.

    vlrface ablate recipes/study/rows.py --data DIR --out runs/rows …
    python benchmarks/windows.py runs/rows/full/seed0 --pictures DIR/lfw-vlr/tinyface/Training_Set
                                 [--resamples 1000] [--json FILE]

Several runs are trainings of one recipe: figures are means over them, and intervals count people and runs.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from result import give

from vlrface.encode import views
from vlrface.evaluate import Retrieval, compare
from vlrface.experiment.model import load_model
from vlrface.experiment.options import ModelOptions
from vlrface.images.decode import decode
from vlrface.images.framing import Jitter
from vlrface.types import Faces

ZOOMED: Final = tuple(Jitter(zoom=zoom) for zoom in (0.85, 0.92, 1.08, 1.17))
TURNED: Final = tuple(Jitter(rotation_rad=angle) for angle in (0.1, -0.1))
WINDOWS: Final = (*views.WINDOWS, *ZOOMED, *TURNED)  # the crop's own first, then those moved
SETS: Final = {
    "the crop's own": (0,),
    "and moved": (0, 1, 2, 3, 4),
    "and zoomed": (0, 5, 6, 7, 8),
    "moved and zoomed": tuple(range(9)),
    "all eleven": tuple(range(11)),
}
STEEPNESS: Final = (5.0, 20.0, 60.0)
"""Weights of the windows are exp(steepness · index)."""

Embeddings = Float[ndarray, "w n d"]
Average = Callable[[Embeddings, Float[ndarray, "w n"]], Float[ndarray, "n d"]]


def even(rows: tuple[int, ...]) -> Average:
    """The mean over some windows."""
    return lambda embeddings, _: embeddings[list(rows)].mean(axis=0)


def weighed(steepness: float) -> Average:
    """All windows, each by its index."""

    def average(embeddings: Embeddings, index: Float[ndarray, "w n"]) -> Float[ndarray, "n d"]:
        weights = np.exp(steepness * (index - index.max(axis=0)))
        return (embeddings * weights[..., None]).sum(axis=0) / weights.sum(axis=0)[:, None]

    return average


def best(embeddings: Embeddings, index: Float[ndarray, "w n"]) -> Float[ndarray, "n d"]:
    """The window of the highest index alone."""
    return embeddings[index.argmax(axis=0), np.arange(embeddings.shape[1])]


AVERAGES: Final[dict[str, Average]] = {
    **{name: even(rows) for name, rows in SETS.items()},
    **{f"all, by index · {steepness:g}": weighed(steepness) for steepness in STEEPNESS},
    "that of highest index": best,
}


def seen(run: Path, pictures: Path) -> tuple[Faces, Embeddings, Float[ndarray, "w n"]]:
    """The held-out faces of a run, and their embeddings and indices by window."""
    faces = Faces.load(run / "held-out.npz")
    faces = faces.rows(faces.encoded)
    model = load_model(run, ModelOptions())
    assert model.trained is not None  # noqa: S101 (a run is one of ours)
    network = model.trained.recognizer
    crops = [decode(pictures / str(name)) for name in faces.names]
    found = [
        network.embed_crops(np.stack([network.prepare(crop, window) for crop in crops]), flip=True)
        for window in WINDOWS
    ]
    return faces, np.stack([e for e, _ in found]), np.stack([i for _, i in found])


def main() -> None:
    """Print the table; end with one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--pictures", type=Path, required=True)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    runs = [seen(run, options.pictures) for run in options.runs]
    alone = [replace(faces, embeddings=embeddings[0]) for faces, embeddings, _ in runs]
    figures: dict[str, float] = {"runs": len(runs)}
    print(f"{'windows':<24}{'rank-1':>8}{'change':>9}  95 % interval{'mAP':>12}{'change':>9}  95 % interval")
    for name, average in AVERAGES.items():
        changed = [replace(faces, embeddings=average(e, i)) for faces, e, i in runs]
        found = compare(
            changed, alone, Retrieval(), resamples=options.resamples, names=(name, "one"), pair_runs=True
        ).figures
        line = f"{name:<24}"
        for figure in ("rank1", "mAP"):
            value, change = found[figure].first.value, found[figure].difference
            line += (
                f"{100 * value:8.1f}{100 * change.value:+9.2f}  [{100 * change.low:+.2f}, {100 * change.high:+.2f}]  "
            )
            figures[f"{name}:{figure}"] = value
        print(line)
    give(figures, options.json)


if __name__ == "__main__":
    main()
