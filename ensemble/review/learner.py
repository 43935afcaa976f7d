"""Learns from answers which pairs match: logistic regression that starts from the scores there are.

The log odds of a pair are those of the start, times a slope, plus a weighted sum of its evidence (`evidence.py`), of
its rank by the start and of a constant. Every weight has a normal prior with the mean that leaves the start as it is:
without answers the start stays, and each answer moves it. How far the weights of the evidence may go is chosen by the
marginal likelihood of the answers (MacKay, "Bayesian interpolation", 1992), in Laplace's approximation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ensemble.decision.decision import Decider, Decision, decider
from ensemble.review.evidence import Evidence
from ensemble.review.questions import Positions
from shared.schema import Flags, Matches, PairFeatures, ScoredPairs

SPREADS = (0.03, 0.06, 0.12, 0.25, 0.5)  # prior standard deviations of a weight of the evidence that are tried
USUAL = tuple(float(t) for t in 1 / (1 + np.exp(-np.linspace(-1.75, 3.25, 16))))  # thresholds that are tried
LOW = (0.06, 0.09, 0.12)  # that are tried where the lowest of these is the best
ITERATIONS = 30  # of Fisher's scoring
MISTAKES = 0.02  # share of the answers that are taken to be wrong

Doubles = NDArray[np.float64]


class Learner:
    """The start and the evidence of a pool's pairs, ready to learn from answers again and again.

    Args:
        start: Scores of all pairs of a pool before any answer: of `start_scores`, of a bundle or of a run.
        described: The same pairs with their features.

    Examples:
        >>> import pandas as pd
        >>> rows = np.zeros(3, np.int32), np.array([1, 2, 3], np.int32)
        >>> table = pd.DataFrame({"tfidf_cosine": [0.1, 0.5, 0.9]}, dtype=np.float32)
        >>> start = ScoredPairs(4, *rows, np.array([0.2, 0.5, 0.8], np.float32))
        >>> learner = Learner(start, PairFeatures(4, *rows, table))
        >>> scored = learner.learn(np.array([1, 2]), np.array([False, True]))
        >>> bool(scored.score[1] < 0.5 < scored.score[2])
        True
    """

    def __init__(self, start: ScoredPairs, described: PairFeatures) -> None:
        from scipy.stats import rankdata  # half a second to import, which a run with nothing to do can save

        self.start = start
        evidence = Evidence.of(described)
        score = np.clip(start.score.astype(np.float64), 1e-4, 1 - 1e-4)
        log_odds = np.log(score / (1 - score))
        fold = np.log(rankdata(-start.score) / max(start.n, 1))  # equal scores share their mean rank
        general = np.stack([np.ones(len(start)), log_odds, -fold, -np.maximum(fold, 0)], axis=1)
        self._columns = np.concatenate([general.astype(np.float32), evidence.values], axis=1)
        self._mean = np.zeros(self._columns.shape[1])
        self._mean[1] = 1.0
        self._general = np.array([1.5, 0.5, 0.5, 0.5])  # prior standard deviations of the weights of those columns

    def learn(self, positions: Positions, is_match: Flags) -> ScoredPairs:
        """Return the pairs of the start with the scores that answers teach.

        Args:
            positions: Positions of the pairs that were answered, int64 [a].
            is_match: The answers, bool [a]; all may be alike.
        """
        if len(positions) == 0:
            return self.start
        rows = self._columns[positions].astype(np.float64)
        fits = [fit(rows, is_match, self._mean, self._spread(spread)) for spread in SPREADS]
        best = max(fits, key=lambda fitted: fitted.evidence)
        log_odds = self._columns @ best.weights.astype(np.float32)
        score = (1 / (1 + np.exp(-log_odds.astype(np.float64)))).astype(np.float32)
        return replace(self.start, score=score)

    def _spread(self, spread: float) -> Doubles:
        more = np.full(self._columns.shape[1] - len(self._general), spread)
        return np.concatenate([self._general, more])


def learn(
    start: ScoredPairs, described: PairFeatures, positions: Positions, is_match: Flags, seed: int = 0
) -> ScoredPairs:
    """Return the pairs of the start with the scores that answers teach; see `Learner`.

    Args:
        start: Scores of all pairs of a pool before any answer.
        described: The same pairs with their features.
        positions: Positions of the pairs that were answered, int64 [a].
        is_match: The answers, bool [a].
        seed: Not used: nothing is drawn.
    """
    return Learner(start, described).learn(positions, is_match)


@dataclass(frozen=True)
class Fit:
    """A fitted logistic regression.

    Args:
        weights: float64 [k].
        evidence: Log marginal likelihood of the answers, by the Laplace approximation.

    Examples:
        >>> Fit(np.array([0.5]), -1.5).evidence
        -1.5
    """

    weights: Doubles
    evidence: float


def fit(columns: Doubles, is_match: Flags, mean: Doubles, spread: Doubles) -> Fit:
    """Return the most probable weights of a logistic regression under normal priors, by Fisher's scoring.

    An answer is wrong with the probability `MISTAKES`, so that none of them moves the weights without bounds: one slip
    about a hopeless pair would else raise the scores of thousands like it.

    Args:
        columns: float64 [a, k].
        is_match: bool [a].
        mean: Prior mean of each weight, float64 [k].
        spread: Prior standard deviation of each weight, float64 [k], above 0.

    Examples:
        >>> fitted = fit(np.array([[1.0], [-1.0]]), np.array([True, False]), np.zeros(1), np.ones(1))
        >>> bool(0 < fitted.weights[0] < 1)
        True
    """
    precision = 1 / spread**2

    def objective(weights: Doubles) -> float:
        yes = _answer_yes(columns @ weights)[0]
        likelihood = np.log(np.where(is_match, yes, 1 - yes)).sum()
        return float(likelihood - (precision * (weights - mean) ** 2).sum() / 2)

    def information(yes: Doubles, slope: Doubles) -> Doubles:
        of_answers: Doubles = (columns * (slope**2 / (yes * (1 - yes)))[:, None]).T @ columns
        return of_answers + np.diag(precision)

    weights = mean.copy()
    value = objective(weights)
    for _ in range(ITERATIONS):
        yes, slope = _answer_yes(columns @ weights)
        gradient = columns.T @ ((is_match - yes) * slope / (yes * (1 - yes))) - precision * (weights - mean)
        step, size = np.linalg.solve(information(yes, slope), gradient), 1.0
        while (after := objective(weights + size * step)) < value and size > 1e-4:
            size /= 2
        if after - value < 1e-9:
            break
        weights, value = weights + size * step, after
    determinant = np.linalg.slogdet(information(*_answer_yes(columns @ weights)))[1]
    return Fit(weights, float(value + (np.log(precision).sum() - determinant) / 2))


def _answer_yes(log_odds: Doubles) -> tuple[Doubles, Doubles]:
    """Return the probability of the answer yes at the log odds of a match, and its derivative by these, [a] each."""
    match = 1 / (1 + np.exp(-np.clip(log_odds, -30, 30)))
    return MISTAKES + (1 - 2 * MISTAKES) * match, (1 - 2 * MISTAKES) * match * (1 - match)


def best_expected_threshold(pairs: ScoredPairs) -> float:
    """Return the threshold of average link with the highest expected row F1, in [0, 1]; ties: the highest.

    Scores are read as probabilities; see `expected_row_f1`.

    Args:
        pairs: All pairs of a pool.

    Examples:
        >>> rows = np.array([0, 0], np.int32), np.array([1, 2], np.int32)
        >>> pairs = ScoredPairs(3, *rows, np.array([0.9, 0.1], np.float32))
        >>> 0.1 < best_expected_threshold(pairs) < 0.9
        True
    """
    decide = decider("average_link", pairs, 50)
    return _best_threshold(decide, lambda matches: expected_row_f1(matches, pairs))


def _best_threshold(decide: Decider, value: Callable[[Matches], float]) -> float:
    values: dict[float, float] = {}
    for thresholds in (USUAL, LOW):  # low ones take much longer, as they join far more listings
        for threshold in thresholds:
            values[threshold] = round(value(decide(threshold)), 9)
        best = max(values, key=lambda threshold: (values[threshold], threshold))
        if best > thresholds[0]:
            break
    return best


def expected_row_f1(matches: Matches, pairs: ScoredPairs) -> float:
    """Return the expected mean row F1 of matches where scores are probabilities, in [0, 1]; 1 for no listings.

    Of a listing it is about 2(1 + Σ p of its matches) / (2 + matches + Σ p of all its pairs). A match that is no pair
    has the probability 0, one of equal content 1.

    Args:
        matches: Of n listings.
        pairs: All pairs of these with their scores.

    Examples:
        >>> pair = np.array([0, 1], np.int32), np.array([1, 0], np.int32), np.array([1, 1], np.float32)
        >>> pairs = ScoredPairs(2, np.array([0], np.int32), np.array([1], np.int32), np.array([1], np.float32))
        >>> expected_row_f1(Matches(2, *pair), pairs)
        1.0
    """
    n = pairs.n
    if n == 0:
        return 1.0
    copies = np.arange(n) if pairs.copy_of is None else pairs.copy_of
    size = np.bincount(copies, minlength=n)
    total = np.bincount(pairs.left, weights=pairs.score * size[pairs.right], minlength=n)
    total += np.bincount(pairs.right, weights=pairs.score * size[pairs.left], minlength=n)
    total = total[copies] + size[copies] - 1
    score = np.nan_to_num(matches.score.astype(np.float64))
    hits = np.bincount(matches.listing, weights=score, minlength=n)
    return float(np.mean(2 * (1 + hits) / (2 + np.bincount(matches.listing, minlength=n) + total)))


def learned_decision(pairs: ScoredPairs) -> Decision:
    """Return the decision by scores that were learned from answers: average link at the best expected threshold.

    Args:
        pairs: All pairs of a pool, with pins (`with_answers`) or without.

    Examples:
        >>> rows = np.array([0, 0], np.int32), np.array([1, 2], np.int32)
        >>> learned_decision(ScoredPairs(3, *rows, np.array([0.9, 0.1], np.float32))).rule
        'average_link'
    """
    return Decision("average_link", best_expected_threshold(pairs), pool_size=pairs.n)


def with_answers(pairs: ScoredPairs, positions: Positions, is_match: Flags) -> ScoredPairs:
    """Return the pairs with score 1 where the answer is yes and 0 where it is no.

    Args:
        pairs: All pairs of a pool.
        positions: Positions of the pairs that were answered, int64 [a].
        is_match: The answers, bool [a].

    Examples:
        >>> rows = np.array([0, 0], np.int32), np.array([1, 2], np.int32)
        >>> pairs = ScoredPairs(3, *rows, np.array([0.9, 0.1], np.float32))
        >>> with_answers(pairs, np.array([1]), np.array([True])).score.tolist() == [np.float32(0.9), 1]
        True
    """
    score = pairs.score.copy()
    score[positions] = is_match
    return replace(pairs, score=score)
