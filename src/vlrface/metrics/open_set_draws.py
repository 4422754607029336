"""Open-set identification under resampling of people: exact curves, with no copied scores.

Known people and strangers are drawn apart, each as many as there are, because a benchmark fixes both numbers. A
resample is then a weight for every probe, and the curve under weights is that of a search in which each probe stands as
often as its weight says. Scores are sorted once; a resample costs two cumulative sums.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from vlrface.metrics.intervals import Sampled, people_of, person_weights
from vlrface.metrics.open_set import OpenSetSearch, comparable_scores
from vlrface.metrics.verification import accepted_at_far, just_above
from vlrface.types import VlrfaceError

_STRANGERS = 1  # second word of the seed of their draw, so that it is not that of the known people


class Accepted(NamedTuple):
    """Who is reported at one threshold.

    Attributes:
        threshold: the lowest score that is reported; -inf reports everything.
        mated: (a,) rows of the mated probes that were found and score at least that.
        unmated: (b,) rows of the unmated probes whose best score is at least that.
    """

    threshold: float
    mated: Int[ndarray, " a"]
    unmated: Int[ndarray, " b"]


@dataclass(frozen=True, eq=False)
class OrderedSearch:
    """A search with its scores in order, descending, and where each score stands among those of the other kind.

    Attributes:
        search: what was found.
        rank: a mate counts as found among so many best templates.
        mated: (f,) rows of the mated probes that were found.
        unmated: (e,) rows of the unmated probes that were encoded.
        best: (e,) scores of the latter.
        mated_above: (e + 1,) number of mates scoring higher than each of them; last, below all.
        unmated_above: (e + 1,) number of unmated probes scoring higher than each of them; last, below all.
        rivals: (2, f) number of unmated probes scoring higher than each mate, and at least as high.
    """

    search: OpenSetSearch
    rank: int
    mated: Int[ndarray, " f"]
    unmated: Int[ndarray, " e"]
    best: Float[ndarray, " e"]
    mated_above: Int[ndarray, " e1"]
    unmated_above: Int[ndarray, " e1"]
    rivals: Int[ndarray, "2 f"]

    @classmethod
    def of(cls, search: OpenSetSearch, rank: int) -> "OrderedSearch":
        """Order a search.

        Raises:
            VlrfaceError: no mated probe, no encoded unmated probe, or a rank below 1.
        """
        found, best = comparable_scores(search, rank)
        by_mate, by_best = np.argsort(-found, kind="stable"), np.argsort(-best, kind="stable")
        found, best = found[by_mate], best[by_best]
        return cls(
            search=search,
            rank=rank,
            mated=np.flatnonzero(search.found(rank))[by_mate],
            unmated=np.flatnonzero(~np.isnan(search.best))[by_best],
            best=best,
            mated_above=np.append(_number_above(found, best), len(found)),
            unmated_above=np.append(_number_above(best, best), len(best)),
            rivals=np.stack([_number_above(best, found), _number_from(best, found)]),
        )


@dataclass(frozen=True, eq=False)
class WeightedSearch:
    """A search in which every probe counts as often as it was drawn.

    Attributes:
        ordered: the search.
        mated: (m,) whole weights of the mated probes.
        unmated: (u,) whole weights of the unmated probes; those of probes that were not encoded count nowhere.
    """

    ordered: OrderedSearch
    mated: Int[ndarray, " m"]
    unmated: Int[ndarray, " u"]

    def tpir(self, fpirs: tuple[float, ...]) -> Float[ndarray, " k"]:
        """TPIR at each rate by the rule of `open_set.tpir_at_fpir`; NaN if nobody of one kind was drawn."""
        if not self.defined:
            return np.full(len(fpirs), np.nan)
        return self._found[self.ordered.mated_above[self._limits(fpirs)]] / self._mated_total

    def area(self) -> float:
        """Area by the rule of `open_set.tpir_area`; NaN if nobody of one kind was drawn."""
        if not self.defined:
            return float("nan")
        rivals = self._strangers[self.ordered.rivals].sum(axis=0)
        strangers = int(self._strangers[-1])
        halves = (self.mated[self.ordered.mated] * (2 * strangers - rivals)).sum()
        return float(halves / (2 * self._mated_total * strangers))

    def accepted(self, fpir: float) -> Accepted:
        """Who is reported at one rate; of those some may have weight 0.

        Raises:
            VlrfaceError: nobody of one kind was drawn (see `defined`), or `fpir` outside [0, 1].
        """
        limit = int(self._limits((fpir,))[0])
        best = self.ordered.best
        threshold = float(just_above(best[limit : limit + 1])[0]) if limit < len(best) else -np.inf
        mated = self.ordered.mated[: self.ordered.mated_above[limit]]
        return Accepted(threshold, mated, self.ordered.unmated[: self.ordered.unmated_above[limit]])

    @cached_property
    def encoded_unmated(self) -> Int[ndarray, " u"]:
        """Weights of the unmated probes, 0 where one was not encoded."""
        return np.where(np.isnan(self.ordered.search.best), 0, self.unmated)

    @cached_property
    def defined(self) -> bool:
        """Whether mated probes and encoded unmated probes were drawn."""
        return bool(self._mated_total and self._strangers[-1])

    def _limits(self, fpirs: tuple[float, ...]) -> Int[ndarray, " k"]:
        """Place of the highest unmated probe that must not be reported; their number if all may be."""
        allowed = _all_accepted(fpirs, int(self._strangers[-1]))
        return np.searchsorted(self._strangers[1:], allowed, "right")

    @cached_property
    def _found(self) -> Int[ndarray, " f1"]:
        """Weight of the mates down to each place."""
        return _running(self.mated[self.ordered.mated])

    @cached_property
    def _strangers(self) -> Int[ndarray, " e1"]:
        return _running(self.unmated[self.ordered.unmated])

    @cached_property
    def _mated_total(self) -> int:
        return int(self.mated.sum())


OpenSetStatistic = Callable[[WeightedSearch], Float[ndarray, " k"]]


def bootstrap_open_set(
    statistic: OpenSetStatistic, search: OpenSetSearch, *, rank: int = 20, resamples: int = 1000, seed: int = 0
) -> Sampled:
    """Any statistic of a weighted search, measured and resampled over people.

    Known people are drawn as `intervals.person_weights` draws them with the same seed, strangers apart from them. An
    unmated probe of a negative identity is a stranger of its own. Two searches with the same probes are resampled
    alike, whatever they found.

    Args:
        statistic: takes a weighted search, gives (k,) values, NaN where undefined; called first with all weights one.
        search: of `open_set.search_open_set`.
        rank: a mate counts as found among so many best templates.
        resamples: number of resamples.
        seed: of the draw.

    Returns:
        The values and their samples; without samples where there is only one person of a kind.

    Raises:
        VlrfaceError: no mated probe, no encoded unmated probe, a rank below 1, or no resamples.
    """
    ordered = OrderedSearch.of(search, rank)
    ones = WeightedSearch(ordered, np.ones(len(search.rank), np.int64), np.ones(len(search.best), np.int64))
    value = np.asarray(statistic(ones), np.float64)
    known, strangers = people_of(search.identities), people_of(search.strangers)
    if min(known.total, strangers.total) < 2:
        return Sampled(value, np.empty((0, len(value))), 1)
    samples = np.empty((resamples, len(value)))
    draws = zip(
        person_weights(known.total, resamples, seed), _stranger_weights(strangers.total, resamples, seed), strict=True
    )
    for row, (mated, unmated) in enumerate(draws):
        weighted = WeightedSearch(ordered, mated.astype(np.int64)[known.number], unmated[strangers.number])
        samples[row] = statistic(weighted)
    return Sampled(value, samples, known.total + strangers.total)


@dataclass(frozen=True, eq=False)
class RatesByGroup:
    """Statistic: TPIR and FPIR of groups of probes at the threshold that all unmated probes give.

    Attributes:
        fpir: of the threshold.
        mated: (m, g) whether each mated probe is in each group.
        unmated: (u, g) the same of unmated probes.
    """

    fpir: float
    mated: Bool[ndarray, "m g"]
    unmated: Bool[ndarray, "u g"]

    def __call__(self, search: WeightedSearch) -> Float[ndarray, " k"]:
        """TPIR of each group, then FPIR of each group; NaN where nobody of it was drawn."""
        if not search.defined:
            return np.full(self.mated.shape[1] + self.unmated.shape[1], np.nan)
        accepted = search.accepted(self.fpir)
        return np.concatenate(
            [
                _group_shares(search.mated, accepted.mated, self._columns[0]),
                _group_shares(search.encoded_unmated, accepted.unmated, self._columns[1]),
            ]
        )

    @cached_property
    def _columns(self) -> tuple[Float[ndarray, "m g"], Float[ndarray, "u g"]]:
        return self.mated.astype(np.float64), self.unmated.astype(np.float64)


@dataclass(frozen=True, eq=False)
class RatesAfterReject:
    """Statistic: TPIR and FPIR among the probes that remain when the share of lowest quality is rejected.

    The threshold is fixed first, on all unmated probes. Then the lowest quality of **all** probes goes, mated and
    unmated together: whoever turns a face away does not know which it is. What has equal quality goes together, and
    where a share cuts through it the result is the expectation over orders, as in `rejection`.

    Attributes:
        fpir: of the threshold.
        shares: (s,) rejected shares of all probes, in [0, 1).
        quality: (m + u,) of the mated, then the unmated probes, larger is better; NaN is rejected first.
    """

    fpir: float
    shares: Float[ndarray, " s"]
    quality: Float[ndarray, " n"]

    def __post_init__(self) -> None:
        if ((self.shares < 0) | (self.shares >= 1)).any():
            raise VlrfaceError(f"rejected shares lie in [0, 1), not {self.shares.min():g} … {self.shares.max():g}")
        if np.isnan(self.quality).all():
            raise VlrfaceError("no probe has a quality: use a model that predicts recognizability, or another measure")

    def __call__(self, search: WeightedSearch) -> Float[ndarray, " k"]:
        """TPIR at each share, then FPIR at each share; NaN where no probe of the kind remains."""
        if len(self.quality) != len(search.mated) + len(search.unmated):
            raise VlrfaceError(
                f"{len(self.quality)} qualities for {len(search.mated)} mated and {len(search.unmated)} unmated probes"
            )
        if not search.defined:
            return np.full(2 * len(self.shares), np.nan)
        accepted = search.accepted(self.fpir)
        per_level = np.bincount(self._level, np.concatenate([search.mated, search.unmated]))
        gone = _running(per_level.astype(np.int64))
        limits = np.interp(self.shares * gone[-1], gone, np.arange(len(gone)))
        # Of the level that a limit lies in, the part above it is kept.
        kept = np.clip(self._level[:, None] + 1 - limits, 0, 1)
        split = len(search.mated)
        return np.concatenate(
            [
                _group_shares(search.mated, accepted.mated, kept[:split]),
                _group_shares(search.encoded_unmated, accepted.unmated, kept[split:]),
            ]
        )

    @cached_property
    def _level(self) -> Int[ndarray, " n"]:
        return np.unique(np.where(np.isnan(self.quality), -np.inf, self.quality), return_inverse=True)[1]


def _group_shares(
    weights: Int[ndarray, " n"], accepted: Int[ndarray, " a"], member: Float[ndarray, "n g"]
) -> Float[ndarray, " g"]:
    """Weighted share of each group's members that are accepted; NaN for a group without weight."""
    marked = np.zeros(len(weights))
    marked[accepted] = weights[accepted]
    total = weights.astype(np.float64) @ member
    return np.divide(marked @ member, total, out=np.full(member.shape[1], np.nan), where=total > 0)


def _stranger_weights(people: int, resamples: int, seed: int) -> Iterator[Int[ndarray, " c"]]:
    """How often each is drawn; one resample at a time, because there may be hundreds of thousands."""
    rng = np.random.default_rng([seed, _STRANGERS])
    for _ in range(resamples):
        yield np.bincount(rng.integers(0, people, people), minlength=people)


@lru_cache(maxsize=4096)
def _all_accepted(fpirs: tuple[float, ...], unmated: int) -> tuple[int, ...]:
    return tuple(accepted_at_far(fpir, unmated) for fpir in fpirs)


def _running(weights: Int[ndarray, " n"]) -> Int[ndarray, " n1"]:
    total = np.zeros(len(weights) + 1, np.int64)
    np.cumsum(weights, out=total[1:])
    return total


def _number_above(scores: Float[ndarray, " n"], limits: Float[ndarray, " k"]) -> Int[ndarray, " k"]:
    """Number of descending scores higher than each limit."""
    return len(scores) - np.searchsorted(scores[::-1], limits, "right")


def _number_from(scores: Float[ndarray, " n"], limits: Float[ndarray, " k"]) -> Int[ndarray, " k"]:
    """Number of descending scores at least as high as each limit."""
    return len(scores) - np.searchsorted(scores[::-1], limits, "left")
