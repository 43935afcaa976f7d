"""Agglomerative clustering of a sparse graph of scored pairs, exact for a pool of any size.

The two groups with the strongest link are joined, again and again. A pair without a score counts as 0, so only groups
with a scored pair between them have a link, and for every two such groups the sum of the scores between them is stored.
Every group is responsible for its links to older groups: a heap holds the strongest of them as of the last time the
group was examined. Since then a group can only have lost links, so the top entry of the heap whose groups still exist
is the strongest link of all. This is the generic algorithm of Müllner ("Modern hierarchical, agglomerative clustering
algorithms", 2011, arXiv 1109.2378, section 3.1), here on tables of neighbors.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ensemble.decision.pins import Pins
from ensemble.decision.size_cap import FORCED
from shared.schema import Floats, Rows

SCORE_STEP = 2.0**-30  # scores are rounded to it, so that sums are exact in any order; float32 from 1/64 up are kept
Join = tuple[int, int, float]
Joins = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]
HeapEntry = tuple[float, int, int, int, int]  # -link, lowest row of either group, the group examined, the other group


def agglomerate(n: int, left: Rows, right: Rows, score: Floats, *, min_link: float, pins: Pins | None = None) -> Joins:
    """Join groups of listings while the link between two of them is at least `min_link`.

    The link of groups A and B with scores of sum s between them is the mean over all their pairs, s / (|A|·|B|). A join
    never makes a link to a third group stronger than the stronger of the two links before, because the new link is a
    mean of both. So links fall from join to join, and the groups at a threshold are the components of the joins at or
    above it.

    Args:
        n: Number of listings in the pool.
        left: Row of the first listing of each pair, int32 [p].
        right: Row of the second one, int32 [p].
        score: In [0, 1], float32 [p].
        min_link: Above 0.
        pins: Pairs that are joined first, which are among those scored and do not contradict the others, and pairs that
            are never in one group; None: there are none.

    Returns:
        For each join, the lowest rows of both groups and the link, in [min_link, 1], falling. Equal links are ordered
        by these rows. The link of pairs that must be joined is `FORCED`.

    Examples:
        >>> rows = np.array([0, 0, 1], np.int32), np.array([1, 2, 2], np.int32)
        >>> joins = agglomerate(3, *rows, np.array([1, 0.5, 0.25], np.float32), min_link=0.1)
        >>> [column.tolist() for column in joins]
        [[0, 0], [1, 2], [1.0, 0.375]]
    """
    groups = _Groups(n, left, right, score, min_link)
    joins = [] if pins is None else groups.pin(pins)
    heap = [entry for group in groups.link_sums if (entry := groups.strongest_link(group))]
    heapify(heap)
    while heap:
        negative_link, low, high, group, other = heappop(heap)
        if group not in groups.link_sums:
            continue
        if other in groups.link_sums:
            joins.append((low, high, -negative_link))
            group = groups.join(group, other)
        if entry := groups.strongest_link(group):
            heappush(heap, entry)
    rows = np.array([join[:2] for join in joins], dtype=np.int64).reshape(-1, 2)
    link = np.minimum.accumulate(np.array([join[2] for join in joins]))  # they fall anyway, but for rounding
    return rows[:, 0], rows[:, 1], link


class _Groups:
    """The present groups, by number: the first n are the listings, and every join makes a new one."""

    def __init__(self, n: int, left: Rows, right: Rows, score: Floats, min_link: float) -> None:
        self.min_link, self.next_number = min_link, n
        self.link_sums: dict[int, dict[int, float]] = {}  # group → neighboring group → sum of scores
        strong = score >= min(min_link, 1.0)  # pairs that must be joined are among them
        graph = coo_array((np.ones(int(strong.sum()), dtype=np.int8), (left[strong], right[strong])), shape=(n, n))
        component = connected_components(graph, directed=False)[1]
        inside = component[left] == component[right]  # no other pair can ever matter
        sums = np.round(score[inside].astype(np.float64) / SCORE_STEP) * SCORE_STEP
        for one, other, value in zip(left[inside].tolist(), right[inside].tolist(), sums.tolist(), strict=True):
            self.link_sums.setdefault(one, {})[other] = value
            self.link_sums.setdefault(other, {})[one] = value
        self.size = dict.fromkeys(self.link_sums, 1)
        self.lowest_row = {row: row for row in self.link_sums}

    def pin(self, pins: Pins) -> list[Join]:
        """Join the pairs that must be joined, keep those apart that must be, and return the joins."""
        for one, other in pins.never.tolist():
            if one in self.link_sums and other in self.link_sums:
                self.link_sums[one][other] = self.link_sums[other][one] = -np.inf  # stays so in all sums
        joins, group = list[Join](), {row: row for row in self.link_sums}
        members = {row: [row] for row in self.link_sums}
        for one, other in pins.must.tolist():
            a, b = group[one], group[other]
            if a != b:
                low, high = sorted((self.lowest_row[a], self.lowest_row[b]))
                joins.append((low, high, FORCED))
                new = self.join(a, b)
                members[new] = members.pop(a) + members.pop(b)
                group.update(dict.fromkeys(members[new], new))
        return joins

    def strongest_link(self, group: int) -> HeapEntry | None:
        """Return a group's strongest link to an older one; ties: the lowest row. None if it is below `min_link`."""
        size, lowest_row = self.size, self.lowest_row
        group_size, best, best_row, best_group = size[group], self.min_link, -1, -1
        for other, total in self.link_sums[group].items():
            if other < group:
                link = total / (group_size * size[other])
                if link > best or (link == best and (best_group < 0 or lowest_row[other] < best_row)):
                    best, best_row, best_group = link, lowest_row[other], other
        low, high = sorted((lowest_row[group], best_row))
        return (-best, low, high, group, best_group) if best_group >= 0 else None

    def join(self, one: int, other: int) -> int:
        """Make one group of two and return its number."""
        new, self.next_number = self.next_number, self.next_number + 1
        merged, rest = self.link_sums.pop(one), self.link_sums.pop(other)
        del merged[other], rest[one]
        for third, total in rest.items():
            merged[third] = merged.get(third, 0) + total
        self.link_sums[new] = merged
        for third, total in merged.items():
            table = self.link_sums[third]
            table.pop(one, None)
            table.pop(other, None)
            table[new] = total
        self.size[new] = self.size.pop(one) + self.size.pop(other)
        self.lowest_row[new] = min(self.lowest_row.pop(one), self.lowest_row.pop(other))
        return new
