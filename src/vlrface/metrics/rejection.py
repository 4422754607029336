"""Error versus reject: how fast errors vanish when the faces of lowest quality are turned away.

The quality of a pair is the lower of its two faces'. A face without a quality (NaN) is turned away first. Faces of equal
quality cannot be told apart, so the curve is their expectation over all orders: a constant quality gives the flat line
of rejecting at random.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Int
from numpy import ndarray

from vlrface.metrics.intervals import People
from vlrface.metrics.pairs import Pairs
from vlrface.metrics.verification import accepted_at_far, check_scores, tpr_at_far
from vlrface.types import VlrfaceError

RejectMode = Literal["pairs", "images"]

FEWEST_IMPOSTORS = 10
"""An operating point that rests on fewer accepted impostor pairs is refused unless asked for."""

_RATIOS = np.arange(0, 0.98, 0.05)
_DRAWN = np.linspace(0, 1, 1001)


@dataclass(frozen=True, eq=False)
class EDC:
    """False non-match rate over the share that was rejected: error versus discard characteristic.

    Attributes:
        rejected: (n,) share of genuine pairs (mode "pairs") or of images (mode "images") rejected, ascending from 0,
            as far as a genuine pair is left. With a recomputed threshold: share of all pairs.
        fnmr: (n,) share of the remaining genuine pairs that are not accepted, in [0, 1].
        threshold: lowest accepted score, on all pairs.
        fmr: the false match rate that was asked for.
        mode: what is rejected.
        recomputed: whether the threshold was recomputed on the remaining pairs, as published code does.
        genuine: number of genuine pairs.
        impostors: number of impostor pairs.
        accepted_impostors: number of impostor pairs that the threshold accepts, on all pairs.
    """

    rejected: Float[ndarray, " n"]
    fnmr: Float[ndarray, " n"]
    threshold: float
    fmr: float
    mode: RejectMode
    recomputed: bool
    genuine: int
    impostors: int
    accepted_impostors: int

    def at(self, shares: Float[ndarray, " k"]) -> Float[ndarray, " k"]:
        """False non-match rate at given shares; NaN beyond the end, where no genuine pair is left."""
        return np.interp(shares, self.rejected, self.fnmr, right=np.nan)


def edc(
    pairs: Pairs,
    quality: Float[ndarray, " f"],
    fmr: float,
    *,
    mode: RejectMode = "pairs",
    recompute_threshold: bool = False,
    allow_few_impostors: bool = False,
) -> EDC:
    """Error versus reject at one false match rate.

    The threshold is fixed once, at `fmr` on all pairs (`verification.tpr_at_far`). Then the lowest quality is rejected:
    pair by pair (mode "pairs": share of genuine pairs), or image by image (mode "images": share of the images that
    occur in a pair; a pair goes when either of its images goes).

    `recompute_threshold` follows the published evaluation code of CR-FIQA, which MagFace and ViT-FIQA share, so that its
    tables can be compared: rejected is a share of all pairs, genuine and impostor, at the 20 ratios 0, 0.05 … 0.95; at
    each, the threshold is the observed score whose false match rate among the remaining pairs is nearest to `fmr` (of
    two as near, the lower score), and genuine pairs are accepted strictly above it. Pairs of equal quality are ordered
    by a fixed shuffle.

    Args:
        pairs: at least one of each kind.
        quality: (f,) of each numbered face, larger is better.
        fmr: false match rate, in (0, 1].
        mode: what is rejected.
        recompute_threshold: recompute at each ratio.
        allow_few_impostors: accept a threshold that fewer than ten impostor pairs decide.

    Raises:
        VlrfaceError: no pairs of one kind, no quality at all, lengths differ, or too few impostor pairs.
    """
    check_scores(pairs.genuine, pairs.impostor)
    _check_quality(quality, len(pairs.identities))
    allowed = accepted_at_far(fmr, len(pairs.impostor))
    if allowed < FEWEST_IMPOSTORS and not allow_few_impostors:
        raise VlrfaceError(
            f"FMR {fmr:g} of {len(pairs.impostor)} impostor pairs is {allowed} pairs, fewer than {FEWEST_IMPOSTORS}: "
            "take a larger FMR, or allow few impostors (--allow-few-impostors)"
        )
    if recompute_threshold:
        return _recomputed(pairs, quality, fmr, mode)
    point = tpr_at_far(pairs.genuine, pairs.impostor, fmr)
    rejection = _rejection(pairs, quality, mode)
    curve = rejection.curve(
        np.ones(len(rejection.unit_level)), np.ones(len(pairs.genuine)), pairs.genuine < point.threshold
    )
    shares = np.union1d(curve.rejected, _DRAWN)
    shares = shares[curve.left_at(shares) > 0]
    return EDC(
        rejected=shares,
        fnmr=curve.rate_at(shares),
        threshold=point.threshold,
        fmr=fmr,
        mode=mode,
        recomputed=False,
        genuine=len(pairs.genuine),
        impostors=len(pairs.impostor),
        accepted_impostors=point.accepted_impostors,
    )
