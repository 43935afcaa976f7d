"""The best candidates of one listing: those that match it, then those that come next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from shared.schema import Floats, Matches, Rows


class Scores(Protocol):
    """Pairs of listings with their scores, such as `ScoredPairs`."""

    @property
    def left(self) -> Rows:
        """Rows, int32 [p]."""
        ...

    @property
    def right(self) -> Rows:
        """Rows, int32 [p]."""
        ...

    @property
    def score(self) -> Floats:
        """Scores in [0, 1], float32 [p]."""
        ...


@dataclass(frozen=True)
class BestCandidate:
    """A listing that was compared with another one.

        BestCandidate(row=7, score=0.93, matches=True)

    Args:
        row: Its row in the pool.
        score: Probability that both sell the same product, in [0, 1]; NaN where they match by their group alone.
        matches: Whether the decision takes them for the same product.
    """

    row: int
    score: float
    matches: bool


def best_candidates(matches: Matches, pairs: Scores, row: int, scored_row: int, most: int) -> list[BestCandidate]:
    """Return the matches of a listing and the best of its other candidates.

    Args:
        matches: Of a pool.
        pairs: Its scored pairs.
        row: The listing.
        scored_row: The listing of equal content that stands for it in the pairs; itself if there is none.
        most: Number of listings that do not match to return at most; all matches are returned.

    Returns:
        Those that match, then the others, each part with the best first; equal scores by row.

    Examples:
        >>> from shared.schema import ScoredPairs
        >>> one, other = np.array([0, 1], np.int32), np.array([1, 0], np.int32)
        >>> pairs = ScoredPairs(3, np.zeros(2, np.int32), np.array([1, 2], np.int32), np.array([0.9, 0.2], np.float32))
        >>> best = best_candidates(Matches(3, one, other, np.array([0.9, 0.9], np.float32)), pairs, 0, 0, most=5)
        >>> [(each.row, each.matches) for each in best]
        [(1, True), (2, False)]
    """
    own = matches.listing == row
    matched = matches.match[own].tolist()
    score = dict(zip(matched, matches.score[own].tolist(), strict=True))
    for end, other in ((pairs.left, pairs.right), (pairs.right, pairs.left)):
        mask = end == scored_row
        score |= dict(zip(other[mask].tolist(), pairs.score[mask].tolist(), strict=True))
    order = sorted(score, key=lambda row: (row not in matched, -np.nan_to_num(score[row], nan=-1.0), row))
    return [BestCandidate(each, score[each], each in matched) for each in order[: len(matched) + most]]
