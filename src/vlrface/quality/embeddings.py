"""Quality read from embeddings: their length, their distance to what nobody can recognise, another model's opinion.

Networks trained with MagFace or AdaFace say quality by the length of their embedding, CR-FIQA by an index beside it.
They are other networks than the matcher, so they come as a Faces file of the same crops: `from_faces`.
"""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from vlrface.metrics.cosine import unit_rows
from vlrface.quality.joining import rows_in
from vlrface.types import UNRECOGNIZABLE_ROLE, Faces, VlrfaceError


def norms(faces: Faces) -> Float[ndarray, " n"]:
    """Length of each embedding before normalisation; NaN where there is none.

    With flip fusion it is the length of a sum of two, which also says how alike the two are.
    """
    lengths = np.linalg.norm(faces.embeddings.astype(np.float64), axis=1)
    return np.where(faces.encoded, lengths, np.nan)


def center_of(faces: Faces) -> Float[ndarray, " d"]:
    """The centre of the unrecognizable faces among them: normalised mean of normalised embeddings.

    The same as `vlrface.losses.recognizability.UnrecognizableStatistics`, from faces of the role "unrecognizable", as
    `vlrface encode` adds them.

    Raises:
        VlrfaceError: there are none, or they cancel one another out.
    """
    known = faces.rows((faces.roles == UNRECOGNIZABLE_ROLE) & faces.encoded)
    if not len(known):
        raise VlrfaceError(
            f"no face has the role {UNRECOGNIZABLE_ROLE!r}, so there is no centre of unrecognizable faces. Encode a "
            "benchmark again (`vlrface encode` adds such faces), or use a checkpoint that was trained with them"
        )
    mean = unit_rows(known.embeddings).unit.mean(axis=0, dtype=np.float64)
    length = float(np.linalg.norm(mean))
    if length < 1e-6:
        raise VlrfaceError("the embeddings of the unrecognizable faces cancel out: they are not one cluster")
    return mean / length


def recognizability_score(faces: Faces, center: Float[ndarray, " d"]) -> Float[ndarray, " n"]:
    """Embedding recognizability score, ERS = min(1 - cos(v̂, û), 1) (Deng et al., WACV 2023).

    Faces with an angle of more than 90° to the centre all have 1: they cannot be told apart by it.

    Args:
        faces: any.
        center: (d,) û, of any length; `center_of`, or what a checkpoint stores.

    Returns:
        (n,) in [0, 1]; NaN where there is no embedding.

    Raises:
        VlrfaceError: the centre has another dimension, or no direction.
    """
    length = float(np.linalg.norm(center))
    if len(center) != faces.embeddings.shape[1]:
        raise VlrfaceError(
            f"the centre of unrecognizable faces has {len(center)} dimensions, the embeddings have "
            f"{faces.embeddings.shape[1]}: it is another network's"
        )
    if not 0 < length < np.inf:
        raise VlrfaceError(f"the centre of unrecognizable faces has length {length:g}, so it has no direction")
    scores = np.full(len(faces), np.nan)
    rows = np.flatnonzero(faces.encoded)
    cosine = unit_rows(faces.embeddings[rows]).unit @ (center / length)
    scores[rows] = np.clip(1 - cosine, 0, 1)
    return scores


def from_faces(other: Faces, what: str, onto: Faces, *, label: str = "the other faces") -> Float[ndarray, " n"]:
    """What another model says of the same crops.

    Args:
        other: faces of the same crops; rows in any order, more of them are no harm.
        what: "norm", "recognizability", or one of the other's measures; a "-" before it turns the sign, for a measure
            of which less is better.
        onto: the faces that get it, joined by role and name.
        label: what an error calls `other`.

    Returns:
        (n,) value of each row of `onto`; NaN where the crop could not be encoded there. Made unrecognizable faces,
        which no figure counts, may be absent and then have NaN.

    Raises:
        VlrfaceError: no such measure, one without a single value, or a crop that is absent (the first ten are named).
    """
    sign, name = (-1, what[1:]) if what.startswith("-") else (1, what)
    values = _values(other, name, label)
    rows = rows_in(
        onto, other.roles.tolist(), other.names.tolist(), f"{label} lack", "Encode the same data set with both models"
    )
    return np.where(rows >= 0, sign * values[rows], np.nan)


def _values(faces: Faces, name: str, label: str) -> Float[ndarray, " n"]:
    if name == "norm":
        values = norms(faces)
    elif name == "recognizability":
        values = faces.recognizability
    elif name in faces.measures:
        values = faces.measures[name]
    else:
        there = ", ".join(["norm", "recognizability", *faces.measures])
        raise VlrfaceError(f"{label} have no measure {name!r}; there are {there}")
    values = np.where(faces.encoded, values, np.nan).astype(np.float64)
    if not np.isfinite(values).any():
        raise VlrfaceError(f"{label} have no {name}: no face has a value. Their model does not predict it")
    return values
