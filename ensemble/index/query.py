"""Which listings of an index sell the product of one listing that is not in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ensemble.index.explain import reasons
from ensemble.index.state import State
from ensemble.index.subgraph import taken
from ensemble.pool_views import BranchView, PoolViews
from shared.schema import Candidates

_ROWS, _VALUES = np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.float32)


@dataclass(frozen=True)
class Hit:
    """A listing of the index that may sell the product asked about.

    Attributes:
        posting_id: Its id.
        group_id: The id of its group.
        title: As written; "" where there is none.
        score: Probability that both sell the same product, in [0, 1]; NaN where it matches by its group alone.
        matches: Whether the decision takes them for the same product.
        reasons: What speaks for and against, in words.
    """

    posting_id: str
    group_id: str
    title: str
    score: float
    matches: bool
    reasons: str


def hits(state: State, posting_id: str, most: int) -> list[Hit]:
    """Return what an index says about one of its listings.

    Args:
        state: The index, its group ids being those it had before this listing.
        posting_id: The listing.
        most: Of those that do not match, only so many of the best are returned; all that match are.

    Returns:
        Those that match first, the best first.
    """
    ids, titles = state.catalog.ids, state.catalog.titles
    own = int(np.flatnonzero(ids == posting_id)[0])
    found, pairs = state.matches, state.pairs
    matched = found.match[found.listing == own].tolist()
    score = dict.fromkeys(matched, float("nan"))
    for end, other in ((pairs.left, pairs.right), (pairs.right, pairs.left)):
        of_own = end == own
        score |= dict(zip(other[of_own].tolist(), pairs.score[of_own].tolist(), strict=True))
    order = sorted(score, key=lambda row: (row not in matched, -np.nan_to_num(score[row], nan=-1.0), row))
    rows = order[: len(matched) + most]
    pool = _pool(state, [*rows, own])
    return [
        Hit(
            ids[row],
            state.group_ids[ids[row]],
            titles[row],
            score[row],
            row in matched,
            reasons(pool, at, len(rows)),
        )
        for at, row in enumerate(rows)
    ]


def _pool(state: State, rows: list[int]) -> PoolViews:
    """Some listings with their embeddings."""
    nothing = Candidates(len(rows), _ROWS, _ROWS, _VALUES, _ROWS, _ROWS)
    at = np.array(rows, dtype=np.int64)
    views = {name: BranchView(taken(branch.embeddings, at), nothing) for name, branch in state.branches.items()}
    return PoolViews(state.catalog.take(at), views)
