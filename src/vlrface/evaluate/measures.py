"""Quality measures side by side: error versus reject and rank-1 after reject, on the same pairs and matcher."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from vlrface.evaluate.findings import Findings, banded_curve, embeddings_of
from vlrface.evaluate.identification import RANK1_SHARES, REJECTED
from vlrface.evaluate.measured_pairs import GALLERY, MOST_PAIRS, MeasuredPairs, is_probe, measured_pairs
from vlrface.evaluate.protocol import BenchmarkProtocol
from vlrface.evaluate.recomputed import measure_recomputed
from vlrface.evaluate.rejection import EDC_SHARES, FMRS, add_areas, reference_lines, too_few_impostors
from vlrface.metrics.identification import closed_set_ranks
from vlrface.metrics.intervals import Sampled, people_of, person_weights
from vlrface.metrics.rejection import (
    JudgedPairs,
    RejectMode,
    judge,
    judged_edc,
    resampled_rank1,
)
from vlrface.metrics.rejection_by_measure import resampled_hits, resampled_judged_edc
from vlrface.metrics.rejection_recomputed import sort_pairs
from vlrface.metrics.resampled import PairResamples, resample_pairs
from vlrface.quality.embeddings import norms
from vlrface.types import DISTRACTOR_IDENTITY, Curve, Faces, VlrfaceError

WITHOUT_MEASURE: Final = "faces_without@measure="
"""Counts begin so that say how many faces have no value of a measure; its name follows."""

RECOGNIZABILITY: Final = "recognizability"


Qualities = Mapping[str, Float[ndarray, " n"]]


@dataclass(frozen=True)
class RejectionByMeasure(BenchmarkProtocol):
    """Which measure of quality tells best what the matcher will get wrong.

    Measures: the recognizability index where the faces have one, the length of their embeddings ("norm"), and all of
    `Faces.measures`. A face without a value, or that was not encoded, is rejected first. Pairs: those of the list of
    the faces, else all pairs of a probe and a gallery face, else all pairs (`measured_pairs`); the title and the counts
    say which.

    Figures, FMR by FMR, with M a measure: "fnmr@fmr=F"; "pauc@fmr=F[,reject=R][,mode=images],measure=M" (area under
    error versus reject from 0 to R; 0.3, and pairs rejected, where not said), "normalised_pauc@…" (the same divided by
    "fnmr@fmr=F"), "pauc_gain@fmr=F[,mode=images],measure=M" (area of the reference minus area of M, paired: above 0
    where M is better; the reference is the recognizability index, or the first measure where there is none); with a
    recomputed threshold "pauc@fmr=F,recomputed[,mode=images],measure=M" and "normalised_pauc@…" (0 to 0.95, as
    published tables have them). Where there is a gallery "rank1", "rank1@reject=R,measure=M", and
    "rank1_gain@reject=R,measure=M" (minus "rank1", paired). Curves, one line a measure, beside "random" and "oracle":
    "edc@fmr=F[,recomputed][,mode=images]", "rank1_reject". Intervals are over people.

    Attributes:
        fmrs: false match rates at which the threshold is fixed, in (0, 1].
        measures: names of measures, in the order they are shown; None takes all.
        modes: what is rejected, pair by pair or image by image.
        recompute_threshold: add the figures of published tables, whose threshold is recomputed at each of 20 ratios.
        allow_few_impostors: accept a rate that fewer than ten impostor pairs decide.
        most_pairs: above this, impostor pairs are those of a drawn part of the probes.
    """

    name: ClassVar[str] = "rejection"

    fmrs: tuple[float, ...] = FMRS
    measures: tuple[str, ...] | None = None
    modes: tuple[RejectMode, ...] = ("pairs", "images")
    recompute_threshold: bool = False
    allow_few_impostors: bool = False
    most_pairs: int = MOST_PAIRS

    def __post_init__(self) -> None:
        bad = [fmr for fmr in self.fmrs if not 0 < fmr <= 1]
        if bad or not self.fmrs or not self.modes:
            raise VlrfaceError(f"rejection: false match rates lie in (0, 1], not {bad or 'none at all'}")

    def measure(self, faces: Faces, found: Findings) -> None:
        """Measure faces of any benchmark.

        Raises:
            VlrfaceError: no pairs of one kind, no measure, or one that the faces do not have.
        """
        qualities = self._qualities(faces, found)
        paired = measured_pairs(faces, self.most_pairs)
        _count(found, faces, paired)
        own = {name: quality[paired.rows] for name, quality in qualities.items()}
        own = {name: quality for name, quality in own.items() if not np.isnan(quality).all()}
        if not own:
            raise VlrfaceError(f"none of the measures {', '.join(qualities)} has a value for a face of a pair")
        encoded = faces.encoded[paired.rows]
        found.counts |= {f"{WITHOUT_MEASURE}{m}": int(np.isnan(q[encoded]).sum()) for m, q in own.items()}
        drawn = resample_pairs(paired.pairs, fars=self.fmrs, resamples=found.resamples, seed=found.seed)
        usable = [fmr for fmr in self.fmrs if self._is_usable(found, fmr, len(paired.pairs.impostor))]
        for fmr in usable:
            judged = judge(paired.pairs, fmr, allow_few_impostors=True)
            found.counts[f"accepted_impostors@fmr={fmr:g}"] = judged.point.accepted_impostors
            for mode in self.modes:
                _measure_mode(found, judged, drawn, own, mode)
        if self.recompute_threshold and usable:
            ordered = sort_pairs(paired.pairs)
            for mode in self.modes:
                measure_recomputed(found, ordered, drawn, own, tuple(usable), mode)
        _measure_rank1(found, faces, qualities)

    def title(self, faces: Faces) -> str:
        """On which pairs."""
        probes, gallery = int(np.count_nonzero(is_probe(faces))), int(np.count_nonzero(faces.roles == GALLERY))
        if faces.pairing is not None:
            on = f"{len(faces.pairing):,} listed pairs"
        elif gallery:
            on = f"the pairs of {probes:,} probes and {gallery:,} gallery faces"
        else:
            on = f"all pairs of {probes:,} faces"
        return f"Quality measures compared by error versus reject, on {on}"

    def _qualities(self, faces: Faces, found: Findings) -> Qualities:
        """Every measure that was asked for and has a value, NaN where a face was not encoded."""
        known = {RECOGNIZABILITY: faces.recognizability, "norm": norms(faces), **faces.measures}
        names = list(known) if self.measures is None else list(self.measures)
        unknown = [name for name in names if name not in known]
        if unknown:
            raise VlrfaceError(
                f"the faces have no measure {unknown[0]!r}; there are {', '.join(known)}. Add one with --measure"
            )
        qualities: dict[str, Float[ndarray, " n"]] = {}
        for name in names:
            quality = np.where(faces.encoded, known[name], np.nan).astype(np.float64)
            if np.isnan(quality).all():
                found.left_out.append(f"measure {name}: the faces have none")
            else:
                qualities[name] = quality
        if not qualities:
            raise VlrfaceError(f"none of the measures {', '.join(names)} has a value: encode the faces with --measure")
        return qualities

    def _is_usable(self, found: Findings, fmr: float, impostors: int) -> bool:
        too_few = "" if self.allow_few_impostors else too_few_impostors(fmr, impostors)
        if too_few:
            found.left_out.append(f"{too_few} (--allow-few-impostors)")
        return not too_few


def _measure_mode(
    found: Findings, judged: JudgedPairs, drawn: PairResamples, qualities: Qualities, mode: RejectMode
) -> None:
    at = f"@fmr={judged.fmr:g}"
    suffix = "" if mode == "pairs" else f",mode={mode}"
    curves: list[Curve] = []
    areas: dict[str, Sampled] = {}
    start = 0.0
    for name, quality in qualities.items():
        exact = judged_edc(judged, quality, mode=mode)
        samples = resampled_judged_edc(judged, quality, EDC_SHARES, drawn, mode=mode)
        line = drawn.sampled(exact.at(EDC_SHARES), samples)
        start = float(line.value[0])
        found.add(f"fnmr{at}", line.columns(slice(0, 1)))
        curves.append(banded_curve(name, EDC_SHARES, line.interval()))
        area = add_areas(found, exact, drawn, samples, at, f"{suffix},measure={name}")
        if area is not None:
            areas[name] = area
    reference = RECOGNIZABILITY if RECOGNIZABILITY in areas else next(iter(areas), "")
    for name, area in areas.items():
        if name != reference:
            found.add(f"pauc_gain{at}{suffix},measure={name}", areas[reference].minus(area))
    found.curves[f"edc{at}{suffix}"] = (*curves, *reference_lines(start, EDC_SHARES))


def _measure_rank1(found: Findings, faces: Faces, qualities: Qualities) -> None:
    probes, gallery = np.flatnonzero(is_probe(faces)), np.flatnonzero(np.isin(faces.roles, (GALLERY, "distractor")))
    if not len(probes) or not (faces.roles == GALLERY).any():
        found.left_out.append("rank-1 after reject: the faces have no gallery")
        return
    embeddings = embeddings_of(faces)
    people = np.where(faces.roles == "distractor", DISTRACTOR_IDENTITY, faces.identities)
    ranks = closed_set_ranks(embeddings[probes], people[probes], embeddings[gallery], people[gallery])
    persons = people_of(ranks.identities)
    drawn = person_weights(persons.total, found.resamples, found.seed)
    weights = np.concatenate([np.ones((1, persons.total), np.float32), drawn])
    first, hit = np.ones((1, len(ranks)), np.float32), ranks.first_mate == 1
    curves: list[Curve] = []
    places = np.searchsorted(RANK1_SHARES, REJECTED)
    for name, quality in ((name, quality[probes]) for name, quality in qualities.items()):
        if np.isnan(quality).all():
            found.left_out.append(f"rank-1 after reject, measure {name}: no probe has one")
            continue
        value = resampled_rank1(ranks.first_mate, quality, RANK1_SHARES, first)[0]
        samples = resampled_hits(hit, quality, RANK1_SHARES, weights, persons.number)
        # The steps of quality cost a little, which the first row, the data themselves, shows.
        line = Sampled(value, np.clip(samples[1:] + (value - samples[0]), 0, 1), persons.total)
        gain = line.minus(line.columns(slice(0, 1)))
        found.add("rank1", line.columns(slice(0, 1)))
        found.add([f"rank1@reject={share:g},measure={name}" for share in REJECTED], line.columns(places))
        found.add([f"rank1_gain@reject={share:g},measure={name}" for share in REJECTED], gain.columns(places))
        curves.append(banded_curve(name, RANK1_SHARES, line.interval()))
    start = float(hit.mean())
    curves.append(Curve("random", RANK1_SHARES, np.full(len(RANK1_SHARES), start)))
    curves.append(Curve("oracle", RANK1_SHARES, np.minimum(start / (1 - RANK1_SHARES), 1)))
    found.curves["rank1_reject"] = tuple(curves)


def _count(found: Findings, faces: Faces, paired: MeasuredPairs) -> None:
    pairs = paired.pairs
    for kind, pair_faces in (("genuine", pairs.genuine_faces), ("impostor", pairs.impostor_faces)):
        if not len(pair_faces):
            raise VlrfaceError(
                f"error versus reject: there are no {kind} pairs of encoded faces. Give faces of at least two people, "
                "numbered alike among probes and gallery"
            )
    found.counts |= {
        "genuine_pairs": len(pairs.genuine),
        "impostor_pairs": len(pairs.impostor),
        "impostor_pairs_not_encoded": pairs.failed_impostors,
        "faces": len(paired.rows),
        "faces_not_encoded": int(np.count_nonzero(~faces.encoded[paired.rows])),
        "people": len(np.unique(pairs.identities[pairs.identities >= 0])),
    }
    if paired.kind == "listed":
        found.counts["listed_pairs"] = 0 if faces.pairing is None else len(faces.pairing)
    if paired.kind == "probe_gallery":
        found.counts["probes"] = int(np.count_nonzero(is_probe(faces)))
        found.counts["gallery"] = len(paired.rows) - found.counts["probes"]
        found.counts["probes_with_impostor_pairs"] = paired.impostor_probes
