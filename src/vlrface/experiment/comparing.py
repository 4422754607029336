"""`vlrface compare`: two models on the same faces."""

from collections.abc import Sequence
from pathlib import Path

from vlrface import __version__
from vlrface.evaluate import Comparison, compare
from vlrface.experiment.environment import environment
from vlrface.experiment.options import BenchmarkName, Outputs, ProtocolOptions
from vlrface.experiment.outputs import check_outputs, result_files, write_papers
from vlrface.experiment.protocols import protocol_of
from vlrface.report import write_comparison
from vlrface.types import Faces, VlrfaceError


def compare_files(
    first: Sequence[Path],
    second: Sequence[Path],
    name: BenchmarkName,
    *,
    names: tuple[str, str] | None = None,
    protocol_options: ProtocolOptions | None = None,
    outputs: Outputs | None = None,
    pair_seeds: bool = False,
    resamples: int = 1000,
    seed: int = 0,
) -> Comparison:
    """What `vlrface compare` does; see there.

    Raises:
        VlrfaceError: seeds are to be paired, and the runs say that theirs differ; or as `vlrface.evaluate.compare`.
    """
    outputs = outputs or Outputs()
    check_outputs(outputs)
    protocol = protocol_of(name, protocol_options or ProtocolOptions())
    json, page = result_files(first[0].parent, f"{first[0].stem}-{second[0].stem}.{name}", outputs)
    sides = [[Faces.load(path) for path in paths] for paths in (first, second)]
    if pair_seeds:
        _check_seeds(*sides)
    names = names or _names(first[0], second[0])
    context = {
        "version": __version__,
        "environment": environment(),
        "data": sides[0][0].meta.get("data"),
        "models": {called: [_model(faces) for faces in side] for called, side in zip(names, sides, strict=True)},
    }
    found = compare(
        sides[0], sides[1], protocol, seed=seed, resamples=resamples, names=names, pair_runs=pair_seeds, context=context
    )
    write_comparison(found, page, json)
    print("\n".join(found.sentences))
    for note in found.context["notes"]:
        print(f"note: {note}")
    print(f"numbers  {json}" + (f"\nreport   {page}" if page else ""))
    write_papers(found, outputs)
    return found


def _check_seeds(first: Sequence[Faces], second: Sequence[Faces]) -> None:
    """Refuse to pair runs that were trained with other seeds, as far as they say so."""
    seeds = [[faces.meta.get("seed") for faces in side] for side in (first, second)]
    apart = [pair for pair in zip(*seeds, strict=False) if None not in pair and pair[0] != pair[1]]
    if apart:
        one, other = (", ".join(map(str, side)) for side in seeds)
        raise VlrfaceError(
            f"--pair-seeds: the runs have seeds {one} and {other}; give both sides in the order of the same seeds"
        )


def _names(first: Path, second: Path) -> tuple[str, str]:
    """File names; where they are equal, as in two folders of runs, with their folders."""
    if first.stem != second.stem:
        return first.stem, second.stem
    return f"{first.parent.name}/{first.stem}", f"{second.parent.name}/{second.stem}"


def _model(faces: Faces) -> dict[str, object]:
    """What the faces say of the network that made them."""
    known = ("experiment", "seed", "model", "sha256", "fingerprint", "step", "flip", "views", "crops")
    return {key: faces.meta[key] for key in known if faces.meta.get(key) is not None}
