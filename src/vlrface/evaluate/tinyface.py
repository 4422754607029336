"""The TinyFace protocol on encoded faces: everything a report says, from a `Faces` file alone."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vlrface.evaluate.bands import measure_rank1_by_band, measure_tpr_by_band
from vlrface.evaluate.findings import Findings, embeddings_of, index_of
from vlrface.evaluate.identification import measure_identification, measure_rank1_after_reject
from vlrface.evaluate.protocol import BenchmarkProtocol, require_roles
from vlrface.evaluate.recognizability import count_verdicts, measure_index_by_size
from vlrface.evaluate.rejection import FMRS, measure_error_versus_reject
from vlrface.evaluate.verification import measure_verification
from vlrface.metrics.identification import closed_set_ranks
from vlrface.metrics.pairs import genuine_impostor
from vlrface.types import DISTRACTOR_IDENTITY, Faces, VlrfaceError


@dataclass(frozen=True)
class TinyFace(BenchmarkProtocol):
    """Closed-set identification against a per-image gallery and distractors; verification; error versus reject.

    Identification: each probe is searched among all gallery faces and distractors, per image. Verification and error
    versus reject: all pairs of a probe and a gallery face, distractors left out. Ties count against the system, a probe
    that could not be encoded is a miss. Roles: "probe", "gallery" and "distractor".

    Figures: "rank1" … "rank50", "mAP"; "tpr@far=F", "auc", "eer"; by size and by fifth of recognizability (see
    `bands`) "rank1@size=A-B", "rank1@recognizability=Kof5", "tpr@far=0.01,size=A-B", "tpr@far=0.01,recognizability=…";
    with recognizability "fnmr@fmr=F", "pauc@fmr=F[,reject=R][,mode=images]" (area under error versus reject from 0 to
    R; 0.3, and pairs rejected, where not said), "normalised_pauc@…" (the same divided by "fnmr@fmr=F"),
    "rank1@reject=R", "rank1_gain@reject=R" (minus "rank1", paired), "recognizability@size=A-B" (mean index of probes
    and gallery faces of that size in pixels), "spearman_recognizability_size". Curves: "cmc", "roc",
    "edc@fmr=F[,mode=images]", "rank1_reject", "recognizability_by_size". Counts of verdicts appear where
    `faces.meta["calibration"]` is there.
    """

    name: ClassVar[str] = "tinyface"

    def measure(self, faces: Faces, found: Findings) -> None:
        """Measure faces of the three roles.

        Raises:
            VlrfaceError: a role is missing, or no probe has a mate in the gallery.
        """
        require_roles(faces, "TinyFace", ("probe", "gallery", "distractor"))
        probes, gallery = np.flatnonzero(faces.roles == "probe"), np.flatnonzero(faces.roles == "gallery")
        # Probes, then gallery: the faces of the pairs, in the order of their numbers.
        test = _Test(faces.rows(probes), faces.rows(gallery), faces.rows(np.concatenate([probes, gallery])))
        found.counts.update(_face_counts(faces, test))
        searched = faces.role("gallery", "distractor")
        ranks = closed_set_ranks(
            embeddings_of(test.probes),
            test.probes.identities,
            embeddings_of(searched),
            np.where(searched.roles == "distractor", DISTRACTOR_IDENTITY, searched.identities),
        )
        if not (ranks.mates > 0).any():
            raise VlrfaceError("no probe has a mate in the gallery: are the people of both numbered alike?")
        found.counts["probes_without_mate"] = int(np.count_nonzero(ranks.mates == 0))
        measure_identification(found, ranks)
        measure_rank1_by_band(found, ranks, test.probes)
        _measure_pairs(found, test)
        if np.isfinite(index_of(test.both)).any():
            measure_rank1_after_reject(found, ranks, index_of(test.probes))
            measure_index_by_size(found, test.both)
            count_verdicts(found, faces, {"probe": "probes", "gallery": "gallery", "distractor": "distractors"})
        else:
            found.left_out.append("recognizability: the faces have none")

    def title(self, faces: Faces) -> str:
        """How many probes are searched among how many faces."""
        probes = len(faces.role("probe"))
        return f"Identification of {probes:,} probes among {len(faces.role('gallery', 'distractor')):,} faces"


@dataclass(frozen=True, eq=False)
class _Test:
    """The parts of the protocol."""

    probes: Faces
    gallery: Faces
    both: Faces


def _face_counts(faces: Faces, test: _Test) -> dict[str, int]:
    distractors = faces.roles == "distractor"
    return {
        "probes": len(test.probes),
        "gallery": len(test.gallery),
        "distractors": int(np.count_nonzero(distractors)),
        "probe_people": len(np.unique(test.probes.identities)),
        "gallery_people": len(np.unique(test.gallery.identities)),
        "probe_failures": int(np.count_nonzero(~test.probes.encoded)),
        "gallery_failures": int(np.count_nonzero(~test.gallery.encoded)),
        "distractor_failures": int(np.count_nonzero(distractors & ~faces.encoded)),
    }


def _measure_pairs(found: Findings, test: _Test) -> None:
    """Figures of pairs, and with recognizability those of error versus reject, which need the same resamples."""
    pairs = genuine_impostor(
        embeddings_of(test.probes), test.probes.identities, embeddings_of(test.gallery), test.gallery.identities
    )
    drawn = measure_verification(found, pairs)
    if drawn is not None:
        measure_tpr_by_band(found, pairs, drawn, test.both)
    quality = index_of(test.both)
    if drawn is not None and np.isfinite(quality).any():
        for fmr in FMRS:
            measure_error_versus_reject(found, pairs, drawn, quality, fmr)
