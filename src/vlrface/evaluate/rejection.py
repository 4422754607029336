"""Figures of error versus reject."""

from typing import Final

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from vlrface.evaluate.findings import Findings, banded_curve
from vlrface.metrics.pairs import Pairs
from vlrface.metrics.rejection import (
    EDC,
    FEWEST_IMPOSTORS,
    RejectMode,
    edc,
    oracle_line,
    partial_auc,
    random_line,
    resampled_edc,
)
from vlrface.metrics.resampled import PairResamples
from vlrface.metrics.verification import accepted_at_far
from vlrface.types import Curve

FMRS: Final = (0.01, 0.001)
PARTIAL: Final = (0.3, 0.2, 0.95)
"""Upper ends of the partial areas; the first is the one a figure's plain name means."""

_MODES: Final[tuple[RejectMode, ...]] = ("pairs", "images")
_EDC_SHARES: Final = np.arange(96) / 100


def measure_error_versus_reject(
    found: Findings, pairs: Pairs, drawn: PairResamples, quality: Float[ndarray, " f"], fmr: float
) -> None:
    """Figures "fnmr@fmr=F", "pauc@fmr=F[,reject=R][,mode=images]", "normalised_pauc@…"; curves "edc@fmr=F[,…]"."""
    allowed = accepted_at_far(fmr, len(pairs.impostor))
    if allowed < FEWEST_IMPOSTORS:
        found.left_out.append(
            f"error versus reject at FMR {fmr:g}: {allowed} of {len(pairs.impostor)} impostor pairs would decide it, "
            f"at least {FEWEST_IMPOSTORS} are needed"
        )
        return
    for mode in _MODES:
        exact = edc(pairs, quality, fmr, mode=mode)
        samples = resampled_edc(pairs, quality, fmr, _EDC_SHARES, drawn, mode=mode)
        suffix = "" if mode == "pairs" else f",mode={mode}"
        line = drawn.sampled(exact.at(_EDC_SHARES), samples)
        found.add(f"fnmr@fmr={fmr:g}", line.columns(slice(0, 1)))
        found.curves[f"edc@fmr={fmr:g}{suffix}"] = (
            banded_curve("recognizability", _EDC_SHARES, line.interval()),
            Curve("random", _EDC_SHARES, random_line(float(line.value[0]), _EDC_SHARES)),
            Curve("oracle", _EDC_SHARES, oracle_line(float(line.value[0]), _EDC_SHARES)),
        )
        for upper in PARTIAL:
            name = f"pauc@fmr={fmr:g}" + (f",reject={upper:g}" if upper != PARTIAL[0] else "") + suffix
            _partial_areas(found, exact, drawn, samples, upper, name)


def _partial_areas(
    found: Findings, exact: EDC, drawn: PairResamples, samples: Float[ndarray, "r k"], upper: float, name: str
) -> None:
    """Area under error versus reject, raw and divided by the error before any reject."""
    if upper > exact.rejected[-1]:
        found.left_out.append(f"{name}: no genuine pair is left at {upper:g} rejected")
        return
    stop = int(np.searchsorted(_EDC_SHARES, upper)) + 1
    areas = np.trapezoid(samples[:, :stop], _EDC_SHARES[:stop], axis=1)
    raw = np.array([partial_auc(exact, upper)])
    found.add(name, drawn.sampled(raw, areas[:, None]))
    if exact.fnmr[0] > 0:
        first = samples[:, 0]
        ratio = np.divide(areas, first, out=np.full(len(areas), np.nan), where=first > 0)
        normal = np.array([partial_auc(exact, upper, normalised=True)])
        found.add(f"normalised_{name}", drawn.sampled(normal, ratio[:, None], largest=np.inf))
