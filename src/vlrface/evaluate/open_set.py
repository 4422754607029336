"""Figures of open-set identification."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from vlrface.evaluate.findings import Findings, banded_curve
from vlrface.metrics.intervals import bootstrap_means
from vlrface.metrics.open_set import OpenSetSearch, tpir_at_fpir
from vlrface.metrics.open_set_draws import RatesAfterReject, RatesByGroup, WeightedSearch, bootstrap_open_set

MOST_RANKS: Final = 50

_CURVE_FPIRS: Final = np.logspace(-4, 0, 81)


def measure_enrolled(found: Findings, search: OpenSetSearch, *, rank: int) -> None:
    """Figures "rank1", "rank<rank>" of the mated probes without a threshold; curve "cmc"."""
    every_rank = np.arange(1, max(rank, MOST_RANKS) + 1)
    hits = np.column_stack([search.found(k) for k in every_rank.tolist()]).astype(np.float64)
    sampled = bootstrap_means(hits, search.identities, resamples=found.resamples, seed=found.seed)
    shown = np.unique([1, rank])
    found.add([f"rank{k}" for k in shown.tolist()], sampled.columns(shown - 1))
    found.curves["cmc"] = (banded_curve("cmc", every_rank.astype(np.float64), sampled.interval()),)


def measure_open_set(found: Findings, search: OpenSetSearch, *, rank: int, fpirs: tuple[float, ...]) -> None:
    """Figures "tpir<rank>@fpir=F", "tpir<rank>_area"; curve "open_set"; counts of reported unmated probes."""
    for fpir in fpirs:
        found.counts[f"accepted_unmated@fpir={fpir:g}"] = tpir_at_fpir(search, fpir, rank).accepted_unmated
    drawable = _CURVE_FPIRS[_CURVE_FPIRS * (len(search.best) - search.left_out) >= 1]
    rates = (*fpirs, *drawable.tolist())

    def statistic(weighted: WeightedSearch) -> Float[ndarray, " k"]:
        return np.append(weighted.area(), weighted.tpir(rates))

    sampled = bootstrap_open_set(statistic, search, rank=rank, resamples=found.resamples, seed=found.seed)
    names = [f"tpir{rank}_area", *(f"tpir{rank}@fpir={fpir:g}" for fpir in fpirs)]
    found.add(names, sampled.columns(slice(0, len(names))))
    curve = sampled.columns(slice(len(names), None)).interval()
    found.curves["open_set"] = (banded_curve(f"tpir{rank}", drawable, curve),)


def measure_open_set_after_reject(
    found: Findings,
    search: OpenSetSearch,
    quality: Float[ndarray, " n"],
    *,
    rank: int,
    fpir: float,
    shares: tuple[float, ...],
) -> None:
    """Figures "tpir<rank>@fpir=F,reject=R", "tpir<rank>_gain@…" (minus the figure without reject), "fpir@…".

    Args:
        found: where they go.
        search: what was found.
        quality: of the mated, then the unmated probes; see `open_set_draws.RatesAfterReject`.
        rank: the mate must be among so many best templates.
        fpir: of the threshold, fixed before anybody is rejected.
        shares: rejected shares of all probes.
    """
    statistic = RatesAfterReject(fpir, np.array([0.0, *shares]), quality)
    sampled = bootstrap_open_set(statistic, search, rank=rank, resamples=found.resamples, seed=found.seed)
    places = np.arange(1, len(shares) + 1)
    tpir, reported = sampled.columns(places), sampled.columns(len(shares) + 1 + places)
    gain = tpir.minus(sampled.columns(slice(0, 1)))
    for name, figures in ((f"tpir{rank}", tpir), (f"tpir{rank}_gain", gain), ("fpir", reported)):
        found.add([f"{name}@fpir={fpir:g},reject={share:g}" for share in shares], figures)


def measure_open_set_bands(
    found: Findings,
    search: OpenSetSearch,
    bands: Sequence[tuple[str, Bool[ndarray, " n"]]],
    *,
    rank: int,
    fpir: float,
) -> None:
    """Figures "rank1@BAND", "tpir<rank>@fpir=F,BAND", "fpir@fpir=F,BAND"; counts of mated and unmated probes.

    The threshold is that of all unmated probes: the bands show where one system finds people, and where it reports
    strangers. A band without a mated (unmated) probe has no TPIR (FPIR).

    Args:
        found: where they go.
        search: what was found.
        bands: names such as "size=16-20", each with a mask (n,) over the mated, then the unmated probes.
        rank: the mate must be among so many best templates.
        fpir: of the threshold.
    """
    if not bands:
        return
    split = len(search.rank)
    masks = np.column_stack([mask for _, mask in bands])
    mated, unmated = masks[:split], masks[split:]
    options = {"resamples": found.resamples, "seed": found.seed}
    sampled = bootstrap_open_set(RatesByGroup(fpir, mated, unmated), search, rank=rank, **options)
    encoded = ~np.isnan(search.best)
    for place, (name, _) in enumerate(bands):
        found.counts[f"mated_probes@{name}"] = int(mated[:, place].sum())
        found.counts[f"unmated_probes@{name}"] = int(unmated[:, place].sum())
        if mated[:, place].any():
            inside = mated[:, place]
            hits = search.found(1)[inside, None].astype(np.float64)
            found.add(f"rank1@{name}", bootstrap_means(hits, search.identities[inside], **options))
            found.add(f"tpir{rank}@fpir={fpir:g},{name}", sampled.columns(slice(place, place + 1)))
        if (unmated[:, place] & encoded).any():
            column = len(bands) + place
            found.add(f"fpir@fpir={fpir:g},{name}", sampled.columns(slice(column, column + 1)))
