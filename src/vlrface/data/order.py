"""The order of an epoch over millions of samples, computed where it is looked at: nothing is held in memory.

`vlrface.data.batches.epoch_order` makes whole permutations, 16 bytes per sample and several times as much while they
are made. Here any stretch of an epoch is computed alone, so that a run that goes on in the middle of an epoch needs
nothing but its step.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from vlrface.data.permutation import Permutation
from vlrface.types import VlrfaceError

ShuffleKind = Literal["full", "block"]

_AHEAD: Final = 8192  # positions of an epoch whose samples are computed at once
_WHOLE, _REST, _WINDOW = range(3)  # what a permutation is for; each has keys of its own


@dataclass(frozen=True)
class Shuffle:
    """How an epoch is shuffled.

    Attributes:
        kind: "full": every sample may come at any time, so that each picture is read at a place of its own; right where
            places are free to choose, as on SSD, in memory and on most network file systems. "block" is for disks that
            must turn to another place: stretches of `block` pictures that lie one behind the other are read together,
            and samples are shuffled within windows of `window` stretches, which are drawn from everywhere.
        block: samples of a stretch, at least 1. Larger is kinder to the disk.
        window: stretches that are shuffled together, at least 1. block x window samples lie in the page cache, twice.

    Raises:
        VlrfaceError: an unknown kind, or a value below 1.
    """

    kind: ShuffleKind = "full"
    block: int = 1024
    window: int = 64

    def __post_init__(self) -> None:
        if self.kind not in get_args(ShuffleKind):
            raise VlrfaceError(f"shuffle.kind is {self.kind!r}: give one of {', '.join(get_args(ShuffleKind))}")
        if self.block < 1 or self.window < 1:
            raise VlrfaceError(f"shuffle: block={self.block} and window={self.window} must be at least 1")


@dataclass(frozen=True)
class _PartOrder:
    """Which rows of one part an epoch has, before they are shuffled: all as often as that goes, and a few once more."""

    n: int
    drawn: int
    rest: "Permutation | _Blocks"

    def rows(self, at: Int[ndarray, " m"]) -> Int[ndarray, " m"]:
        whole = self.drawn // self.n * self.n
        rows = at % self.n
        once_more = at >= whole
        rows[once_more] = self.rest(at[once_more] - whole)
        return rows


class _Blocks:
    """0 … n − 1 in stretches of `block`, the stretches in random order; the last one may be short."""

    def __init__(self, n: int, block: int, key: int) -> None:
        count = -(-n // block)
        # A few thousand: these may be held.
        self._order = Permutation(count, key)(np.arange(count))
        self._block = block
        self._missing = count * block - n  # by so much the last stretch is short
        self._short_at = int(np.flatnonzero(self._order == count - 1)[0])

    def __call__(self, at: Int[ndarray, " m"]) -> Int[ndarray, " m"]:
        # As if the short stretch were full: what comes after it stands `missing` places later.
        full = at + np.where(at >= (self._short_at + 1) * self._block - self._missing, self._missing, 0)
        return self._order[full // self._block] * self._block + full % self._block


class EpochOrder:
    """Which sample stands at each position of one epoch. It depends on its arguments alone.

    Attributes:
        total: samples of the epoch.
        by_block: whether they are shuffled in windows.
        window: samples that are shuffled together.
    """

    def __init__(self, drawn: Sequence[tuple[int, int]], shuffle: Shuffle, seed: int, epoch: int) -> None:
        """Choose the order; takes no time.

        Args:
            drawn: of each part, how many crops it has and how many samples are drawn from it.
            shuffle: how.
            seed: 0 ≤ seed < 2**64.
            epoch: ≥ 0.
        """
        self.total = sum(count for _, count in drawn)
        self._ends = np.cumsum([count for _, count in drawn])
        self._shuffle = shuffle
        self._seed = seed
        self._epoch = epoch
        self._parts = [_PartOrder(n, count, self._shuffled(n, _REST, at)) for at, (n, count) in enumerate(drawn)]
        self._whole = self._shuffled(self.total, _WHOLE)
        self.by_block = shuffle.kind == "block"
        self.window = shuffle.block * shuffle.window if self.by_block else self.total

    def samples(self, first: int, count: int) -> tuple[Int[ndarray, " n"], Int[ndarray, " n"]]:
        """Part and row of the samples at positions first, first + 1, …, fewer than `count` at the end of the epoch."""
        places = np.arange(first, min(first + count, self.total))
        return self._at(self._whole(self._in_windows(places) if self.by_block else places))

    def stretch(self, number: int) -> tuple[Int[ndarray, " n"], Int[ndarray, " n"]]:
        """Part and row of the samples of a window, in the order in which they are stored."""
        first = number * self.window
        return self._at(np.sort(self._whole(np.arange(first, min(first + self.window, self.total)))))

    def _in_windows(self, places: Int[ndarray, " m"]) -> Int[ndarray, " m"]:
        """Positions shuffled, each within its window."""
        numbers = places // self.window
        shuffled = np.empty_like(places)
        for number in np.unique(numbers).tolist():
            mine = numbers == number
            begin = number * self.window
            length = min(self.window, self.total - begin)
            shuffled[mine] = begin + Permutation(length, self._key(_WINDOW, number))(places[mine] - begin)
        return shuffled

    def _at(self, slots: Int[ndarray, " m"]) -> tuple[Int[ndarray, " m"], Int[ndarray, " m"]]:
        parts = np.searchsorted(self._ends, slots, side="right")
        rows = np.empty_like(slots)
        for number, part in enumerate(self._parts):
            mine = parts == number
            rows[mine] = part.rows(slots[mine] - (self._ends[number] - part.drawn))
        return parts, rows

    def _shuffled(self, n: int, what: int, number: int = 0) -> "Permutation | _Blocks":
        key = self._key(what, number)
        return _Blocks(n, self._shuffle.block, key) if self._shuffle.kind == "block" else Permutation(n, key)

    def _key(self, what: int, number: int) -> int:
        words = np.random.SeedSequence([self._seed, self._epoch, what, number]).generate_state(1, np.uint64)
        return int(words[0])


def batches_in_order(
    order: EpochOrder,
    size: int,
    begin: int,
    end: int,
    read_ahead: Callable[[Int[ndarray, " n"], Int[ndarray, " n"]], None],
) -> Iterator[tuple[int, Int[ndarray, " b"], Int[ndarray, " b"]]]:
    """Batches of an epoch from one position to another.

    Args:
        order: of the epoch.
        size: samples of a batch.
        begin: position of the first sample, a multiple of `size`.
        end: likewise, behind the last.
        read_ahead: told, for a shuffle by blocks, part and row of the samples of each window before it is needed: when
            the one before it begins.

    Yields:
        Position of the first sample, and part and row of all.
    """
    at_once = max(1, _AHEAD // size) * size
    told = begin // order.window - 1
    for first in range(begin, end, at_once):
        parts, rows = order.samples(first, min(at_once, end - first))
        if order.by_block:
            last = min((first + len(rows) - 1) // order.window + 1, (order.total - 1) // order.window)
            for number in range(told + 1, last + 1):
                read_ahead(*order.stretch(number))
            told = last
        for at in range(0, len(rows), size):
            yield first + at, parts[at : at + size], rows[at : at + size]
