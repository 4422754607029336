"""A random order of n things that is computed where it is looked at, and never held in memory."""

import math
from typing import Final

import numpy as np
from jaxtyping import Int, UInt64
from numpy import ndarray

from vlrface.types import VlrfaceError

_ROUNDS: Final = 8
_SMALL: Final = 4096  # so many are held: a Feistel network over few things does not reach all their orders alike


class Permutation:
    """A seeded permutation of 0 … n − 1: `permutation(places)` says what stands at these places.

    A Feistel network over pairs (l, r) with l < a and r < b, where a·b is the least such product that reaches n with a
    and b near its root (Black and Rogaway, CT-RSA 2002, "generalized Feistel"); what falls on n or beyond is sent
    through again ("cycle walking"), which is seldom needed, as a·b exceeds n by its root at most. The round function is
    the finalizer of splitmix64. For the order of training samples, not for secrets. Up to 4,096 things are shuffled as
    they are.

    Attributes:
        n: how many things there are.
    """

    def __init__(self, n: int, key: int) -> None:
        """Choose the permutation.

        Args:
            n: 1 ≤ n < 2**62.
            key: 0 ≤ key < 2**64; another key is another permutation.

        Raises:
            VlrfaceError: a value out of range.
        """
        if not (1 <= n < 2**62 and 0 <= key < 2**64):
            raise VlrfaceError(f"permutation: n={n} must lie in [1, 2**62), and key={key} in [0, 2**64)")
        self.n = n
        a = math.isqrt(n - 1) + 1
        self._sides = (np.uint64(a), np.uint64(-(-n // a)))
        numbers = np.arange(1, _ROUNDS + 1, dtype=np.uint64)
        self._keys = _mixed(np.uint64(key) ^ _mixed(numbers))
        self._held = np.random.Generator(np.random.Philox(key=key)).permutation(n) if n <= _SMALL else None

    def __call__(self, places: Int[ndarray, "*s"]) -> Int[ndarray, "*s"]:
        """What stands at these places, each in [0, n)."""
        if self._held is not None:
            return self._held[places]
        values = self._passed(places.astype(np.uint64))
        while (outside := values >= self.n).any():
            values[outside] = self._passed(values[outside])
        return values.astype(np.int64)

    def _passed(self, values: UInt64[ndarray, "*s"]) -> UInt64[ndarray, "*s"]:
        a, b = self._sides
        right, left = values // a, values % a  # left < a, right < b
        for number, key in enumerate(self._keys):
            side = a if number % 2 == 0 else b
            left, right = right, (left + _mixed(right ^ key) % side) % side
        # After an even number of rounds the left half is below a again.
        return right * a + left


def _mixed(values: UInt64[ndarray, "*s"]) -> UInt64[ndarray, "*s"]:
    """The finalizer of splitmix64: every bit of the result depends on every bit of the value."""
    with np.errstate(over="ignore"):  # arithmetic modulo 2**64 is meant
        values = values + np.uint64(0x9E3779B97F4A7C15)
        values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
