"""The rules that turn scored pairs into matches. Each is one class; all read as `rule.matches(threshold)`.

From simple to complex: `Threshold`, `Min2`, `AverageLink`. What does not depend on the threshold is done once. Of
several thresholds ask for the lowest one first: clusters are made from the top down to it. But for `Min2`, a higher
threshold only splits groups. No rule knows the size of the pool.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components

from ensemble.config import Rule
from ensemble.decision.average_linkage import agglomerate
from shared.schema import Flags, Floats, Matches, Pairs, Rows


class DecisionRule(Protocol):
    """A rule made ready for one pool's scored pairs."""

    def matches(self, threshold: float) -> Matches:
        """The matches at a threshold in [0, 1]."""


class Threshold:
    """A pair at or above the threshold is a match.

    Precise, but a listing whose only true pair scores low stays alone, and one wrong pair joins two groups.
    """

    def __init__(self, pairs: Pairs) -> None:
        self._every = _both_ways(pairs)

    def matches(self, threshold: float) -> Matches:
        """Both listings of every such pair match each other."""
        return subset(self._every, self._every.score >= np.float64(threshold))  # not rounded to float32


class Min2:
    """As `Threshold`, and a listing that would stay alone keeps its best pair.

    Against true pairs that score low: right where every listing has a match. Elsewhere it forces wrong ones on the
    singletons.
    """

    def __init__(self, pairs: Pairs) -> None:
        self._every = _both_ways(pairs)
        self._first = np.diff(self._every.listing, prepend=-1) != 0

    def matches(self, threshold: float) -> Matches:
        """A listing kept this way matches its best one, not the other way round. Ties: the lower row."""
        return subset(self._every, self._first | (self._every.score >= np.float64(threshold)))


class AverageLink:
    """Groups of listings are joined while the mean score between two groups is at or above the threshold.

    Agglomerative clustering; a pair that nobody proposed scores 0. Against single wrong pairs, which no longer join two
    groups, and against missed ones, which the others of a group make good. Large groups, of whose pairs many were never
    proposed, fall apart.
    """

    LEAST: ClassVar[float] = 0.05  # no lower threshold is used: links under it never join

    def __init__(self, pairs: Pairs) -> None:
        self.pairs = pairs
        self._joins = agglomerate(pairs.n, pairs.left, pairs.right, scores(pairs), least=np.inf)
        self._known = np.inf  # joins at or above it are known

    def groups(self, threshold: float) -> NDArray[np.int64]:
        """Group number of each listing, [n]. A higher threshold only splits groups."""
        threshold = max(threshold, self.LEAST)
        if threshold < self._known:
            pairs, self._known = self.pairs, threshold
            self._joins = agglomerate(pairs.n, pairs.left, pairs.right, scores(pairs), least=threshold)
        one, other, link = self._joins
        joined = link >= threshold
        edges = (np.ones(int(joined.sum()), dtype=np.int8), (one[joined], other[joined]))
        graph = coo_array(edges, shape=(self.pairs.n, self.pairs.n))
        return connected_components(graph, directed=False)[1].astype(np.int64)

    def matches(self, threshold: float) -> Matches:
        """Every two listings of a group match; a pair that was not scored has score NaN."""
        return _within(self.groups(threshold), self.pairs)


RULES: dict[Rule, Callable[[Pairs], DecisionRule]] = {
    "threshold": Threshold,
    "min2": Min2,
    "average_link": AverageLink,
}


def scores(pairs: Pairs) -> Floats:
    """The scores of scored pairs, float32 [p]."""
    if pairs.score is None:
        raise ValueError("pairs must be scored before a decision")
    return pairs.score


def symmetric(n: int, left: Rows, right: Rows, score: NDArray[np.floating]) -> Matches:
    """Matches in both directions, each listing's best first; ties by row."""
    ends = np.concatenate([left, right]), np.concatenate([right, left])
    return ordered(n, *ends, np.concatenate([score, score]))


def ordered(n: int, listing: NDArray[Any], match: NDArray[Any], score: NDArray[np.floating]) -> Matches:
    """Matches, each listing's best first; ties by row."""
    score = score.astype(np.float32)
    order = np.lexsort((match, -np.nan_to_num(score, nan=-1.0), listing))
    return Matches(n, listing[order].astype(np.int32), match[order].astype(np.int32), score[order])


def subset(matches: Matches, keep: Flags) -> Matches:
    """Some of the matches; `keep` is bool [m]."""
    return Matches(matches.n, matches.listing[keep], matches.match[keep], matches.score[keep])


def capped(matches: Matches, most: int) -> Matches:
    """At most the `most` best matches of every listing."""
    start = np.searchsorted(matches.listing, np.arange(matches.n))
    return subset(matches, np.arange(len(matches)) - start[matches.listing] < most)


def _both_ways(pairs: Pairs) -> Matches:
    return symmetric(pairs.n, pairs.left, pairs.right, scores(pairs))


def _within(group: NDArray[np.int64], pairs: Pairs) -> Matches:
    """Matches between all listings of a group."""
    n = pairs.n
    member = csr_array((np.ones(n, dtype=np.int8), (np.arange(n), group)), shape=(n, int(group.max(initial=0)) + 1))
    together = coo_array(member @ member.T)
    upper = together.coords[0] < together.coords[1]
    left, right = together.coords[0][upper].astype(np.int32), together.coords[1][upper].astype(np.int32)
    key = pairs.left.astype(np.int64) * n + pairs.right
    wanted = left.astype(np.int64) * n + right
    at = np.minimum(np.searchsorted(key, wanted), max(len(key) - 1, 0))
    score = np.full(len(left), np.nan, dtype=np.float32)
    if len(key):
        known = key[at] == wanted
        score[known] = scores(pairs)[at[known]]
    return symmetric(n, left, right, score)
