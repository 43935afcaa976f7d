"""Groups that are too large are split: within each, the threshold rises until it falls apart into parts that are not.

The groups at all thresholds make a tree: links are added from the strongest down, and each joins two groups. A join
that makes a group too large is not made, nor is any later one of such a group. Equal links are one step: no threshold
tells them apart. So each listing is in the largest group of the tree that holds it and is not too large, in whatever
order the listings come. Only a spanning forest of the strongest links is walked, link by link and without recursion.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

from shared.schema import Flags

Groups = NDArray[np.int64]
FORCED = 2.0  # strength of a link that holds whatever the size; any other one has 1 at most


class SizeCap:
    """The largest groups of a pool's links that are not too large.

    Args:
        n: Number of listings in the pool.
        left: Row of one listing of each link, int [p].
        right: Row of the other one, int [p].
        score: How strong each link is, in [0, 1], float [p]; `FORCED` for one that holds whatever the size.
        most: The most listings in a group; None: any number.

    Examples:
        >>> left, score = np.array([0, 1, 2], np.int32), np.array([0.9, 0.5, 0.8], np.float32)
        >>> cap = SizeCap(4, left, left + 1, score, most=2)
        >>> groups, too_large = cap.groups(np.ones(3, dtype=bool))
        >>> groups.tolist(), too_large
        ([0, 0, 1, 1], 1)
    """

    def __init__(
        self,
        n: int,
        left: NDArray[np.integer],
        right: NDArray[np.integer],
        score: NDArray[np.floating],
        most: int | None,
    ) -> None:
        self.n, self.most = n, most
        self._links = left, right, score
        self._weakest = np.inf  # links that are weaker were not looked at for joins

    def groups(self, is_link: Flags) -> tuple[Groups, int]:
        """Return the groups that some of the links make, where those that are too large are split.

        Args:
            is_link: Which links count, bool [p].

        Returns:
            Group number of each listing, int64 [n], and how many groups were too large.
        """
        groups = self._components(is_link)
        too_large = np.bincount(groups, minlength=1) > (self.most or self.n)
        if not too_large.any():
            return groups, 0
        left, _, score = self._links
        if score[is_link].min() < self._weakest:
            self._weakest = score[is_link].min()
            self._is_join = self._joins(np.flatnonzero(score >= self._weakest))
        return self._components(is_link & (self._is_join | ~too_large[groups[left]])), int(too_large.sum())

    def _components(self, is_link: Flags) -> Groups:
        left, right, _ = self._links
        edges = np.ones(int(is_link.sum()), dtype=np.int8), (left[is_link], right[is_link])
        return connected_components(coo_array(edges, shape=(self.n, self.n)), directed=False)[1].astype(np.int64)

    def _joins(self, rows: NDArray[np.int64]) -> Flags:
        """Return which links join two groups into one that is not too large, bool [p].

        Args:
            rows: The links that are looked at: all that are as strong as one of them.
        """
        left, right, score = self._links
        joins = np.zeros(len(score), dtype=np.bool_)
        order = rows[np.lexsort((right[rows], left[rows], -score[rows]))]
        place = np.arange(1, len(order) + 1, dtype=np.float64)  # a weight of 0 would be no link
        tree = minimum_spanning_tree(csr_array((place, (left[order], right[order])), shape=(self.n, self.n)))
        forest = order[np.sort(tree.data).astype(np.int64) - 1]  # the links that join two groups, the strongest first
        groups = _UnionFind(self.n)
        strength = score[forest]
        steps = np.split(forest, np.flatnonzero(np.diff(strength)) + 1) if len(forest) else []
        for step in steps:
            for one, other in zip(left[step].tolist(), right[step].tolist(), strict=True):
                groups.join(one, other)
            most = self.n if score[step[0]] >= FORCED else self.most or self.n
            joins[step] = [groups.size_of(one) <= most for one in left[step].tolist()]
        return joins


class _UnionFind:
    """Groups of n listings that are joined two at a time."""

    def __init__(self, n: int) -> None:
        self._parent, self._size = list(range(n)), [1] * n

    def _root(self, row: int) -> int:
        parent = self._parent
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    def join(self, one: int, other: int) -> None:
        """Join the groups of two listings."""
        a, b = self._root(one), self._root(other)
        if self._size[a] < self._size[b]:
            a, b = b, a
        if a != b:
            self._parent[b] = a
            self._size[a] += self._size[b]

    def size_of(self, row: int) -> int:
        """Return the number of listings in the group of a listing."""
        return self._size[self._root(row)]
