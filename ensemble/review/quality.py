"""How good the matches are, by the answers alone: precision, recall and F1 of pairs with intervals.

Only stratified answers count: the others were chosen because they are hard. Each stands for the pairs of its stratum
that it was drawn from. They are sorted into cells by the score and by whether the pair is a match; within a cell the
share of yes has a Beta distribution, with the scores' mean as two pseudo-answers. Precision is the mean over the cells
of the matches, recall the share of all true pairs that these hold. Intervals come from draws of all cells.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ensemble.review.questions import Positions, strata
from shared.schema import Flags, ScoredPairs

CONFIDENCE = 0.9
DRAWS = 2000
PSEUDO_ANSWERS = 2.0  # that a cell has beforehand, at the mean of its scores


@dataclass(frozen=True)
class Interval:
    """A share with its interval.

    Args:
        value: Median.
        low, high: Ends of the 90 % interval.

    Examples:
        >>> Interval(0.9, 0.8, 0.95).low
        0.8
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Estimate:
    """The estimated quality of matches, over pairs of listings of different content.

    Args:
        precision: Share of the matches that are true.
        recall: Share of the true pairs that are matches.
        f1: Harmonic mean of the two.
        answers: Number of stratified answers that it comes from.

    Examples:
        >>> some = Interval(0.9, 0.8, 0.95)
        >>> Estimate(some, some, some, 25).answers
        25
    """

    precision: Interval
    recall: Interval
    f1: Interval
    answers: int


def estimate(
    pairs: ScoredPairs, matched: Flags, positions: Positions, is_match: Flags, stratum: NDArray[np.int64], seed: int = 0
) -> Estimate | None:
    """Return the estimated quality of matches; None, "not known", without a stratified answer.

    Args:
        pairs: All pairs of a pool, with scores as the answers teach them.
        matched: Which of them match, bool [p].
        positions: Positions of the pairs that were answered, int64 [a].
        is_match: The answers, bool [a].
        stratum: The stratum that each question was drawn from, int64 [a]; -1 where it was not drawn by stratum.
        seed: Of the draws for the intervals.

    Examples:
        >>> rows = np.zeros(3, np.int32), np.array([1, 2, 3], np.int32)
        >>> pairs = ScoredPairs(4, *rows, np.array([0.9, 0.8, 0.1], np.float32))
        >>> answers = np.array([0, 2]), np.array([True, False]), np.array([0, 3])
        >>> bool(estimate(pairs, pairs.score > 0.5, *answers).precision.value > 0.7)
        True
        >>> nothing = np.zeros(0, np.int64)
        >>> estimate(pairs, pairs.score > 0.5, nothing, nothing > 0, nothing) is None
        True
    """
    drawn = stratum >= 0
    if not drawn.any():
        return None
    cell = strata(pairs) * 2 + matched
    cells = int(cell.max()) + 1
    size = np.bincount(cell, minlength=cells)
    mean = np.bincount(cell, weights=pairs.score, minlength=cells) / np.maximum(size, 1)
    at, yes = cell[positions[drawn]], is_match[drawn]
    a = PSEUDO_ANSWERS * mean + np.bincount(at, weights=yes, minlength=cells) + 1e-6
    b = PSEUDO_ANSWERS * (1 - mean) + np.bincount(at, weights=~yes, minlength=cells) + 1e-6
    share = np.random.default_rng(seed).beta(a, b, size=(DRAWS, cells))
    is_matched_cell = np.arange(cells) % 2 == 1
    hits, true = share @ (size * is_matched_cell), share @ size
    matches = max(int(matched.sum()), 1)
    precision, recall = hits / matches, hits / np.maximum(true, 1e-9)
    f1 = 2 * hits / np.maximum(matches + true, 1e-9)
    return Estimate(_interval(precision), _interval(recall), _interval(f1), int(drawn.sum()))


def _interval(draws: NDArray[np.float64]) -> Interval:
    tail = (1 - CONFIDENCE) / 2
    low, middle, high = np.quantile(draws, [tail, 0.5, 1 - tail])
    return Interval(float(middle), float(low), float(high))
