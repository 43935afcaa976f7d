"""Features of a pair in the graph of first scores: what the scores of other pairs say about this one.

A first score looks at two listings alone. A pair that scores .4, both of whose listings score .9 with a third one, is a
match all the same; one that scores .6, each of whose listings has a better partner, is none. A second scorer over these
features sees that.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from ensemble.features.branches import EdgeGraph, graph_features
from shared.schema import Floats, Pairs
from shared.search.sorting import best_first

LEAST = 0.03  # a link that scores less leads nowhere
WIDEST = 40  # at most so many of a listing's best links are followed

Index = NDArray[np.int64]


def of_scores(pairs: Pairs, xp: ModuleType) -> dict[str, Floats]:
    """The features of scored pairs, named `score` and `score_<feature>`, float32 [p].

    Besides ranks and densities, over all third listings k that score with both i and j:
    `score_paths`: sum of s(i, k)·s(k, j); `score_bridge`: the largest min(s(i, k), s(k, j)).
    """
    score = pairs.score if pairs.score is not None else np.zeros(len(pairs), dtype=np.float32)
    graph = EdgeGraph(pairs.n, pairs.left, pairs.right, score, xp)
    features = {f"score_{name}": column for name, column in graph_features(graph, pairs, score, graph.ranks()).items()}
    total, bridge = paths(pairs, score)
    return {"score": score, "score_paths": total, "score_bridge": bridge} | features


def paths(pairs: Pairs, score: Floats) -> tuple[Floats, Floats]:
    """Over third listings: sum of products and largest minimum of the two links, float32 [p] each."""
    start, end, link = _links(pairs, score)
    wanted = pairs.left.astype(np.int64) * pairs.n + pairs.right
    total, bridge = np.zeros(len(pairs)), np.zeros(len(pairs))
    for first, second in _corners(start):
        a, b = end[first], end[second]
        key = a * pairs.n + b
        at = np.minimum(np.searchsorted(wanted, key), len(wanted) - 1)
        known = (a < b) & (wanted[at] == key)
        at, s, t = at[known], link[first[known]], link[second[known]]
        np.add.at(total, at, s * t)
        np.maximum.at(bridge, at, np.minimum(s, t))
    return total.astype(np.float32), bridge.astype(np.float32)


def _links(pairs: Pairs, score: Floats) -> tuple[Index, Index, NDArray[np.float64]]:
    """Each listing's best links: where its row starts [n + 1], and of each link its other end and its score."""
    keep = score >= LEAST
    left, right = pairs.left[keep].astype(np.int64), pairs.right[keep].astype(np.int64)
    own, other = np.concatenate([left, right]), np.concatenate([right, left])
    both = np.concatenate([score[keep], score[keep]])
    order = best_first(own, both)
    own, other, both = own[order], other[order], both[order].astype(np.float64)
    place = np.arange(len(own)) - np.searchsorted(own, own)
    best = place < WIDEST
    start = np.searchsorted(own[best], np.arange(pairs.n + 1))
    return start, other[best], both[best]


def _corners(start: Index, most: int = 1 << 21) -> Iterator[tuple[Index, Index]]:
    """All ordered pairs of links that meet in a listing, in blocks of about `most`: positions of the two links."""
    degree = np.diff(start)
    blocks = np.cumsum(degree**2) // most
    for block in np.unique(blocks):
        listings = np.flatnonzero((blocks == block) & (degree > 1))
        links = np.concatenate([np.zeros(0, dtype=np.int64), *(np.arange(start[k], start[k + 1]) for k in listings)])
        of = np.repeat(listings, degree[listings])
        first = np.repeat(links, degree[of])
        offset = np.arange(len(first)) - np.repeat(np.cumsum(degree[of]) - degree[of], degree[of])
        yield first, np.repeat(start[of], degree[of]) + offset
