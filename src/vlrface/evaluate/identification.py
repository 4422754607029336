"""Figures of closed-set identification."""

from typing import Final

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from vlrface.evaluate.findings import Findings, banded_curve
from vlrface.metrics.identification import Ranks, hits
from vlrface.metrics.intervals import Sampled, bootstrap_means, people_of, person_weights
from vlrface.metrics.rejection import resampled_rank1
from vlrface.types import Curve

RANKS: Final = (1, 5, 10, 20, 50)
REJECTED: Final = (0.1, 0.2, 0.3, 0.4, 0.5)
RANK1_SHARES: Final = np.arange(11) / 20
"""Rejected shares at which rank-1 is drawn."""


def measure_identification(found: Findings, ranks: Ranks) -> None:
    """Figures "rank1" … "rank50", "mAP", over all probes; curve "cmc"."""
    every_rank = np.arange(1, RANKS[-1] + 1)
    values = np.column_stack([hits(ranks, every_rank).astype(np.float64), ranks.average_precision])
    sampled = bootstrap_means(values, ranks.identities, resamples=found.resamples, seed=found.seed)
    found.add([f"rank{k}" for k in RANKS], sampled.columns(np.array(RANKS) - 1))
    found.add("mAP", sampled.columns(slice(-1, None)))
    shares = sampled.columns(slice(0, -1)).interval()
    found.curves["cmc"] = (banded_curve("cmc", every_rank.astype(np.float64), shares),)


def measure_rank1_after_reject(found: Findings, ranks: Ranks, quality: Float[ndarray, " p"]) -> None:
    """Figures "rank1@reject=R", "rank1_gain@reject=R" (minus "rank1", paired); curve "rank1_reject"."""
    if np.isnan(quality).all():
        found.left_out.append("rank-1 after reject: no probe has a recognizability")
        return
    people = people_of(ranks.identities)
    weights = person_weights(people.total, found.resamples, found.seed)[:, people.number]
    ones, shares = np.ones((1, len(ranks)), np.float32), RANK1_SHARES
    value = resampled_rank1(ranks.first_mate, quality, shares, ones)[0]
    line = Sampled(value, resampled_rank1(ranks.first_mate, quality, shares, weights), people.total)
    gain = line.minus(line.columns(slice(0, 1)))
    places = np.searchsorted(shares, REJECTED)
    found.add([f"rank1@reject={share:g}" for share in REJECTED], line.columns(places))
    found.add([f"rank1_gain@reject={share:g}" for share in REJECTED], gain.columns(places))
    found.curves["rank1_reject"] = (
        banded_curve("recognizability", shares, line.interval()),
        Curve("random", shares, np.full(len(shares), value[0])),
        Curve("oracle", shares, np.minimum(value[0] / (1 - shares), 1)),
    )
