"""Leave-one-out retrieval on encoded faces: every picture of a known person is searched among all the others."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Bool
from numpy import ndarray

from vlrface.evaluate.bands import measure_rank1_by_band
from vlrface.evaluate.findings import Findings, embeddings_of, index_of
from vlrface.evaluate.identification import measure_identification, measure_rank1_after_reject
from vlrface.evaluate.protocol import BenchmarkProtocol
from vlrface.metrics.identification import leave_one_out_ranks
from vlrface.types import UNRECOGNIZABLE_ROLE, Faces, VlrfaceError


@dataclass(frozen=True)
class Retrieval(BenchmarkProtocol):
    """Every picture of a known person is searched among all other pictures, whatever their roles.

    Own choice, beside the official protocols: as each picture is asked for once, there are more questions than a fixed
    set of probes asks of the same pictures, and a smaller difference of two models is seen. Its figures are no figures
    of the benchmark whose pictures it takes.

    Pictures of the role "distractor", and of unknown people, are searched among and never asked for; made
    unrecognizable faces are left out. A picture without another of its person is counted and not asked for. Ties count
    against the system, a picture that could not be encoded is a miss, and stays a mate that is missed.

    Figures: "rank1" … "rank50", "mAP"; "rank1@size=A-B", "rank1@recognizability=Kof5" (see `bands`); with
    recognizability "rank1@reject=R", "rank1_gain@reject=R". Curves: "cmc", "rank1_reject".
    """

    name: ClassVar[str] = "retrieval"

    def measure(self, faces: Faces, found: Findings) -> None:
        """Measure faces of any roles.

        Raises:
            VlrfaceError: no person has two pictures.
        """
        asked = _asked(faces)
        others = ~asked & (faces.roles != UNRECOGNIZABLE_ROLE)
        queries = faces.rows(asked)
        if len(np.unique(queries.identities)) == len(queries):
            raise VlrfaceError(
                f"leave-one-out retrieval needs a person with two pictures, and none of the {len(queries)} pictures of "
                "known people has another of its person. Encode a folder of identities, or another benchmark"
            )
        ranks = leave_one_out_ranks(
            embeddings_of(queries), queries.identities, distractors=embeddings_of(faces.rows(others))
        )
        mated = ranks.mates > 0
        found.counts.update(
            queries=int(np.count_nonzero(mated)),
            query_people=len(np.unique(queries.identities[mated])),
            pictures_without_mate=int(np.count_nonzero(~mated)),
            distractors=int(np.count_nonzero(others)),
            query_failures=int(np.count_nonzero(~queries.encoded[mated])),
            distractor_failures=int(np.count_nonzero(others & ~faces.encoded)),
        )
        ranks, queries = ranks.rows(mated), queries.rows(mated)
        measure_identification(found, ranks)
        measure_rank1_by_band(found, ranks, queries)
        if np.isfinite(index_of(queries)).any():
            measure_rank1_after_reject(found, ranks, index_of(queries))
        else:
            found.left_out.append("recognizability: the faces have none")

    def title(self, faces: Faces) -> str:
        """How many pictures are searched among how many."""
        asked = _asked(faces)
        everybody = int(np.count_nonzero(faces.roles != UNRECOGNIZABLE_ROLE))
        _, place, counts = np.unique(faces.identities[asked], return_inverse=True, return_counts=True)
        queries = int(np.count_nonzero(counts[place] > 1))
        return f"Leave-one-out retrieval: {queries:,} pictures, each searched among {everybody - 1:,} others"


def _asked(faces: Faces) -> Bool[ndarray, " n"]:
    """Pictures of known people."""
    return (faces.identities >= 0) & ~np.isin(faces.roles, ("distractor", UNRECOGNIZABLE_ROLE))
