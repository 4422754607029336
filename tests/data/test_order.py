"""Orders of an epoch that are computed where they are looked at."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlrface.data.order import EpochOrder, Shuffle
from vlrface.data.permutation import Permutation
from vlrface.types import VlrfaceError


@given(st.integers(1, 3000) | st.integers(4090, 9000), st.integers(0, 2**64 - 1))
@settings(deadline=None, max_examples=40)
def test_every_number_comes_once(n: int, key: int) -> None:
    assert np.array_equal(np.sort(Permutation(n, key)(np.arange(n))), np.arange(n))


def test_places_are_looked_at_alone_and_other_keys_differ() -> None:
    for n in (1000, 5000):
        whole = Permutation(n, 7)(np.arange(n))
        assert Permutation(n, 7)(np.array([3, 999, 3])).tolist() == [whole[3], whole[999], whole[3]]
        assert (Permutation(n, 8)(np.arange(n)) != whole).mean() > 0.95


def test_large_permutations_stay_inside() -> None:
    n = 5_800_000
    found = Permutation(n, 0)(np.arange(0, n, 97))
    assert 0 <= found.min() < n / 1000 < n - n / 1000 < found.max() < n
    assert len(np.unique(found)) == len(found)


@pytest.mark.parametrize("n", [64, 6400, 1_000_000])
def test_pairs_of_places_are_evenly_distributed(n: int) -> None:
    """Where two things come to lie, over 1,600 keys: chi-square over 8 x 8 fields, 99.9 % point 103.4."""
    places = np.array([[0, 1], [5, n - 1]])
    seen = np.array([Permutation(n, key)(places) * 8 // n for key in range(1600)])
    for pair in (seen[:, 0], seen[:, 1]):
        counts = np.bincount(pair[:, 0] * 8 + pair[:, 1], minlength=64)
        same = 8 * (n // 8) * (n // 8 - 1) / (n * (n - 1)) / 8  # two things never share a place
        other = (1 - 8 * same) / 56
        expected = 1600 * np.where(np.arange(64) % 9 == 0, same, other)
        assert ((counts - expected) ** 2 / expected).sum() < 103.4


def test_neighbours_do_not_stay_together() -> None:
    found = Permutation(10_000, 3)(np.arange(10_000))
    assert abs(np.corrcoef(found[1:], found[:-1])[0, 1]) < 0.04
    assert np.mean(np.abs(np.diff(found)) == 1) < 0.001


@pytest.mark.parametrize(("n", "key"), [(0, 0), (2**62, 0), (1, -1), (1, 2**64)])
def test_permutation_refuses(n: int, key: int) -> None:
    with pytest.raises(VlrfaceError, match="must lie in"):
        Permutation(n, key)


parts_drawn = st.lists(st.tuples(st.integers(1, 60), st.integers(1, 150)), min_size=1, max_size=3)
shuffles = st.builds(Shuffle, st.sampled_from(["full", "block"]), st.integers(1, 9), st.integers(1, 5))


@given(parts_drawn, shuffles, st.integers(0, 2**64 - 1), st.integers(0, 5), st.integers(1, 17))
@settings(deadline=None, max_examples=30)
def test_an_epoch_has_each_crop_as_often_as_asked(
    drawn: list[tuple[int, int]], shuffle: Shuffle, seed: int, epoch: int, step: int
) -> None:
    order = EpochOrder(drawn, shuffle, seed, epoch)
    parts, rows = order.samples(0, order.total + 5)
    assert len(rows) == order.total == sum(count for _, count in drawn)
    for number, (n, count) in enumerate(drawn):
        times = np.bincount(rows[parts == number], minlength=n)
        assert len(times) == n
        assert times.sum() == count
        assert set(times.tolist()) <= {count // n, -(-count // n)}
    stretches = [order.samples(first, step) for first in range(0, order.total, step)]
    assert np.array_equal(np.concatenate([found for found, _ in stretches]), parts)
    assert np.array_equal(np.concatenate([found for _, found in stretches]), rows)


def test_a_window_holds_whole_blocks_from_everywhere() -> None:
    order = EpochOrder([(10_000, 10_000)], Shuffle("block", block=50, window=8), seed=1, epoch=0)
    starts: list[int] = []
    for number in range(25):
        _, rows = order.samples(number * 400, 400)
        _, stored = order.stretch(number)
        assert sorted(rows.tolist()) == sorted(stored.tolist())
        blocks = np.unique(rows // 50)
        assert len(blocks) == 8
        # The order in which they are stored: block after block.
        assert (np.diff(stored) != 1).sum() <= 7
        assert (np.diff(rows) == 1).mean() < 0.05
        starts += blocks.tolist()
    assert sorted(starts) == list(range(200))
    assert np.ptp(starts[:8]) > 50


@pytest.mark.parametrize("shuffle", [Shuffle(), Shuffle("block", 4, 2)])
def test_epochs_and_seeds_differ(shuffle: Shuffle) -> None:
    def rows(seed: int, epoch: int) -> list[int]:
        return EpochOrder([(200, 300)], shuffle, seed, epoch).samples(0, 300)[1].tolist()

    assert rows(0, 0) == rows(0, 0)
    assert rows(0, 0) != rows(0, 1)
    assert rows(0, 0) != rows(1, 0)


def test_shuffle_refuses() -> None:
    with pytest.raises(VlrfaceError, match="at least 1"):
        Shuffle("block", block=0)
    shuffle = Shuffle()
    object.__setattr__(shuffle, "kind", "none")
    with pytest.raises(VlrfaceError, match="one of full, block"):
        shuffle.__post_init__()
