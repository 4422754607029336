"""Does the index know something that size and norm do not, and is their combination better than each?

Each run of an ablation keeps the faces of its held-out people and of the benchmarks. On the held-out people a weighted
sum of index, logarithm of the pixel size and norm of the embedding is fitted to whether a face is found first among
the others (least squares, which orders faces as Fisher's discriminant does); on the benchmarks it is measured beside
its parts, by the area under error versus reject. The benchmarks have no part in the fit.

    vlrface ablate recipes/study/index.py --data DIR --out runs/index --benchmark tinyface=… survface-verif=…
    python benchmarks/combined_index.py runs/index/read-only/seed* [--resamples 1000] [--json FILE]

Runs are trainings of one recipe: areas are means over them; intervals count people and runs, paired.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from result import give

from vlrface.evaluate import RejectionByMeasure, compare
from vlrface.metrics.identification import leave_one_out_ranks
from vlrface.quality import measure_faces
from vlrface.types import Faces

FMR: Final = 0.01
PARTS: Final = ("index", "size", "norm")
SUMS: Final = (("index", "size"), ("index", "norm"), ("size", "norm"), PARTS)
AREA: Final = f"normalised_pauc@fmr={FMR:g},measure=quality"
BENCHMARKS: Final = ("tinyface", "survface-verif")

Quality = Float[ndarray, " n"]
Weights = dict[tuple[str, ...], Float[ndarray, " k"]]
"""Of the parts in each sum."""


def parts_of(faces: Faces) -> dict[str, Quality]:
    """What is summed, by name; NaN for faces that could not be encoded."""
    measures = measure_faces(faces, ("size", "norm"), progress=False).measures
    index = faces.recognizability.astype(np.float64)
    return {"index": index, "size": np.log(measures["size"]), "norm": measures["norm"]}


def fitted(held_out: Faces) -> Weights:
    """The sums that tell best whether a held-out face is found first."""
    ranks = leave_one_out_ranks(held_out.embeddings, held_out.identities)
    parts = parts_of(held_out)
    mated = ranks.mates > 0
    found = (ranks.first_mate[mated] == 1).astype(np.float64)
    weights: Weights = {}
    for names in SUMS:
        table = np.column_stack([parts[name][mated] for name in names])
        weights[names] = np.linalg.lstsq(table - table.mean(axis=0), found - found.mean(), rcond=None)[0]
    return weights


def qualities(faces: Faces, weights: Weights) -> dict[str, Quality]:
    """Each part and each sum, for the faces of a benchmark."""
    parts = parts_of(faces)
    sums = {
        " + ".join(names): np.column_stack([parts[name] for name in names]) @ each for names, each in weights.items()
    }
    return parts | sums


def main() -> None:
    """Print a table for each benchmark; end with one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    held_out = [Faces.load(run / "held-out.npz") for run in options.runs]
    weights = [fitted(faces.rows(faces.encoded)) for faces in held_out]
    protocol = RejectionByMeasure(fmrs=(FMR,), measures=("quality",), modes=("pairs",))
    figures: dict[str, float] = {"runs": len(options.runs)}
    for benchmark in BENCHMARKS:
        runs = [Faces.load(run / f"{benchmark}.npz") for run in options.runs]
        every = [qualities(faces, each) for faces, each in zip(runs, weights, strict=True)]
        sides = {
            name: [replace(f, measures={"quality": q[name]}) for f, q in zip(runs, every, strict=True)]
            for name in every[0]
        }
        best = " + ".join(PARTS)
        print(f"\n{benchmark}: {len(runs)} runs; all three minus another (below 0: the three are better), 95 %")
        for name, side in sides.items():
            if name == best:
                continue
            found = compare(
                sides[best], side, protocol, resamples=options.resamples, names=("all", name), pair_runs=True
            ).figures[AREA]
            gain = found.difference
            print(f"  {name:<22}{found.second.value:7.4f}  {gain.value:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]")
            figures |= {f"{benchmark}:{name}": found.second.value, f"{benchmark}:gain over {name}": gain.value}
            figures[f"{benchmark}:{best}"] = found.first.value
        print(f"  {best:<22}{figures[f'{benchmark}:{best}']:7.4f}")
    give(figures, options.json)


if __name__ == "__main__":
    main()
