"""Features of a pair in the graph of first scores: what the scores of other pairs say about it.

A first score considers two listings alone. A pair that scores .4 is a match all the same if both listings score .9 with
a third one; a pair that scores .6 is none if each of its listings has a better partner. A second model learns this from
the features made here.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from ensemble.features.branches import graph_features
from ensemble.features.edge_graph import EdgeGraph
from shared.schema import Floats, ScoredPairs, locate, pair_key
from shared.search.sorting import best_first

MIN_SCORE = 0.03  # pairs with a lower score are no links
MAX_LINKS = 40  # at most so many of a listing's best links are followed

Index = NDArray[np.int64]


def score_graph_features(pairs: ScoredPairs, xp: ModuleType) -> dict[str, Floats]:
    """Return the features of scored pairs, `score` and `score_<feature>`, float32 [p] each.

    Besides ranks and densities, over all third listings k that score with both i and j:
    `score_paths` is the sum of s(i, k)·s(k, j), `score_bridge` the largest min(s(i, k), s(k, j)).

    Args:
        pairs: p scored pairs.
        xp: Array module to work with, numpy or CuPy.

    Examples:
        >>> rows = np.array([0, 0, 1], np.int32), np.array([1, 2, 2], np.int32)
        >>> features = score_graph_features(ScoredPairs(3, *rows, np.array([0.25, 0.5, 0.5], np.float32)), np)
        >>> features["score_paths"].tolist(), features["score_bridge"].tolist()
        ([0.25, 0.125, 0.125], [0.5, 0.25, 0.25])
    """
    score = pairs.score
    graph = EdgeGraph(pairs.n, pairs.left, pairs.right, score, xp)
    around = graph_features(graph.listings, pairs, score, graph.ranks)
    features = {f"score_{name}": column for name, column in around.items()}
    total, bridge = path_features(pairs)
    return {"score": score, "score_paths": total, "score_bridge": bridge} | features


def path_features(pairs: ScoredPairs) -> tuple[Floats, Floats]:
    """Return the sum of products and the largest minimum of the two links over third listings, float32 [p] each."""
    start, end, link = _best_links(pairs)
    key = pairs.key
    total, bridge = np.zeros(len(pairs)), np.zeros(len(pairs))
    for first, second in _corners(start):
        a, b = end[first], end[second]
        position, is_pair = locate(pair_key(a, b, pairs.n), key)
        keep = (a < b) & is_pair
        position, s, t = position[keep], link[first[keep]], link[second[keep]]
        np.add.at(total, position, s * t)
        np.maximum.at(bridge, position, np.minimum(s, t))
    return total.astype(np.float32), bridge.astype(np.float32)


def _best_links(pairs: ScoredPairs) -> tuple[Index, Index, NDArray[np.float64]]:
    """Return each listing's best links: where its links start [n + 1], and for each link its other end and score."""
    keep = pairs.score >= MIN_SCORE
    left, right = pairs.left[keep].astype(np.int64), pairs.right[keep].astype(np.int64)
    listing, other = np.concatenate([left, right]), np.concatenate([right, left])
    score = np.concatenate([pairs.score[keep], pairs.score[keep]])
    order = best_first(listing, score)
    listing, other, score = listing[order], other[order], score[order].astype(np.float64)
    place = np.arange(len(listing)) - np.searchsorted(listing, listing)
    best = place < MAX_LINKS
    start = np.searchsorted(listing[best], np.arange(pairs.n + 1))
    return start, other[best], score[best]


def _corners(start: Index, block_size: int = 1 << 21) -> Iterator[tuple[Index, Index]]:
    """Yield the positions of all ordered pairs of links that meet in a listing, about `block_size` pairs at a time."""
    degree = np.diff(start)
    total = np.append(0, np.cumsum(degree**2))
    edges = np.append(np.searchsorted(total, np.arange(0, total[-1], block_size)), len(degree))
    for low, high in pairwise(np.unique(edges).tolist()):
        links = np.arange(start[low], start[high])
        own = np.repeat(degree[low:high], degree[low:high])  # links of the listing of each link
        first = np.repeat(links, own)
        offset = np.arange(len(first)) - np.repeat(np.cumsum(own) - own, own)
        yield first, np.repeat(np.repeat(start[low:high], degree[low:high]), own) + offset
