"""Agglomerative clustering of a sparse graph of scored pairs, exact for a pool of any size.

The two groups with the strongest link are joined, again and again. A pair that nobody scored counts 0, so only groups
with a scored pair between them can have a link, and for every two of these the sum of the scores between them is kept.
Every group answers for its links to older groups: a heap holds the strongest of them when the group was last looked at.
A group looked at again has lost links and got none, so what stands on top of the heap and still exists is the strongest
link of all (the generic algorithm of Müllner, "Modern hierarchical, agglomerative clustering algorithms", 2011, arXiv
1109.2378, section 3.1, here on tables of neighbors).
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from shared.schema import Floats, Rows

GRAIN = 2.0**-30  # scores are rounded to it, so that sums are exact in any order; nothing from 1/64 up is changed
Joins = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]
Entry = tuple[float, int, int, int, int]  # -link, both groups' lowest rows, the group looked at, the other one


def agglomerate(n: int, left: Rows, right: Rows, score: Floats, *, least: float) -> Joins:
    """Join groups of listings as long as the link between two of them is at least `least`.

    The link of groups A and B with scores of sum s between them is their mean over all pairs, s / (|A|·|B|). Joining
    never makes a link to a third group stronger than the stronger one of the parts was, as it is a mean of the two, so
    links fall from join to join, and the groups at a threshold are the components of the joins at or above it.

    Args:
        n: Listings in the pool.
        left: Row of the first listing of each pair, int32 [p].
        right: Row of the second one, int32 [p].
        score: In [0, 1], float32 [p].
        least: Above 0.

    Returns:
        Of each join the lowest rows of both groups and the link, in [least, 1], falling. Equal links stand by rows.
    """
    groups = _Groups(n, left, right, score, least)
    heap = [entry for group in groups.near if (entry := groups.strongest(group))]
    heapify(heap)
    found: list[tuple[int, int, float]] = []
    while heap:
        negated, low, high, group, other = heappop(heap)
        if group not in groups.near:
            continue
        if other in groups.near:
            found.append((low, high, -negated))
            group = groups.join(group, other)
        if entry := groups.strongest(group):
            heappush(heap, entry)
    rows = np.array([join[:2] for join in found], dtype=np.int64).reshape(-1, 2)
    link = np.minimum.accumulate(np.array([join[2] for join in found]))  # but for rounding, they fall by themselves
    return rows[:, 0], rows[:, 1], link


class _Groups:
    """The groups there are, by number: the first n are the listings, a join makes a new one."""

    def __init__(self, n: int, left: Rows, right: Rows, score: Floats, least: float) -> None:
        self.least, self.new = least, n
        self.near: dict[int, dict[int, float]] = {}  # neighbor → sum of scores
        links = score >= least
        graph = coo_array((np.ones(int(links.sum()), dtype=np.int8), (left[links], right[links])), shape=(n, n))
        component = connected_components(graph, directed=False)[1]
        inside = component[left] == component[right]  # no other pair ever comes to count
        sums = np.round(score[inside].astype(np.float64) / GRAIN) * GRAIN
        for one, other, value in zip(left[inside].tolist(), right[inside].tolist(), sums.tolist(), strict=True):
            self.near.setdefault(one, {})[other] = value
            self.near.setdefault(other, {})[one] = value
        self.size = dict.fromkeys(self.near, 1)
        self.first = {row: row for row in self.near}

    def strongest(self, group: int) -> Entry | None:
        """A group's strongest link to an older one, of equals that to the lowest row; None below `least`."""
        size, first = self.size, self.first
        own, best, name, found = size[group], self.least, -1, -1
        for other, total in self.near[group].items():
            if other < group:
                link = total / (own * size[other])
                if link > best or (link == best and (found < 0 or first[other] < name)):
                    best, name, found = link, first[other], other
        low, high = sorted((first[group], name))
        return (-best, low, high, group, found) if found >= 0 else None

    def join(self, one: int, other: int) -> int:
        """Make one group of two; returns its number."""
        new, self.new = self.new, self.new + 1
        merged, rest = self.near.pop(one), self.near.pop(other)
        del merged[other], rest[one]
        for third, total in rest.items():
            merged[third] = merged.get(third, 0) + total
        self.near[new] = merged
        for third, total in merged.items():
            table = self.near[third]
            table.pop(one, None)
            table.pop(other, None)
            table[new] = total
        self.size[new] = self.size.pop(one) + self.size.pop(other)
        self.first[new] = min(self.first.pop(one), self.first.pop(other))
        return new
