"""Nearest neighbours by cosine: by matrix products for thousands, by an inverted file of faiss for more."""

from typing import Any, Final

import numpy as np
from jaxtyping import Float32, Int
from numpy import ndarray

from vlrface.types import VlrfaceError

EXACT_UP_TO: Final = 20_000
"""Rows up to which every pair is compared."""

_CHUNK_ROWS: Final = 1024
_LISTS_PER_ROOT: Final = 4
_PROBED_SHARE: Final = 1 / 128
_LEAST_PROBED: Final = 8
_TRAINED_PER_LIST: Final = 40


def neighbours(
    unit: Float32[ndarray, "n d"], count: int, *, exact_up_to: int = EXACT_UP_TO
) -> tuple[Int[ndarray, "n k"], Float32[ndarray, "n k"]]:
    """The nearest other rows of every row.

    Above `exact_up_to` rows, faiss parts the rows into lists of near ones and looks into a 128th of the lists, 8 at
    least: some neighbours are missed where rows are spread evenly (`benchmarks/unrecognizable.py` says how many).

    Args:
        unit: (n, d), rows of unit length.
        count: k, neighbours of each row, at least 1 and below n.
        exact_up_to: rows up to which every pair is compared.

    Returns:
        Row numbers and cosines, nearest first. A place that faiss could not fill has the row itself, with cosine -1.

    Raises:
        VlrfaceError: `count` is out of range, or faiss is needed and not installed.
    """
    if not 1 <= count < len(unit):
        raise VlrfaceError(f"cannot give {count} neighbours to each of {len(unit)} rows")
    if len(unit) <= exact_up_to:
        return _exact(unit, count)
    rows, cosines = _searched(unit, count + 1)
    return _without_self(rows, cosines, count)


def _exact(unit: ndarray, count: int) -> tuple[ndarray, ndarray]:
    rows = np.empty((len(unit), count), np.int64)
    cosines = np.empty((len(unit), count), np.float32)
    for start in range(0, len(unit), _CHUNK_ROWS):
        chunk = unit[start : start + _CHUNK_ROWS] @ unit.T
        own = np.arange(len(chunk))
        chunk[own, start + own] = -np.inf
        found = np.argpartition(-chunk, count - 1, axis=1)[:, :count]
        values = np.take_along_axis(chunk, found, axis=1)
        order = np.lexsort((found, -values), axis=1)
        rows[start : start + len(chunk)] = np.take_along_axis(found, order, axis=1)
        cosines[start : start + len(chunk)] = np.take_along_axis(values, order, axis=1)
    return rows, cosines


def _searched(unit: ndarray, count: int) -> tuple[ndarray, ndarray]:
    try:
        import faiss
    except ImportError as error:
        raise VlrfaceError(
            f'{len(unit)} embeddings need faiss for their neighbours: pip install "vlrface[cluster]"'
        ) from error
    library: Any = faiss  # its types are those of C++
    lists = max(1, min(int(_LISTS_PER_ROOT * len(unit) ** 0.5), len(unit) // _TRAINED_PER_LIST))
    width = unit.shape[1]
    index = library.IndexIVFFlat(library.IndexFlatIP(width), width, lists, library.METRIC_INNER_PRODUCT)
    index.cp.max_points_per_centroid = _TRAINED_PER_LIST
    index.cp.niter = 5
    index.train(unit)
    index.add(unit)
    index.nprobe = min(lists, max(_LEAST_PROBED, round(lists * _PROBED_SHARE)))
    cosines, rows = index.search(unit, count)
    return rows, cosines


def _without_self(rows: ndarray, cosines: ndarray, count: int) -> tuple[ndarray, ndarray]:
    """Leave out each row itself, or the last place where it was not found."""
    own = np.arange(len(rows))[:, None]
    missing = rows < 0
    rows, cosines = np.where(missing, own, rows), np.where(missing, np.float32(-1), cosines)
    is_own = (rows == own) & ~missing
    # A stable sort by "is the row itself" moves it behind all others and keeps their order.
    order = np.argsort(is_own, axis=1, kind="stable")[:, :count]
    return np.take_along_axis(rows, order, axis=1), np.take_along_axis(cosines, order, axis=1)
