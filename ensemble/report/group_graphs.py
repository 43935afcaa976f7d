"""The largest groups as graphs: listings are nodes, scored pairs are edges, and similar listings lie together.

The places are those of Fruchterman and Reingold ("Graph drawing by force-directed placement", 1991): listings repel
each other, and scored pairs pull with their score. All start on a circle, so that a group is always drawn the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ensemble.report.pool import Index, MatchedPool

MOST_NODES = 24  # listings of a group that are shown
STRONGEST = 6  # pairs that are drawn of each listing: its strongest ones, and all that are among those of another
LEAST_SCORE = 0.02  # pairs of lower scores are not drawn
STEPS = 200


@dataclass(frozen=True)
class GroupGraph:
    """A group as a graph.

    Args:
        rows: Rows of the listings that are shown, int64 [k].
        size: Number of listings in the group.
        places: Of each listing, float64 [k, 2] in [0, 1].
        edges: Position of both listings in `rows` and the score of their pair, by rising score.
        labels: Number of each listing's label within the graph, from 0 in the order of the most frequent; -1 where it
            has none. None where labels are not known.
        threshold: The threshold that was used.
    """

    rows: Index
    size: int
    places: NDArray[np.float64]
    edges: list[tuple[int, int, float]]
    labels: Index | None
    threshold: float | None


def largest_groups(pool: MatchedPool, count: int, seed: int) -> list[GroupGraph]:
    """Return the largest groups of three or more listings as graphs, the largest first.

    Of a group with more than `MOST_NODES` listings a random sample is shown.

    Args:
        pool: The pool.
        count: Number of groups at most.
        seed: Of the samples.
    """
    sizes = np.bincount(pool.groups)
    largest = np.argsort(-sizes, kind="stable")[:count]
    return [_graph(pool, int(group), seed) for group in largest if sizes[group] > 2]


def _graph(pool: MatchedPool, group: int, seed: int) -> GroupGraph:
    members = np.flatnonzero(pool.groups == group)
    rows = members
    if len(members) > MOST_NODES:
        rows = np.sort(np.random.default_rng(seed).choice(members, MOST_NODES, replace=False))
    one, other = np.triu_indices(len(rows), 1)
    score = pool.score_of(rows[one], rows[other])
    scored = np.flatnonzero(np.nan_to_num(score) >= LEAST_SCORE)
    scored = scored[np.argsort(score[scored], kind="stable")]
    every = [(int(one[edge]), int(other[edge]), float(score[edge])) for edge in scored]
    labels = None if pool.codes is None or (pool.codes[rows] < 0).all() else _ranked(pool.codes[rows])
    places = layout(len(rows), every)
    return GroupGraph(rows, len(members), places, strongest(every), labels, pool.facts.threshold)


def strongest(edges: list[tuple[int, int, float]], count: int = STRONGEST) -> list[tuple[int, int, float]]:
    """Return the edges that are among the strongest of one of their nodes.

    Args:
        edges: Both nodes and the weight of each edge, by rising weight.
        count: Number of edges that are taken of each node.

    Examples:
        >>> strongest([(0, 1, 0.1), (0, 2, 0.2), (1, 2, 0.3)], count=1)
        [(0, 2, 0.2), (1, 2, 0.3)]
    """
    taken: dict[int, int] = {}
    kept = []
    for one, other, weight in reversed(edges):
        if min(taken.get(one, 0), taken.get(other, 0)) < count:
            kept.append((one, other, weight))
            taken[one], taken[other] = taken.get(one, 0) + 1, taken.get(other, 0) + 1
    return kept[::-1]


def _ranked(codes: Index) -> Index:
    """Return the number of each code, from 0 by falling frequency; -1 stays."""
    values, counts = np.unique(codes[codes >= 0], return_counts=True)
    rank = {int(values[place]): number for number, place in enumerate(np.argsort(-counts, kind="stable"))}
    return np.array([rank.get(int(code), -1) for code in codes], dtype=np.int64)


def layout(count: int, edges: list[tuple[int, int, float]]) -> NDArray[np.float64]:
    """Return a place for each node, float64 [count, 2] in [0, 1].

    Args:
        count: Number of nodes.
        edges: Both nodes and the weight of each edge, in [0, 1].

    Examples:
        >>> places = layout(3, [(0, 1, 1.0)])
        >>> near, far = (np.linalg.norm(places[0] - places[node]) for node in (1, 2))
        >>> bool(near < far)
        True
    """
    angle = 2 * np.pi * np.arange(count) / max(count, 1)
    places = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    weight = np.zeros((count, count))
    for one, other, score in edges:
        weight[one, other] = weight[other, one] = score
    ideal = 1.6 / np.sqrt(max(count, 1))
    for step in range(STEPS):
        apart = places[:, None] - places
        distance = np.maximum(np.linalg.norm(apart, axis=2), 1e-3)
        force = (ideal**2 / distance - weight * distance**2 / ideal) / distance
        np.fill_diagonal(force, 0)
        moves = (apart * force[:, :, None]).sum(axis=1) - 0.3 * places
        length = np.maximum(np.linalg.norm(moves, axis=1, keepdims=True), 1e-9)
        places = places + moves / length * np.minimum(length, 0.15 * (1 - step / STEPS))
    low, high = places.min(axis=0), places.max(axis=0)
    scaled: NDArray[np.float64] = np.where(high - low > 1e-9, (places - low) / np.maximum(high - low, 1e-9), 0.5)
    return scaled
