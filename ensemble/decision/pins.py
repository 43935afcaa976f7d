"""Pairs whose match people decided, and groups that keep to them.

1. Listings of equal content match whatever the rule; where people told two apart, each stands for those of its content
   that it may match, and first for those that people said are the same.
2. A pair that never matches scores 0 and one that must match scores 1, whatever attributes forbid.
3. Links are taken from the strongest down, as in Kruskal's algorithm: first pairs that must match, by their score, then
   what the rule links. A link that would put a pair that never matches into one group is left out, all others hold
   ("cannot-link" and "must-link" of Wagstaff et al., "Constrained k-means clustering", ICML 2001). So a "no" wins over
   any chain of yeses: the weakest link of the chain, by the scores, is not forced. Equal links are ordered by row.

The average link joins groups in this way by itself (`average_linkage.py`). A pair that must match wins over the largest
size of a group, but not over the largest number of matches of a listing.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ensemble.decision.size_cap import FORCED, Groups, SizeCap
from shared.schema import Flags, Rows, ScoredPairs, locate, pair_key

Index = NDArray[np.int64]


def _no_pairs() -> Index:
    return np.zeros((0, 2), dtype=np.int64)


@dataclass(frozen=True)
class Pins:
    """Pairs of listings that must match, and pairs that must never be in one group.

    Args:
        must: Rows of pairs that sell the same product, int64 [k, 2].
        never: Rows of pairs that do not, int64 [m, 2].

    Examples:
        >>> len(Pins(must=np.array([[0, 1], [1, 2]])))
        2
    """

    must: Index = field(default_factory=_no_pairs)
    never: Index = field(default_factory=_no_pairs)

    def __len__(self) -> int:
        return len(self.must) + len(self.never)

    def standing(self, copies: Rows) -> Pins:
        """Return the pairs of the listings that stand for others or themselves, sorted, each once.

        Args:
            copies: For each listing the row of the one that stands for it, int32 [n].
        """
        ends = (np.unique(np.sort(copies[pairs]), axis=0).astype(np.int64) for pairs in (self.must, self.never))
        return Pins(*(rows[rows[:, 0] < rows[:, 1]] for rows in ends))

    def placed(self, place: NDArray[np.integer]) -> Pins:
        """Return the pairs whose listings are both in another pool, in its rows.

        Args:
            place: The row of each listing in the other pool, int [n]; -1 where it is not in it.
        """
        moved = (place[pairs].astype(np.int64) for pairs in (self.must, self.never))
        return Pins(*(rows[(rows >= 0).all(axis=1)] for rows in moved))


def told_apart(copies: Rows, pins: Pins) -> Rows:
    """Return for each listing the row of the one that stands for it, where some of equal content never match.

    Pairs that must match stay together where the others allow it. Each other listing is put with the first of its
    content that it may match, by row; the first one of all stands for as many as before.

    Args:
        copies: For each listing the row of the one of equal content that stands for it, int32 [n].
        pins: Pairs of any listings whose match people decided.

    Examples:
        >>> told_apart(np.array([0, 0, 0], np.int32), Pins(never=np.array([[1, 2]]))).tolist()
        [0, 0, 2]
        >>> told_apart(np.array([0, 0, 0], np.int32), Pins(np.array([[0, 2]]), np.array([[1, 2]]))).tolist()
        [0, 1, 0]
    """
    apart = pins.never[copies[pins.never[:, 0]] == copies[pins.never[:, 1]]]
    if not len(apart):
        return copies
    own = np.arange(len(copies), dtype=np.int32)
    said = pins.standing(np.where(np.isin(copies, copies[apart[:, 0]]), own, copies))
    groups = _SeparatedGroups(said.never.tolist())
    for one, other in said.must.tolist():
        groups.join(one, other)
    result = copies.copy()
    for first in np.unique(copies[apart[:, 0]]).tolist():
        stand: list[int] = []
        members = np.flatnonzero(copies == first).tolist()
        for row in (first, *(row for row in members if row != first)):
            result[row] = next((other for other in stand if groups.join(other, row)), row)
            if result[row] == row:
                stand.append(row)
    return result


def pinned(pairs: ScoredPairs, pins: Pins) -> tuple[ScoredPairs, Pins]:
    """Return pairs with the scores that pins give them, and the pins that the groups are to keep to.

    Args:
        pairs: Scored pairs of n listings.
        pins: Pairs of any of them.

    Returns:
        The pairs, with score 1 for those that must match, which are added where they are no candidates, and 0 for those
        that must not. The pins are of listings that stand for others or themselves; of contradicting ones, the weakest
        that must match are left out.
    """
    copies = np.arange(pairs.n, dtype=np.int32) if pairs.copy_of is None else pairs.copy_of
    copies = told_apart(copies, pins)
    pins = pins.standing(copies)
    must, never = pins.must, pins.never
    position, is_candidate = locate(pair_key(must[:, 0], must[:, 1], pairs.n), pairs.key)
    score = np.where(is_candidate, _at(pairs.score, position), np.float32(-1))
    must = must[separated(pairs.n, must[:, 0], must[:, 1], score, never)]
    scores = pairs.score.copy()
    scores[np.isin(pairs.key, pair_key(never[:, 0], never[:, 1], pairs.n))] = 0
    forced = replace(pairs, score=scores, copy_of=None if pairs.copy_of is None else copies)
    return _with_score_one(forced, must), Pins(must, never)


def _at(values: NDArray[np.float32], position: Index) -> NDArray[np.float32]:
    return values[position] if len(values) else np.zeros(len(position), dtype=np.float32)


def _with_score_one(pairs: ScoredPairs, must: Index) -> ScoredPairs:
    """Return pairs in which some, int64 [k, 2], score 1 and are in no conflict."""
    key = pair_key(must[:, 0], must[:, 1], pairs.n)
    others = pairs.only(~np.isin(pairs.key, key))
    order = np.argsort(np.append(others.key, key))
    left, right = (np.append(ends, must[:, side])[order] for side, ends in enumerate((others.left, others.right)))
    score = np.append(others.score, np.ones(len(must), dtype=np.float32))[order]
    conflict = pairs.conflict
    if others.conflict is not None:
        conflict = np.append(others.conflict, np.zeros(len(must), dtype=np.uint8))[order]
    return ScoredPairs(pairs.n, left.astype(np.int32), right.astype(np.int32), score, conflict, pairs.copy_of)


def separated(
    n: int,
    left: NDArray[np.integer],
    right: NDArray[np.integer],
    strength: NDArray[np.floating],
    never: Index,
) -> Flags:
    """Return which links hold if no group may contain a pair that never matches, bool [p]; the strongest hold first.

    Args:
        n: Number of listings.
        left: Row of one listing of each link, int [p].
        right: Row of the other one, int [p].
        strength: How strong each link is, [p]; equal ones are taken by their rows.
        never: Rows of the pairs that never match, int64 [m, 2].

    Examples:
        >>> rows, strength = np.array([0, 1]), np.array([0.9, 0.8])
        >>> separated(3, rows, rows + 1, strength, np.array([[0, 2]])).tolist()
        [True, False]
    """
    holds = np.ones(len(left), dtype=np.bool_)
    component = _components(n, left, right)
    together = component[never[:, 0]] == component[never[:, 1]]
    doubtful = np.flatnonzero(np.isin(component[left], component[never[together, 0]]))
    order = doubtful[np.lexsort((right[doubtful], left[doubtful], -strength[doubtful]))]
    groups = _SeparatedGroups(never[together].tolist())
    ends = zip(left[order].tolist(), right[order].tolist(), strict=True)
    holds[order] = [groups.join(one, other) for one, other in ends]
    return holds


def _components(n: int, left: NDArray[np.integer], right: NDArray[np.integer]) -> Groups:
    graph = coo_array((np.ones(len(left), dtype=np.int8), (left, right)), shape=(n, n))
    return connected_components(graph, directed=False)[1].astype(np.int64)


class _SeparatedGroups:
    """Groups of listings that are joined two at a time, but for those that hold a pair that never matches."""

    def __init__(self, never: list[list[int]]) -> None:
        self._parent: dict[int, int] = {}
        self._foes: dict[int, set[int]] = defaultdict(set)  # first listing of a group → those of groups it never joins
        for one, other in never:
            self._foes[one].add(other)
            self._foes[other].add(one)

    def _root(self, row: int) -> int:
        parent = self._parent
        while parent.setdefault(row, row) != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    def join(self, one: int, other: int) -> bool:
        """Join the groups of two listings if they may be one, and return whether they are one now."""
        a, b = self._root(one), self._root(other)
        if a == b:
            return True
        if b in self._foes[a]:
            return False
        if len(self._foes[a]) < len(self._foes[b]):
            a, b = b, a
        self._parent[b] = a
        for foe in self._foes.pop(b, set()):
            self._foes[foe].remove(b)
            self._foes[foe].add(a)
            self._foes[a].add(foe)
        return True


class PinnedCap:
    """The largest groups of a pool's links that keep to the pins and are not too large; used as `SizeCap` is.

    Args:
        pairs: The links, with the scores that `pinned` gave them.
        most: The most listings in a group; None: any number. Pairs that must match make larger ones.
        pins: From `pinned`.

    Examples:
        >>> rows = np.array([0, 1], np.int32)
        >>> pairs, pins = pinned(ScoredPairs(3, rows, rows + 1, np.array([0.9, 0.8], np.float32)),
        ...                      Pins(never=np.array([[0, 2]])))
        >>> PinnedCap(pairs, None, pins).groups(np.ones(2, dtype=bool))[0].tolist()
        [0, 0, 1]
    """

    def __init__(self, pairs: ScoredPairs, most: int | None, pins: Pins) -> None:
        must = np.isin(pairs.key, pair_key(pins.must[:, 0], pins.must[:, 1], pairs.n))
        self._pairs, self._most, self._never = pairs, most, pins.never
        self._strength = np.where(must, FORCED, pairs.score.astype(np.float64))

    def groups(self, is_link: Flags) -> tuple[Groups, int]:
        """Return the group number of each listing, int64 [n], and how many groups were too large.

        Args:
            is_link: Which links count, bool [p]; pairs that must match always do.
        """
        counts = is_link | (self._strength >= FORCED)
        links = self._pairs.left[counts], self._pairs.right[counts], self._strength[counts]
        holds = separated(self._pairs.n, *links, self._never)
        left, right, strength = links[0][holds], links[1][holds], links[2][holds]
        return SizeCap(self._pairs.n, left, right, strength, self._most).groups(np.ones(len(left), dtype=np.bool_))
