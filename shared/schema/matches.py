"""What a decision makes of scored pairs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shared.schema.pairs import pair_key
from shared.schema.types import Floats, Rows, require


@dataclass(frozen=True)
class Matches:
    """Pairs (listing, match) of listings that sell the same product; no listing is a match of itself.

    Args:
        n: Number of listings in the pool.
        listing: Rows, int32 [m].
        match: Rows, int32 [m], sorted by (listing, -score, match). The matches need not be symmetric.
        score: Score of the pair, float32 [m] in [0, 1]; NaN, and last of its listing, for a match that comes from the
            group and not from a scored pair.
    """

    n: int
    listing: Rows
    match: Rows
    score: Floats

    def __post_init__(self) -> None:
        require(len(self.listing) == len(self.match) == len(self.score), "columns differ in length")
        require((self.listing != self.match).all(), "a listing is not its own match")
        require(not ((self.score < 0) | (self.score > 1)).any(), "scores must lie in [0, 1] or be NaN")
        if len(self.listing):
            require(min(self.listing.min(), self.match.min()) >= 0, "rows must not be negative")
            require(max(self.listing.max(), self.match.max()) < self.n, "a match points outside of the pool")
            require(self._is_sorted(), "matches must be sorted by (listing, -score, match)")
            require((np.diff(np.sort(pair_key(self.listing, self.match, self.n))) > 0).all(), "matches must be unique")

    def __len__(self) -> int:
        return len(self.listing)

    def lists(self) -> list[Rows]:
        """Return the matches of each listing, the best first: n arrays of rows."""
        return np.split(self.match, np.searchsorted(self.listing, np.arange(1, self.n)))[: self.n]

    def _is_sorted(self) -> bool:
        score = np.nan_to_num(self.score, nan=-1)
        listing, falling, match = np.diff(self.listing), -np.diff(score), np.diff(self.match)
        return bool(((listing > 0) | (listing == 0) & ((falling > 0) | (falling == 0) & (match > 0))).all())
