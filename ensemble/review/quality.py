"""How good the matches are, by stratified answers alone: precision, recall and F1 of pairs with intervals.

Other answers were chosen because they are hard, and would say too little of the rest.

1. *Cells*: pairs are sorted by the rank of their score and by whether they match. An answer settles whether its own
   pair matches, so a pair that was asked counts as it would have been decided had it not been asked: the decision is
   made again without a fifth of the answers, five times.
2. *Shares*: in each cell the share of yes has a Beta distribution. An answer counts as many times as its stratum has
   pairs for each that was drawn. Beforehand a cell has the mean of its scores as its share, worth two answers; a cell
   in which hardly any pair is true has half a yes, or none among twenty answers would stand for none among thousands.
   The scores of all cells may be off alike, as few answers have taught them: a draw shifts the log odds of all shares.
   Pairs about which people are unsure are a part of their cell that the other answers do not stand for: each such pair
   counts in its stratum, and their share of yes is that of their scores, worth two answers, which widens the interval.
3. *Sums*: pairs with an answer are what it says, all others true with the share of their cell. Precision and recall
   are ratios of these sums; their intervals come from draws of all shares.

Intervals from fewer than `FEW` answers hold less often than they say, and so do those from answers of which several in
a hundred are wrong: one wrong yes about a hopeless pair stands for thousands of pairs, and the recall looks too low.

The intervals were measured by `python -m ensemble.review.simulate` (ensemble/RESULTS.md, "Review").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ensemble.decision.decision import Decision
from ensemble.review.learner import learned_decision, with_answers
from ensemble.review.pair_answers import PairAnswers
from ensemble.review.questions import Positions, strata, stratum_sizes
from shared.schema import Flags, Matches, ScoredPairs, pair_key

CONFIDENCE = 0.9
FEW = 50  # answers; from fewer, intervals hold less often
DRAWS = 1000
PARTS = 5  # of the answers; the decision is made without each
MATCHED = (0, 0, 0, 1, 2, 3, 4, 4, 4, 4, 4)  # cell of a match by its stratum
OTHERS = (5, 5, 5, 5, 5, 5, 6, 7, 8, 9, 10)  # of any other pair
LOWEST = 4  # cell of the matches that score low: their groups made them match, so their scores say little
PSEUDO_ANSWERS = 2.0  # that a cell has beforehand
SHIFT = 5.0  # standard deviation of what the log odds of all scores may be off, times √answers
PSEUDO_YES = 0.5  # that a cell of other pairs has beforehand at least

Doubles = NDArray[np.float64]


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
    """The estimated quality of matches, over the candidate pairs, which are of listings of different content.

    Args:
        precision: Share of the matches that are true; 1 where there is none.
        recall: Share of the true pairs that are matches.
        f1: Harmonic mean of the two.
        answers: Number of stratified answers yes and no that it comes from.
        unsure: Number of stratified pairs about which people are unsure, which widen the intervals.

    Examples:
        >>> some = Interval(0.9, 0.8, 0.95)
        >>> Estimate(some, some, some, 25).answers
        25
    """

    precision: Interval
    recall: Interval
    f1: Interval
    answers: int
    unsure: int = 0


def estimate(
    pairs: ScoredPairs, matched: Flags, answers: PairAnswers, seed: int = 0, decision: Decision | None = None
) -> Estimate | None:
    """Return the estimated quality of matches; None, "not known", without a stratified answer.

    Args:
        pairs: All pairs of a pool, with scores as the answers teach them.
        matched: Which of them match, bool [p].
        answers: About some of them.
        seed: Of the draws for the intervals.
        decision: The decision that made the matches; None: `learned_decision`, which takes a second to find again.

    Examples:
        >>> rows = np.zeros(3, np.int32), np.array([1, 2, 3], np.int32)
        >>> pairs = ScoredPairs(4, *rows, np.array([0.9, 0.8, 0.1], np.float32))
        >>> answers = PairAnswers(np.array([0, 2]), np.array([True, False]), np.array([0, 3]))
        >>> bool(estimate(pairs, pairs.score > 0.5, answers).precision.value > 0.7)
        True
        >>> estimate(pairs, pairs.score > 0.5, PairAnswers()) is None
        True
    """
    sizes = stratum_sizes(pairs)
    drawn, unsure = ((of >= 0) & (of < len(sizes)) for of in (answers.stratum, answers.unsure_stratum))
    if not drawn.any():
        return None
    positions, is_match, stratum_of_pair = answers.positions, answers.is_match, strata(pairs)
    cell = _cells(stratum_of_pair, matched)
    at = _cells(stratum_of_pair[positions], unaided_matches(pairs, positions, is_match, decision))[drawn]
    stratum, of_unsure, unsure_at = answers.stratum[drawn], answers.unsure_stratum[unsure], answers.unsure[unsure]
    weight = sizes / np.maximum(np.bincount(np.append(stratum, of_unsure), minlength=len(sizes)), 1)
    rng = np.random.default_rng(seed)
    mean = _prior_means(cell, pairs.score, len(at), rng)
    share = _draw_shares(at, is_match[drawn], weight[stratum], mean, rng)
    if len(unsure_at):
        hard = cell[unsure_at], pairs.score[unsure_at].astype(np.float64), weight[of_unsure]
        share = _with_unsure(share, (at, weight[stratum]), *hard, rng)
    is_open = np.ones(len(pairs), dtype=bool)
    is_open[positions] = False
    cells = share.shape[1]
    hits = (is_match & matched[positions]).sum() + share @ np.bincount(cell[is_open & matched], minlength=cells)
    true = is_match.sum() + share @ np.bincount(cell[is_open], minlength=cells)
    matches = int(matched.sum())
    precision = hits / matches if matches else np.ones(len(hits))
    recall, f1 = hits / np.maximum(true, 1e-9), 2 * hits / np.maximum(matches + true, 1e-9)
    return Estimate(_interval(precision), _interval(recall), _interval(f1), int(drawn.sum()), len(unsure_at))


def unaided_matches(
    pairs: ScoredPairs, positions: Positions, is_match: Flags, decision: Decision | None = None
) -> Flags:
    """Return which pairs that were answered would match if they had not been asked, bool [a].

    Args:
        pairs: As for `estimate`.
        positions: Positions of the pairs that were answered, int64 [a].
        is_match: The answers, bool [a].
        decision: As for `estimate`.

    Examples:
        >>> pairs = ScoredPairs(2, np.array([0], np.int32), np.array([1], np.int32), np.array([0.9], np.float32))
        >>> unaided_matches(pairs, np.array([0]), np.array([False]), Decision("average_link", 0.5)).tolist()
        [True]
    """
    decision = decision or learned_decision(with_answers(pairs, positions, is_match))
    part = np.random.default_rng(0).permutation(len(positions)) % PARTS
    would_match = np.zeros(len(positions), dtype=bool)
    for number in np.unique(part):
        others = part != number
        matches = decision.apply(with_answers(pairs, positions[others], is_match[others]))
        would_match[~others] = is_matched(pairs, matches)[positions[~others]]
    return would_match


def is_matched(pairs: ScoredPairs, matches: Matches) -> Flags:
    """Return which pairs are among some matches, bool [p].

    Examples:
        >>> pairs = ScoredPairs(3, np.array([0, 1], np.int32), np.array([1, 2], np.int32), np.ones(2, np.float32))
        >>> is_matched(pairs, Matches(3, pairs.right[1:], pairs.left[1:], pairs.score[1:])).tolist()
        [False, True]
    """
    low, high = np.minimum(matches.listing, matches.match), np.maximum(matches.listing, matches.match)
    matched: Flags = np.isin(pairs.key, pair_key(low, high, matches.n))
    return matched


def _cells(stratum: NDArray[np.int64], matched: Flags) -> NDArray[np.int64]:
    return np.where(matched, np.array(MATCHED)[stratum], np.array(OTHERS)[stratum])


def _prior_means(
    cell: NDArray[np.int64], score: NDArray[np.float32], answers: int, rng: np.random.Generator
) -> Doubles:
    """Draw the share of true pairs that the scores alone say of each cell, float64 [draws, cells]."""
    cells = max(OTHERS) + 1
    mean = np.bincount(cell, weights=score, minlength=cells) / np.maximum(np.bincount(cell, minlength=cells), 1)
    mean = np.clip(mean, 1e-6, 1 - 1e-6)
    mean[LOWEST] = max(mean[LOWEST], 0.5)
    shift = SHIFT / np.sqrt(answers) * rng.standard_normal((DRAWS, 1))
    shifted: Doubles = 1 / (1 + np.exp(-np.log(mean / (1 - mean)) - shift))
    return shifted


def _draw_shares(
    cell: NDArray[np.int64], is_match: Flags, weight: Doubles, mean: Doubles, rng: np.random.Generator
) -> Doubles:
    """Draw the share of true pairs in each cell, float64 [draws, cells], after weighted answers in these cells.

    Answers of unequal weight count as (Σw)² / Σw² answers of equal weight (Kish 1965).

    Args:
        cell: Of each answer, int64 [a].
        is_match: The answers, bool [a].
        weight: Of each answer, float64 [a].
        mean: From `_prior_means`.
        rng: For the draws.
    """
    cells = mean.shape[1]
    strength = np.maximum(PSEUDO_ANSWERS, np.where(np.arange(cells) <= LOWEST, 0, PSEUDO_YES / mean))
    total = np.bincount(cell, weights=weight, minlength=cells)
    squares = np.bincount(cell, weights=weight**2, minlength=cells)
    of_yes = np.bincount(cell, weights=weight * is_match, minlength=cells)
    count = total**2 / np.maximum(squares, 1e-12)
    share = of_yes / np.maximum(total, 1e-12)
    return rng.beta(strength * mean + count * share, strength * (1 - mean) + count * (1 - share))


def _with_unsure(
    share: Doubles,
    sure: tuple[NDArray[np.int64], Doubles],
    cell: NDArray[np.int64],
    score: Doubles,
    weight: Doubles,
    rng: np.random.Generator,
) -> Doubles:
    """Return shares of true pairs in which the pairs about which people are unsure have a share of their own.

    Args:
        share: Of pairs that people can tell, float64 [draws, cells].
        sure: Cell and weight of each answer.
        cell: Cell of each pair about which people are unsure, int64 [u].
        score: Its score, float64 [u].
        weight: Its weight, float64 [u].
        rng: For the draws.
    """
    cells = share.shape[1]
    of_unsure, of_sure = (np.bincount(at, weights=w, minlength=cells) for at, w in ((cell, weight), sure))
    total = of_unsure + of_sure
    squares = np.bincount(np.append(cell, sure[0]), weights=np.append(weight, sure[1]) ** 2, minlength=cells)
    count = total / np.maximum(squares, 1e-12)  # answers of equal weight, per unit of weight
    mean = np.bincount(cell, weights=weight * score, minlength=cells) / np.maximum(of_unsure, 1e-12)
    has_unsure, mean = of_unsure > 0, np.clip(mean, 0.02, 0.98)
    part = rng.beta(np.where(has_unsure, count * of_unsure, 1), count * of_sure + 1, size=share.shape) * has_unsure
    true = rng.beta(PSEUDO_ANSWERS * mean, PSEUDO_ANSWERS * (1 - mean), size=share.shape)
    return share + part * (true - share)


def _interval(draws: Doubles) -> Interval:
    tail = (1 - CONFIDENCE) / 2
    low, middle, high = np.quantile(draws, [tail, 0.5, 1 - tail])
    return Interval(float(middle), float(low), float(high))
