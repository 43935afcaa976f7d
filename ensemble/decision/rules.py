"""The rules that turn scored pairs into matches. Each is a class that is used as `rule.matches(threshold)`.

From simple to complex: `Threshold`, `Min2`, `AverageLink`. Whatever does not depend on the threshold is computed once.
When several thresholds are needed, ask for the lowest first: `AverageLink` clusters from the top down to it. A higher
threshold only splits groups, except with `Min2`. No rule depends on the size of the pool. Groups that are too large
are split (`size_cap.py`): pairs of listings in different parts do not match. Every rule keeps to pairs that people
decided (`pins.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array

from ensemble.config import Rule
from ensemble.decision.average_linkage import agglomerate
from ensemble.decision.pins import PinnedCap, Pins
from ensemble.decision.size_cap import SizeCap
from shared.schema import Flags, Matches, Rows, ScoredPairs, locate, pair_key
from shared.search.sorting import best_first


class DecisionRule(Protocol):
    """A rule, ready for the scored pairs of one pool.

    Attributes:
        split_groups: Number of groups that were too large at the last threshold.
    """

    split_groups: int

    def matches(self, threshold: float) -> Matches:
        """Return the matches at a threshold in [0, 1]."""


class Threshold:
    """Match every pair whose score is at or above the threshold.

    This is precise, but a listing whose only true pair scores low stays alone, and one wrong pair joins two groups.

    Examples:
        >>> rows = np.array([0, 0], np.int32), np.array([1, 2], np.int32)
        >>> pairs = ScoredPairs(3, *rows, np.array([0.9, 0.2], np.float32))
        >>> [matches.tolist() for matches in Threshold(pairs).matches(0.5).lists()]
        [[1], [0], []]
    """

    def __init__(self, pairs: ScoredPairs, max_group: int | None = None, pins: Pins | None = None) -> None:
        self._pairs, self._pins, self.split_groups = pairs, pins, 0
        self._cap, self._lowest = _cap(pairs, max_group, pins), np.inf

    def matches(self, threshold: float) -> Matches:
        """Return the matches at a threshold; they are symmetric."""
        pairs = self._pairs
        if threshold < self._lowest:  # of millions of pairs, few score as high
            self._every, self._lowest = _matches_from(pairs, pairs.score >= np.float64(threshold)), threshold
        matches = subset(self._every, self._every.score >= np.float64(threshold))  # not rounded to float32
        group, self.split_groups = self._cap.groups(pairs.score >= np.float64(threshold))
        return _within(matches, group) if self.split_groups or self._pins else matches


class Min2:
    """Match as `Threshold` does; a listing that would stay alone is matched with its best pair.

    This helps where true pairs score low and every listing has a match. Elsewhere it forces wrong matches on listings
    that have none.

    Examples:
        >>> rows = np.array([0, 0], np.int32), np.array([1, 2], np.int32)
        >>> pairs = ScoredPairs(3, *rows, np.array([0.9, 0.2], np.float32))
        >>> [matches.tolist() for matches in Min2(pairs).matches(0.5).lists()]
        [[1], [0], [0]]
    """

    def __init__(self, pairs: ScoredPairs, max_group: int | None = None, pins: Pins | None = None) -> None:
        self._every = _matches_from(pairs)
        self._cap, self._score, self._pins = _cap(pairs, max_group, pins), pairs.score, pins
        self.split_groups = 0
        self._is_best = np.diff(self._every.listing, prepend=-1) != 0
        best = subset(self._every, self._is_best)
        low, high = np.minimum(best.listing, best.match), np.maximum(best.listing, best.match)
        self._is_best_pair = np.isin(pairs.key, pair_key(low, high, pairs.n))

    def matches(self, threshold: float) -> Matches:
        """Return the matches at a threshold. A best pair below it is a match in one direction only; ties: lower row."""
        matches = subset(self._every, self._is_best | (self._every.score >= np.float64(threshold)))
        group, self.split_groups = self._cap.groups(self._is_best_pair | (self._score >= np.float64(threshold)))
        return _within(matches, group) if self.split_groups or self._pins else matches


class AverageLink:
    """Join groups of listings while the mean score between two groups is at or above the threshold.

    Agglomerative clustering, where a pair that is no candidate scores 0. A single wrong pair no longer joins two
    groups, and the other pairs of a group make up for a missing one. Large groups many of whose pairs are no candidates
    fall apart.

    Examples:
        >>> rows = np.array([0, 0, 1], np.int32), np.array([1, 2, 3], np.int32)
        >>> pairs = ScoredPairs(4, *rows, np.array([0.9, 0.9, 0.3], np.float32))
        >>> AverageLink(pairs).groups(0.4).tolist()
        [0, 0, 0, 1]
    """

    MIN_THRESHOLD: ClassVar[float] = 0.05  # the lowest threshold that is used: weaker links never join groups

    def __init__(self, pairs: ScoredPairs, max_group: int | None = None, pins: Pins | None = None) -> None:
        self.pairs, self.max_group, self.pins, self.split_groups = pairs, max_group, pins, 0
        self._join(np.inf)

    def _join(self, min_link: float) -> None:
        """Compute all joins with a link at or above `min_link`."""
        pairs, self._lowest = self.pairs, min_link
        columns = pairs.left, pairs.right, pairs.score
        one, other, self._link = agglomerate(pairs.n, *columns, min_link=min_link, pins=self.pins)
        self._cap = SizeCap(pairs.n, one, other, self._link, self.max_group)

    def groups(self, threshold: float) -> NDArray[np.int64]:
        """Return the group number of each listing, [n]. A higher threshold only splits groups."""
        threshold = max(threshold, self.MIN_THRESHOLD)
        if threshold < self._lowest:
            self._join(threshold)
        group, self.split_groups = self._cap.groups(self._link >= threshold)
        return group

    def matches(self, threshold: float) -> Matches:
        """Return matches between all listings of a group; a pair that is no candidate has score NaN."""
        return _matches_within(self.groups(threshold), self.pairs)


RULES: dict[Rule, Callable[..., DecisionRule]] = {
    "threshold": Threshold,
    "min2": Min2,
    "average_link": AverageLink,
}


def _cap(pairs: ScoredPairs, most: int | None, pins: Pins | None) -> SizeCap | PinnedCap:
    """Return what makes groups of the pairs that are links."""
    if pins is not None:
        return PinnedCap(pairs, most, pins)
    return SizeCap(pairs.n, pairs.left, pairs.right, pairs.score, most)


def _matches_from(pairs: ScoredPairs, keep: Flags | None = None) -> Matches:
    """Return pairs as matches, or some of them."""
    columns = pairs.left, pairs.right, pairs.score
    return both_directions(pairs.n, *(columns if keep is None else (column[keep] for column in columns)))


def _within(matches: Matches, group: NDArray[np.int64]) -> Matches:
    """Return the matches of two listings of one group; `group` is the group number of each listing, [n]."""
    return subset(matches, group[matches.listing] == group[matches.match])


def both_directions(n: int, left: Rows, right: Rows, score: NDArray[np.floating]) -> Matches:
    """Return pairs as matches in both directions, each listing's best first; ties by row.

    Args:
        n: Number of listings in the pool.
        left: Rows, int32 [p].
        right: Rows, int32 [p]; pairs are sorted by (left, right), and left < right.
        score: Score of each pair, [p]; NaN where it has none.
    """
    listing, match = np.concatenate([right, left]), np.concatenate([left, right])  # the lower matches first
    score = np.concatenate([score, score]).astype(np.float32, copy=False)
    order = best_first(listing, np.where(np.isnan(score), np.float32(-1), score))
    return Matches(n, listing[order], match[order], score[order])


def sort_matches(n: int, listing: NDArray[Any], match: NDArray[Any], score: NDArray[np.floating]) -> Matches:
    """Return matches that are given in any order, each listing's best first; ties by row."""
    score = score.astype(np.float32, copy=False)
    by_row = np.argsort(match, kind="stable")
    order = by_row[best_first(listing[by_row], np.where(np.isnan(score), np.float32(-1), score)[by_row])]
    return Matches(n, listing[order].astype(np.int32), match[order].astype(np.int32), score[order])


def subset(matches: Matches, keep: Flags) -> Matches:
    """Return some of the matches; `keep` is bool [m]."""
    return Matches(matches.n, matches.listing[keep], matches.match[keep], matches.score[keep])


def keep_best(matches: Matches, max_matches: int) -> Matches:
    """Return at most the `max_matches` best matches of every listing."""
    start = np.searchsorted(matches.listing, np.arange(matches.n))
    return subset(matches, np.arange(len(matches)) - start[matches.listing] < max_matches)


def _matches_within(group: NDArray[np.int64], pairs: ScoredPairs) -> Matches:
    """Return matches between all listings of a group."""
    n = pairs.n
    member = csr_array((np.ones(n, dtype=np.int8), (np.arange(n), group)), shape=(n, int(group.max(initial=0)) + 1))
    together = coo_array(member @ member.T)
    upper = together.coords[0] < together.coords[1]
    key = np.sort(pair_key(together.coords[0][upper], together.coords[1][upper], n))
    left, right = (key // max(n, 1)).astype(np.int32), (key % max(n, 1)).astype(np.int32)
    position, is_candidate = locate(key, pairs.key)
    score = np.full(len(left), np.nan, dtype=np.float32)
    score[is_candidate] = pairs.score[position[is_candidate]]
    return both_directions(n, left, right, score)
