"""Features of a pair within the pool's graph: cosine, ranks, and how dense both endpoints' neighborhoods are.

A cosine of .7 means a match where neighbors lie at .4, and nothing where fifty of them lie at .7. Ranks, gaps and
z-scores say this without depending on the size of the pool.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from ensemble.pool_views import BranchView, PoolViews
from shared.schema import CandidatePairs, Floats, locate
from shared.search.sorting import best_first

DEPTHS = (5, 15)  # neighbors over which density is taken
FEW = 1e-3  # least standard deviation in a z-score


def of_branches(pool: PoolViews, pairs: CandidatePairs) -> dict[str, Any]:
    """Return the features of every branch, named `<branch>_<feature>`, float32 [p]; NaN where a branch has none."""
    features: dict[str, Any] = {}
    cosines = [view.embeddings.similarity(pairs.left, pairs.right) for view in pool.branches.values()]
    for (name, view), cosine in zip(pool.branches.items(), cosines, strict=True):
        features |= {f"{name}_cosine": cosine} | _prefixed(name, _of_branch(view, pairs, cosine, pool.xp))
    mean = mean_of_known(cosines, pool.xp)
    graph, ranks = _united(pool, pairs, mean)
    return features | {"all_cosine": mean} | _prefixed("all", graph_features(graph, pairs, mean, ranks))


def _united(pool: PoolViews, pairs: CandidatePairs, mean: Floats) -> tuple[EdgeGraph, tuple[Any, Any]]:
    """Return the graph of all pairs by their mean cosine, and the ranks in it of those to describe."""
    surroundings, links, cosine = pool.surroundings, pairs, mean
    rows: Any = slice(None)
    if surroundings is not None:
        links, cosine = surroundings.pairs, surroundings.cosine.copy()
        rows = locate(pairs.key, links.key)[0]
        cosine[rows] = mean
    graph = EdgeGraph(len(pool), links.left, links.right, np.nan_to_num(cosine, nan=-1.0), pool.xp)
    left, right = (pool.xp.asarray(to_host(rank)[rows]) for rank in graph.ranks())
    return graph, (left, right)


def mean_of_known(columns: list[Floats], xp: ModuleType) -> Floats:
    """Return the mean over the columns whose value is not NaN, float32 [p]; NaN where all are.

    Examples:
        >>> mean_of_known([np.array([1, np.nan], np.float32), np.array([0, 0.5], np.float32)], np).tolist()
        [0.5, 0.5]
    """
    stacked = xp.asarray(np.stack(columns), dtype=np.float32)
    mask = ~xp.isnan(stacked)
    count = mask.sum(axis=0)
    mean = xp.where(count > 0, xp.where(mask, stacked, 0).sum(axis=0) / xp.maximum(count, 1), np.nan)
    on_host: Floats = to_host(mean).astype(np.float32)
    return on_host


def _of_branch(view: BranchView, pairs: CandidatePairs, cosine: Floats, xp: ModuleType) -> dict[str, Any]:
    candidates = view.candidates
    graph = EdgeGraph(pairs.n, candidates.left, candidates.right, candidates.similarity, xp)
    positions, is_candidate = locate(pairs.key, candidates.key, xp)
    if len(candidates) == 0:
        return graph_features(graph, pairs, cosine, (xp.zeros(len(pairs)), xp.zeros(len(pairs))))
    left, right = (
        xp.where(is_candidate, xp.asarray(rank)[positions], 0) for rank in (candidates.rank_left, candidates.rank_right)
    )
    return graph_features(graph, pairs, cosine, (left, right))


def graph_features(graph: EdgeGraph, pairs: CandidatePairs, score: Floats, ranks: tuple[Any, Any]) -> dict[str, Any]:
    """Return ranks and densities of pairs in a graph, float32 [p] by name: the lower and the higher of both endpoints.

    Args:
        graph: Listings linked by a similarity.
        pairs: The pairs to describe.
        score: Their similarity, float32 [p].
        ranks: Rank of right for left and of left for right, [p]; 0 where there is none.

    Examples:
        >>> pairs = CandidatePairs(3, np.array([0, 0], np.int32), np.array([1, 2], np.int32))
        >>> cosine = np.array([0.75, 0.5], np.float32)
        >>> graph = EdgeGraph(3, pairs.left, pairs.right, cosine, np)
        >>> features = graph_features(graph, pairs, cosine, graph.ranks())
        >>> features["rank_high"].tolist(), features["top1_low"].tolist(), features["gap_low"].tolist()
        ([1.0, 2.0], [0.75, 0.5], [0.0, -0.25])
    """
    xp = graph.xp
    value = xp.asarray(score)
    rank = [xp.where(r > 0, r, np.nan).astype(np.float32) for r in ranks]
    features = {
        "rank_low": xp.fmin(*rank),
        "rank_high": xp.maximum(*rank),  # NaN unless each is among the other's neighbors
        "mutual": xp.where(xp.isnan(value), np.nan, (ranks[0] > 0) & (ranks[1] > 0)),
    }
    left, right = xp.asarray(pairs.left), xp.asarray(pairs.right)
    for name, of_listing in graph.densities().items():
        a, b = of_listing[left], of_listing[right]
        features |= {f"{name}_low": xp.fmin(a, b), f"{name}_high": xp.fmax(a, b)}
    for name, center, spread in graph.standards():
        z = [(value - center[end]) / spread[end] for end in (left, right)]
        features |= {f"{name}_low": xp.minimum(*z), f"{name}_high": xp.maximum(*z)}
    return {name: to_host(column).astype(np.float32) for name, column in features.items()}


class EdgeGraph:
    """Listings linked by pairs with a similarity; every link is seen from both ends.

    Args:
        n: Listings.
        left, right: Linked rows, int32 [e].
        similarity: float32 [e].
        xp: numpy or CuPy.

    Examples:
        >>> similarity = np.array([0.75, 0.5], np.float32)
        >>> graph = EdgeGraph(3, np.array([0, 0]), np.array([1, 2]), similarity, np)
        >>> [ranks.tolist() for ranks in graph.ranks()]
        [[1, 2], [1, 1]]
    """

    def __init__(self, n: int, left: Any, right: Any, similarity: Any, xp: ModuleType) -> None:
        self.n, self.xp = n, xp
        ends = xp.concatenate([xp.asarray(left), xp.asarray(right)])
        similarity = xp.asarray(similarity, dtype=np.float32)
        both = xp.concatenate([similarity, similarity])
        self._order = best_first(ends, both, xp)
        self.end, self.similarity = ends[self._order], both[self._order]  # by listing, best first
        self._start = xp.searchsorted(self.end, xp.arange(n))
        self._place = xp.arange(len(self.end)) - self._start[self.end]  # place in its listing's row, from 0

    def ranks(self) -> tuple[Any, Any]:
        """Return the competition rank of each link among its left and among its right listing's, int [e]."""
        xp, e = self.xp, len(self._order) // 2
        new = xp.ones(len(self.end), dtype=bool)
        new[1:] = (self.end[1:] != self.end[:-1]) | (self.similarity[1:] != self.similarity[:-1])
        first_equal = xp.flatnonzero(new)[xp.cumsum(new) - 1]
        rank = xp.zeros(len(self.end), dtype=np.int32)
        rank[self._order] = first_equal - self._start[self.end] + 1
        return rank[:e], rank[e:]

    def densities(self) -> dict[str, Any]:
        """Return of each listing its best similarity and means of its best few, float64 [n]; NaN without a neighbor."""
        return {"top1": self._mean(1)} | {f"top{depth}": self._mean(depth) for depth in DEPTHS}

    def standards(self) -> list[tuple[str, Any, Any]]:
        """Return by name the center and spread, [n], of the gap to the best link and of the z-score in the best few."""
        deep = DEPTHS[-1]
        center = self._mean(deep)
        squares = self._mean(deep, power=2)
        spread = self.xp.sqrt(self.xp.maximum(squares - center**2, 0)) + FEW
        return [("gap", self._mean(1), self.xp.ones(self.n)), ("z", center, spread)]

    def _mean(self, depth: int, power: int = 1) -> Any:
        xp = self.xp
        if len(self.end) == 0:  # CuPy counts nothing in an empty array
            return xp.full(self.n, np.nan)
        mask = self._place < depth
        total = xp.bincount(self.end[mask], weights=self.similarity[mask].astype(np.float64) ** power, minlength=self.n)
        count = xp.bincount(self.end[mask], minlength=self.n)
        return xp.where(count > 0, total / xp.maximum(count, 1), np.nan)


def to_host(array: Any) -> Any:
    """Return an array as a numpy array, whether it is in memory of the CPU or of a GPU."""
    return array.get() if hasattr(array, "get") else np.asarray(array)


def _prefixed(name: str, features: dict[str, Any]) -> dict[str, Any]:
    return {f"{name}_{feature}": column for feature, column in features.items()}
