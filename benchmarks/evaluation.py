"""Speed and memory of the benchmark protocols at the full sizes of the published sets, on made 512-d embeddings.

Embeddings are clustered: each person has a direction, each picture adds noise whose strength differs from picture to
picture, so that some mates are found first, some late and some never. All is seeded. Parts:

- tinyface: 3,728 probes among 157,871 gallery faces and distractors, ranks to the top 50 and mAP. Beside the seconds
  the peak memory over the inputs, and how much faster it is than two ways of published helpers, timed in the same run
  on the same embeddings. `tinyface_speedup` is over the helper that gives the same figures, rank-1 to rank-50 and mAP,
  and stands in most code for retrieval (`eval_func`, of person re-identification): the full matrix, a full sort of
  every row, a loop over probes that computes the precision at every place. `tinyface_speedup_ranks` is over the helpers
  of TinyFace in face recognition (`DIR_FAR` of CVLface and AdaFace), which sort as much but give ranks only; the few
  lines that mAP takes beside it are ours.
- survface: 60,423 mated and 142,000 unmated probes among 5,319 templates, TPIR20 over FPIR, the whole curve, its area
  and four operating points. The bootstrap of all that is timed apart.
- edc: error versus reject of ten quality measures on six million scored pairs at one FMR, pairs and images rejected.
- bootstrap: 1,000 resamples of TinyFace rank-1 over identities.

Each part runs in a process of its own; seconds are medians of the repeats. The full sorts run once, some minutes in all
and 9 GiB; `--share` runs them on a share of the probes instead, their seconds scaled by the number of probes.

    python benchmarks/evaluation.py [--part tinyface] [--repeats 3] [--share 1] [--json FILE] [--growth FILE.svg]
"""

import argparse
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from result import give

from vlrface.metrics.identification import Ranks, closed_set_ranks, cmc, mean_average_precision
from vlrface.metrics.intervals import bootstrap_shares
from vlrface.metrics.open_set import (
    OpenSetCurve,
    OpenSetSearch,
    open_set_curve,
    search_open_set,
    tpir_area,
    tpir_at_fpir,
)
from vlrface.metrics.open_set_draws import WeightedSearch, bootstrap_open_set
from vlrface.metrics.pairs import Pairs
from vlrface.metrics.rejection import judge, judged_edc, partial_auc
from vlrface.metrics.templates import gallery_templates

T = TypeVar("T")

DIMENSIONS: Final = 512
TOP: Final = 50
FPIRS: Final = (0.3, 0.2, 0.1, 0.01)
TARGETS: Final = {
    "tinyface_seconds": ("≤", 8.0),
    "tinyface_extra_gib": ("≤", 1.0),
    "tinyface_speedup": ("≥", 15.0),
    "survface_seconds": ("≤", 15.0),
    "edc_seconds": ("≤", 5.0),
    "bootstrap_seconds": ("≤", 2.0),
}

_CHUNK: Final = 4096
_GIB: Final = 2**30


@dataclass(frozen=True, eq=False)
class Side:
    """Embeddings and whose they are."""

    embeddings: np.ndarray
    people: np.ndarray

    def first(self, count: int) -> "Side":
        """The first faces."""
        return Side(self.embeddings[:count], self.people[:count])


def faces(rng: np.random.Generator, centres: np.ndarray, people: np.ndarray, noise: float) -> Side:
    """A face for each entry: the person's direction, none where the number is negative, and noise.

    Noise is `noise` times as long as the direction, more or less: with 2, two faces of a person have a cosine of about
    0.2.
    """
    made = np.empty((len(people), DIMENSIONS), np.float32)
    for start in range(0, len(people), _CHUNK):
        part, who = made[start : start + _CHUNK], people[start : start + _CHUNK]
        rng.standard_normal(out=part, dtype=np.float32)
        part *= (noise * np.exp(0.4 * rng.standard_normal((len(part), 1)))).astype(np.float32)
        known = np.flatnonzero(who >= 0)
        part[known] += centres[who[known]]
    return Side(made, people)


def tinyface_like() -> tuple[Side, Side]:
    """Probes, and gallery with distractors."""
    rng, people = np.random.default_rng(0), 2569
    centres = rng.standard_normal((people, DIMENSIONS), dtype=np.float32)
    matches = np.concatenate([np.arange(people), rng.integers(0, people, 4443 - people)])
    searched = np.concatenate([matches, np.full(153428, -100)])
    return faces(rng, centres, rng.integers(0, people, 3728), 2), faces(rng, centres, searched, 2)


def survface_like() -> tuple[Side, Side, Side]:
    """Gallery, mated probes and unmated probes."""
    rng, people = np.random.default_rng(1), 5319
    centres = rng.standard_normal((people, DIMENSIONS), dtype=np.float32)
    gallery = np.concatenate([np.arange(people), rng.integers(0, people, 60294 - people)])
    sides = (gallery, rng.integers(0, people, 60423), np.full(142000, -1))
    first, second, third = (faces(rng, centres, side, 4.5) for side in sides)
    return first, second, third


def scored_pairs(count: int = 6_000_000, measures: int = 10) -> tuple[Pairs, np.ndarray]:
    """Pairs, a sixth of them genuine, and quality measures of the faces, each knowing a little of the noise."""
    rng, images, people = np.random.default_rng(2), 20_000, 2_000
    hardness = rng.standard_normal(images)
    kinds = []
    for pairs, mean in ((count // 6, 0.45), (count - count // 6, 0.0)):
        first = rng.integers(0, images, pairs)
        step = people * rng.integers(1, images // people, pairs)
        second = (first + step + (0 if mean else rng.integers(1, people, pairs))) % images
        spread = 0.08 * (1 + mean * np.exp(np.maximum(hardness[first], hardness[second])))
        scores = (mean + spread * rng.standard_normal(pairs)).astype(np.float32)
        kinds.append((scores, np.column_stack([first, second]).astype(np.int32)))
    quality = np.stack([rng.standard_normal(images) * (1 + k) - 2 * hardness for k in range(measures)])
    return Pairs(*kinds[0], *kinds[1], identities=np.arange(images) % people), quality


def ranks_by_counting(probes: Side, searched: Side) -> Ranks:
    """Ours."""
    ranks = closed_set_ranks(probes.embeddings, probes.people, searched.embeddings, searched.people)
    cmc(ranks, TOP)
    mean_average_precision(ranks)
    return ranks


def normalised(side: Side) -> Side:
    """The same at unit length. Not counted in the seconds of the full sorts; it is in ours."""
    return Side(side.embeddings / np.linalg.norm(side.embeddings, axis=1, keepdims=True), side.people)


def figures_by_full_sort(probes: Side, searched: Side) -> tuple[np.ndarray, float]:
    """Rank-1 … rank-50 and mAP as helpers for retrieval compute them: the precision at every place of every row."""
    order = np.argsort(-(probes.embeddings @ searched.embeddings.T), axis=1)
    firsts: list[np.ndarray] = []
    precisions: list[float] = []
    for person, places in zip(probes.people, order, strict=True):
        right = (searched.people[places] == person).astype(np.int32)
        if not right.any():
            continue
        found = right.cumsum()
        firsts.append(np.minimum(found, 1)[:TOP])
        at_place = np.asarray([count / (place + 1.0) for place, count in enumerate(found)])
        precisions.append(float((at_place * right).sum() / right.sum()))
    return np.mean(firsts, axis=0), float(np.mean(precisions))


def ranks_by_full_sort(probes: Side, searched: Side) -> tuple[np.ndarray, float]:
    """As published helpers for TinyFace do it: ranks from every row sorted whole; mAP added in the cheapest way."""
    similarity = probes.embeddings @ searched.embeddings.T
    mates = probes.people[:, None] == searched.people
    mated = mates.any(axis=1)  # they part the probes that have a mate from those that have none
    similarity, mates = similarity[mated], mates[mated]
    order = np.argsort(similarity, axis=1)
    in_order = np.empty_like(mates)
    precision = []
    for row in range(len(mates)):
        in_order[row] = mates[row, order[row][::-1]]
        places = np.flatnonzero(in_order[row])
        precision.append(float(np.mean(np.arange(1, len(places) + 1) / (places + 1))))
    shares = [float(in_order[:, :k].any(axis=1).mean()) for k in range(1, TOP + 1)]
    return np.array(shares), float(np.mean(precision))


def timed(work: Callable[[], T], repeats: int) -> tuple[float, T]:
    """Median of wall-clock seconds, and the last result."""
    found: list[float] = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = work()
        found.append(time.perf_counter() - start)
    return statistics.median(found), result


def peak_bytes() -> int:
    """Largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def resident_bytes() -> int:
    """Resident memory now; where the system does not say, the largest so far."""
    status = Path("/proc/self/statm")
    return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if status.exists() else peak_bytes()


def measure_tinyface(repeats: int, share: float) -> dict[str, float]:
    """Seconds, memory and speedup of closed-set identification."""
    probes, searched = tinyface_like()
    before = resident_bytes()
    ranks_by_counting(probes, searched)
    extra = peak_bytes() - before  # of the first run; the peak is that of the process, an upper bound
    ours, ranks = timed(lambda: ranks_by_counting(probes, searched), repeats)
    count = max(1, round(share * len(probes.people)))
    part = ranks.rows(np.arange(count))
    few, everybody = normalised(probes.first(count)), normalised(searched)
    seconds: list[float] = []
    for published in (figures_by_full_sort, ranks_by_full_sort):
        taken, (shares, average) = timed(lambda way=published: way(few, everybody), 1)
        seconds.append(taken * len(probes.people) / count)
        # A score may differ in its last bit between two ways, and so may a rank.
        if abs(cmc(part, TOP).y - shares).max() > 2 / count or abs(mean_average_precision(part) - average) > 1e-3:
            raise SystemExit(f"{published.__name__} disagrees: one of the two is wrong")
    return {
        "tinyface_seconds": ours,
        "tinyface_extra_gib": extra / _GIB,
        "tinyface_speedup": seconds[0] / ours,
        "tinyface_speedup_ranks": seconds[1] / ours,
        "full_sort_seconds": seconds[0],
        "full_sort_ranks_seconds": seconds[1],
        "full_sort_probes": count,
        "tinyface_rank1": float(cmc(ranks, TOP).y[0]),
        "tinyface_rank50": float(cmc(ranks, TOP).y[-1]),
    }


def measure_survface(repeats: int, _: float) -> dict[str, float]:
    """Seconds of open-set identification, and of what stands around it."""
    gallery, mated, unmated = survface_like()
    making, templates = timed(lambda: gallery_templates(gallery.embeddings, gallery.people), repeats)
    everybody = (mated.embeddings, mated.people, unmated.embeddings, unmated.people, templates)

    def work() -> tuple[OpenSetSearch, OpenSetCurve, list[float]]:
        search = search_open_set(*everybody)
        figures = [tpir_area(search), *(tpir_at_fpir(search, fpir).tpir for fpir in FPIRS)]
        return search, open_set_curve(search), figures

    seconds, (search, curve, figures) = timed(work, repeats)
    rates = (*FPIRS, *np.logspace(-4, 0, 81).tolist())

    def statistic(weighted: WeightedSearch) -> np.ndarray:
        return np.append(weighted.area(), weighted.tpir(rates))

    return {
        "survface_seconds": seconds,
        "survface_templates_seconds": making,
        "survface_bootstrap_seconds": timed(lambda: bootstrap_open_set(statistic, search), 1)[0],
        "survface_tpir20_at_fpir_0.1": figures[FPIRS.index(0.1) + 1],
        "survface_tpir20_area": figures[0],
        "survface_corners": float(len(curve.fpir)),
    }


def measure_edc(repeats: int, _: float) -> dict[str, float]:
    """Seconds of error versus reject, all measures, both modes, with three partial areas each."""
    pairs, quality = scored_pairs()

    def work() -> list[float]:
        judged = judge(pairs, 1e-3)
        curves = [judged_edc(judged, measure, mode=mode) for measure in quality for mode in ("pairs", "images")]
        return [partial_auc(curve, upper, normalised=True) for curve in curves for upper in (0.3, 0.2, 0.95)]

    seconds, areas = timed(work, repeats)
    return {"edc_seconds": seconds, "edc_first_area": areas[0]}


def measure_bootstrap(repeats: int, _: float) -> dict[str, float]:
    """Seconds of 1,000 resamples of rank-1."""
    rng = np.random.default_rng(3)
    people, found = rng.integers(0, 2569, 3728), (rng.random(3728) < 0.6).astype(np.float64)
    return {"bootstrap_seconds": timed(lambda: bootstrap_shares(found, people, resamples=1000), repeats)[0]}


def measure_growth(repeats: int, _: float) -> dict[str, Any]:
    """Seconds over the size of the gallery, and over the number of probes, each halved several times."""
    return {**_tinyface_growth(repeats), **_survface_growth(repeats)}


def _tinyface_growth(repeats: int) -> dict[str, Any]:
    probes, searched = tinyface_like()

    def seconds(known: int, others: int) -> float:
        return timed(lambda: ranks_by_counting(probes.first(known), searched.first(others)), repeats)[0]

    known, others = len(probes.people), len(searched.people)
    return {
        "tinyface_over_gallery": {size: seconds(known, size) for size in _sizes(others)},
        "tinyface_over_probes": {size: seconds(size, others) for size in _sizes(known)},
    }


def _survface_growth(repeats: int) -> dict[str, Any]:
    gallery, mated, unmated = survface_like()

    def seconds(people: int, known: int, strangers: int) -> float:
        templates = gallery_templates(gallery.embeddings, gallery.people % people)
        first, second = mated.first(known), unmated.first(strangers)
        sides = (first.embeddings, first.people % people, second.embeddings, second.people)
        return timed(lambda: open_set_curve(search_open_set(*sides, templates)), repeats)[0]

    people, known, strangers = int(gallery.people.max()) + 1, len(mated.people), len(unmated.people)
    probes = zip(_sizes(known), _sizes(strangers), strict=True)
    return {
        "survface_over_gallery": {size: seconds(size, known, strangers) for size in _sizes(people)},
        "survface_over_probes": {sum(part): seconds(people, *part) for part in probes},
    }


def _sizes(whole: int) -> list[int]:
    return [max(1, round(whole / 2**k)) for k in range(5, -1, -1)]


def draw_growth(lines: dict[str, Any], path: Path) -> None:
    """Two panels with logarithmic axes: seconds over gallery and over probes."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, 2, figsize=(8, 3.2), sharey=True, layout="constrained")
    names = {
        "gallery": ("faces or templates searched", {"tinyface": "3,728 probes", "survface": "202,423 probes"}),
        "probes": ("probes", {"tinyface": "157,871 gallery faces", "survface": "5,319 templates"}),
    }
    for panel, (axis, (label, titles)) in zip(panels, names.items(), strict=True):
        for (kind, title), marker in zip(titles.items(), "os", strict=True):
            line = lines[f"{kind}_over_{axis}"]
            panel.loglog(list(line), list(line.values()), marker=marker, label=title)
        panel.set_xlabel(label)
        panel.grid(visible=True, which="major", color="0.85")
        panel.legend(frameon=False)
    panels[0].set_ylabel("seconds")
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def in_fresh_process(part: Callable[[int, float], dict[str, Any]], repeats: int, share: float) -> dict[str, Any]:
    """What a part finds, in a process that did nothing before."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(part, repeats, share).result()


def circumstances(repeats: int) -> dict[str, Any]:
    """What the seconds depend on."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    cpuinfo = Path("/proc/cpuinfo")
    models = [line for line in cpuinfo.read_text().splitlines() if "model name" in line] if cpuinfo.exists() else []
    return {
        "machine": f"{models[0].split(':')[1].strip() if models else platform.processor()}, {platform.machine()}",
        "cores": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
        "numpy": np.__version__,
        "blas": f"{blas['name']} {blas['version']}",
        "repeats": repeats,
        "load_average": os.getloadavg()[0],
    }


PARTS: Final[dict[str, Callable[[int, float], dict[str, Any]]]] = {
    "tinyface": measure_tinyface,
    "survface": measure_survface,
    "edc": measure_edc,
    "bootstrap": measure_bootstrap,
}


def main() -> None:
    """Measure, print a table, and one line of JSON last."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=list(PARTS), action="append", help="only this part; may be given again")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each measurement; the median counts")
    parser.add_argument("--share", type=float, default=1.0, help="share of the probes that the full sort is timed on")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the last line to FILE")
    parser.add_argument("--growth", type=Path, metavar="FILE.svg", help="instead: draw seconds over sizes, and a .json")
    options = parser.parse_args()
    around = circumstances(options.repeats)
    print(f"{around['machine']}, {around['cores']} cores, load average {around['load_average']:.1f}; ", end="")
    print(f"numpy {around['numpy']}, {around['blas']}; median of {options.repeats}\n")
    if options.growth is not None:
        found = in_fresh_process(measure_growth, options.repeats, 1.0)
        draw_growth(found, options.growth)
        options.json = options.json or options.growth.with_suffix(".json")
    else:
        found = {}
        for name in options.part or PARTS:
            measured = in_fresh_process(PARTS[name], options.repeats, options.share)
            for key, value in measured.items():
                sign, limit = TARGETS.get(key, ("", 0.0))
                print(f"{key:32}{value:12,.3f}  {f'{sign} {limit:g}' if sign else ''}", flush=True)
            found |= measured
    rounded = {k: round(v, 4) if isinstance(v, float) else v for k, v in {**found, **around}.items()}
    give(rounded, options.json)


if __name__ == "__main__":
    main()
