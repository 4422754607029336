"""Gallery templates: all faces of a person become one vector to search for."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float32, Int
from numpy import ndarray

from vlrface.metrics.cosine import unit_rows
from vlrface.metrics.intervals import people_of
from vlrface.types import VlrfaceError

TemplateKind = Literal["mean", "raw_mean", "recognizability"]

_MIDDLE = 0.5
_CANCELLED = 1e-6


@dataclass(frozen=True, eq=False)
class Templates:
    """One row per person of a gallery, none dropped.

    Attributes:
        embeddings: (t, d) of unit length; NaN where no face of the person was encoded, so that it is never found.
        identities: (t,) known people ascending, then the faces of negative identity, each a template of its own.
        faces: (t,) number of encoded faces that were averaged.
    """

    embeddings: Float32[ndarray, "t d"]
    identities: Int[ndarray, " t"]
    faces: Int[ndarray, " t"]

    def __len__(self) -> int:
        return len(self.identities)

    @property
    def encoded(self) -> Bool[ndarray, " t"]:
        """Rows that can be found: those with an encoded face."""
        return self.faces > 0


def gallery_templates(
    embeddings: Float[ndarray, "g d"],
    identities: Int[ndarray, " g"],
    kind: TemplateKind = "mean",
    *,
    recognizability: Float[ndarray, " h"] | None = None,
) -> Templates:
    """Average the faces of each person, and divide by the length.

    - "mean": of the normalised embeddings, so that every face counts alike;
    - "raw_mean": of the embeddings as they are, so that a face of longer embedding counts more;
    - "recognizability": of the normalised embeddings, weighted (`index_weights`).

    Args:
        embeddings: (g, d), any length; a NaN row was not encoded and is left out.
        identities: (g,); each face of a negative identity stands alone.
        kind: of the average.
        recognizability: (g,) index of each face, for kind "recognizability".

    Returns:
        The templates.

    Raises:
        VlrfaceError: no faces, an encoded row without direction, faces of a person that cancel one another out, or no
            index where one is needed.
    """
    if not len(embeddings):
        raise VlrfaceError("no gallery faces: templates need at least one")
    rows = unit_rows(embeddings, "gallery embeddings")
    people = people_of(identities)
    person = people.number[rows.rows]
    weight = np.ones(len(rows.rows))
    if kind == "recognizability":
        weight = index_weights(_given(recognizability, len(embeddings))[rows.rows])
    vectors = embeddings[rows.rows] if kind == "raw_mean" else rows.unit
    first = np.empty(people.total, np.int64)
    first[people.number[::-1]] = np.arange(len(identities))[::-1]
    means = _weighted_means(vectors, weight, person, people.total)
    who = np.asarray(identities, np.int64)[first]
    lengths = np.sqrt(np.einsum("td,td->t", means, means))
    cancelled = np.flatnonzero(lengths < _CANCELLED * _mean_lengths(vectors, weight, person, people.total))
    if len(cancelled):
        raise VlrfaceError(
            f"{len(cancelled)} gallery identities have faces that cancel one another out, first {who[cancelled[0]]}: "
            "their template has no direction. Encode the gallery again"
        )
    return Templates((means / lengths[:, None]).astype(np.float32), who, np.bincount(person, minlength=people.total))


def person_template(unit: Float32[ndarray, "m d"], weight: Float[ndarray, " m"]) -> Float32[ndarray, " d"]:
    """The template of one person, value for value as `gallery_templates` makes it.

    Args:
        unit: (m, d) faces of unit length, at least one.
        weight: (m,) above 0.

    Raises:
        VlrfaceError: the faces cancel one another out.
    """
    mean = (weight / weight.sum()) @ unit.astype(np.float64)
    length = np.sqrt(np.einsum("td,td->t", mean[None], mean[None]))[0]
    if length < _CANCELLED:
        raise VlrfaceError("the faces of a person cancel one another out: their template has no direction")
    return (mean / length).astype(np.float32)


def index_weights(recognizability: Float[ndarray, " g"]) -> Float[ndarray, " g"]:
    """Weight of each face: the share of the gallery's faces that have a lower index, ties counted half.

    Own choice. The index is unbounded, may be negative, and its scale changes with every training run; its order does
    not. Weights of ranks lie in (0, 1), are the same for any rising function of the index, and need no parameter. A
    face without index (NaN) weighs 1/2, as one in the middle does.

    Args:
        recognizability: (g,) of all encoded faces of the gallery.

    Returns:
        (g,) in (0, 1).

    Raises:
        VlrfaceError: no face has an index.
    """
    known = np.isfinite(recognizability)
    if len(recognizability) and not known.any():
        raise VlrfaceError(
            "templates weighted by recognizability: no gallery face has an index. Use a model that predicts it, or "
            'the template "mean"'
        )
    weight = np.full(len(recognizability), _MIDDLE)
    values = recognizability[known]
    ordered = np.sort(values)
    below, up_to = (np.searchsorted(ordered, values, side) for side in ("left", "right"))
    weight[known] = (below + up_to) / (2 * max(1, len(values)))
    return weight


def _given(recognizability: Float[ndarray, " h"] | None, faces: int) -> Float[ndarray, " h"]:
    if recognizability is None or len(recognizability) != faces:
        found = "none" if recognizability is None else str(len(recognizability))
        raise VlrfaceError(f"templates weighted by recognizability: {faces} faces need an index each, got {found}")
    return recognizability


def _weighted_means(
    vectors: Float[ndarray, "g d"], weight: Float[ndarray, " g"], person: Int[ndarray, " g"], people: int
) -> Float[ndarray, "t d"]:
    """Weighted mean per person, summed in float64; NaN for a person without a face."""
    means = np.full((people, vectors.shape[1]), np.nan)
    order = np.argsort(person, kind="stable")
    start = np.searchsorted(person, np.arange(people + 1), sorter=order)
    for who in np.flatnonzero(np.diff(start)):
        rows = order[start[who] : start[who + 1]]
        means[who] = (weight[rows] / weight[rows].sum()) @ vectors[rows].astype(np.float64)
    return means


def _mean_lengths(
    vectors: Float[ndarray, "g d"], weight: Float[ndarray, " g"], person: Int[ndarray, " g"], people: int
) -> Float[ndarray, " t"]:
    """Weighted mean of the lengths per person: the longest that its mean can be; NaN for a person without a face."""
    lengths = np.sqrt(np.einsum("gd,gd->g", vectors, vectors, dtype=np.float64))
    total = np.bincount(person, weight, people)
    return np.divide(np.bincount(person, weight * lengths, people), total, out=np.full(people, np.nan), where=total > 0)
