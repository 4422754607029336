"""Which faces of a pool nobody can recognise, found without a label: those among whom destroyed pictures end up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from vlrface.metrics.cosine import UnitRows, unit_rows
from vlrface.types import VlrfaceError
from vlrface.unrecognizable.clusters import Method, hierarchy
from vlrface.unrecognizable.evidence import (
    Cluster,
    Evidence,
    Observed,
    Pool,
    evidence_of,
    likeness_of,
    mixing_of,
)
from vlrface.unrecognizable.scoring import Score, fitted_score

LEAST: Final = 20
"""Faces, and destroyed pictures, below which shares of them say nothing."""

USUAL: Final = (0.005, 0.8)
"""Share of a pool that is found, outside of which the finding is doubted (own choice)."""

_SHOWN: Final = 12
_RECALL_POWER: Final = 10


@dataclass(frozen=True)
class Settings:
    """How unrecognizable faces are looked for.

    Attributes:
        method: of clustering; see `vlrface.unrecognizable.clusters.hierarchy`.
        min_share: a cluster needs at least this share of the pool (and five faces) to be considered.
        threshold: score from which a face counts as found.

    Raises:
        VlrfaceError: a share or threshold outside (0, 1).
    """

    method: Method = "auto"
    min_share: float = 0.002
    threshold: float = 0.5

    def __post_init__(self) -> None:
        for name in ("min_share", "threshold"):
            if not 0.0 < getattr(self, name) < 1.0:
                raise VlrfaceError(f"{name} is {getattr(self, name)}: give a number between 0 and 1")


@dataclass(frozen=True, eq=False)
class Discovery:
    """What was found in a pool of n faces.

    Attributes:
        scores: (n,) in [0, 1], larger is more surely unrecognizable; NaN where there is no embedding.
        found: (n,) whether the score reaches the threshold.
        labels: (n,) number of the cluster of each face; -1 for a face in none that was considered, or not encoded.
        clusters: those considered, the chosen ones first, then by size, each with its evidence.
        center: (d,) û, normalised mean of the normalised embeddings of the found faces.
        method: "agglomerative" or "graph".
        height: cosine distance at which the hierarchy was cut.
        criterion: r¹⁰/p of the chosen clusters; see `discover`.
        score: how the score is made from the evidence of a face.
    """

    scores: Float[ndarray, " n"]
    found: Bool[ndarray, " n"]
    labels: Int[ndarray, " n"]
    clusters: tuple[Cluster, ...]
    center: Float[ndarray, " d"]
    method: str
    height: float
    criterion: float
    score: Score

    @property
    def doubt(self) -> str:
        """Why the finding should not be believed unseen, and what to do; "" if nothing speaks against it."""
        known = int(np.isfinite(self.scores).sum())
        share = float(self.found.sum()) / max(known, 1)
        if USUAL[0] <= share <= USUAL[1]:
            return ""
        much = "nearly all" if share > USUAL[1] else "hardly any"
        meant = "are found though they can be recognised" if share > USUAL[1] else "are missed"
        return (
            f"{100 * share:.1f} % of the pool is {much} of it, which is seldom true. More likely the model never saw "
            "faces of this kind, or is shown them wrongly: in another channel order, scale or framing than it was "
            f"trained with. Look at the contact sheet. If faces {meant}, check the card of the model, or take another."
        )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values: which clusters, why, and how a face is scored; not the scores themselves."""
        return {
            "doubt": self.doubt,
            "method": self.method,
            "height": self.height,
            "criterion": self.criterion,
            "clusters": [each.to_json() for each in self.clusters],
            "score": {
                "bias": self.score.bias,
                "reached": self.score.reached,
                "terms": {
                    name: dict(zip(("weight", "middle", "spread"), term, strict=True))
                    for name, term in self.score.terms.items()
                },
            },
        }


class _Cut(NamedTuple):
    """A level of the hierarchy: r¹⁰/p, its height, the cluster of every row, and which clusters reach that r¹⁰/p."""

    criterion: float
    height: float
    labels: ndarray
    taken: ndarray


def discover(pool: Pool, settings: Settings | None = None) -> Discovery:
    """Find the clusters of unrecognizable faces, and score each face.

    1. The pool is clustered together with severely destroyed copies of its own pictures, of which nobody could tell
       who they are: the reference. No label is used.
    2. A set of clusters is judged by r¹⁰/p, r its share of the reference and p its share of the pool: it must hold
       (nearly) all of the reference and little of the pool. r²/p is Lee and Liu's measure (ICML 2003), which follows
       the squared F measure where only positive and unlabelled examples are known; but it takes the reference for a
       fair sample of what is looked for. Ours is more destroyed, so that r²/p is content with the core of the cluster.
       With r¹⁰ a hundredth of the reference missed weighs as a tenth more of the pool taken (own choice; on the crops
       on which it was developed any power from 6 to 12 cuts at the same place). At each level of the hierarchy
       clusters are taken from the one with the most reference per face of the pool downwards, as long as r¹⁰/p grows;
       the level with the largest value is kept. The whole pool has 1, so that r¹⁰/p ≤ 1 means that nothing was found.
    3. A cluster is refused if its faces do not lie among its destroyed pictures (`mixing_of`), or if most of what else
       is known of it speaks against it (`evidence_of`).
    4. The score is a logistic discriminant between the members of the chosen clusters and all other faces, on the
       evidence of each face alone, corrected for those that clustering left out (`fitted_score`). Own choice.

    Raises:
        VlrfaceError: too little to judge by, or no cluster of unrecognizable faces.
    """
    settings = settings or Settings()
    known = unit_rows(pool.embeddings, "the pool's embeddings")
    reference = unit_rows(pool.destroyed, "embeddings of destroyed pictures")
    if min(len(known.unit), len(reference.unit)) < LEAST:
        raise VlrfaceError(
            f"{len(known.unit)} faces and {len(reference.unit)} destroyed pictures are too few to tell a cluster by: "
            f"give at least {LEAST} of each"
        )
    least = max(5, round(settings.min_share * len(known.unit)))
    tree = hierarchy(np.concatenate([known.unit, reference.unit]), settings.method)
    cut = max(
        (_judged(height, labels, len(known.unit), least) for height, labels in tree.levels()),
        key=lambda each: each.criterion,
        default=_Cut(0.0, 0.0, np.zeros(0, np.int64), np.zeros(0, np.int64)),
    )
    if cut.criterion <= 1.0:
        raise VlrfaceError(
            "no cluster of unrecognizable faces: destroyed pictures end up in no special part of this pool. Either "
            "it has no such faces, or the encoder does not tell people apart: try one trained on sharp faces"
        )
    labels, clusters = _described(pool, known, reference, cut, least)
    chosen = [each.number for each in clusters if each.chosen]
    if not chosen:
        raise VlrfaceError(
            "no cluster of unrecognizable faces: every cluster in which destroyed pictures end up is refused by what "
            "else is known of it. Its faces lie beside the destroyed pictures, not among them, or are no less "
            "recognizable than others"
        )
    inside = labels[known.rows]
    evidence = face_evidence(pool, known, [inside == each for each in chosen])
    score = fitted_score(evidence, np.isin(inside, chosen))
    scores = np.full(len(pool.embeddings), np.nan)
    scores[known.rows] = score(evidence)
    found = scores >= settings.threshold  # NaN is not; the highest score is 1
    center = known.unit[found[known.rows]].mean(axis=0, dtype=np.float64)
    return Discovery(
        scores=scores,
        found=found,
        labels=labels,
        clusters=clusters,
        center=center / np.linalg.norm(center),
        method=tree.method,
        height=cut.height,
        criterion=cut.criterion,
        score=score,
    )


def _judged(height: float, labels: ndarray, count: int, least: int) -> _Cut:
    """The best set of clusters of a level; the first `count` labels are the pool's, the others the reference's."""
    faces = np.bincount(labels[:count], minlength=labels.max() + 1)
    destroyed = np.bincount(labels[count:], minlength=len(faces))
    candidates = np.flatnonzero((faces >= least) & (destroyed > 0))
    if not len(candidates):
        return _Cut(0.0, height, labels, candidates)
    order = candidates[np.argsort(-destroyed[candidates] / faces[candidates], kind="stable")]
    recall = np.cumsum(destroyed[order]) / (len(labels) - count)
    taken = np.cumsum(faces[order]) / count
    criterion = recall**_RECALL_POWER / taken
    best = int(criterion.argmax())
    return _Cut(float(criterion[best]), height, labels, order[: best + 1])


def _described(
    pool: Pool, known: UnitRows, reference: UnitRows, cut: _Cut, least: int
) -> tuple[ndarray, tuple[Cluster, ...]]:
    """Number of each face's cluster, and the clusters: those taken, and the largest of the others, for comparison."""
    inside, outside = cut.labels[: len(known.unit)], cut.labels[len(known.unit) :]
    faces = np.bincount(inside, minlength=cut.labels.max() + 1)
    others = [each for each in np.argsort(-faces, kind="stable").tolist() if each not in cut.taken]
    shown = [*cut.taken.tolist(), *(each for each in others[:_SHOWN] if faces[each] >= least)]
    taken = np.zeros(len(pool.embeddings), bool)
    taken[known.rows] = np.isin(inside, cut.taken)
    observed = Observed.of(pool)
    made: list[tuple[int, Cluster]] = []
    for old in shown:
        members = np.zeros(len(pool.embeddings), bool)
        members[known.rows] = inside == old
        rest = known.encoded & ~members & ~taken  # a cluster that may be taken is not compared with another such
        evidence = evidence_of(observed, members, rest)
        votes = [each.speaks_for for each in evidence.values()]
        destroyed = int((outside == old).sum())
        recall, share = destroyed / len(outside), float(faces[old] / len(inside))
        crowd = {"destroyed": Evidence(recall, share, recall > share)}
        if destroyed:
            crowd["mixing"] = mixing_of(known.unit, reference.unit, inside == old, outside == old)
        cluster = Cluster(
            number=0,  # until all are sorted
            faces=int(faces[old]),
            destroyed=destroyed,
            evidence={**crowd, **evidence},
            chosen=old in cut.taken and 2 * sum(votes) >= len(votes) and crowd["mixing"].speaks_for,
            likeness=(likeness_of(observed, members), likeness_of(observed, rest)),
        )
        made.append((old, cluster))
    made.sort(key=lambda each: (not each[1].chosen, -each[1].faces))
    return _numbered(known, inside, made)


def _numbered(known: UnitRows, inside: ndarray, made: list[tuple[int, Cluster]]) -> tuple[ndarray, tuple[Cluster, ...]]:
    """Number clusters in their order, and say how far each is from the nearest other."""
    labels = np.full(len(known.encoded), -1)
    centers = np.zeros((len(made), known.unit.shape[1]))
    for number, (old, _) in enumerate(made):
        labels[known.rows[inside == old]] = number
        mean = known.unit[inside == old].mean(axis=0, dtype=np.float64)
        centers[number] = mean / max(float(np.linalg.norm(mean)), np.finfo(np.float64).tiny)
    distances = 1.0 - centers @ centers.T
    np.fill_diagonal(distances, np.inf)
    return labels, tuple(
        replace(cluster, number=number, separation=float(distances[number].min()))
        for number, (_, cluster) in enumerate(made)
    )


def face_evidence(
    pool: Pool, known: UnitRows, chosen: Sequence[Bool[ndarray, " m"]]
) -> Mapping[str, Float[ndarray, " m"]]:
    """What is known of each encoded face.

    - "affinity": cosine to the nearest centre of the chosen clusters;
    - "log_length": logarithm of the embedding's length;
    - "recognizability", where the network predicts it for every face.

    Args:
        pool: faces.
        known: those of them that are encoded.
        chosen: members of each chosen cluster.
    """
    affinity = np.full(len(known.unit), -np.inf)
    for members in chosen:
        center = known.unit[members].mean(axis=0, dtype=np.float64)
        np.maximum(affinity, known.unit @ (center / np.linalg.norm(center)), out=affinity)
    evidence = {
        "affinity": affinity,
        "log_length": np.log(np.linalg.norm(pool.embeddings[known.rows].astype(np.float64), axis=1)),
    }
    if pool.recognizability is not None and np.isfinite(pool.recognizability[known.rows]).all():
        evidence["recognizability"] = pool.recognizability[known.rows].astype(np.float64)
    return evidence
