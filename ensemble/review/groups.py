"""The proposed groups of a catalog, in the order in which a person should look at them, and what an answer says."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

from shared.schema import Rows, ScoredPairs

Pair = tuple[int, int]  # rows of two listings, the smaller one first


@dataclass(frozen=True)
class Group:
    """Listings that are proposed as one product.

    Args:
        rows: Rows of the listings, rising.
        weakest: The lowest score among the links that hold it together, in [0, 1]: those of its maximum spanning tree.
            0 where they do not connect it.
        is_settled: Whether people's answers and equal content connect all of it.
    """

    rows: tuple[int, ...]
    weakest: float
    is_settled: bool

    def parts(self, most: int) -> list[tuple[int, ...]]:
        """Return the rows in parts that can be answered one by one; each begins with the first listing of the group.

        So answers that connect every part connect the group.

        Args:
            most: The most listings of a part, 2 or more.

        Examples:
            >>> Group((3, 5, 6, 8), 0.5, is_settled=False).parts(3)
            [(3, 5, 6), (3, 8)]
        """
        first, *others = self.rows
        return [(first, *others[start : start + most - 1]) for start in range(0, len(others), most - 1)]


def proposed_groups(numbers: NDArray[np.int64], pairs: ScoredPairs, same: Sequence[Pair]) -> list[Group]:
    """Return the groups of two or more listings: those in doubt first, those that are settled last.

    Args:
        numbers: Group number of each listing, int64 [n].
        pairs: Scored pairs of the n listings.
        same: Pairs that people said are the same product.

    Examples:
        >>> rows = np.array([0, 2], np.int32), np.array([1, 3], np.int32)
        >>> pairs = ScoredPairs(5, *rows, np.array([0.9, 0.6], np.float32))
        >>> [group.rows for group in proposed_groups(np.array([0, 0, 1, 1, 2]), pairs, [])]
        [(2, 3), (0, 1)]
    """
    left, right, score = _with_copies(pairs)
    inside = numbers[left] == numbers[right]
    left, right, score = left[inside], right[inside], score[inside]
    tree = minimum_spanning_tree(_graph(2 - score, left, right, pairs.n)).tocoo()  # a stored 0 would be no link
    links = np.bincount(numbers[tree.row], minlength=numbers.max(initial=-1) + 1)
    weakest = np.ones(len(links))
    np.minimum.at(weakest, numbers[tree.row], 2 - tree.data)
    copies = np.arange(pairs.n) if pairs.copy_of is None else pairs.copy_of
    of_copies = np.stack([np.arange(pairs.n), copies], axis=1)
    ends = np.concatenate([np.array(same, dtype=np.int64).reshape(-1, 2), of_copies])
    said = connected_components(_graph(np.ones(len(ends)), ends[:, 0], ends[:, 1], pairs.n), directed=False)[1]
    groups = []
    for rows in _members(numbers):
        number, are_linked = numbers[rows[0]], links[numbers[rows[0]]] == len(rows) - 1
        is_settled = len(np.unique(said[rows])) == 1
        groups.append(Group(tuple(rows.tolist()), float(weakest[number]) if are_linked else 0.0, is_settled))
    return sorted(groups, key=lambda group: (group.is_settled, group.weakest, group.rows))


def links_of(kept: Collection[int], out: Collection[int], pairs: ScoredPairs) -> tuple[list[Pair], list[Pair]]:
    """Return the pairs that a person's answer about a group is kept as: those of one product, and those that differ.

    The first connect the listings that are the same along their best scores. The second hold, for each listing that is
    none of them, its best pair with one that is. Of listings that were taken out nothing is said about each other.

    Args:
        kept: Rows of the listings that are the same product.
        out: Rows of those of the group that are not.
        pairs: Scored pairs of the pool.

    Examples:
        >>> rows = np.array([0, 0, 1], np.int32), np.array([1, 2, 2], np.int32)
        >>> pairs = ScoredPairs(4, *rows, np.array([0.5, 0.9, 0.8], np.float32))
        >>> links_of([0, 1, 2], [3], pairs)
        ([(0, 2), (1, 2)], [(0, 3)])
    """
    left, right, scores = _with_copies(pairs)
    ordered, rest = sorted(kept), sorted(out)
    members = np.array([*ordered, *rest], dtype=np.int64)
    place = np.full(pairs.n, -1)
    place[members] = np.arange(len(members))
    inside = (place[left] >= 0) & (place[right] >= 0)
    score = np.zeros((len(members), len(members)))
    score[place[left[inside]], place[right[inside]]] = scores[inside]
    score = np.maximum(score, score.T)
    count = len(ordered)
    tree = minimum_spanning_tree(np.triu(2 - score[:count, :count], 1)).tocoo()
    same = sorted(_pair(members[i], members[j]) for i, j in zip(tree.row, tree.col, strict=True))
    nearest = score[count:, :count].argmax(axis=1) if count else []
    return same, [_pair(row, ordered[best]) for row, best in zip(rest, nearest, strict=False)]


def _with_copies(pairs: ScoredPairs) -> tuple[Rows, Rows, NDArray[np.float64]]:
    """Return the rows and scores of all pairs, and of listings with the one of equal content, which score 1."""
    score = pairs.score.astype(np.float64)
    if pairs.copy_of is None:
        return pairs.left, pairs.right, score
    copies = np.flatnonzero(pairs.copy_of != np.arange(pairs.n)).astype(np.int32)
    ends = np.sort(np.stack([copies, pairs.copy_of[copies]]), axis=0)
    return np.append(pairs.left, ends[0]), np.append(pairs.right, ends[1]), np.append(score, np.ones(len(copies)))


def _pair(one: int, other: int) -> Pair:
    return int(min(one, other)), int(max(one, other))


def _graph(weight: NDArray[np.float64], left: NDArray[np.integer], right: NDArray[np.integer], n: int) -> coo_array:
    return coo_array((weight, (left.astype(np.int32), right.astype(np.int32))), shape=(n, n))


def _members(numbers: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Return the rows of each group of two or more listings."""
    order = np.argsort(numbers, kind="stable")
    cuts = np.flatnonzero(np.diff(numbers[order])) + 1
    return [rows for rows in np.split(order, cuts) if len(rows) > 1]
