"""Figures of error versus reject."""

from typing import Final

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from vlrface.evaluate.findings import Findings, banded_curve
from vlrface.metrics.intervals import Sampled
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
EDC_SHARES: Final = np.arange(96) / 100
"""Rejected shares at which curves are drawn and resampled."""

_MODES: Final[tuple[RejectMode, ...]] = ("pairs", "images")


def measure_error_versus_reject(
    found: Findings, pairs: Pairs, drawn: PairResamples, quality: Float[ndarray, " f"], fmr: float
) -> None:
    """Figures "fnmr@fmr=F", "pauc@fmr=F[,reject=R][,mode=images]", "normalised_pauc@…"; curves "edc@fmr=F[,…]"."""
    too_few = too_few_impostors(fmr, len(pairs.impostor))
    if too_few:
        found.left_out.append(too_few)
        return
    for mode in _MODES:
        exact = edc(pairs, quality, fmr, mode=mode)
        samples = resampled_edc(pairs, quality, fmr, EDC_SHARES, drawn, mode=mode)
        suffix = "" if mode == "pairs" else f",mode={mode}"
        line = drawn.sampled(exact.at(EDC_SHARES), samples)
        found.add(f"fnmr@fmr={fmr:g}", line.columns(slice(0, 1)))
        found.curves[f"edc@fmr={fmr:g}{suffix}"] = (
            banded_curve("recognizability", EDC_SHARES, line.interval()),
            *reference_lines(float(line.value[0]), EDC_SHARES),
        )
        add_areas(found, exact, drawn, samples, f"@fmr={fmr:g}", suffix)


def too_few_impostors(fmr: float, impostors: int) -> str:
    """Why a false match rate is not measured; "" if at least `FEWEST_IMPOSTORS` impostor pairs decide it."""
    allowed = accepted_at_far(fmr, impostors)
    if allowed >= FEWEST_IMPOSTORS:
        return ""
    return (
        f"error versus reject at FMR {fmr:g}: {allowed} of {impostors} impostor pairs would decide it, at least "
        f"{FEWEST_IMPOSTORS} are needed"
    )


def reference_lines(start: float, shares: Float[ndarray, " k"]) -> tuple[Curve, Curve]:
    """The lines "random" and "oracle", which every figure of error versus reject carries."""
    return Curve("random", shares, random_line(start, shares)), Curve("oracle", shares, oracle_line(start, shares))


def add_areas(
    found: Findings, exact: EDC, drawn: PairResamples, samples: Float[ndarray, "r k"], at: str, suffix: str
) -> Sampled | None:
    """Areas under a curve up to each of `PARTIAL`, raw and divided by the error before any reject.

    Args:
        found: where "pauc<at>[,reject=R]<suffix>" and "normalised_pauc…" go.
        exact: the curve.
        drawn: resamples of its pairs.
        samples: (r, k) the curve at `EDC_SHARES` under each resample.
        at: operating point, "@fmr=F".
        suffix: what else tells the curve from others.

    Returns:
        The raw area up to the first of `PARTIAL`; None if the curve ends before.
    """
    usual: Sampled | None = None
    for upper in PARTIAL:
        end = f"{at}{f',reject={upper:g}' if upper != PARTIAL[0] else ''}{suffix}"
        if upper > exact.rejected[-1]:
            found.left_out.append(f"pauc{end}: no genuine pair is left at {upper:g} rejected")
            continue
        stop = int(np.searchsorted(EDC_SHARES, upper)) + 1
        area = add_area(found, exact, upper, drawn, samples[:, :stop], EDC_SHARES[:stop], end)
        usual = area if upper == PARTIAL[0] else usual
    return usual


def add_area(
    found: Findings,
    exact: EDC,
    upper: float,
    drawn: PairResamples,
    samples: Float[ndarray, "r k"],
    shares: Float[ndarray, " k"],
    end: str,
) -> Sampled:
    """One area as "pauc<end>", and divided by the error before any reject, if there is one, as "normalised_pauc<end>".

    Args:
        found: where they go.
        exact: the curve.
        upper: up to which rejected share.
        drawn: resamples of its pairs.
        samples: (r, k) the curve at `shares` under each resample.
        shares: (k,) from 0 to `upper`.
        end: of the names.

    Returns:
        The raw area.
    """
    areas, first = np.trapezoid(samples, shares, axis=1), samples[:, 0]
    area = drawn.sampled(np.array([partial_auc(exact, upper)]), areas[:, None])
    found.add(f"pauc{end}", area)
    if exact.fnmr[0] > 0:
        ratio = np.divide(areas, first, out=np.full(len(areas), np.nan), where=first > 0)
        normal = np.array([partial_auc(exact, upper, normalised=True)])
        found.add(f"normalised_pauc{end}", drawn.sampled(normal, ratio[:, None], largest=np.inf))
    return area
