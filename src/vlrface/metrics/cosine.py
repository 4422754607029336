"""Cosine similarity as every metric takes it: rows of unit length in float32, rows that were not encoded left out."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Int
from numpy import ndarray

from vlrface.types import VlrfaceError

_CHUNK_ROWS = 1024  # stays in a processor's cache as float64


class UnitRows(NamedTuple):
    """Rows of unit length and where they came from.

    Attributes:
        unit: (m, d) float32, the encoded rows divided by their length.
        rows: (m,) row numbers of the encoded rows in the array that was given, ascending.
        encoded: (n,) whether a given row holds an embedding.
    """

    unit: Float32[ndarray, "m d"]
    rows: Int[ndarray, " m"]
    encoded: Bool[ndarray, " n"]


def unit_rows(embeddings: Float[ndarray, "n d"], what: str = "embeddings") -> UnitRows:
    """The encoded rows, divided by their L2 norm; a row that holds NaN was not encoded.

    Lengths are summed in float64, so that equal rows become equal unit rows wherever they stand.

    Args:
        embeddings: (n, d), not normalised; NaN rows stand for crops that could not be encoded.
        what: name of the array in an error.

    Returns:
        Unit rows, their row numbers and the mask of encoded rows.

    Raises:
        VlrfaceError: an encoded row is infinite, or has length zero (its cosine to anything is undefined).
    """
    lengths = np.empty(len(embeddings))
    for start in range(0, len(embeddings), _CHUNK_ROWS):
        chunk = embeddings[start : start + _CHUNK_ROWS].astype(np.float64)
        lengths[start : start + _CHUNK_ROWS] = np.sqrt(np.einsum("nd,nd->n", chunk, chunk))
    encoded = ~np.isnan(lengths)
    bad = encoded & ((lengths == 0) | np.isinf(lengths))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise VlrfaceError(f"{what}: row {row} has length {lengths[row]:g}, so it has no direction. Encode it again")
    rows = np.flatnonzero(encoded)
    unit = np.empty((len(rows), embeddings.shape[1]), np.float32)
    for start in range(0, len(rows), _CHUNK_ROWS):
        part = rows[start : start + _CHUNK_ROWS]
        chunk = embeddings[part].astype(np.float32, copy=False)
        np.divide(chunk, lengths[part, None].astype(np.float32), out=unit[start : start + _CHUNK_ROWS])
    return UnitRows(unit, rows, encoded)


def copied_rows(rows: Float32[ndarray, "n d"]) -> tuple[Int[ndarray, " c"], Int[ndarray, " c"]]:
    """Rows that equal an earlier row value for value, and the first row that each of them equals.

    Args:
        rows: (n, d) without NaN; 0 and -0 are equal.

    Returns:
        Row numbers, ascending, and the row numbers of their originals.
    """
    suspects = _repeated(_words(rows[:, :2]))  # who differs from everybody in the first columns has no copy
    same = _repeated(_words(rows[suspects])) if len(suspects) else suspects
    suspects = suspects[same]
    _, first, inverse = np.unique(_words(rows[suspects]), return_index=True, return_inverse=True)
    copies = np.flatnonzero(first[inverse] != np.arange(len(suspects)))
    return suspects[copies], suspects[first[inverse][copies]]


def _words(rows: Float32[ndarray, "n d"]) -> ndarray:
    """Each row as one value that is compared byte by byte."""
    plain = np.ascontiguousarray(rows + np.float32(0))  # makes -0 the same as 0
    return plain.view(f"V{plain.shape[1] * plain.itemsize}").ravel() if plain.size else np.empty(len(plain), "V1")


def _repeated(words: ndarray) -> Int[ndarray, " r"]:
    """Places of the values that occur more than once, ascending."""
    _, inverse, counts = np.unique(words, return_inverse=True, return_counts=True)
    return np.flatnonzero(counts[inverse] > 1)


def check_same_width(first: Float[ndarray, "n d"], second: Float[ndarray, "m e"]) -> None:
    """Refuse embeddings of different dimension, which come from different models.

    Raises:
        VlrfaceError: the number of columns differs.
    """
    if first.shape[1] != second.shape[1]:
        raise VlrfaceError(
            f"embeddings of {first.shape[1]} and {second.shape[1]} dimensions cannot be compared: "
            "encode both with the same model"
        )
