"""The candidate pairs of a pool: the union of what the branches propose, and what that union misses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from shared.metrics.matching import count_true_pairs, same_product
from shared.schema import CandidatePairs, Candidates, Rows, pair_key
from shared.search.sorting import distinct

LISTINGS = 1 << 16  # whose pairs are united at a time
RANKS = (1, 2, 5, 10, 20, 50)  # neighbors per listing for which recall is reported


def union(proposals: Iterable[Candidates], n: int) -> CandidatePairs:
    """Return every pair that at least one branch proposes, sorted by (left, right).

    Args:
        proposals: The branches' candidates of one pool of `n` listings.
        n: Number of listings in the pool.

    Examples:
        >>> rows, rank, score = np.array([[0, 1], [2, 2]], np.int32), np.ones(2, np.int32), np.ones(2, np.float32)
        >>> candidates = Candidates(3, *rows, score, rank, rank)
        >>> pairs = union([candidates, candidates.only(np.array([True, False]))], 3)
        >>> pairs.left.tolist(), pairs.right.tolist()
        ([0, 1], [2, 2])
    """
    proposals, blocks = list(proposals), [(np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.int32))]
    for start in range(0, n, LISTINGS):
        keys = [np.zeros(0, dtype=np.int64)]
        for proposal in proposals:
            rows = slice(*np.searchsorted(proposal.left, [start, start + LISTINGS]).tolist())
            keys.append(pair_key(proposal.left[rows], proposal.right[rows], n))
        key = distinct(np.concatenate(keys))
        blocks.append(((key // n).astype(np.int32), (key % n).astype(np.int32)))
    left, right = (np.concatenate(column) for column in zip(*blocks, strict=True))
    return CandidatePairs(n, left, right)


def recall(
    left: NDArray[np.int32], right: NDArray[np.int32], codes: NDArray[np.integer], copies: Rows | None = None
) -> float:
    """Return the share of the true pairs that are among some pairs; 1 if there is no true pair.

    A pair of listings that stand for others counts for all of these, and listings with equal content are paired.

    Args:
        left: Left row of each pair, int32 [p].
        right: Right row of each pair, int32 [p].
        codes: Label codes of the pool's listings, int [n].
        copies: For each listing the row of the one of equal content that stands for it, int32 [n]; None: itself.

    Examples:
        >>> recall(np.array([0], np.int32), np.array([1], np.int32), np.array([4, 4, 7, 7]))
        0.5
    """
    true = count_true_pairs(codes)
    if not true:
        return 1.0
    if copies is None:
        return int(same_product(left, right, codes).sum()) / true
    return _true_pairs_of_copies(left, right, codes, copies) / true


def _true_pairs_of_copies(
    left: NDArray[np.int32], right: NDArray[np.int32], codes: NDArray[np.integer], copies: Rows
) -> int:
    """Return the number of true pairs within classes of equal content and between those that some pairs stand for."""
    labeled = codes >= 0
    shape = (len(codes), int(codes.max(initial=0)) + 1)
    ones = np.ones(int(labeled.sum()), dtype=np.int64)
    counts = csr_array((ones, (copies[labeled], codes[labeled])), shape=shape)  # listings by class and label
    counts.sum_duplicates()
    within = int((counts.data * (counts.data - 1) // 2).sum())
    return within + int(counts[left].multiply(counts[right]).sum())


def recall_by_branch(
    proposals: Mapping[str, Candidates],
    pairs: CandidatePairs,
    codes: NDArray[np.integer],
    copies: Rows | None = None,
) -> dict[str, float]:
    """Return the recall of true pairs by each branch's candidates and by their `union`.

    Args:
        proposals: Branch → its candidates of a pool.
        pairs: The union of these.
        codes: Label codes of the pool's listings, int [n].
        copies: As for `recall`; listings with equal content are joined whatever a branch proposes.

    Examples:
        >>> row, rank, codes = np.array([0], np.int32), np.array([1], np.int32), np.array([4, 4])
        >>> proposals = {"tfidf": Candidates(2, row, row + 1, np.array([0.5], np.float32), rank, rank)}
        >>> recall_by_branch(proposals, union(proposals.values(), 2), codes)
        {'tfidf': 1.0, 'union': 1.0}
    """
    every = {**proposals, "union": pairs}
    return {name: recall(proposed.left, proposed.right, codes, copies) for name, proposed in every.items()}


def recall_by_rank(
    proposals: Mapping[str, Candidates], codes: NDArray[np.integer], copies: Rows | None = None
) -> dict[str, list[Any]]:
    """Return the recall of true pairs when each listing proposes no more than its k nearest by a branch, and ties.

    Args:
        proposals: Branch → its candidates of a pool.
        codes: Label codes of the pool's listings, int [n].
        copies: As for `recall`.

    Returns:
        The `RANKS` as `k`, and in their order the recall of each branch and of the `union` of them all.

    Examples:
        >>> row, rank, codes = np.array([0], np.int32), np.array([2], np.int32), np.array([4, 4])
        >>> proposals = {"tfidf": Candidates(2, row, row + 1, np.array([0.5], np.float32), rank, rank)}
        >>> recall_by_rank(proposals, codes)["tfidf"]
        [0.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    """
    table: dict[str, list[Any]] = {"k": list(RANKS)} | {name: [] for name in [*proposals, "union"]}
    for k in RANKS:
        nearest = {name: nearest_of(candidates, k) for name, candidates in proposals.items()}
        for name, pairs in (nearest | {"union": union(nearest.values(), len(codes))}).items():
            table[name].append(recall(pairs.left, pairs.right, codes, copies))
    return table


def nearest_of(candidates: Candidates, k: int) -> Candidates:
    """Return the candidates of which one listing is among the k nearest of the other, or tied with the k-th.

    Examples:
        >>> rows, ranks = np.array([[0, 1], [2, 2]], np.int32), np.array([[1, 2], [3, 2]], np.int32)
        >>> len(nearest_of(Candidates(3, *rows, np.ones(2, np.float32), *ranks), 1))
        1
    """
    sides = (candidates.rank_left, candidates.rank_right)
    return candidates.only(np.any([(rank > 0) & (rank <= k) for rank in sides], axis=0))


def missed(candidate_recall: float, match_recall: float) -> dict[str, float]:
    """Return the shares of the true pairs that were missed because they were never proposed, or were scored wrong.

    Args:
        candidate_recall: Share of the true pairs among the candidates. A rule may match pairs beyond them.
        match_recall: Share of the true pairs among the matches.

    Examples:
        >>> missed(candidate_recall=0.875, match_recall=0.5)
        {'missed_never_proposed': 0.125, 'missed_scored_wrong': 0.375}
    """
    never = min(1 - candidate_recall, 1 - match_recall)
    return {"missed_never_proposed": never, "missed_scored_wrong": 1 - match_recall - never}
