"""Features of a pair within the pool's graph: cosine, ranks, and how dense both endpoints' neighborhoods are.

A cosine of .7 means a match where neighbors lie at .4, and nothing where fifty of them lie at .7. Ranks, gaps and
z-scores say this without depending on the size of the pool.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from ensemble.features.edge_graph import Densities, EdgeGraph, to_host
from ensemble.pool_views import Chosen, Describe, PoolViews
from shared.schema import CandidatePairs, Candidates, Embeddings, Floats, locate, pair_key
from shared.search.threads import map_blocks

SIZE = 1 << 18  # pairs whose cosines are taken at a time


def of_branches(pool: PoolViews, pairs: CandidatePairs) -> Describe:
    """Return what describes some of the pairs by every branch, and by the graph of all pairs by their mean cosine.

    The features are named `<branch>_<feature>` and `all_<feature>`, float32; NaN where a branch has none.
    """
    xp, views = pool.xp, pool.branches
    cosines = {name: _cosines(view.embeddings, pairs, pool.threads) for name, view in views.items()}
    mean = _mean_cosine(list(cosines.values()), len(pairs), xp)
    of_views = map_blocks(lambda view: _densities(view.candidates, xp), list(views.values()), pool.threads)
    graphs = dict(zip(views, of_views, strict=True))
    united, ranks = _united(pool, pairs, mean)

    def describe(rows: Chosen) -> dict[str, Any]:
        block = CandidatePairs(pairs.n, pairs.left[rows], pairs.right[rows])
        features: dict[str, Any] = {}
        for name, view in views.items():
            cosine = cosines[name][rows]
            of_branch = graph_features(graphs[name], block, cosine, _ranks(view.candidates, block, xp))
            features |= {f"{name}_cosine": cosine} | _prefixed(name, of_branch)
        of_all = graph_features(united, block, mean[rows], (xp.asarray(ranks[0][rows]), xp.asarray(ranks[1][rows])))
        return features | {"all_cosine": mean[rows]} | _prefixed("all", of_all)

    return describe


def _cosines(embeddings: Embeddings, pairs: CandidatePairs, threads: int) -> Floats:
    """Return the cosine of each pair by a branch, float32 [p]; NaN where it is unknown."""
    cosine = np.empty(len(pairs), dtype=np.float32)

    def fill(start: int) -> None:
        rows = slice(start, start + SIZE)
        cosine[rows] = embeddings.similarity(pairs.left[rows], pairs.right[rows])

    map_blocks(fill, range(0, len(pairs), SIZE), threads)
    return cosine


def _densities(links: Candidates, xp: ModuleType) -> Densities:
    """Return how near the best links of each listing are among those that a branch proposes."""
    return EdgeGraph(links.n, links.left, links.right, links.similarity, xp).listings


def _mean_cosine(cosines: list[Floats], count: int, xp: ModuleType) -> Floats:
    """Return the mean cosine of each of `count` pairs over the branches that know it, float32 [count]."""
    mean = np.empty(count, dtype=np.float32)
    for start in range(0, count, SIZE):
        rows = slice(start, start + SIZE)
        mean[rows] = mean_of_known([cosine[rows] for cosine in cosines], xp)
    return mean


def _united(pool: PoolViews, pairs: CandidatePairs, mean: Floats) -> tuple[Densities, tuple[Any, Any]]:
    """Return the graph of all pairs by their mean cosine, and the ranks in it of those to describe, int32 [p] each."""
    surroundings, links, cosine = pool.surroundings, pairs, mean
    rows: Any = slice(None)
    if surroundings is not None:
        links, cosine = surroundings.pairs, surroundings.cosine.copy()
        rows = locate(pairs.key, links.key)[0]
        cosine[rows] = mean
    graph = EdgeGraph(len(pool), links.left, links.right, np.nan_to_num(cosine, nan=-1.0), pool.xp)
    left, right = (to_host(rank)[rows] for rank in graph.ranks)
    return graph.listings, (left, right)


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


def _ranks(candidates: Candidates, block: CandidatePairs, xp: ModuleType) -> tuple[Any, Any]:
    """Return the ranks that a branch gives some pairs, [p] each; 0 where it does not propose them."""
    none = xp.zeros(len(block))
    if len(block) == 0:
        return none, none
    near = slice(*np.searchsorted(candidates.left, [block.left[0], block.left[-1] + 1]).tolist())
    if near.start == near.stop:
        return none, none
    key = pair_key(candidates.left[near], candidates.right[near], candidates.n)
    positions, is_candidate = locate(block.key, key, xp)
    left, right = (
        xp.where(is_candidate, xp.asarray(rank[near])[positions], 0)
        for rank in (candidates.rank_left, candidates.rank_right)
    )
    return left, right


def graph_features(graph: Densities, pairs: CandidatePairs, score: Floats, ranks: tuple[Any, Any]) -> dict[str, Any]:
    """Return ranks and densities of pairs in a graph, float32 [p] by name: the lower and the higher of both endpoints.

    Args:
        graph: How near the links of each listing are.
        pairs: The pairs to describe.
        score: Their similarity, float32 [p].
        ranks: Rank of right for left and of left for right, [p]; 0 where there is none.

    Examples:
        >>> pairs = CandidatePairs(3, np.array([0, 0], np.int32), np.array([1, 2], np.int32))
        >>> cosine = np.array([0.75, 0.5], np.float32)
        >>> graph = EdgeGraph(3, pairs.left, pairs.right, cosine, np)
        >>> features = graph_features(graph.listings, pairs, cosine, graph.ranks)
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
    for name, center, spread in graph.standards:
        z = [(value - center[end]) / spread[end] for end in (left, right)]
        features |= {f"{name}_low": xp.minimum(*z), f"{name}_high": xp.maximum(*z)}
    return {name: to_host(column).astype(np.float32) for name, column in features.items()}


def _prefixed(name: str, features: dict[str, Any]) -> dict[str, Any]:
    return {f"{name}_{feature}": column for feature, column in features.items()}
