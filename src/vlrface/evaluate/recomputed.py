"""Figures of error versus reject as published tables have them, with the threshold recomputed at each ratio."""

from collections.abc import Mapping
from typing import Final

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from vlrface.evaluate.findings import Findings, banded_curve
from vlrface.evaluate.rejection import add_area, reference_lines
from vlrface.metrics.rejection import RejectMode
from vlrface.metrics.rejection_recomputed import (
    RATIOS,
    SortedPairs,
    last_ratios,
    recomputed_edc,
    resampled_recomputed,
)
from vlrface.metrics.resampled import PairResamples
from vlrface.types import Curve

_UPPER: Final = 0.95


def measure_recomputed(
    found: Findings,
    ordered: SortedPairs,
    drawn: PairResamples,
    qualities: Mapping[str, Float[ndarray, " f"]],
    fmrs: tuple[float, ...],
    mode: RejectMode,
) -> None:
    """Figures "pauc@fmr=F,recomputed[,mode=images],measure=M" (0 to 0.95), "normalised_pauc@…"; curves "edc@fmr=F,…".

    Args:
        found: where they go.
        ordered: the pairs.
        drawn: resamples of the same pairs.
        qualities: of each numbered face, by measure.
        fmrs: false match rates that the pairs are enough for.
        mode: what is rejected.
    """
    curves: dict[float, list[Curve]] = {fmr: [] for fmr in fmrs}
    start = dict.fromkeys(fmrs, 0.0)
    for name, quality in qualities.items():
        last = last_ratios(ordered, quality, mode=mode)
        for fmr in fmrs:
            exact = recomputed_edc(ordered, last, fmr, mode=mode)
            samples = resampled_recomputed(ordered, last, fmr, drawn)
            value = np.append(exact.fnmr, np.full(len(RATIOS) - len(exact.fnmr), np.nan))
            line = drawn.sampled(value, samples)
            start[fmr] = float(value[0])
            curves[fmr].append(banded_curve(name, RATIOS, line.interval()))
            suffix = f"@fmr={fmr:g}{_suffix(mode)},measure={name}"
            if len(exact.fnmr) < len(RATIOS):
                found.left_out.append(f"pauc{suffix}: no pair of each kind is left at {RATIOS[len(exact.fnmr)]:g}")
                continue
            add_area(found, exact, _UPPER, drawn, samples, RATIOS, suffix)
    for fmr in fmrs:
        found.curves[f"edc@fmr={fmr:g}{_suffix(mode)}"] = (*curves[fmr], *reference_lines(start[fmr], RATIOS))


def _suffix(mode: RejectMode) -> str:
    return ",recomputed" + ("" if mode == "pairs" else f",mode={mode}")
