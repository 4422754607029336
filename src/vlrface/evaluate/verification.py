"""Figures of verification on scored pairs."""

from typing import Final

import numpy as np

from vlrface.evaluate.findings import Findings, banded_curve
from vlrface.metrics.pairs import Pairs
from vlrface.metrics.resampled import PairResamples, resample_pairs
from vlrface.metrics.verification import auc, eer, roc_at, tpr_at_far

FARS: Final = (0.1, 0.01, 0.001)

_ROC_FARS: Final = np.logspace(-4, 0, 81)


def measure_verification(
    found: Findings, pairs: Pairs, *, fars: tuple[float, ...] = FARS, drawn: PairResamples | None = None
) -> PairResamples | None:
    """Figures "tpr@far=F", "auc", "eer"; curve "roc"; counts of pairs and of accepted impostors.

    Args:
        found: where they go.
        pairs: scored pairs.
        fars: false accept rates of the figures.
        drawn: resamples of the same pairs with thresholds at `fars`; None draws them.

    Returns:
        The resamples, for error versus reject on the same pairs; None if there is no impostor pair.
    """
    genuine, impostor = pairs.genuine, pairs.impostor
    found.counts["genuine_pairs"], found.counts["impostor_pairs"] = len(genuine), len(impostor)
    found.counts["impostor_pairs_not_encoded"] = pairs.failed_impostors
    if not len(impostor):
        found.left_out.append("verification: no pair of two encoded people")
        return None
    equal = eer(genuine, impostor)
    drawn = drawn or resample_pairs(pairs, fars=(*fars, equal), resamples=found.resamples, seed=found.seed)
    points = [tpr_at_far(genuine, impostor, far) for far in fars]
    for far, point in zip(fars, points, strict=True):
        found.counts[f"accepted_impostors@far={far:g}"] = point.accepted_impostors
    rates = drawn.sampled(np.array([p.tpr for p in points]), drawn.tpr_at(np.array(fars)))
    found.add([f"tpr@far={far:g}" for far in fars], rates)
    found.add("auc", drawn.sampled(np.array([auc(genuine, impostor)]), drawn.auc()[:, None]))
    found.add("eer", drawn.sampled(np.array([equal]), drawn.eer()[:, None]))
    drawable = _ROC_FARS[_ROC_FARS * len(impostor) >= 1]
    curve = drawn.sampled(roc_at(genuine, impostor, drawable).tpr, drawn.tpr_at(drawable))
    found.curves["roc"] = (banded_curve("roc", drawable, curve.interval()),)
    return drawn
