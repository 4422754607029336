"""The flow: pictures are read and decoded by threads while the network works; what comes out keeps their order."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

from vlrface.bulk.items import Item
from vlrface.bulk.reading import FindFaces, Raw, Reader, decoded
from vlrface.encode.served import ServedModel
from vlrface.images.decode import DecodeError

_AHEAD: Final = 4  # batches that are decoded before they are needed
_MOST_BYTES: Final = 128 * 2**20  # of pictures that were read and wait to be decoded
_MOST_ITEMS: Final = 4  # items a face of a batch, where whole pictures show none


@dataclass(frozen=True, eq=False)
class Row:
    """What was seen of one face.

    Attributes:
        key: of the item; of the second face of a whole picture on, with its number: "photo.jpg@2".
        recognizability: raw index; NaN without one.
        score: calibrated, in [0, 1]; NaN without calibration.
        verdict: "" without calibration, "failed" for what could not be looked at.
        side: shorter side of the crop, in pixels; 0 if there is none.
        reason: why it could not be looked at; "" if it was.
        norm: length of the embedding.
        embedding: (d,) of unit length, NaN where there is none.
    """

    key: str
    recognizability: float
    score: float
    verdict: str
    side: int
    reason: str
    norm: float
    embedding: Float32[ndarray, " d"]


@dataclass(frozen=True, eq=False)
class _Seen:
    """Faces of an item, ready for the network; or why there are none."""

    key: str
    framed: tuple[ndarray, ...]
    sides: tuple[int, ...]
    reason: str


def look_at(
    items: Iterator[Item],
    model: ServedModel,
    *,
    batch_size: int = 64,
    threads: int = 2,
    find: FindFaces | None = None,
) -> Iterator[tuple[Item, list[Row]]]:
    """Look at items with a model, in their order.

    Memory holds a few batches of pictures, however many items there are.

    Args:
        items: what to look at.
        model: what looks.
        batch_size: faces per call of the network.
        threads: that decode.
        find: finds faces in whole pictures; None takes each picture as a face.

    Yields:
        Each item with its rows: one; with a detector, as many as faces were found, or one that says that none was.

    Raises:
        VlrfaceError: the network fails.
    """
    taken: list[tuple[Item, _Seen]] = []
    faces = 0
    for item, seen in _decoded_ahead(items, model, _AHEAD * batch_size, threads, find):
        taken.append((item, seen))
        faces += len(seen.framed)
        if faces >= batch_size or len(taken) >= _MOST_ITEMS * batch_size:
            yield from _rows(taken, model, batch_size)
            taken, faces = [], 0
    yield from _rows(taken, model, batch_size)


def _decoded_ahead(
    items: Iterator[Item], model: ServedModel, ahead: int, threads: int, find: FindFaces | None
) -> Iterator[tuple[Item, _Seen]]:
    """Items with their faces, in order, of which so many are decoded before they are asked for."""
    reader = Reader()
    waiting: deque[tuple[Item, Future[_Seen]]] = deque()
    read = _InMemory(threads)
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append((item, _submitted(pool, reader, item, model, find, read)))
                if len(waiting) > ahead:
                    first, future = waiting.popleft()
                    yield first, future.result()
            for first, future in waiting:
                yield first, future.result()
        finally:
            for _, future in waiting:
                future.cancel()
            reader.close()


class _InMemory:
    """What was read and is not decoded yet: so many bytes, but something for each thread."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._held: deque[tuple[Future[_Seen], int]] = deque()
        self._bytes = 0

    def add(self, future: Future[_Seen], size: int) -> None:
        """Note one more; wait until there is room. What is decoded is let go, for a future keeps its result."""
        while self._held and self._held[0][0].done():
            self._bytes -= self._held.popleft()[1]
        self._held.append((future, size))
        self._bytes += size
        while len(self._held) > self._threads and self._bytes > _MOST_BYTES:
            oldest, its_size = self._held.popleft()
            wait([oldest])
            self._bytes -= its_size


def _submitted(
    pool: ThreadPoolExecutor, reader: Reader, item: Item, model: ServedModel, find: FindFaces | None, read: _InMemory
) -> Future[_Seen]:
    try:
        raw = reader.read(item)
    except DecodeError as error:
        return pool.submit(_Seen, item.key, (), (), str(error))
    future = pool.submit(_seen, raw, item.key, model, find)
    if not isinstance(raw, Path):
        read.add(future, len(raw) if isinstance(raw, bytes) else raw.nbytes)
    return future


def _seen(raw: Raw, key: str, model: ServedModel, find: FindFaces | None) -> _Seen:
    try:
        picture = decoded(raw, key)
    except DecodeError as error:
        return _Seen(key, (), (), str(error))
    crops = [picture] if find is None else find(picture)
    if not crops:
        return _Seen(key, (), (), f"{key}: no face was found")
    framed = tuple(model.encoder.prepare(crop) for crop in crops)
    return _Seen(key, framed, tuple(min(crop.shape[:2]) for crop in crops), "")


def _rows(taken: list[tuple[Item, _Seen]], model: ServedModel, batch_size: int) -> Iterator[tuple[Item, list[Row]]]:
    framed = [image for _, seen in taken for image in seen.framed]
    looks = model.look_framed(np.stack(framed), batch_size) if framed else None
    at = 0
    none = np.full(model.encoder.embedding_dim, np.nan, np.float32)
    for item, seen in taken:
        if looks is None or seen.reason:
            reason = seen.reason.removeprefix(f"{item.key}: ")
            yield item, [Row(item.key, np.nan, np.nan, "failed", 0, reason, np.nan, none)]
            continue
        rows: list[Row] = []
        for number, side in enumerate(seen.sides, 1):
            rows.append(
                Row(
                    item.key if number == 1 else f"{item.key}@{number}",
                    float(looks.recognizability[at]),
                    float(looks.scores[at]),
                    str(looks.verdicts[at]),
                    side,
                    "",
                    float(looks.norms[at]),
                    looks.embeddings[at],
                )
            )
            at += 1
        yield item, rows
