"""Hits that are gathered bit by bit, without those that cannot be among the k nearest any more."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from shared.schema import Flags, Floats, Rows
from shared.search.exact import Search
from shared.search.sorting import best_first

Part = tuple[Rows, Rows, Floats]  # position of the listing among those that are searched, neighbor, product


@dataclass(frozen=True)
class Gathered:
    """Hits of r listings so far.

    Args:
        position: Position of the listing among those that are searched, int32 [h], rising.
        neighbor: Rows, int32 [h].
        value: Their products, float32 [h], falling within a listing.
        reach: A lower bound of the k-th largest value of each listing, float32 [r]; -1 where there is none yet.

    Examples:
        >>> from shared.search.lists import Limits
        >>> search = Search.of(np.eye(2, dtype=np.float32), Limits(1), np)
        >>> part = np.array([0, 0], np.int32), np.array([7, 8], np.int32), np.array([0.2, 0.9], np.float32)
        >>> gathered = Gathered.none(1, search).joined([part])
        >>> gathered.neighbor.tolist(), gathered.reach.round(1).tolist()
        ([8], [0.8999999761581421])
    """

    position: Rows
    neighbor: Rows
    value: Floats
    reach: Floats
    search: Search

    @classmethod
    def none(cls, r: int, search: Search) -> Self:
        """Return no hits of r listings."""
        nobody = np.zeros(0, dtype=np.int32)
        return cls(nobody, nobody, np.zeros(0, dtype=np.float32), np.full(r, -1, dtype=np.float32), search)

    def joined(self, parts: list[Part]) -> Self:
        """Return these hits and others, none of which is here already."""
        columns = zip((self.position, self.neighbor, self.value), *parts, strict=True)
        position, neighbor, value = map(np.concatenate, columns)
        order = best_first(position, value)
        position, neighbor, value = position[order], neighbor[order], value[order]
        counts = np.bincount(position, minlength=len(self.reach))
        full = counts >= self.search.limits.k
        kth = value[(np.cumsum(counts) - counts)[full] + self.search.limits.k - 1]
        reach = self.reach.copy()
        reach[full] = np.maximum(reach[full], kth)
        mask = value >= np.maximum(reach - self.search.slack, self.search.least)[position]
        return type(self)(position[mask], neighbor[mask], value[mask], reach, self.search)

    def crowded(self, times: int = 1) -> Flags:
        """Return which listings have more hits than a list may hold, or so many times as many, bool [r]."""
        mask: Flags = np.bincount(self.position, minlength=len(self.reach)) > times * self.search.limits.most
        return mask

    def thinned(self) -> Self:
        """Return these hits, of those close to the k-th value of a crowded listing only the ones in the lowest rows."""
        close = self.value <= (self.reach + self.search.slack)[self.position]
        crowd = np.flatnonzero(self.crowded()[self.position] & close)
        crowd = crowd[np.lexsort((self.neighbor[crowd], self.position[crowd]))]
        first = np.flatnonzero(np.diff(self.position[crowd], prepend=-1))
        place = np.arange(len(crowd)) - np.repeat(first, np.diff(np.append(first, len(crowd))))
        keep = np.ones(len(self.position), dtype=np.bool_)
        keep[crowd[place >= self.search.limits.most]] = False
        return self.only(keep)

    def only(self, keep: Flags) -> Self:
        """Return some of the hits; `keep` is bool [h]."""
        return replace(self, position=self.position[keep], neighbor=self.neighbor[keep], value=self.value[keep])
