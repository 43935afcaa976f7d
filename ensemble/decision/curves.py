"""The curve of a rule: the objective on labeled pools at every threshold, and where it is best.

Every rule is evaluated exactly at every threshold. Its best threshold is the one around which the objective is highest:
the curve is flat near its top and rugged by chance, so its single highest point says little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ensemble.config import Rule
from ensemble.decision.decision import Decision, decider
from ensemble.decision.guard import expected_share
from ensemble.decision.objective import MATCHED, Doubles, Objective, listing_metrics, pair_precision, row_f1
from shared.metrics.matching import midways
from shared.schema import ScoredPairs

ScoredPool = tuple[ScoredPairs, NDArray[np.integer]]  # scored pairs, label codes [n]

MIN_SCORE = 0.05  # no threshold below it is tried


@dataclass(frozen=True)
class RuleCurve:
    """A rule at all thresholds, on one or more pools.

    Args:
        rule: Name of the rule.
        curve: (threshold, value of the objective) with rising threshold; NaN where a minimum precision is not reached.
        threshold: The best threshold; of equals the lowest.
        value: Value of the objective there; NaN if no threshold reaches the minimum precision.
        metrics: `listing_metrics` there, of every listing of all pools, [n, 5], times the weight of its pool.
        max_precision: The highest pair precision at any threshold; 0 if no pair ever matches.
    """

    rule: Rule
    curve: list[tuple[float, float]]
    threshold: float
    value: float
    metrics: Doubles
    max_precision: float

    @property
    def row_f1(self) -> float:
        """Mean row F1 over the listings of all pools at the best threshold, in [0, 1]."""
        return float(row_f1(self.metrics.sum(axis=0)))


def thresholds_to_try(scores: NDArray[np.floating], count: int) -> NDArray[np.float64]:
    """Return at most `count` thresholds, each midway between two neighboring distinct scores, rising.

    They are spread evenly over the ranks of the scores from `MIN_SCORE` up; the lowest one selects all of these.

    Args:
        scores: Scores of pairs, in [0, 1], in any order.
        count: At least 1.

    Examples:
        >>> thresholds_to_try(np.array([0.25, 0.75, 0.75, 0.01]), 10).round(3).tolist()
        [0.15, 0.5]
    """
    scores = np.asarray(scores, dtype=np.float64)
    middles = midways(np.append(scores[scores >= MIN_SCORE], MIN_SCORE))
    if len(middles) == 0:
        return np.array([0.5])
    return np.unique(middles[np.linspace(0, len(middles) - 1, min(count, len(middles))).round().astype(int)])


def smooth(thresholds: Sequence[float], values: Doubles, bandwidth: float) -> Doubles:
    """Return a curve averaged around each threshold by a Gaussian kernel (Nadaraya-Watson), rounded to 12 digits.

    Args:
        thresholds: In (0, 1), rising, [t].
        values: The curve, [t].
        bandwidth: Standard deviation of the kernel, in logits of thresholds; 0 leaves the curve as it is.
    """
    if len(thresholds) < 2 or bandwidth == 0:
        return values
    logit = np.log(thresholds) - np.log1p(-np.asarray(thresholds))
    weight = np.exp(-0.5 * ((logit[:, None] - logit) / bandwidth) ** 2) * np.gradient(logit)
    smoothed: Doubles = np.round(weight @ values / weight.sum(axis=1), 12)
    return smoothed


class RuleOnPools:
    """The rule of a decision, ready for several pools.

        RuleOnPools(Decision("threshold", 0.5), pools).sums(0.7)

    Args:
        decision: The decision; its threshold is not used.
        pools: Scored pairs and label codes of each pool.
        weights: Weight of the listings of each pool; 1 if None.
    """

    def __init__(self, decision: Decision, pools: Sequence[ScoredPool], weights: Sequence[float] | None = None) -> None:
        self._decision = decision
        limits = decision.max_matches, decision.forbid, decision.max_group
        self._deciders = [decider(decision.rule, pairs, *limits) for pairs, _ in pools]
        self._kinds = [(pairs.n, expected_share(pairs)) for pairs, _ in pools]
        self._codes = [codes for _, codes in pools]
        self._weights = [1.0] * len(pools) if weights is None else weights

    def metrics(self, threshold: float, singles_shift: float | None = None) -> Doubles:
        """Return the weighted `listing_metrics` of every listing of all pools, [n, 5].

        Args:
            threshold: Takes the place of the decision's own; each pool is decided at the threshold for its kind.
            singles_shift: Takes the place of the decision's own, unless it is None.
        """
        shift = self._decision.singles_shift if singles_shift is None else singles_shift
        decision = replace(self._decision, threshold=threshold, singles_shift=shift)
        parts = []
        for decide, kind, codes, weight in zip(self._deciders, self._kinds, self._codes, self._weights, strict=True):
            parts.append(listing_metrics(decide(decision.threshold_for(*kind)), codes) * weight)
        return np.concatenate(parts)

    def sums(self, threshold: float, singles_shift: float | None = None) -> Doubles:
        """Return the sums of `metrics` over all listings, [5]."""
        total: Doubles = self.metrics(threshold, singles_shift).sum(axis=0)
        return total


def best_threshold(
    pools: Sequence[ScoredPool],
    decision: Decision,
    objective: Objective | None = None,
    *,
    count: int = 200,
    bandwidth: float = 0.0,
    weights: Sequence[float] | None = None,
) -> RuleCurve:
    """Return the best threshold of a decision's rule on some pools, and its whole curve.

    Args:
        pools: Scored pairs and label codes of each pool.
        decision: The decision; its threshold is not used.
        objective: What is to be highest; mean row F1 if None.
        count: Maximum number of thresholds to try.
        bandwidth: Smoothing of the curve, in logits (`smooth`); not used for an objective with a minimum precision.
        weights: Weight of the listings of each pool; 1 if None.

    Examples:
        >>> rows = np.array([0, 0], np.int32), np.array([1, 2], np.int32)
        >>> pairs = ScoredPairs(3, *rows, np.array([0.75, 0.25], np.float32))
        >>> best = best_threshold([(pairs, np.array([0, 0, 1]))], Decision("threshold", 0.1))
        >>> best.threshold, best.row_f1
        (0.5, 1.0)
    """
    objective = objective or Objective()
    thresholds = thresholds_to_try(np.concatenate([pairs.score for pairs, _ in pools]), count).tolist()
    ready = RuleOnPools(decision, pools, weights)
    sums = np.stack([ready.sums(threshold) for threshold in thresholds])
    values = np.where(objective.is_reached(sums), objective.values(sums), np.nan)
    smoothed = values if objective.min_precision else smooth(thresholds, values, bandwidth)
    index = int(np.argmax(np.nan_to_num(smoothed, nan=-1)))
    curve = list(zip(thresholds, values.tolist(), strict=True))
    max_precision = float(np.where(sums[:, MATCHED] > 0, pair_precision(sums), 0).max())
    return RuleCurve(decision.rule, curve, *curve[index], ready.metrics(thresholds[index]), max_precision)
