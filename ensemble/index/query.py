"""Finds the listings of an index that sell the same product as one listing that is not in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ensemble.explain.candidates import best_candidates
from ensemble.explain.reasons import reasons
from ensemble.index.state import State
from ensemble.pool_views import BranchView, PoolViews
from shared.schema import Candidates

_ROWS, _VALUES = np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.float32)


@dataclass(frozen=True)
class Hit:
    """A listing of the index that may sell the product of a query.

    Attributes:
        posting_id: Its id.
        group_id: The id of its group.
        title: As written; "" where there is none.
        score: Probability that both sell the same product, in [0, 1]; NaN where it matches by its group alone.
        matches: Whether the decision takes them for the same product.
        reasons: What the two listings have in common and where they differ, in words.

    Examples:
        >>> hit = Hit("p1", "p1", "Red Mug", score=0.93, matches=True, reasons="titles 90 % alike")
        >>> f"{hit.group_id} {hit.score:.0%}"
        'p1 93%'
    """

    posting_id: str
    group_id: str
    title: str
    score: float
    matches: bool
    reasons: str


def hits(state: State, posting_id: str, most: int) -> list[Hit]:
    """Return the matches of one listing of an index, and the best of its other candidates.

        hits(state, "p1", most=5)[0].score

    Args:
        state: The index with this listing, its group ids being those without it.
        posting_id: The listing.
        most: Number of listings that do not match to return at most, the best first; all matches are returned.

    Returns:
        Those that match, then the others, each part with the best first.
    """
    ids, titles = state.catalog.ids, state.originals.titles
    own_row = int(np.flatnonzero(ids == posting_id)[0])
    candidates = best_candidates(state.matches, state.pairs, own_row, own_row, most)
    rows = [each.row for each in candidates]
    pool = _pool(state, [*rows, own_row])
    return [
        Hit(
            ids[row],
            state.group_ids[ids[row]],
            titles[row],
            candidate.score,
            candidate.matches,
            reasons(pool, position, len(rows)),
        )
        for position, (row, candidate) in enumerate(zip(rows, candidates, strict=True))
    ]


def _pool(state: State, rows: list[int]) -> PoolViews:
    """Return some listings of an index with their embeddings."""
    nothing = Candidates(len(rows), _ROWS, _ROWS, _VALUES, _ROWS, _ROWS)
    positions = np.array(rows, dtype=np.int64)
    views = {name: BranchView(branch.embeddings.take(positions), nothing) for name, branch in state.branches.items()}
    return PoolViews(state.catalog.take(positions), views)
