"""Exact search by cosine in memory. Candidates come from a fast, slightly wrong scan; their order is computed anew.

Rows are held as float32, in blocks, and once more as bytes where faiss is installed. A few queries are scanned in
bytes (a quarter of the memory traffic), many are multiplied in float32. Both scans err by no more than a bound that is
known:

- bytes, of query and rows: |q·x − q̃·x̃| ≤ ‖x − x̃‖ + ‖q − q̃‖·‖x̃‖, and the largest ‖x − x̃‖ of all rows is kept when
  rows are added;
- float32 sums of d products of unit vectors: at most d·2⁻²⁴ in any order (Higham 2002, section 3.1).

A row that is no candidate scanned at most as high as the last candidate, so its true score is at most that plus the
bound. Where the k-th true score is above it, the k best are proven to be right; where it is not, the scan in float32
takes over with more candidates, in the end all. No answer depends on which scan found it: scores are summed in float64
from float32 rows.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from typing import Any, Final, NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int, UInt8
from numpy import ndarray

BLOCK_ROWS: Final = 2**16
_FEW_QUERIES = 4
_QUERIES_AT_ONCE = 256
_SPARE, _BYTE_SPARE = 44, 400  # candidates beyond those asked for; bytes err more
_DEEPER = 4
_UNIT_ROUNDOFF = 2.0**-24
_ROUNDED_AT_ONCE = 256  # in cache
_BYTE_REACH = 7.0  # deviations of a unit vector's values that fit into a byte


class Found(NamedTuple):
    """The best rows of each query, best first, equal scores by row number.

    Attributes:
        scores: (n, k) cosines.
        rows: (n, k) row numbers.
    """

    scores: Float64[ndarray, "n k"]
    rows: Int[ndarray, "n k"]


class _Scanned(NamedTuple):
    """Candidates of one query, in no order.

    Attributes:
        rows: row numbers.
        limit: no other row has a larger true score than this; -inf if there is no other.
    """

    rows: Int[ndarray, " c"]
    limit: float


class ExactIndex:
    """Unit vectors that are searched exactly. Not thread-safe: the caller keeps searches and changes apart."""

    def __init__(self, dim: int, *, coarse: bool | None = None, threads: int | None = None) -> None:
        """An empty index.

        Args:
            dim: length of a vector.
            coarse: keep a copy in bytes for few queries; default: where faiss is installed.
            threads: of the scan of one query; default: as many as there are cores for this process.
        """
        self.dim = dim
        self._count = 0
        self._blocks: list[Float32[ndarray, "_ d"]] = []
        self._bytes = _ByteRows(dim) if (find_spec("faiss") is not None if coarse is None else coarse) else None
        self._threads = threads or _cores()

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, row: int) -> Float32[ndarray, " d"]:
        """A copy of one row."""
        return self._blocks[row // BLOCK_ROWS][row % BLOCK_ROWS].copy()

    def append(self, rows: Float32[ndarray, "m d"]) -> None:
        """Add rows behind the last."""
        start = 0
        while start < len(rows):
            block, at = divmod(self._count, BLOCK_ROWS)
            if block == len(self._blocks):  # untouched memory costs nothing until rows come
                self._blocks.append(np.empty((BLOCK_ROWS, self.dim), np.float32))
            part = rows[start : start + BLOCK_ROWS - at]
            self._blocks[block][at : at + len(part)] = part
            if self._bytes is not None:
                self._bytes.append(part)
            start += len(part)
            self._count += len(part)

    def replace(self, row: int, values: Float32[ndarray, " d"]) -> None:
        """Put other values into a row."""
        self._blocks[row // BLOCK_ROWS][row % BLOCK_ROWS] = values
        if self._bytes is not None:
            self._bytes.replace(row, values)

    def remove(self, row: int) -> int:
        """Take a row out; the last row takes its number.

        Returns:
            The number that the moved row had: that of the last. The same as `row` if it was the last itself.
        """
        last = self._count - 1
        if row != last:
            self.replace(row, self[last])
        block, at = divmod(last, BLOCK_ROWS)
        self._blocks[block][at] = 0  # a removed face is gone from memory too
        if at == 0:
            self._blocks.pop()
        if self._bytes is not None:
            self._bytes.pop(last)
        self._count = last
        return last

    def search(self, queries: Float32[ndarray, "n d"], k: int) -> Found:
        """The k rows of largest cosine to each query, or all if there are fewer.

        Args:
            queries: (n, d) of unit length.
            k: at least 1.
        """
        k = min(k, self._count)
        scores, rows = np.empty((len(queries), k)), np.empty((len(queries), k), np.int64)
        if k == 0:
            return Found(scores, rows)
        for start in range(0, len(queries), _QUERIES_AT_ONCE):
            part = np.ascontiguousarray(queries[start : start + _QUERIES_AT_ONCE])
            for number, (score, row) in enumerate(self._ranked(part, k)):
                scores[start + number], rows[start + number] = score, row
        return Found(scores, rows)

    def _ranked(
        self, queries: Float32[ndarray, "n d"], k: int
    ) -> list[tuple[Float64[ndarray, " k"], Int[ndarray, " k"]]]:
        """Scan, order the candidates by their true scores, and scan better where the order is not proven."""
        found: list[Any] = [None] * len(queries)
        open_, depth = np.arange(len(queries)), k + _SPARE
        in_bytes = self._bytes is not None and len(queries) <= _FEW_QUERIES
        while len(open_):
            scanned = self._scan_bytes(queries[open_], k) if in_bytes else self._scan(queries[open_], depth)
            unproven: list[int] = []
            for number, each in zip(open_.tolist(), scanned, strict=True):
                scores = self._true_scores(queries[number], each.rows)
                order = np.lexsort((each.rows, -scores))[:k]
                found[number] = scores[order], each.rows[order]
                if not scores[order[-1]] > each.limit:
                    unproven.append(number)
            open_, depth = np.array(unproven, np.int64), depth if in_bytes else depth * _DEEPER
            in_bytes = False
        return found

    def _true_scores(self, query: Float32[ndarray, " d"], rows: Int[ndarray, " c"]) -> Float64[ndarray, " c"]:
        values = np.empty((len(rows), self.dim), np.float32)
        for block in np.unique(rows // BLOCK_ROWS):
            here = rows // BLOCK_ROWS == block
            values[here] = self._blocks[block][rows[here] % BLOCK_ROWS]
        # Row by row, so that a score does not depend on what else is compared.
        return np.einsum("cd,d->c", values.astype(np.float64), query.astype(np.float64))

    def _sum_error(self) -> float:
        return 1.01 * self.dim * _UNIT_ROUNDOFF

    def _scan(self, queries: Float32[ndarray, "n d"], depth: int) -> list[_Scanned]:
        """Multiply block by block; of each, keep what is above the worst that is kept so far."""
        n, depth = len(queries), min(depth, self._count)
        kept = [(np.empty(0, np.float32), np.empty(0, np.int64))] * n
        worst = np.full(n, -np.inf, np.float32)
        for number, block in enumerate(self._blocks):
            rows = block[: self._count - number * BLOCK_ROWS]
            scores = queries @ rows.T
            for query in range(n):
                new = np.flatnonzero(scores[query] > worst[query])
                if not len(new):
                    continue
                values = np.concatenate([kept[query][0], scores[query][new]])
                where = np.concatenate([kept[query][1], new + number * BLOCK_ROWS])
                if len(values) > depth:
                    best = np.argpartition(-values, depth - 1)[:depth]
                    values, where = values[best], where[best]
                    worst[query] = values.min()
                kept[query] = values, where
        if depth == self._count:
            return [_Scanned(where, -np.inf) for _, where in kept]
        return [_Scanned(where, float(values.min()) + self._sum_error()) for values, where in kept]

    def _scan_bytes(self, queries: Float32[ndarray, "n d"], k: int) -> list[_Scanned]:
        """Let faiss scan the blocks of bytes, several at a time."""
        coarse, depth = self._bytes, min(k + _BYTE_SPARE, self._count)
        assert coarse is not None  # noqa: S101 (only called where it is there)
        search, errors = coarse.searched(queries, depth)
        with ThreadPoolExecutor(self._threads) as pool:
            parts = list(pool.map(search, range(len(coarse.indexes))))
        found: list[_Scanned] = []
        for query, error in enumerate(errors.tolist()):
            values = np.concatenate([scores[query] for scores, _ in parts])
            rows = np.concatenate(
                [np.where(ids[query] < 0, -1, ids[query] + i * BLOCK_ROWS) for i, (_, ids) in enumerate(parts)]
            )
            values, rows = values[rows >= 0], rows[rows >= 0]
            best = np.argpartition(-values, depth - 1)[:depth]
            limit = float(values[best].min()) + error + self._sum_error()
            found.append(_Scanned(rows[best], -np.inf if depth == self._count else limit))
        return found


class _ByteRows:
    """The rows once more, rounded to signed bytes, in one faiss index per block.

    Attributes:
        error: at least the length of what rounding took from any row.
        indexes: one per block.
    """

    def __init__(self, dim: int) -> None:
        self.error = 0.0
        self.indexes: list[Any] = []
        self._dim = dim
        self._scale = np.float32(127 * dim**0.5 / min(_BYTE_REACH, dim**0.5))
        self._last_rows = BLOCK_ROWS

    def append(self, rows: Float32[ndarray, "m d"]) -> None:
        """Rows that fit into one block, behind the last."""
        import faiss

        if self._last_rows == BLOCK_ROWS:
            kind = faiss.ScalarQuantizer.QT_8bit_direct_signed
            self.indexes.append(faiss.IndexScalarQuantizer(self._dim, kind, faiss.METRIC_INNER_PRODUCT))
            self._last_rows = 0
        self.indexes[-1].add_sa_codes(self._rounded(rows))
        self._last_rows += len(rows)

    def searched(
        self, queries: Float32[ndarray, "n d"], depth: int
    ) -> tuple[Callable[[int], tuple[Float32[ndarray, "n c"], Int[ndarray, "n c"]]], Float64[ndarray, " n"]]:
        """A function that scans a block: approximate scores and places (-1 for none); and their errors' bounds (n,).

        Queries are rounded, too: for some lengths faiss would do it itself, to whole numbers.
        """
        scales = 127 / np.abs(queries).max(axis=1, keepdims=True)
        rounded = np.rint(queries * scales)
        lost = np.linalg.norm(queries - (rounded / scales).astype(np.float64), axis=1)
        back = 1 / (scales * self._scale)

        def search(block: int) -> tuple[ndarray, ndarray]:
            scores, places = self.indexes[block].search(rounded, depth)
            return scores * back, places

        # One percent for what the computation of these figures rounds, and of ‖x‖ = 1.
        return search, 1.01 * (self.error + lost * (1 + self.error)) + 2 * _UNIT_ROUNDOFF * self._dim

    def replace(self, row: int, values: Float32[ndarray, " d"]) -> None:
        """Other values in a row."""
        self._codes(row)[:] = self._rounded(values[None])[0]

    def pop(self, last: int) -> None:
        """Without the last row."""
        self._codes(last)[:] = 0
        index = self.indexes[-1]
        self._last_rows -= 1
        if self._last_rows == 0:
            self.indexes.pop()
            self._last_rows = BLOCK_ROWS
        else:
            index.codes.resize(self._last_rows * index.code_size)
            index.ntotal = self._last_rows

    def _codes(self, row: int) -> UInt8[ndarray, " d"]:
        import faiss

        index = self.indexes[row // BLOCK_ROWS]
        codes = faiss.rev_swig_ptr(index.codes.data(), index.ntotal * index.code_size)
        return codes.reshape(index.ntotal, self._dim)[row % BLOCK_ROWS]

    def _rounded(self, rows: Float32[ndarray, "m d"]) -> UInt8[ndarray, "m d"]:
        """Codes of rows as faiss has them, 128 for nothing; takes note of what rounding costs."""
        codes = np.empty(rows.shape, np.uint8)
        for start in range(0, len(rows), _ROUNDED_AT_ONCE):
            part = rows[start : start + _ROUNDED_AT_ONCE]
            scaled = part * self._scale
            whole = np.rint(scaled)
            np.clip(whole, -127, 127, out=whole)
            np.subtract(scaled, whole, out=scaled)
            squares = np.einsum("md,md->m", scaled, scaled)
            self.error = max(self.error, float(np.sqrt(squares.max(initial=0.0))) / float(self._scale))
            whole += 128
            codes[start : start + _ROUNDED_AT_ONCE] = whole
        return codes


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
