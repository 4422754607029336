"""The QMUL-SurvFace protocols on encoded faces: everything a report says, from a `Faces` file alone."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vlrface.evaluate.bands import bands_of
from vlrface.evaluate.findings import Findings, embeddings_of, index_of
from vlrface.evaluate.open_set import (
    measure_enrolled,
    measure_open_set,
    measure_open_set_after_reject,
    measure_open_set_bands,
)
from vlrface.evaluate.protocol import BenchmarkProtocol, require_roles
from vlrface.evaluate.recognizability import count_verdicts
from vlrface.metrics.open_set import OpenSetSearch, search_open_set
from vlrface.metrics.templates import TemplateKind, Templates, gallery_templates
from vlrface.types import Faces, VlrfaceError

_ROLES = ("gallery", "mated_probe", "unmated_probe")


@dataclass(frozen=True)
class SurvFaceIdentification(BenchmarkProtocol):
    """Open-set identification of mated and unmated probes among one template for each person of the gallery.

    Ties count against the system. A mated probe that could not be encoded, or whose person has no template, is a miss;
    an unmated probe that could not be encoded is left out of FPIR, and counted. Roles: "gallery", "mated_probe" and
    "unmated_probe".

    Figures, with r the rank: "tpir<r>@fpir=F", "tpir<r>_area" (FPIR from 0 to 1); "rank1" and "rank<r>" of the mated
    probes without a threshold; by size and by fifths of the index "rank1@BAND", "tpir<r>@fpir=F,BAND",
    "fpir@fpir=F,BAND"; with recognizability "tpir<r>@fpir=F,reject=R", "tpir<r>_gain@…" (minus the figure without
    reject, paired) and "fpir@…": the probes of lowest index are rejected, mated and unmated together, the threshold
    being that of all. Curves: "open_set" (TPIR over FPIR), "cmc". Counts of verdicts appear where
    `faces.meta["calibration"]` is there.

    Attributes:
        template: how the faces of a person become one template.
        rank: the mate must be among so many best templates.
        fpirs: false positive identification rates of the figures.
        split_fpir: the rate at which bands are split and probes rejected.
        rejected: shares of the probes that are rejected.

    Raises:
        VlrfaceError: a rank below 1, or a rate or share outside [0, 1).
    """

    name: ClassVar[str] = "survface-id"

    template: TemplateKind = "mean"
    rank: int = 20
    fpirs: tuple[float, ...] = (0.3, 0.2, 0.1, 0.01)
    split_fpir: float = 0.1
    rejected: tuple[float, ...] = (0.1, 0.3, 0.5)

    def __post_init__(self) -> None:
        if self.rank < 1 or not all(0 <= each < 1 for each in (*self.fpirs, self.split_fpir, *self.rejected)):
            raise VlrfaceError(
                f"{self}: the rank must be at least 1, and false positive rates and rejected shares lie in [0, 1)"
            )

    def measure(self, faces: Faces, found: Findings) -> None:
        """Measure faces of the three roles.

        Raises:
            VlrfaceError: a role is missing, no mated probe has a mate in the gallery, an unmated probe has one, no
                unmated probe was encoded, or the template needs an index that the gallery lacks.
        """
        require_roles(faces, "SurvFace identification", _ROLES)
        gallery, mated, unmated = (faces.role(role) for role in _ROLES)
        templates = gallery_templates(
            embeddings_of(gallery), gallery.identities, self.template, recognizability=index_of(gallery)
        )
        search = search_open_set(
            embeddings_of(mated), mated.identities, embeddings_of(unmated), unmated.identities, templates
        )
        if not search.mates.any():
            raise VlrfaceError("no mated probe has a mate in the gallery: are the people of both numbered alike?")
        found.counts.update(_counts(gallery, mated, unmated, templates, search))
        measure_enrolled(found, search, rank=self.rank)
        measure_open_set(found, search, rank=self.rank, fpirs=self.fpirs)
        probes = faces.rows(np.concatenate([np.flatnonzero(faces.roles == role) for role in _ROLES[1:]]))
        bands = bands_of(probes)
        found.left_out.extend(
            f"figures by {kind}: the probes are not told apart by it"
            for kind in ("size", "recognizability")
            if not any(name.startswith(f"{kind}=") for name, _ in bands)
        )
        measure_open_set_bands(found, search, bands, rank=self.rank, fpir=self.split_fpir)
        if not np.isfinite(index_of(probes)).any():
            found.left_out.append("recognizability: the probes have none")
            return
        measure_open_set_after_reject(
            found, search, index_of(probes), rank=self.rank, fpir=self.split_fpir, shares=self.rejected
        )
        words = {"gallery": "gallery", "mated_probe": "mated_probes", "unmated_probe": "unmated_probes"}
        count_verdicts(found, faces, words)

    def title(self, faces: Faces) -> str:
        """How many probes of both kinds are searched among how many people."""
        people = len(np.unique(faces.role("gallery").identities))
        return (
            f"Open-set identification of {len(faces.role('mated_probe')):,} mated and "
            f"{len(faces.role('unmated_probe')):,} unmated probes among {people:,} people"
        )


def _counts(
    gallery: Faces, mated: Faces, unmated: Faces, templates: Templates, search: OpenSetSearch
) -> dict[str, int]:
    return {
        "mated_probes": len(mated),
        "mated_people": len(np.unique(mated.identities)),
        "unmated_probes": len(unmated),
        "gallery": len(gallery),
        "gallery_people": len(templates),
        "templates": int(templates.encoded.sum()),
        "people_without_template": int(np.count_nonzero(~templates.encoded)),
        "mated_probes_without_mate": int(np.count_nonzero(search.mates == 0)),
        "gallery_failures": int(np.count_nonzero(~gallery.encoded)),
        "mated_probe_failures": int(np.count_nonzero(~mated.encoded)),
        "unmated_probe_failures": search.left_out,
    }
