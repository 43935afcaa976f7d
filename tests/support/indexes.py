"""What two states of an index have in common."""

import numpy as np

from ensemble.index.state import State
from ensemble.pool_views import BranchView


def members(of: State) -> dict[str, frozenset[str]]:
    """Posting id → all in its group."""
    groups: dict[str, set[str]] = {}
    for posting_id, group_id in of.group_ids.items():
        groups.setdefault(group_id, set()).add(posting_id)
    return {posting_id: frozenset(groups[group_id]) for posting_id, group_id in of.group_ids.items()}


def assert_same(one: State, other: State) -> None:
    """The same listings, groups and, to the bit, embeddings, candidates and scores; ids of groups may differ."""
    assert one.catalog.table.drop("image") == other.catalog.table.drop("image")
    assert members(one) == members(other)
    for name in ("left", "right", "score", "first", "cosines", "conflict"):
        np.testing.assert_array_equal(getattr(one.pairs, name), getattr(other.pairs, name))
    for name, branch_state in one.branches.items():
        np.testing.assert_array_equal(dense(branch_state.view), dense(other.branches[name].view))
        np.testing.assert_array_equal(branch_state.search.reach, other.branches[name].search.reach)
        for column in ("left", "right", "similarity", "rank_left", "rank_right"):
            there = getattr(other.branches[name].search.candidates, column)
            np.testing.assert_array_equal(getattr(branch_state.search.candidates, column), there)


def dense(view: BranchView) -> np.ndarray:
    vectors = view.embeddings.vectors
    return vectors if isinstance(vectors, np.ndarray) else vectors.toarray()
