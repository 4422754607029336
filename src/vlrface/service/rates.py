"""How much each caller may ask for: one bucket of tokens each."""

import time
from collections import OrderedDict
from collections.abc import Callable

from vlrface.service.settings import Rate

_MOST_CALLERS = 10_000


class Buckets:
    """Token buckets by name; for one thread. The least recently used are forgotten, which fills them."""

    def __init__(self, rate: Rate, clock: Callable[[], float] = time.monotonic) -> None:
        """Start with full buckets."""
        self._rate = rate
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str, tokens: int = 1) -> float:
        """Take tokens, if one is there; the bucket may go below empty, which later requests pay for.

        Returns:
            0 if they were taken, else the seconds until one is there.
        """
        now = self._clock()
        level, at = self._buckets.pop(name, (self._rate.burst, now))
        level = min(self._rate.burst, level + (now - at) * self._rate.per_second)
        wait = 0.0 if level >= 1 else (1 - level) / self._rate.per_second
        self._buckets[name] = (level if wait else level - tokens, now)
        if len(self._buckets) > _MOST_CALLERS:
            self._buckets.popitem(last=False)
        return wait

    def charge(self, name: str, tokens: int) -> None:
        """Take tokens for what is being answered already."""
        level, at = self._buckets.get(name, (self._rate.burst, self._clock()))
        self._buckets[name] = (level - tokens, at)
