"""From the evidence of one face to a score in [0, 1]: a logistic discriminant that learns from clusters, not labels."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from vlrface.types import VlrfaceError

_STEPS: Final = 50
_RIDGE: Final = 1.0
_CONVERGED: Final = 1e-8


@dataclass(frozen=True)
class Score:
    """`min(1, σ(bias + Σ weight·(value - middle)/spread) / reached)`, σ the logistic function.

    Attributes:
        bias: of the whole.
        terms: by the name of the evidence: weight, middle, spread.
        reached: share of the unrecognizable faces that the clusters reached, as estimated; in (0, 1].
    """

    bias: float
    terms: Mapping[str, tuple[float, float, float]]
    reached: float

    def __call__(self, evidence: Mapping[str, Float[ndarray, " n"]]) -> Float[ndarray, " n"]:
        """Scores of faces from their evidence; NaN where any of it is NaN."""
        return np.minimum(self.chance(evidence) / self.reached, 1.0)

    def chance(self, evidence: Mapping[str, Float[ndarray, " n"]]) -> Float[ndarray, " n"]:
        """Chance that clustering put such a face into the chosen clusters."""
        total = np.full(len(next(iter(evidence.values()))), self.bias)
        for name, (weight, middle, spread) in self.terms.items():
            total = total + weight * (evidence[name] - middle) / spread
        return _logistic(total)


def fitted_score(evidence: Mapping[str, Float[ndarray, " n"]], inside: Bool[ndarray, " n"]) -> Score:
    """Fit the discriminant by penalised maximum likelihood (ridge 1 on standardised weights; Newton steps).

    The ridge keeps weights finite where the clusters can be told apart without error. Clusters hold some of the
    unrecognizable faces, not all, so that those left out count as others in the fit. If who is left out does not
    depend on the evidence, the chance of being inside is the chance of being unrecognizable times the share that the
    clusters reach, and that share is the mean chance of those inside (Elkan and Noto, KDD 2008).

    Args:
        evidence: what is known of each face, by name; finite.
        inside: which faces are in the clusters of the unrecognizable.

    Raises:
        VlrfaceError: all faces are inside, or none.
    """
    if inside.all() or not inside.any():
        raise VlrfaceError(
            "every face of the pool is in the clusters of the unrecognizable, or none is: there is nothing to tell "
            "them from. Give a pool that has both"
        )
    middles = {name: float(values.mean()) for name, values in evidence.items()}
    spreads = {name: float(values.std()) or 1.0 for name, values in evidence.items()}
    columns = [(evidence[name] - middles[name]) / spreads[name] for name in evidence]
    design = np.stack([np.ones(len(inside)), *columns], axis=1).astype(np.float64)
    penalty = np.diag([0.0] + [_RIDGE] * len(columns))
    weights = np.zeros(design.shape[1])
    for _ in range(_STEPS):
        chance = _logistic(design @ weights)
        gradient = design.T @ (inside - chance) - penalty @ weights
        curvature = (design * (chance * (1 - chance))[:, None]).T @ design + penalty
        curvature[0, 0] += _CONVERGED  # where no face is doubtful any more, only the bias has no curvature left
        step = np.linalg.solve(curvature, gradient)
        weights += step
        if np.abs(step).max() < _CONVERGED:
            break
    terms = {name: (float(w), middles[name], spreads[name]) for name, w in zip(evidence, weights[1:], strict=True)}
    reached = float(_logistic(design[inside] @ weights).mean())
    return Score(float(weights[0]), terms, reached)


def _logistic(values: ndarray) -> ndarray:
    return 1.0 / (1.0 + np.exp(-np.clip(values, -50.0, 50.0)))
