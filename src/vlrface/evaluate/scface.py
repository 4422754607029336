"""The SCface protocol on encoded faces: surveillance pictures at three distances against mugshots."""

from dataclasses import dataclass
from typing import ClassVar, Final, Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from vlrface.data.scface import TEST_SUBJECTS, subjects_to_test
from vlrface.evaluate.bands import measure_rank1_by_band
from vlrface.evaluate.findings import Findings, banded_curve, embeddings_of, index_of
from vlrface.evaluate.identification import measure_rank1_after_reject
from vlrface.evaluate.protocol import BenchmarkProtocol, require_roles
from vlrface.evaluate.recognizability import count_verdicts, measure_index_by_size
from vlrface.metrics.identification import Ranks, closed_set_ranks, hits
from vlrface.metrics.intervals import Sampled, bootstrap, bootstrap_means, people_of
from vlrface.types import Faces, VlrfaceError

RANKS: Final = (1, 5, 10)
DISTANCES: Final = ("1", "2", "3")
"""4.2 m, 2.6 m and 1.0 m."""

_CMC_RANKS: Final = 20


@dataclass(frozen=True)
class SCface(BenchmarkProtocol):
    """Closed-set identification per distance; gallery: the mugshots of the test subjects.

    Nothing is subtracted from the embeddings: centring on the mean of the test set, as some publications do, uses the
    faces that are to be tested. Ties count against the system, a probe that could not be encoded is a miss, as are all
    probes of a subject whose mugshot could not be. Roles: "gallery", "distance1", "distance2", "distance3".

    Figures: "rank1@distance=K", "rank5@…", "rank10@…"; "rank1", "rank5", "rank10": mean over the three distances; over
    the probes of all distances "rank1@size=A-B" and "rank1@recognizability=Kof5" (see `bands`); with recognizability
    "rank1@reject=R" (all probes together, the least recognizable refused), "rank1_gain@reject=R" (minus the same
    without reject, which is "rank1" only if each distance has as many probes), "recognizability@distance=K"
    (mean index), "recognizability@size=A-B", "spearman_recognizability_size". Curves: "cmc" (one line per distance),
    "rank1_reject", "recognizability_by_size". Counts of verdicts appear where `faces.meta["calibration"]` is there.

    Attributes:
        variant: "all" tests all subjects, for models that were not fine-tuned on SCface; "80" tests those 80 whom
            `data.scface.subjects_to_test` draws, for models that were fine-tuned on the 50 others.
        split_seed: of that draw.
    """

    name: ClassVar[str] = "scface"

    variant: Literal["all", "80"] = "all"
    split_seed: int = 0

    def measure(self, faces: Faces, found: Findings) -> None:
        """Measure faces of the four roles.

        Raises:
            VlrfaceError: a role is missing, there are fewer subjects than the variant tests, or no probe has a mugshot.
        """
        require_roles(faces, "SCface", ("gallery", *_roles()))
        test = faces.rows(np.isin(faces.roles, ("gallery", *_roles())) & self._tested(faces))
        gallery, probes = test.role("gallery"), test.rows(np.isin(test.roles, _roles()))
        found.counts.update(_counts(gallery, probes))
        ranks = closed_set_ranks(embeddings_of(probes), probes.identities, embeddings_of(gallery), gallery.identities)
        if not (ranks.mates > 0).any():
            raise VlrfaceError("no probe has a mugshot: are the people of both numbered alike?")
        found.counts["probes_without_mate"] = int(np.count_nonzero(ranks.mates == 0))
        distance = np.array([_roles().index(role) for role in probes.roles.tolist()], np.int64)
        _measure_by_distance(found, ranks, distance)
        measure_rank1_by_band(found, ranks, probes)
        if not np.isfinite(index_of(test)).any():
            found.left_out.append("recognizability: the faces have none")
            return
        measure_rank1_after_reject(found, ranks, index_of(probes))
        _measure_index(found, probes, distance)
        measure_index_by_size(found, test)
        count_verdicts(found, test, {role: role for role in ("gallery", *_roles())})

    def title(self, faces: Faces) -> str:
        """How many probes of how many subjects, and how the subjects were chosen."""
        tested = self._tested(faces)
        probes = int(np.count_nonzero(tested & np.isin(faces.roles, _roles())))
        subjects = len(np.unique(faces.identities[tested & (faces.roles == "gallery")]))
        chosen = "all subjects" if self.variant == "all" else f"drawn with seed {self.split_seed}"
        return f"Identification of {probes:,} probes among the mugshots of {subjects} subjects ({chosen})"

    def _tested(self, faces: Faces) -> Bool[ndarray, " n"]:
        """Faces of the subjects that are tested."""
        if self.variant == "all":
            return np.ones(len(faces), bool)
        subjects = faces.identities[np.isin(faces.roles, ("gallery", *_roles()))]
        return np.isin(faces.identities, subjects_to_test(subjects, TEST_SUBJECTS, self.split_seed))


def _roles() -> tuple[str, ...]:
    return tuple(f"distance{distance}" for distance in DISTANCES)


def _counts(gallery: Faces, probes: Faces) -> dict[str, int]:
    return {
        "subjects": len(np.unique(gallery.identities)),
        "gallery": len(gallery),
        "probes": len(probes),
        **{role: int(np.count_nonzero(probes.roles == role)) for role in _roles()},
        "gallery_failures": int(np.count_nonzero(~gallery.encoded)),
        "probe_failures": int(np.count_nonzero(~probes.encoded)),
    }


def _measure_by_distance(found: Findings, ranks: Ranks, distance: Int[ndarray, " p"]) -> None:
    """Figures "rankN@distance=K" and their means "rankN"; curve "cmc"."""
    every_rank = np.arange(1, _CMC_RANKS + 1)
    sampled = _by_distance(found, hits(ranks, every_rank).astype(np.float64), distance, ranks.identities)
    places = np.array(RANKS) - 1
    lines = [sampled.columns(slice(k * _CMC_RANKS, (k + 1) * _CMC_RANKS)) for k in range(len(DISTANCES) + 1)]
    found.add([f"rank{n}" for n in RANKS], lines[-1].columns(places))
    for name, line in zip(DISTANCES, lines[:-1], strict=True):
        found.add([f"rank{n}@distance={name}" for n in RANKS], line.columns(places))
    found.curves["cmc"] = tuple(
        banded_curve(f"distance {name}", every_rank.astype(np.float64), line.interval())
        for name, line in zip(DISTANCES, lines[:-1], strict=True)
    )


def _by_distance(
    found: Findings, values: Float[ndarray, "p k"], distance: Int[ndarray, " p"], identities: Int[ndarray, " p"]
) -> Sampled:
    """Means of columns at each distance, then their means over distances: people drawn with all their probes."""
    people = people_of(identities)
    sums = np.zeros((people.total, len(DISTANCES), values.shape[1] + 1))
    np.add.at(sums, (people.number, distance), np.column_stack([values, np.ones(len(values))]))

    def means(weights: Float[ndarray, "r c"]) -> Float[ndarray, "r m"]:
        totals = np.einsum("rc,cdk->rdk", weights.astype(np.float64), sums, optimize=True)
        shares = np.full((*totals.shape[:2], values.shape[1]), np.nan)
        np.divide(totals[..., :-1], totals[..., -1:], out=shares, where=totals[..., -1:] > 0)
        return np.concatenate([shares.reshape(len(weights), -1), shares.mean(axis=1)], axis=1)

    return bootstrap(means, people.total, resamples=found.resamples, seed=found.seed)


def _measure_index(found: Findings, probes: Faces, distance: Int[ndarray, " p"]) -> None:
    """Figures "recognizability@distance=K"."""
    index = index_of(probes).astype(np.float64)
    for k, name in enumerate(DISTANCES):
        inside = np.isfinite(index) & (distance == k)
        if inside.any():
            mean = bootstrap_means(
                index[inside, None], probes.identities[inside], resamples=found.resamples, seed=found.seed
            )
            found.add(f"recognizability@distance={name}", mean)
