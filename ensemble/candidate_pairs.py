"""The candidate pairs of a pool: the union of what the branches propose, and what that union misses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.metrics.matching import count_true_pairs, same_product
from shared.schema import CandidatePairs, Candidates
from shared.search.sorting import distinct

RANKS = (1, 2, 5, 10, 20, 50)  # neighbors a listing for which recall is told


def union(proposals: Iterable[Candidates], n: int) -> CandidatePairs:
    """Return every pair that at least one branch proposes, sorted by (left, right).

    Args:
        proposals: The branches' candidates of one pool of `n` listings.
        n: Listings in the pool.
    """
    key = distinct(np.concatenate([np.zeros(0, dtype=np.int64), *(proposal.key for proposal in proposals)]))
    return CandidatePairs(n, (key // max(n, 1)).astype(np.int32), (key % max(n, 1)).astype(np.int32))


def recall(left: NDArray[np.int32], right: NDArray[np.int32], codes: NDArray[np.integer]) -> float:
    """Return the share of the true pairs that are among some pairs; 1 where there is none to find."""
    true = count_true_pairs(codes)
    return int(same_product(left, right, codes).sum()) / true if true else 1.0


def recall_by_branch(
    proposals: Mapping[str, Candidates], pairs: CandidatePairs, codes: NDArray[np.integer]
) -> dict[str, float]:
    """Return the recall of true pairs by each branch's candidates and by their `union`.

    Args:
        proposals: Branch → its candidates of a pool.
        pairs: The union of these.
        codes: Label codes of the pool's listings, int [n].
    """
    by_branch = {name: recall(candidates.left, candidates.right, codes) for name, candidates in proposals.items()}
    return by_branch | {"union": recall(pairs.left, pairs.right, codes)}


def recall_by_rank(proposals: Mapping[str, Candidates], codes: NDArray[np.integer]) -> dict[str, list[Any]]:
    """Return the recall of true pairs when each listing proposes no more than its k nearest by a branch, and ties.

    Args:
        proposals: Branch → its candidates of a pool.
        codes: Label codes of the pool's listings, int [n].

    Returns:
        The `RANKS` as `k`, and in their order the recall of each branch and of the `union` of them all.
    """
    table: dict[str, list[Any]] = {"k": list(RANKS)} | {name: [] for name in [*proposals, "union"]}
    for k in RANKS:
        near = {name: nearest_of(candidates, k) for name, candidates in proposals.items()}
        for name, pairs in (near | {"union": union(near.values(), len(codes))}).items():
            table[name].append(recall(pairs.left, pairs.right, codes))
    return table


def nearest_of(candidates: Candidates, k: int) -> Candidates:
    """Return the candidates of which one listing is among the k nearest of the other, or tied with the k-th."""
    sides = (candidates.rank_left, candidates.rank_right)
    return candidates.only(np.any([(rank > 0) & (rank <= k) for rank in sides], axis=0))


def missed(proposed: float, found: float) -> dict[str, float]:
    """Return the shares of the true pairs that were missed, apart by whether they were ever proposed.

    Args:
        proposed: Share of the true pairs among the candidates. A rule may find pairs beyond them.
        found: Share of the true pairs among the matches.
    """
    never = min(1 - proposed, 1 - found)
    return {"missed_never_proposed": never, "missed_scored_wrong": 1 - found - never}
