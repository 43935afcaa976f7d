"""Which pairs to ask a person about.

1. *Stratified*: pairs from all ranks of the score, at random within a stratum. They teach the learner how many pairs
   are true at which rank, and they alone say how good the matches are (`quality.py`).
2. *Uncertain*: pairs whose answer the score cannot tell, drawn with the weight (p(1 - p))².

The first questions are stratified, later ones half and half. Nothing is asked that answers say already: a pair within a
group of listings that yes joins, or between two groups of which one pair has the answer no.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from shared.schema import CandidatePairs, Flags, ScoredPairs, pair_key

EDGES = (0, 0.15, 0.3, 0.5, 0.75, 1, 1.5, 2.5, 4, 8, 16, np.inf)  # of the strata: ranks of the score, per listing
FIRST = 25  # stratified questions before any other

Asked = Literal["stratified", "uncertain"]
Positions = NDArray[np.int64]


@dataclass(frozen=True)
class Question:
    """A pair to ask about.

    Args:
        position: Of the pair among the scored pairs.
        asked: How it was drawn.
        stratum: Number of the stratum that it was drawn from, from 0; None if it was drawn by uncertainty.

    Examples:
        >>> Question(7, "stratified", 2).asked
        'stratified'
    """

    position: int
    asked: Asked
    stratum: int | None = None


def strata(pairs: ScoredPairs) -> NDArray[np.int64]:
    """Return the stratum of each pair by the rank of its score, int64 [p], from 0; ties by position.

    Examples:
        >>> rows = np.zeros(3, np.int32), np.array([1, 2, 3], np.int32)
        >>> strata(ScoredPairs(4, *rows, np.array([0.1, 0.9, 0.5], np.float32))).tolist()
        [3, 0, 1]
    """
    rank = np.empty(len(pairs), dtype=np.int64)
    rank[np.argsort(-pairs.score, kind="stable")] = np.arange(len(pairs))
    stratum: NDArray[np.int64] = np.searchsorted(np.array(EDGES[1:-1]) * pairs.n, rank, side="right")
    return stratum.astype(np.int64)


def stratum_sizes(pairs: CandidatePairs) -> NDArray[np.int64]:
    """Return the number of pairs in each stratum, int64 [strata]; it does not depend on the scores.

    Examples:
        >>> rows = np.zeros(3, np.int32), np.array([1, 2, 3], np.int32)
        >>> stratum_sizes(CandidatePairs(4, *rows)).tolist()
        [1, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0]
    """
    ends = np.minimum(np.ceil(np.array(EDGES[1:-1]) * pairs.n), len(pairs)).astype(np.int64)
    sizes: NDArray[np.int64] = np.diff(np.concatenate([[0], ends, [len(pairs)]]))
    return sizes


def next_questions(
    pairs: ScoredPairs,
    positions: Positions,
    is_match: Flags,
    count: int,
    seed: int,
    skip: Positions | None = None,
) -> list[Question]:
    """Return the pairs to ask about next, in the order to ask.

    The same answers and seed give the same questions.

    Args:
        pairs: All pairs of a pool, with the scores that were learned from the answers so far.
        positions: Positions of the pairs that were answered, int64 [a].
        is_match: The answers, bool [a].
        count: Number of questions; there are fewer where fewer pairs are left.
        seed: Of the draws.
        skip: Positions of pairs that are not to be asked for another reason, such as the answer that somebody is
            unsure; they count as asked.

    Examples:
        >>> rows = np.zeros(3, np.int32), np.array([1, 2, 3], np.int32)
        >>> pairs = ScoredPairs(4, *rows, np.array([0.1, 0.9, 0.5], np.float32))
        >>> nothing = np.zeros(0, np.int64)
        >>> sorted(question.position for question in next_questions(pairs, nothing, nothing > 0, 2, seed=0))
        [1, 2]
    """
    skip = np.zeros(0, dtype=np.int64) if skip is None else skip
    open_pairs = ~is_answered(pairs, positions, is_match)
    open_pairs[skip] = False
    asked = len(positions) + len(skip)
    rng = np.random.default_rng([seed, asked])
    first = min(max(FIRST - asked, 0), count)
    stratified = first + (count - first + 1) // 2
    drawn = _stratified(strata(pairs), open_pairs, stratified, rng)
    questions = [Question(int(at), "stratified", int(stratum)) for at, stratum in drawn]
    open_pairs[[question.position for question in questions]] = False
    uncertain = _uncertain(pairs, open_pairs, count - len(questions), rng)
    mixed = questions[first:] + [Question(int(at), "uncertain") for at in uncertain]
    order = rng.permutation(len(mixed))
    return questions[:first] + [mixed[at] for at in order]


def is_answered(pairs: CandidatePairs, positions: Positions, is_match: Flags) -> Flags:
    """Return which pairs are answered or follow from the answers, bool [p].

    Args:
        pairs: All pairs of a pool.
        positions: Positions of the pairs that were answered, int64 [a].
        is_match: The answers, bool [a].

    Examples:
        >>> pairs = CandidatePairs(3, np.array([0, 0, 1], np.int32), np.array([1, 2, 2], np.int32))
        >>> is_answered(pairs, np.array([0, 1]), np.array([True, False])).tolist()
        [True, True, True]
    """
    group = yes_groups(pairs, positions[is_match])
    left, right = group[pairs.left], group[pairs.right]
    key = pair_key(np.minimum(left, right), np.maximum(left, right), pairs.n)
    answered: Flags = (left == right) | np.isin(key, key[positions[~is_match]])
    answered[positions] = True
    return answered


def yes_groups(pairs: CandidatePairs, positions: Positions) -> NDArray[np.int64]:
    """Return the number of each listing's group when some pairs are joined, int64 [n].

    Examples:
        >>> pairs = CandidatePairs(3, np.array([0, 0], np.int32), np.array([1, 2], np.int32))
        >>> yes_groups(pairs, np.array([1])).tolist()
        [0, 1, 0]
    """
    ends = pairs.left[positions], pairs.right[positions]
    graph = coo_array((np.ones(len(positions), dtype=np.int8), ends), shape=(pairs.n, pairs.n))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def _stratified(
    stratum: NDArray[np.int64], open_pairs: Flags, count: int, rng: np.random.Generator
) -> list[tuple[int, int]]:
    """Return position and stratum of pairs, one of each stratum in turn from a random one on, random within it."""
    rows = [np.flatnonzero(open_pairs & (stratum == number)) for number in range(len(EDGES) - 1)]
    queues = [rng.permutation(of_stratum)[:count] for of_stratum in rows]
    start = int(rng.integers(len(queues)))
    order = [(start + step) % len(queues) for step in range(len(queues))]
    longest = max(len(queue) for queue in queues)
    drawn = [(int(queues[k][turn]), k) for turn in range(longest) for k in order if turn < len(queues[k])]
    return drawn[:count]


def _uncertain(pairs: ScoredPairs, open_pairs: Flags, count: int, rng: np.random.Generator) -> Positions:
    """Return positions of open pairs, drawn without replacement with the weight (p(1 - p))²."""
    rows = np.flatnonzero(open_pairs)
    p = pairs.score[rows].astype(np.float64)
    weight = (p * (1 - p)) ** 2 + 1e-12
    # Without replacement: the smallest exponential times at these rates (Efraimidis and Spirakis 2006).
    times = rng.exponential(size=len(rows)) / weight
    return rows[np.argsort(times, kind="stable")[:count]].astype(np.int64)
