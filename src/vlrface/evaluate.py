"""The TinyFace protocol on encoded faces: everything a report says, from a `Faces` file alone."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from vlrface.metrics.calibration import DOUBTFUL, FAILED, RECOGNIZABLE, UNRECOGNIZABLE, Calibration
from vlrface.metrics.correlation import bootstrap_spearman
from vlrface.metrics.identification import Ranks, closed_set_ranks, hits
from vlrface.metrics.intervals import (
    Interval,
    bootstrap_means,
    bootstrap_shares,
    people_of,
    percentile_interval,
    person_weights,
)
from vlrface.metrics.pairs import Pairs, genuine_impostor
from vlrface.metrics.rejection import (
    EDC,
    FEWEST_IMPOSTORS,
    RejectMode,
    edc,
    oracle_line,
    partial_auc,
    random_line,
    resampled_edc,
    resampled_rank1,
)
from vlrface.metrics.resampled import PairResamples, resample_pairs
from vlrface.metrics.verification import accepted_at_far, auc, eer, roc_at, tpr_at_far
from vlrface.types import DISTRACTOR_IDENTITY, Curve, Estimate, Faces, Report, VlrfaceError

RANKS: Final = (1, 5, 10, 20, 50)
FARS: Final = (0.1, 0.01, 0.001)
FMRS: Final = (0.01, 0.001)
REJECTED: Final = (0.1, 0.2, 0.3, 0.4, 0.5)
PARTIAL: Final = (0.3, 0.2, 0.95)
"""Upper ends of the partial areas; the first is the one a figure's plain name means."""
SIZE_BANDS: Final = ((12, 16), (16, 20), (20, 26), (26, 32), (32, None))
"""Shorter side of a face in pixels, from the first number up to, but not, the second."""

_MODES: Final[tuple[RejectMode, ...]] = ("pairs", "images")
_EDC_SHARES: Final = np.arange(96) / 100
_RANK1_SHARES: Final = np.arange(11) / 20
_ROC_FARS: Final = np.logspace(-4, 0, 81)


def evaluate_tinyface(
    faces: Faces, *, seed: int = 0, resamples: int = 1000, context: Mapping[str, Any] | None = None
) -> Report:
    """Measure encoded faces by the TinyFace protocol.

    Identification: each probe is searched among all gallery faces and distractors, per image. Verification and error
    versus reject: all pairs of a probe and a gallery face, distractors left out. Ties count against the system, a probe
    that could not be encoded is a miss. Intervals are 95 %, over people. What the faces do not allow (too few impostor
    pairs, no recognizability, no sizes) is left out and named in `context["left_out"]`.

    Figures: "rank1" … "rank50", "mAP"; "tpr@far=F", "auc", "eer"; with recognizability "fnmr@fmr=F",
    "pauc@fmr=F[,reject=R][,mode=images]" (area under error versus reject from 0 to R; 0.3, and pairs rejected, where
    not said), "normalised_pauc@…" (the same divided by "fnmr@fmr=F"), "rank1@reject=R", "rank1_gain@reject=R"
    (minus "rank1", paired), "recognizability@size=A-B" (mean index of probes and gallery faces of that size in pixels),
    "spearman_recognizability_size". Curves: "cmc", "roc", "edc@fmr=F[,mode=images]", "rank1_reject",
    "recognizability_by_size". Counts of verdicts appear where `faces.meta["calibration"]` is there.

    Args:
        faces: roles "probe", "gallery" and "distractor"; others are ignored.
        seed: of every bootstrap.
        resamples: number of resamples.
        context: JSON values for the report: data, model, configuration.

    Returns:
        The report, with every count that was used.

    Raises:
        VlrfaceError: a role is missing, or no probe has a mate in the gallery.
    """
    test = _Test.of(faces)
    found = _Findings(seed, resamples)
    found.counts.update(_face_counts(faces, test))
    ranks = closed_set_ranks(
        _embeddings(test.probes),
        test.probes.identities,
        _embeddings(test.searched),
        np.where(test.searched.roles == "distractor", DISTRACTOR_IDENTITY, test.searched.identities),
    )
    if not (ranks.mates > 0).any():
        raise VlrfaceError("no probe has a mate in the gallery: are the people of both numbered alike?")
    found.counts["probes_without_mate"] = int(np.count_nonzero(ranks.mates == 0))
    _identification(found, ranks)
    _verification(found, test)
    if np.isfinite(_index(test.both)).any():
        _rank1_after_reject(found, ranks, _index(test.probes))
        _by_size(found, test.both)
        _verdicts(found, faces)
    else:
        found.left_out.append("recognizability: the faces have none")
    own = {"seed": seed, "resamples": resamples, "ties": "against the system", "left_out": found.left_out}
    return Report(
        title=f"Identification of {len(test.probes):,} probes among {len(test.searched):,} faces",
        benchmark="tinyface",
        figures=found.figures,
        counts=found.counts,
        curves=found.curves,
        context={**own, **(context or {})},
    )


@dataclass(frozen=True, eq=False)
class _Test:
    """The parts of the protocol."""

    probes: Faces
    gallery: Faces
    searched: Faces
    both: Faces
    """Probes, then gallery: the faces of the pairs, in the order of their numbers."""

    @classmethod
    def of(cls, faces: Faces) -> "_Test":
        present = set(map(str, np.unique(faces.roles)))
        missing = [role for role in ("probe", "gallery", "distractor") if role not in present]
        if missing:
            raise VlrfaceError(
                f"the TinyFace protocol needs faces with the roles probe, gallery and distractor; {', '.join(missing)} "
                f"missing, found {', '.join(sorted(present)) or 'none'}. Encode a folder with that layout"
            )
        probes, gallery = np.flatnonzero(faces.roles == "probe"), np.flatnonzero(faces.roles == "gallery")
        return cls(
            probes=faces.rows(probes),
            gallery=faces.rows(gallery),
            searched=faces.role("gallery", "distractor"),
            both=faces.rows(np.concatenate([probes, gallery])),
        )


@dataclass(eq=False)
class _Findings:
    """What has been found so far, and how intervals are made."""

    seed: int
    resamples: int
    figures: dict[str, Estimate] = field(default_factory=dict[str, Estimate])
    counts: dict[str, int] = field(default_factory=dict[str, int])
    curves: dict[str, tuple[Curve, ...]] = field(default_factory=dict[str, tuple[Curve, ...]])
    left_out: list[str] = field(default_factory=list[str])


def _embeddings(faces: Faces) -> Float[ndarray, "n d"]:
    """Embeddings, with NaN in every row that was not encoded, whatever it holds."""
    if faces.encoded.all():
        return faces.embeddings
    return np.where(faces.encoded[:, None], faces.embeddings, np.float32("nan"))


def _index(faces: Faces) -> Float[ndarray, " n"]:
    """Recognizability, NaN in every row that was not encoded: such a face is the first to be rejected."""
    return np.where(faces.encoded, faces.recognizability, np.nan)


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


def _curve(name: str, x: Float[ndarray, " k"], interval: Interval) -> Curve:
    """A line with its band, as far as it is defined; no band where no interval is."""
    there = np.isfinite(interval.value)
    x, value, low, high = (each[there] for each in (x, *interval))
    if np.isnan(low).all():
        return Curve(name, x, value)
    return Curve(name, x, value, low, high)


def _identification(found: _Findings, ranks: Ranks) -> None:
    every_rank = np.arange(1, RANKS[-1] + 1)
    values = np.column_stack([hits(ranks, every_rank).astype(np.float64), ranks.average_precision])
    interval = bootstrap_means(values, ranks.identities, resamples=found.resamples, seed=found.seed)
    found.figures.update({f"rank{k}": interval.estimate(k - 1) for k in RANKS})
    found.figures["mAP"] = interval.estimate(-1)
    shares = Interval(*(each[:-1] for each in interval))
    found.curves["cmc"] = (_curve("cmc", every_rank.astype(np.float64), shares),)


def _verification(found: _Findings, test: _Test) -> None:
    """Figures of pairs, and with recognizability those of error versus reject, which need the same resamples."""
    pairs = genuine_impostor(
        _embeddings(test.probes), test.probes.identities, _embeddings(test.gallery), test.gallery.identities
    )
    genuine, impostor = pairs.genuine, pairs.impostor
    found.counts["genuine_pairs"], found.counts["impostor_pairs"] = len(genuine), len(impostor)
    found.counts["impostor_pairs_not_encoded"] = pairs.failed_impostors
    if not len(impostor):
        found.left_out.append("verification: no pair of two encoded people")
        return
    equal = eer(genuine, impostor)
    drawn = resample_pairs(pairs, fars=(*FARS, equal), resamples=found.resamples, seed=found.seed)
    points = [tpr_at_far(genuine, impostor, far) for far in FARS]
    rates = drawn.interval(np.array([p.tpr for p in points]), drawn.tpr_at(np.array(FARS)))
    for i, (far, point) in enumerate(zip(FARS, points, strict=True)):
        found.figures[f"tpr@far={far:g}"] = rates.estimate(i)
        found.counts[f"accepted_impostors@far={far:g}"] = point.accepted_impostors
    found.figures["auc"] = drawn.interval(np.array([auc(genuine, impostor)]), drawn.auc()[:, None]).estimate()
    found.figures["eer"] = drawn.interval(np.array([equal]), drawn.eer()[:, None]).estimate()
    fars = _ROC_FARS[_ROC_FARS * len(impostor) >= 1]
    curve = drawn.interval(roc_at(genuine, impostor, fars).tpr, drawn.tpr_at(fars))
    found.curves["roc"] = (_curve("roc", fars, curve),)
    quality = _index(test.both)
    if np.isfinite(quality).any():
        for fmr in FMRS:
            _error_versus_reject(found, pairs, drawn, quality, fmr)


def _error_versus_reject(
    found: _Findings, pairs: Pairs, drawn: PairResamples, quality: Float[ndarray, " f"], fmr: float
) -> None:
    allowed = accepted_at_far(fmr, len(pairs.impostor))
    if allowed < FEWEST_IMPOSTORS:
        found.left_out.append(
            f"error versus reject at FMR {fmr:g}: {allowed} of {len(pairs.impostor)} impostor pairs would decide it, "
            f"at least {FEWEST_IMPOSTORS} are needed"
        )
        return
    for mode in _MODES:
        exact = edc(pairs, quality, fmr, mode=mode)
        samples = resampled_edc(pairs, quality, fmr, _EDC_SHARES, drawn, mode=mode)
        suffix = "" if mode == "pairs" else f",mode={mode}"
        line = drawn.interval(exact.at(_EDC_SHARES), samples)
        found.figures[f"fnmr@fmr={fmr:g}"] = line.estimate()
        found.curves[f"edc@fmr={fmr:g}{suffix}"] = (
            _curve("recognizability", _EDC_SHARES, line),
            Curve("random", _EDC_SHARES, random_line(float(line.value[0]), _EDC_SHARES)),
            Curve("oracle", _EDC_SHARES, oracle_line(float(line.value[0]), _EDC_SHARES)),
        )
        for upper in PARTIAL:
            name = f"pauc@fmr={fmr:g}" + (f",reject={upper:g}" if upper != PARTIAL[0] else "") + suffix
            _partial_areas(found, exact, drawn, samples, upper, name)


def _partial_areas(
    found: _Findings, exact: EDC, drawn: PairResamples, samples: Float[ndarray, "r k"], upper: float, name: str
) -> None:
    """Area under error versus reject, raw and divided by the error before any reject."""
    if upper > exact.rejected[-1]:
        found.left_out.append(f"{name}: no genuine pair is left at {upper:g} rejected")
        return
    stop = int(np.searchsorted(_EDC_SHARES, upper)) + 1
    areas = np.trapezoid(samples[:, :stop], _EDC_SHARES[:stop], axis=1)
    raw = np.array([partial_auc(exact, upper)])
    found.figures[name] = drawn.interval(raw, areas[:, None]).estimate()
    if exact.fnmr[0] > 0:
        first = samples[:, 0]
        ratio = np.divide(areas, first, out=np.full(len(areas), np.nan), where=first > 0)
        normal = np.array([partial_auc(exact, upper, normalised=True)])
        found.figures[f"normalised_{name}"] = drawn.interval(normal, ratio[:, None], largest=np.inf).estimate()


def _rank1_after_reject(found: _Findings, ranks: Ranks, quality: Float[ndarray, " p"]) -> None:
    if np.isnan(quality).all():
        found.left_out.append("rank-1 after reject: no probe has a recognizability")
        return
    people = people_of(ranks.identities)
    weights = person_weights(people.total, found.resamples, found.seed)[:, people.number]
    ones, shares = np.ones((1, len(ranks)), np.float32), _RANK1_SHARES
    value = resampled_rank1(ranks.first_mate, quality, shares, ones)[0]
    samples = resampled_rank1(ranks.first_mate, quality, shares, weights)
    line = percentile_interval(value, samples, people=people.total)
    gain = percentile_interval(value - value[0], samples - samples[:, :1], people=people.total)
    for share in REJECTED:
        place = int(np.searchsorted(shares, share))
        found.figures[f"rank1@reject={share:g}"] = line.estimate(place)
        found.figures[f"rank1_gain@reject={share:g}"] = gain.estimate(place)
    found.curves["rank1_reject"] = (
        _curve("recognizability", shares, line),
        Curve("random", shares, np.full(len(shares), value[0])),
        Curve("oracle", shares, np.minimum(value[0] / (1 - shares), 1)),
    )


def _by_size(found: _Findings, faces: Faces) -> None:
    """Mean index per band of size, over probes and gallery faces: those whose people are known."""
    usable = np.isfinite(_index(faces)) & (faces.sizes > 0)
    if not usable.any():
        found.left_out.append("recognizability by size: no face has both an index and a size")
        return
    index, size, people = (
        each[usable] for each in (faces.recognizability.astype(np.float64), faces.sizes, faces.identities)
    )
    found.figures["spearman_recognizability_size"] = bootstrap_spearman(
        index, size.astype(np.float64), people, resamples=found.resamples, seed=found.seed
    )
    means: list[Estimate] = []
    sizes: list[float] = []
    for low, high in SIZE_BANDS:
        inside = (size >= low) & (size < (high or np.inf))
        band = f"{low}-{high}" if high else f"{low}+"
        found.counts[f"faces@size={band}"] = int(inside.sum())
        if inside.any():
            sizes.append(float(size[inside].mean()))
            means.append(bootstrap_shares(index[inside], people[inside], resamples=found.resamples, seed=found.seed))
            found.figures[f"recognizability@size={band}"] = means[-1]
    values = Interval(*(np.array([getattr(each, part) for each in means]) for part in ("value", "low", "high")))
    found.curves["recognizability_by_size"] = (_curve("recognizability", np.array(sizes), values),)


def _verdicts(found: _Findings, faces: Faces) -> None:
    """How many faces of each role get which verdict of the calibration they were encoded with."""
    calibration = faces.meta.get("calibration")
    if calibration is None:
        found.left_out.append("verdicts: the faces carry no calibration")
        return
    verdicts = Calibration.from_json(calibration).verdict(_index(faces))
    for role, name in (("probe", "probes"), ("gallery", "gallery"), ("distractor", "distractors")):
        for verdict in (RECOGNIZABLE, DOUBTFUL, UNRECOGNIZABLE, FAILED):
            found.counts[f"{name}_{verdict}"] = int(np.count_nonzero((faces.roles == role) & (verdicts == verdict)))
