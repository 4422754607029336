"""Batches of maps: what the frozen first steps of a network make of augmented crops, computed once and drawn from.

With its first steps frozen, a network makes the same map of the same picture in every epoch and every run. A few
augmented views of each crop are therefore taken through them once; an epoch draws one view of each sample.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float16, Int
from numpy import ndarray

from vlrface.data.batches import Batch, epoch_order, sample_generator, samples_drawn, steps_of
from vlrface.types import WHOLE, Share, VlrfaceError

_VIEW_STREAM: Final = 2  # tells the choice of views from the order of an epoch and from its samples


@dataclass(frozen=True, eq=False)
class PartViews:
    """The kept views of one part of the data.

    Attributes:
        maps: (v, n, h, w, c) of v views of n crops, channels last; may be memory-mapped.
        labels: (n,) what the trainer is told about each crop.
        copies: how many times each crop is drawn per epoch, as in `vlrface.data.batches.Part`.

    Raises:
        VlrfaceError: another number of labels than crops, no view, or `copies` draws nothing.
    """

    maps: Float16[ndarray, "v n h w c"]
    labels: Int[ndarray, " n"]
    copies: float = 1.0

    def __post_init__(self) -> None:
        views, count = self.maps.shape[:2]
        if len(self.labels) != count:
            raise VlrfaceError(f"views: {len(self.labels)} labels for {count} crops")
        if views < 1 or not (np.isfinite(self.copies) and self.drawn >= 1):
            raise VlrfaceError(f"views: {views} views and copies={self.copies} of {count} crops draw none; give more")

    @property
    def drawn(self) -> int:
        """Samples per epoch."""
        return samples_drawn(self.copies, self.maps.shape[1])


class ViewBatches:
    """Shuffled batches of kept views; an incomplete last batch of an epoch is dropped.

    What a batch holds depends on (seed, epoch, step) alone. With equal seeds the order of samples is that of
    `vlrface.data.batches.Batches` over the same parts.

    Attributes:
        steps_per_epoch: batches per epoch, the same in each epoch.
    """

    def __init__(self, parts: Sequence[PartViews], batch_size: int, seed: int, share: Share = WHOLE) -> None:
        """Check and keep what batches are made of.

        Args:
            parts: what to draw from; their maps have one shape.
            batch_size: samples per batch.
            seed: 0 ≤ seed < 2**64.
            share: which part of each batch to make; the samples are those that the whole batch has there.

        Raises:
            VlrfaceError: no part, maps of different shapes, a value out of range, or an epoch would have no batch.
        """
        if len({part.maps.shape[2:] for part in parts}) != 1:
            raise VlrfaceError(f"views: maps of one shape are needed, not {[part.maps.shape[2:] for part in parts]}")
        if batch_size < 1 or not 0 <= seed < 2**64:
            raise VlrfaceError(f"views: batch_size={batch_size} must be at least 1, and seed={seed} in [0, 2**64)")
        self.steps_per_epoch = steps_of(sum(part.drawn for part in parts), batch_size)
        self._parts = tuple(parts)
        self._batch_size = batch_size
        self._seed = seed
        self._share = share

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from step `start` on.

        Raises:
            VlrfaceError: now, for an epoch or start out of range.
        """
        if epoch < 0 or not 0 <= start <= self.steps_per_epoch:
            raise VlrfaceError(f"views: no step {start} of epoch {epoch}; an epoch has {self.steps_per_epoch} steps")
        parts, rows = epoch_order([(part.maps.shape[1], part.drawn) for part in self._parts], self._seed, epoch)
        counts = np.array([len(part.maps) for part in self._parts])[parts]
        views = sample_generator(self._seed, epoch, stream=_VIEW_STREAM).integers(0, counts)
        steps = range(start * self._batch_size, self.steps_per_epoch * self._batch_size, self._batch_size)
        mine = self._share.of(self._batch_size)
        chosen = (slice(first + mine.start, first + mine.stop) for first in steps)
        return (self._batch(parts[at], rows[at], views[at]) for at in chosen)

    def _batch(self, parts: Int[ndarray, " b"], rows: Int[ndarray, " b"], views: Int[ndarray, " b"]) -> Batch:
        maps = np.empty((len(rows), *self._parts[0].maps.shape[2:]), np.float16)
        labels = np.empty(len(rows), np.int64)
        for number, part in enumerate(self._parts):
            mine = parts == number
            maps[mine] = part.maps[views[mine], rows[mine]]
            labels[mine] = part.labels[rows[mine]]
        return Batch(maps, labels, parts, rows)
