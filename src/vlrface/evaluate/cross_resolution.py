"""Cross-resolution: the same probes, shrunk to several sizes, against a sharp gallery."""

import re
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from vlrface.evaluate.findings import Findings, banded_curve, embeddings_of
from vlrface.evaluate.protocol import BenchmarkProtocol, require_roles
from vlrface.metrics.identification import closed_set_ranks
from vlrface.metrics.intervals import Interval, Sampled, bootstrap_means
from vlrface.metrics.pairs import genuine_impostor
from vlrface.metrics.resampled import resample_pairs
from vlrface.metrics.verification import tpr_at_far
from vlrface.types import Faces, VlrfaceError

FAR: Final = 0.01

_SIDE: Final = re.compile(r"side([1-9][0-9]*)", re.ASCII)


@dataclass(frozen=True)
class CrossResolution(BenchmarkProtocol):
    """Closed-set identification and verification of the same probes at several sizes; the gallery stays sharp.

    Ties count against the system, a probe that could not be encoded is a miss. Roles: "gallery", and "side7", "side14",
    …: the same probes, by name, shrunk until their shorter side has so many pixels. Verification: all pairs of a probe
    and a gallery face, with a threshold of its own at each side, as somebody who knows the camera would set it.

    Figures: "rank1@side=S", "tpr@far=0.01,side=S"; "rank1_loss@side=S", "tpr_loss@far=0.01,side=S": what is lost to the
    largest side there is, paired, so that its interval is that of the loss. Curves: "rank1_by_side", "tpr_by_side".
    Counts: "probes" (of one side), "sides", "accepted_impostors@far=0.01,side=S".
    """

    name: ClassVar[str] = "cross-resolution"

    def measure(self, faces: Faces, found: Findings) -> None:
        """Measure every side.

        Raises:
            VlrfaceError: a role is missing, two sides hold different probes, or no probe has a mate in the gallery.
        """
        require_roles(faces, "cross-resolution", ("gallery",))
        gallery = faces.role("gallery")
        probes = _probes_by_side(faces)
        sharpest = probes[max(probes)]
        if not np.isin(sharpest.identities, gallery.identities[gallery.identities >= 0]).any():
            raise VlrfaceError("no probe has a mate in the gallery: are the people of both numbered alike?")
        found.counts.update(
            probes=len(sharpest),
            gallery=len(gallery),
            sides=len(probes),
            people=len(np.unique(sharpest.identities)),
            gallery_failures=int(np.count_nonzero(~gallery.encoded)),
        )
        for side, at_side in probes.items():
            found.counts[f"probe_failures@side={side}"] = int(np.count_nonzero(~at_side.encoded))
        rank1 = {side: _rank1(found, at_side, gallery) for side, at_side in probes.items()}
        _keep(found, rank1, "rank1", "")
        tpr = {side: _tpr(found, at_side, gallery, side) for side, at_side in probes.items()}
        known = {side: each for side, each in tpr.items() if each is not None}
        if len(known) < len(tpr):
            absent = ", ".join(str(side) for side in tpr if side not in known)
            found.left_out.append(f"verification at side {absent}: no impostor pair of two encoded faces")
        _keep(found, known, "tpr", f"far={FAR:g},")

    def title(self, faces: Faces) -> str:
        """How many probes at which sides."""
        probes = _probes_by_side(faces)
        sides = ", ".join(map(str, probes))
        count = len(probes[max(probes)])
        return f"{count:,} probes shrunk to {sides} pixels against {len(faces.role('gallery')):,} sharp faces"


def _probes_by_side(faces: Faces) -> dict[int, Faces]:
    """The probes at each side, ascending, all in the order of the largest side's names.

    Raises:
        VlrfaceError: there is no side, or two sides hold different probes.
    """
    sides = sorted(int(found[1]) for role in np.unique(faces.roles) if (found := _SIDE.fullmatch(str(role))))
    if not sides:
        raise VlrfaceError(
            "the cross-resolution protocol needs faces with roles such as side14, found "
            f"{', '.join(map(str, np.unique(faces.roles))) or 'none'}. Encode identity folders as cross-resolution"
        )
    sharpest = faces.role(f"side{sides[-1]}")
    return {side: _ordered(faces.role(f"side{side}"), sharpest, side, sides[-1]) for side in sides}


def _ordered(faces: Faces, like: Faces, side: int, of: int) -> Faces:
    order, wanted = np.argsort(faces.names), np.argsort(like.names)
    same = len(faces) == len(like)
    if same:
        same = np.array_equal(faces.names[order], like.names[wanted])
        same = same and np.array_equal(faces.identities[order], like.identities[wanted])
    if not same:
        odd = sorted(set(faces.names.tolist()) ^ set(like.names.tolist()))
        shown = f": {len(odd)} names, first {', '.join(odd[:10])}" if odd else " of other people"
        raise VlrfaceError(f"sides {side} and {of} hold different probes{shown}. Encode the same probes at every side")
    rows: Int[ndarray, " p"] = np.empty(len(like), np.int64)
    rows[wanted] = order
    return faces.rows(rows)


def _rank1(found: Findings, probes: Faces, gallery: Faces) -> Sampled:
    ranks = closed_set_ranks(embeddings_of(probes), probes.identities, embeddings_of(gallery), gallery.identities)
    first = (ranks.first_mate == 1).astype(np.float64)
    return bootstrap_means(first[:, None], probes.identities, resamples=found.resamples, seed=found.seed)


def _tpr(found: Findings, probes: Faces, gallery: Faces, side: int) -> Sampled | None:
    pairs = genuine_impostor(embeddings_of(probes), probes.identities, embeddings_of(gallery), gallery.identities)
    if not len(pairs.impostor):
        return None
    point = tpr_at_far(pairs.genuine, pairs.impostor, FAR)
    found.counts["genuine_pairs"] = len(pairs.genuine)
    found.counts[f"accepted_impostors@far={FAR:g},side={side}"] = point.accepted_impostors
    found.counts[f"impostor_pairs@side={side}"] = len(pairs.impostor)
    drawn = resample_pairs(pairs, fars=(FAR,), resamples=found.resamples, seed=found.seed)
    return drawn.sampled(np.array([point.tpr]), drawn.tpr_at(np.array([FAR])))


def _keep(found: Findings, by_side: dict[int, Sampled], name: str, condition: str) -> None:
    """Figures at each side, their losses to the largest, and a curve."""
    if not by_side:
        return
    largest = by_side[max(by_side)]
    for side, sampled in by_side.items():
        found.add(f"{name}@{condition}side={side}", sampled)
        if sampled is not largest:
            found.add(f"{name}_loss@{condition}side={side}", largest.minus(sampled))
    estimates = [sampled.estimate() for sampled in by_side.values()]
    values = Interval(*(np.array([getattr(each, part) for each in estimates]) for part in ("value", "low", "high")))
    sides = np.array(list(by_side), np.float64)
    found.curves[f"{name}_by_side"] = (banded_curve(name, sides, values),)
