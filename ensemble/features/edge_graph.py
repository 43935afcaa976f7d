"""Listings linked by a similarity: the rank of each link, and how near the best links of each listing are.

The links of a few listings at a time are sorted, so that a graph of many millions of links needs little more memory
than the links themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import Any

import numpy as np

from shared.search.sorting import best_first

DEPTHS = (5, 15)  # neighbors over which density is taken
FEW = 1e-3  # least standard deviation in a z-score
LINKS = 1 << 21  # about so many ends of links are sorted at a time


@dataclass(frozen=True)
class Links:
    """The links of a range of listings, by listing and best first.

    Args:
        first: The first listing.
        end: Listing of each entry, counted from the first one, [e].
        similarity: Of each entry, float32 [e].
        place: Place of each entry in its listing's row, from 0, [e].
        order: Position of each entry among the links that have one of the listings on the left, followed by those that
            have one of them on the right, [e].
        left: The links that have one of the listings on the left.
        right: Positions of the links that have one of them on the right.
    """

    first: int
    end: Any
    similarity: Any
    place: Any
    order: Any
    left: slice
    right: Any

    def ranks(self, xp: ModuleType) -> tuple[Any, Any]:
        """Return the competition rank of each link in `left` and in `right` among the links of the listing, int32."""
        new = xp.ones(len(self.end), dtype=bool)
        new[1:] = (self.end[1:] != self.end[:-1]) | (self.similarity[1:] != self.similarity[:-1])
        first_equal = xp.flatnonzero(new)[xp.cumsum(new) - 1]
        rank = xp.zeros(len(self.end), dtype=np.int32)
        rank[self.order] = self.place[first_equal] + 1
        border = self.left.stop - self.left.start
        return rank[:border], rank[border:]

    def add_mean(self, depth: int, power: int, mean: Any, xp: ModuleType) -> None:
        """Write the mean over the best few links of each of the listings into `mean`, float64 [n]."""
        mask = self.place < depth
        end = self.end[mask]
        total = xp.bincount(end, weights=self.similarity[mask].astype(np.float64) ** power)
        count = xp.bincount(end)
        mean[self.first : self.first + len(count)] = xp.where(count > 0, total / xp.maximum(count, 1), np.nan)


def links_by_listing(
    n: int, left: Any, right: Any, similarity: Any, xp: ModuleType, size: int = LINKS
) -> Iterator[Links]:
    """Yield the links of ranges of listings, which together are all that have links.

    Args:
        n: Listings.
        left: Rows, int [e], rising.
        right: Rows, int [e].
        similarity: float32 [e], not NaN.
        xp: numpy or CuPy.
        size: About so many entries are yielded at a time; a listing's own are never parted.

    Examples:
        >>> left, right, value = np.array([0, 0]), np.array([1, 2]), np.array([0.5, 0.75], np.float32)
        >>> for links in links_by_listing(3, left, right, value, np):
        ...     print(links.end.tolist(), links.similarity.tolist(), links.place.tolist())
        [0, 0, 1, 2] [0.75, 0.5, 0.5, 0.75] [0, 1, 0, 0]
    """
    left, right, similarity = xp.asarray(left), xp.asarray(right), xp.asarray(similarity, dtype=np.float32)
    e = len(left)
    if e == 0:
        return
    by_right = xp.sort((right.astype(np.int64) << 32) + xp.arange(e))  # several times as fast as to sort positions
    by_right = (by_right & 0xFFFFFFFF).astype(np.int32)
    listings = xp.arange(n + 1, dtype=np.int32)
    bounds = [to_host(xp.searchsorted(ends, listings)) for ends in (left, right[by_right])]
    total = bounds[0] + bounds[1]
    edges = np.unique(np.append(np.searchsorted(total, np.arange(0, 2 * e, size)), n))
    for a, b in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        if total[a] == total[b]:
            continue
        of_left, positions = slice(*bounds[0][[a, b]].tolist()), by_right[slice(*bounds[1][[a, b]].tolist())]
        end = xp.concatenate([left[of_left], right[positions]]) - a
        value = xp.concatenate([similarity[of_left], similarity[positions]])
        order = best_first(end, value, xp)
        end, value = end[order], value[order]
        place = xp.arange(len(end)) - xp.searchsorted(end, xp.arange(b - a))[end]
        yield Links(a, end, value, place, order, of_left, positions)


@dataclass(frozen=True)
class Densities:
    """How near the best links of each listing are.

    Args:
        means: Number of best links and power → the mean over these of the similarity to that power, float64 [n]; NaN
            for a listing without links.
        xp: numpy or CuPy.
    """

    means: Mapping[tuple[int, int], Any]
    xp: ModuleType

    def densities(self) -> dict[str, Any]:
        """Return of each listing its best similarity and means of its best few, float64 [n]; NaN without a neighbor."""
        return {f"top{depth}": self.means[depth, 1] for depth in (1, *DEPTHS)}

    @cached_property
    def standards(self) -> list[tuple[str, Any, Any]]:
        """Return by name the center and spread, [n], of the gap to the best link and of the z-score in the best few.

        They are worked out once, since a few pairs are described at a time, many times over.
        """
        xp, deep = self.xp, DEPTHS[-1]
        center, squares = self.means[deep, 1], self.means[deep, 2]
        spread = xp.sqrt(xp.maximum(squares - center**2, 0)) + FEW
        return [("gap", self.means[1, 1], xp.ones(len(center))), ("z", center, spread)]


class EdgeGraph:
    """Listings linked by pairs with a similarity; every link is seen from both ends.

    Args:
        n: Listings.
        left: Linked rows, int32 [e], rising.
        right: Linked rows, int32 [e].
        similarity: float32 [e].
        xp: numpy or CuPy.
        size: About so many ends of links are worked on at a time.

    Attributes:
        ranks: The competition rank of each link among its left and among its right listing's, int32 [e] each.
        listings: How near the links of each listing are.

    Examples:
        >>> similarity = np.array([0.75, 0.5], np.float32)
        >>> graph = EdgeGraph(3, np.array([0, 0]), np.array([1, 2]), similarity, np)
        >>> [ranks.tolist() for ranks in graph.ranks]
        [[1, 2], [1, 1]]
    """

    def __init__(self, n: int, left: Any, right: Any, similarity: Any, xp: ModuleType, size: int = LINKS) -> None:
        self.ranks = xp.zeros(len(left), dtype=np.int32), xp.zeros(len(left), dtype=np.int32)
        means = {key: xp.full(n, np.nan) for key in [(1, 1), *((depth, 1) for depth in DEPTHS), (DEPTHS[-1], 2)]}
        for links in links_by_listing(n, left, right, similarity, xp, size):
            self.ranks[0][links.left], self.ranks[1][links.right] = links.ranks(xp)
            for (depth, power), mean in means.items():
                links.add_mean(depth, power, mean, xp)
        self.listings = Densities(means, xp)


def to_host(array: Any) -> Any:
    """Return an array as a numpy array, whether it is in memory of the CPU or of a GPU.

    Examples:
        >>> to_host(np.array([1, 2])).tolist()
        [1, 2]
    """
    return array.get() if hasattr(array, "get") else np.asarray(array)
