"""Thresholds for wished rates, measured on held-out faces."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from vlrface.calibrate.score import Searched, search_held_out
from vlrface.metrics.calibration import Calibration
from vlrface.metrics.cosine import unit_rows
from vlrface.metrics.intervals import people_of
from vlrface.metrics.operating import Point, accept_point, fmr_point, fnmr_point, fpir_point
from vlrface.metrics.pairs import genuine_impostor
from vlrface.metrics.templates import gallery_templates, index_weights, person_template
from vlrface.types import Faces, VlrfaceError

_BLOCK_BYTES = 64 * 2**20
_PAIRED_FACES = 7000  # 24 million pairs, some 600 MB

_Wanted = tuple[str, float, Callable[[], Point]]
"""A wish by name and rate, and what measures it."""


@dataclass(frozen=True)
class Wishes:
    """Which rates thresholds are wanted for; see `metrics.operating`.

    Attributes:
        fmr: shares of pairs of different people that match.
        fpir: shares of searches of strangers that are answered.
        accept: shares of faces that are accepted.
        fnmr: shares of missed genuine pairs among accepted faces.
        at_fmr: the false match rate at which those pairs are judged.
        gallery_people: people in the gallery that strangers are searched in; None for all held-out people but the one.
    """

    fmr: tuple[float, ...] = ()
    fpir: tuple[float, ...] = ()
    accept: tuple[float, ...] = ()
    fnmr: tuple[float, ...] = ()
    at_fmr: float = 0.01
    gallery_people: int | None = None


class WatchList(NamedTuple):
    """Held-out faces searched in a gallery of held-out people.

    Attributes:
        best: (n,) highest cosine of each face to somebody else's template.
        found: (m,) cosine to the template of the same person's other faces, where it beats everybody else's; else -inf.
        mated: (m,) rows of those faces: whose person has another face.
        people: in the gallery.
    """

    best: Float[ndarray, " n"]
    found: Float[ndarray, " m"]
    mated: Int[ndarray, " m"]
    people: int


def wished_points(
    faces: Faces,
    calibration: Calibration,
    wishes: Wishes,
    *,
    gallery_size: int | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[list[Point], list[str]]:
    """Measure a threshold for each wish.

    Args:
        faces: of people the network was not trained on; those that could not be encoded are left out. Of more than
            `_PAIRED_FACES`, so many are drawn for the wishes that compare all pairs.
        calibration: of the same model, for scores.
        wishes: what is wanted.
        gallery_size: faces that a face is searched among, for what acceptance costs; None for all. As in `calibrate`.
        resamples: draws of people for the intervals.
        seed: of the draws.

    Returns:
        The points, and for each wish that these faces cannot answer, why.

    Raises:
        VlrfaceError: no person has two encoded faces, or there are fewer faces than the gallery is to have.
    """
    encoded = faces.rows(faces.encoded)
    encoded = encoded.rows(encoded.identities >= 0)
    paired = _drawn(encoded, seed)
    pairs = genuine_impostor(paired.embeddings, paired.identities)
    shared = {"resamples": resamples, "seed": seed}
    wanted: list[_Wanted] = [("FMR", rate, partial(fmr_point, pairs, rate, **shared)) for rate in wishes.fmr]
    wanted += _of_searches(encoded, wishes, shared)
    if wishes.accept:
        wanted += _of_acceptance(search_held_out(faces, gallery_size), calibration, wishes, shared)
    missed = partial(fnmr_point, pairs, calibration.score(paired.recognizability), at_fmr=wishes.at_fmr, **shared)
    wanted += [("FNMR", rate, partial(missed, rate)) for rate in wishes.fnmr]
    points: list[Point] = []
    refused: list[str] = []
    for name, rate, measured in wanted:
        try:
            points.append(measured())
        except VlrfaceError as error:
            refused.append(f"{name} {rate:g}: {error}")
    return points, refused


def _drawn(faces: Faces, seed: int) -> Faces:
    """The faces whose pairs are compared: pairs grow with the square of the faces, and memory with the pairs."""
    if len(faces) <= _PAIRED_FACES:
        return faces
    return faces.rows(np.sort(np.random.default_rng(seed).permutation(len(faces))[:_PAIRED_FACES]))


def _of_searches(encoded: Faces, wishes: Wishes, shared: dict[str, int]) -> list[_Wanted]:
    """The wishes that ask for a threshold on the cosine of searches."""
    if not wishes.fpir:
        return []
    listed = watch_list(encoded, wishes.gallery_people, seed=shared["seed"])
    searches = listed.best, listed.found, encoded.identities, encoded.identities[listed.mated]
    size = listed.people
    return [("FPIR", rate, partial(fpir_point, *searches, rate, gallery_size=size, **shared)) for rate in wishes.fpir]


def _of_acceptance(
    searched: Searched, calibration: Calibration, wishes: Wishes, shared: dict[str, int]
) -> list[_Wanted]:
    """The wishes that ask for a share of accepted faces."""
    right = calibration.score(searched.index), searched.correct, searched.identities
    return [("accepted share", share, partial(accept_point, *right, share, **shared)) for share in wishes.accept]


def watch_list(faces: Faces, people: int | None = None, *, seed: int = 0) -> WatchList:
    """Search each face in a gallery of other people, and in one that holds the person's other faces, too.

    Templates are weighted by recognizability where there is an index, as a gallery does it. A gallery smaller than all
    is drawn for each person anew.

    Args:
        faces: encoded faces of known people.
        people: in the gallery; None for all but the one who is searched for.
        seed: of the drawing.

    Raises:
        VlrfaceError: there are not so many people.
    """
    person = people_of(faces.identities)
    others = person.total - 1
    size = others if people is None else people
    if not 1 <= size <= others:
        raise VlrfaceError(
            f"a gallery of {size} people cannot be drawn from {others} held-out ones. What happens in a larger "
            "gallery, only a larger one can tell"
        )
    unit = unit_rows(faces.embeddings).unit
    indexed = bool(np.isfinite(faces.recognizability).all())
    weight = index_weights(faces.recognizability) if indexed else np.ones(len(faces))
    templates = gallery_templates(
        faces.embeddings, faces.identities, "recognizability" if indexed else "mean",
        recognizability=faces.recognizability,
    ).embeddings  # fmt: skip
    draw = np.random.default_rng(seed)
    shown = np.ones((person.total, person.total), bool)
    for row in range(person.total) if size < others else ():
        rest = np.delete(np.arange(person.total), row)
        shown[row] = False
        shown[row, draw.permutation(rest)[:size]] = True
    np.fill_diagonal(shown, val=False)
    best = np.empty(len(faces))
    step = max(1, _BLOCK_BYTES // (4 * person.total))
    for start in range(0, len(faces), step):
        rows = slice(start, start + step)
        cosines = unit[rows] @ templates.T
        best[rows] = np.where(shown[person.number[rows]], cosines, -np.inf).max(axis=1)
    own = _own_templates(unit, weight, person.number)
    mated = np.array(sorted(own), np.int64)
    cosine = np.array([float(unit[row] @ own[row]) for row in mated.tolist()])
    return WatchList(best, np.where(cosine > best[mated], cosine, -np.inf), mated, size)


def _own_templates(
    unit: Float[ndarray, "n d"], weight: Float[ndarray, " n"], person: Int[ndarray, " n"]
) -> dict[int, Float[ndarray, " d"]]:
    """For each face whose person has others, the template of those others."""
    order = np.argsort(person, kind="stable")
    found: dict[int, Float[ndarray, " d"]] = {}
    for rows in np.split(order, np.flatnonzero(np.diff(person[order])) + 1):
        for row in rows.tolist() if len(rows) > 1 else ():
            rest = rows[rows != row]
            found[row] = person_template(unit[rest], weight[rest])
    return found
