"""The decision: which scored pairs become matches. Each rule is one class; all read as `rule.matches(threshold)`.

- `Threshold`: a pair at or above the threshold is a match. Precise, but a listing whose only true pair scores low
  stays alone.
- `Min2`: as above, and a listing left alone keeps its best pair. Right where every listing has a match; elsewhere it
  forces wrong ones on the singletons.
- `AverageLink`: groups of listings are joined while the mean score between two groups is at or above the threshold
  (agglomerative clustering; a pair that nobody proposed scores 0). One wrong link no longer joins two groups, and a
  missed link is made good by the others.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import linkage
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import squareform

from ensemble.config import Rule
from shared.errors import ArtefactError
from shared.schema import Matches, Pairs

LEAST_LINK = 0.05  # no threshold below this is used for clustering: links under it never join
LARGEST_BLOCK = 2_000  # listings clustered at once; a larger component is first cut at its weakest links

Rows = NDArray[np.int32]
Joins = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]


class DecisionRule(Protocol):
    """A rule made ready for one pool's scored pairs; what does not depend on the threshold is done once."""

    def matches(self, threshold: float) -> Matches:
        """The matches at a threshold in [0, 1]."""


class Threshold:
    """A pair at or above the threshold is a match."""

    def __init__(self, pairs: Pairs) -> None:
        self._every = _both_ways(pairs)

    def matches(self, threshold: float) -> Matches:
        """Both listings of every such pair match each other."""
        return _subset(self._every, self._every.score >= np.float64(threshold))  # not rounded to float32


class Min2:
    """As `Threshold`, and a listing that would stay alone keeps its best pair."""

    def __init__(self, pairs: Pairs) -> None:
        self._every = _both_ways(pairs)
        self._first = np.diff(self._every.listing, prepend=-1) != 0

    def matches(self, threshold: float) -> Matches:
        """A listing kept this way matches its best one, not the other way round. Ties: the lower row."""
        return _subset(self._every, self._first | (self._every.score >= np.float64(threshold)))


class AverageLink:
    """Groups are joined while the mean score between them is at or above the threshold."""

    def __init__(self, pairs: Pairs) -> None:
        self.pairs = pairs
        nothing = (np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0))
        merges = [nothing, *(_merges(rows, distance) for rows, distance in _blocks(pairs))]
        self._one, self._other, self._score = (np.concatenate(part) for part in zip(*merges, strict=True))

    def groups(self, threshold: float) -> NDArray[np.int64]:
        """Group number of each listing, [n]. A higher threshold only splits groups."""
        joined = self._score >= max(threshold, LEAST_LINK)
        edges = (np.ones(int(joined.sum()), dtype=np.int8), (self._one[joined], self._other[joined]))
        graph = coo_array(edges, shape=(self.pairs.n, self.pairs.n))
        return connected_components(graph, directed=False)[1].astype(np.int64)

    def matches(self, threshold: float) -> Matches:
        """Every two listings of a group match; a pair that was not scored has score NaN."""
        return _within(self.groups(threshold), self.pairs)


RULES: dict[Rule, Callable[[Pairs], DecisionRule]] = {"threshold": Threshold, "min2": Min2, "average_link": AverageLink}


@dataclass(frozen=True)
class Decision:
    """A tuned decision.

    Args:
        rule: Name of the rule.
        threshold: In [0, 1].
        max_matches: Most matches of a listing; the best are kept.
    """

    rule: Rule
    threshold: float
    max_matches: int = 50

    def apply(self, pairs: Pairs, ids: NDArray[Any] | None = None) -> Matches:
        """Decide on a pool's scored pairs.

        Args:
            pairs: Scored pairs of n listings.
            ids: Posting ids [n], by which equal scores stand whatever the order of the rows; by row if None.
        """
        if ids is not None:
            order = np.argsort(ids, kind="stable")
            return _renumbered(self.apply(_reordered(pairs, np.argsort(order))), order)
        return capped(RULES[self.rule](pairs).matches(self.threshold), self.max_matches)

    def save(self, path: Path) -> None:
        """Write JSON; the threshold comes back exactly."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            ArtefactError: The file is of another making.
        """
        try:
            decision = cls(**json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise ArtefactError(f"{path} is not a decision: {error}") from error
        if decision.rule not in list(RULES):
            raise ArtefactError(f"{path}: there is no rule {decision.rule!r}; there are: {', '.join(RULES)}")
        return decision


def groups_of(matches: Matches) -> NDArray[np.int64]:
    """Connected components of the matches: every listing is in exactly one group, numbered by first row; [n]."""
    ones = np.ones(len(matches), dtype=np.int8)
    graph = coo_array((ones, (matches.listing, matches.match)), shape=(matches.n, matches.n))
    found = connected_components(graph, directed=False)[1]
    _, first, group = np.unique(found, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[group]


def symmetric(n: int, left: Rows, right: Rows, score: NDArray[np.floating]) -> Matches:
    """Matches in both directions, each listing's best first; ties by row."""
    return _sorted(n, np.concatenate([left, right]), np.concatenate([right, left]), np.concatenate([score, score]))


def _sorted(n: int, listing: NDArray[Any], match: NDArray[Any], score: NDArray[np.floating]) -> Matches:
    score = score.astype(np.float32)
    order = np.lexsort((match, -np.nan_to_num(score, nan=-1.0), listing))
    return Matches(n, listing[order].astype(np.int32), match[order].astype(np.int32), score[order])


def _both_ways(pairs: Pairs) -> Matches:
    return symmetric(pairs.n, pairs.left, pairs.right, _scores(pairs))


def _merges(rows: Rows, distance: NDArray[np.float64]) -> Joins:
    """The joins of average-link clustering: one listing of each of the two groups joined, and their mean score.

    The groups at a threshold are the components of the joins at or above it, for a group's joins never rise above
    those of its parts.
    """
    tree = linkage(squareform(distance, checks=False), method="average")
    member = [*range(len(rows)), *np.zeros(len(tree), dtype=int)]
    for at, (one, _, _, _) in enumerate(tree):
        member[len(rows) + at] = member[int(one)]
    parts = np.array(member)[tree[:, :2].astype(np.int64)]
    return rows[parts[:, 0]].astype(np.int64), rows[parts[:, 1]].astype(np.int64), 1 - tree[:, 2]


def capped(matches: Matches, most: int) -> Matches:
    """At most the `most` best matches of every listing."""
    start = np.searchsorted(matches.listing, np.arange(matches.n))
    return _subset(matches, np.arange(len(matches)) - start[matches.listing] < most)


def _subset(matches: Matches, keep: NDArray[np.bool_]) -> Matches:
    return Matches(matches.n, matches.listing[keep], matches.match[keep], matches.score[keep])


def _reordered(pairs: Pairs, place: NDArray[np.int64]) -> Pairs:
    """The same scored pairs once listing i stands at row place[i]."""
    low, high = np.sort(np.stack([place[pairs.left], place[pairs.right]]), axis=0).astype(np.int32)
    order = np.lexsort((high, low))
    return Pairs(pairs.n, low[order], high[order], score=_scores(pairs)[order])


def _renumbered(matches: Matches, row: NDArray[np.int64]) -> Matches:
    """The same matches once listing i stands at row row[i]."""
    return _sorted(matches.n, row[matches.listing], row[matches.match], matches.score)


def _scores(pairs: Pairs) -> NDArray[np.float32]:
    if pairs.score is None:
        raise ValueError("pairs must be scored before a decision")
    return pairs.score


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
        score[known] = _scores(pairs)[at[known]]
    return symmetric(n, left, right, score)


def _blocks(pairs: Pairs) -> Iterator[tuple[Rows, NDArray[np.float64]]]:
    """Sets of listings that no clustering joins with others, with the distances (1 − score) in them.

    A component above `LARGEST_BLOCK` listings is cut at ever higher links until its parts are small enough.
    """
    links = _scores(pairs) >= LEAST_LINK
    score = _scores(pairs)[links].astype(np.float64)
    graph = csr_array((score, (pairs.left[links], pairs.right[links])), shape=(pairs.n, pairs.n))
    every = csr_array((_scores(pairs), (pairs.left, pairs.right)), shape=(pairs.n, pairs.n))
    queue = [(np.arange(pairs.n), graph, LEAST_LINK)]
    while queue:
        rows, part, floor = queue.pop()
        count, component = connected_components(part, directed=False)
        order = np.argsort(component, kind="stable")
        for members in np.split(order, np.cumsum(np.bincount(component, minlength=count))[:-1]):
            if len(members) > LARGEST_BLOCK:
                held = f"{len(members):,} listings hang together by scores of {floor:.2f} and more"
                warnings.warn(f"{held}; they are clustered in parts that hang together by higher ones", stacklevel=2)
                queue.append(_without_weakest(rows[members], part[members][:, members], floor))
            elif len(members) > 1:
                inside = every[rows[members]][:, rows[members]].toarray().astype(np.float64)
                distance = 1 - inside - inside.T
                np.fill_diagonal(distance, 0)
                yield rows[members].astype(np.int32), distance


def _without_weakest(rows: NDArray[Any], graph: csr_array, floor: float) -> tuple[NDArray[Any], csr_array, float]:
    floor = min(1.0, floor + (1 - floor) / 8) if floor < 0.99 else 2.0
    kept = graph.tocoo()
    keep = kept.data >= floor
    coords = (kept.coords[0][keep], kept.coords[1][keep])
    return rows, csr_array((kept.data[keep], coords), shape=graph.shape), floor
