"""How recognizable other faces are: what the page shows a face's index beside."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from vlrface.types import UNRECOGNIZABLE_ROLE, Faces, VlrfaceError

_BINS: Final = 40


@dataclass(frozen=True, eq=False)
class Reference:
    """Raw indices of faces that the same model has seen.

    Attributes:
        recognizable: (n,) of faces of people, ascending, n ≥ 1.
        unrecognizable: (m,) of faces that nobody can recognise, ascending; may be empty.
    """

    recognizable: Float[ndarray, " n"]
    unrecognizable: Float[ndarray, " m"]

    @classmethod
    def of(cls, faces: Faces) -> "Reference":
        """From a Faces file: those of the role "unrecognizable", and all others.

        Raises:
            VlrfaceError: no face has an index.
        """
        known = np.isfinite(faces.recognizability)
        lost = faces.roles == UNRECOGNIZABLE_ROLE
        if not (known & ~lost).any():
            raise VlrfaceError("no face of the reference has a recognizability index: encode it with this model")
        return cls(
            np.sort(faces.recognizability[known & ~lost]).astype(np.float64),
            np.sort(faces.recognizability[known & lost]).astype(np.float64),
        )

    def place(self, recognizability: float) -> float | None:
        """Share of the faces of people with a smaller index, in [0, 1]; None for NaN."""
        if not np.isfinite(recognizability):
            return None
        return float(np.searchsorted(self.recognizable, recognizability, "left") / len(self.recognizable))

    def histogram(self) -> dict[str, Any]:
        """Edges of 40 equal bins over all indices, and how many of each kind lie in each."""
        edges = np.histogram_bin_edges(np.concatenate([self.recognizable, self.unrecognizable]), _BINS)
        return {
            "edges": [float(edge) for edge in edges],
            "recognizable": np.histogram(self.recognizable, edges)[0].tolist(),
            "unrecognizable": np.histogram(self.unrecognizable, edges)[0].tolist(),
        }
