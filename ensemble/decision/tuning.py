"""Tunes the decision on the out-of-fold scores of the fold pools.

1. Every rule is evaluated exactly at every threshold. Its best threshold is the one around which the objective is
   highest: the curve is flat near its top and rugged by chance, so its single highest point says little.
2. Of the rules, each at its best threshold, the first in the order of the settings that is not clearly worse than the
   best is chosen (`bootstrap.py`).
3. The kinds of attributes that forbid a match are chosen (`siblings.py`).
4. For a pool of another size, the threshold of the chosen rule is corrected (`prior_shift.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble.config import MAX_GROUP, Kind, Rule, TuneConfig
from ensemble.decision.bootstrap import CONFIDENCE, Choice, choose, interval, product_codes, resample
from ensemble.decision.decision import Decision, decider
from ensemble.decision.objective import MATCHED, Doubles, Objective, listing_metrics, pair_precision, row_f1
from ensemble.decision.prior_shift import shift_threshold
from ensemble.decision.siblings import KindTrial, choose_forbidden
from shared.errors import MatcherError
from shared.metrics.matching import midways
from shared.schema import Flags, ScoredPairs

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


@dataclass(frozen=True)
class TunedDecision:
    """A decision and how it was chosen.

    Args:
        decision: The chosen decision, for the pool size that was asked for.
        rules: Every rule on the pools it was tuned on, in the order of the settings.
        choice: How certain the choice is; its indices count `rules`.
        pool_sizes: Number of listings of each of those pools.
        whole: Which listings of `RuleCurve.metrics` are of a whole pool, not of a thinned one, bool.
        trials: Of each kind of attribute that tuning was to choose from those that forbid a match.
    """

    decision: Decision
    rules: list[RuleCurve]
    choice: Choice
    pool_sizes: list[int]
    whole: Flags
    trials: list[KindTrial] = field(default_factory=list)

    @property
    def sums(self) -> Doubles:
        """Sums of `listing_metrics` over the listings of the whole pools, at the chosen threshold, [5]."""
        total: Doubles = self.chosen.metrics[self.whole].sum(axis=0)
        return total

    @property
    def row_f1(self) -> float:
        """Mean row F1 over the listings of the whole pools, at the chosen threshold."""
        return float(row_f1(self.sums))

    @property
    def thinned_row_f1(self) -> float | None:
        """The same over the listings of the thinned pools; None where there are none."""
        return None if self.whole.all() else float(row_f1(self.chosen.metrics[~self.whole].sum(axis=0)))

    @property
    def best(self) -> RuleCurve:
        """The rule with the highest value; another one than the chosen where an earlier rule is about as good."""
        return self.rules[self.choice.best]

    @property
    def chosen(self) -> RuleCurve:
        """The chosen rule on the pools it was tuned on, without a correction for another pool size."""
        return self.rules[self.choice.chosen]

    def to_json(self) -> dict[str, Any]:
        """Return everything but the decision itself, which has a file of its own; NaN becomes null."""
        chosen, best = self.chosen, self.best
        return {
            "row_f1": self.row_f1,
            "thinned_row_f1": self.thinned_row_f1,
            "pool_sizes": self.pool_sizes,
            "threshold": chosen.threshold,
            "chosen": chosen.rule,
            "best": {"rule": best.rule, "threshold": best.threshold},
            "interval": self.choice.interval,
            "shortfall": self.choice.shortfall,
            "forbid": [asdict(trial) for trial in self.trials],
            "values": {rule.rule: _none_if_nan(rule.value) for rule in self.rules},
            "rules": {rule.rule: [(at, _none_if_nan(value)) for at, value in rule.curve] for rule in self.rules},
        }


def _none_if_nan(value: float) -> float | None:
    return None if math.isnan(value) else value


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


def best_threshold(
    pools: Sequence[ScoredPool],
    rule: Rule,
    objective: Objective | None = None,
    *,
    count: int = 200,
    bandwidth: float = 0.0,
    max_matches: int = 50,
    forbid: Sequence[Kind] = (),
    max_group: int | None = MAX_GROUP,
    prior_shift: float = 0.0,
    pool_size: int = 1,
    weights: Sequence[float] | None = None,
) -> RuleCurve:
    """Return a rule's best threshold on some pools, and its whole curve.

    Args:
        pools: Scored pairs and label codes of each pool.
        rule: Name of the rule.
        objective: What is to be highest; mean row F1 if None.
        count: Maximum number of thresholds to try.
        bandwidth: Smoothing of the curve, in logits (`smooth`); not used for an objective with a minimum precision.
        max_matches: Maximum number of matches per listing.
        forbid: Kinds of attributes; pairs in conflict in one of them never match.
        max_group: The most listings in a group, those of equal content counted once.
        prior_shift: Strength of the correction for the size of a pool; a pool is decided at the threshold for its size.
        pool_size: Number of listings of the pools that the thresholds are for.
        weights: Weight of the listings of each pool; 1 if None.

    Examples:
        >>> rows = np.array([0, 0], np.int32), np.array([1, 2], np.int32)
        >>> pairs = ScoredPairs(3, *rows, np.array([0.75, 0.25], np.float32))
        >>> best = best_threshold([(pairs, np.array([0, 0, 1]))], "threshold")
        >>> best.threshold, best.row_f1
        (0.5, 1.0)
    """
    objective = objective or Objective()
    thresholds = thresholds_to_try(np.concatenate([pairs.score for pairs, _ in pools]), count).tolist()
    ready = RuleOnPools(rule, pools, max_matches, forbid, max_group, prior_shift, pool_size, weights)
    sums = np.stack([ready.sums(threshold) for threshold in thresholds])
    values = np.where(objective.is_reached(sums), objective.values(sums), np.nan)
    smoothed = values if objective.min_precision else smooth(thresholds, values, bandwidth)
    index = int(np.argmax(np.nan_to_num(smoothed, nan=-1)))
    curve = list(zip(thresholds, values.tolist(), strict=True))
    max_precision = float(np.where(sums[:, MATCHED] > 0, pair_precision(sums), 0).max())
    return RuleCurve(rule, curve, *curve[index], ready.metrics(thresholds[index]), max_precision)


class RuleOnPools:
    """A rule, ready for several pools.

    Args:
        rule: Name of the rule.
        pools: Scored pairs and label codes of each pool.
        max_matches: Maximum number of matches per listing.
        forbid: Kinds of attributes; pairs in conflict in one of them never match.
        max_group: The most listings in a group, those of equal content counted once.
        prior_shift: Strength of the correction for the size of a pool.
        pool_size: Number of listings of the pools that a threshold is for.
        weights: Weight of the listings of each pool; 1 if None.
    """

    def __init__(
        self,
        rule: Rule,
        pools: Sequence[ScoredPool],
        max_matches: int,
        forbid: Sequence[Kind] = (),
        max_group: int | None = MAX_GROUP,
        prior_shift: float = 0.0,
        pool_size: int = 1,
        weights: Sequence[float] | None = None,
    ) -> None:
        limits = max_matches, forbid, max_group
        self._weights = [1.0] * len(pools) if weights is None else weights
        self._prior_shift, self._pool_size = prior_shift, pool_size
        self._deciders = [(decider(rule, pairs, *limits), codes) for pairs, codes in pools]

    def metrics(self, threshold: float) -> Doubles:
        """Return the weighted `listing_metrics` of every listing of all pools at a threshold, [n, 5]."""
        parts = []
        for (decide, codes), weight in zip(self._deciders, self._weights, strict=True):
            at_size = threshold
            if self._prior_shift:
                at_size = shift_threshold(threshold, self._prior_shift, len(codes) / self._pool_size)
            parts.append(listing_metrics(decide(at_size), codes) * weight)
        return np.concatenate(parts)

    def sums(self, threshold: float) -> Doubles:
        """Return the sums of `metrics` over all listings, [5]."""
        total: Doubles = self.metrics(threshold).sum(axis=0)
        return total


def tune(
    pools: Sequence[ScoredPool],
    config: TuneConfig,
    seed: int = 0,
    thinned: Sequence[Sequence[ScoredPool]] = (),
    sources: Sequence[str] = (),
) -> TunedDecision:
    """Try every rule at every threshold, and choose one; all catalogs weigh alike.

    Args:
        pools: Scored pairs and label codes of pools that the scorer was not trained on.
        config: Section `tune` of the settings.
        seed: Seed of the bootstrap.
        thinned: Of each pool those thinned from it, for which the decision is tuned as well.
        sources: The catalog that each pool is from; empty: all are from one.

    Raises:
        MatcherError: No rule and threshold reaches the minimum precision of the objective.

    Examples:
        >>> rows = np.array([0, 0], np.int32), np.array([1, 2], np.int32)
        >>> pairs = ScoredPairs(3, *rows, np.array([0.75, 0.25], np.float32))
        >>> tuned = tune([(pairs, np.array([0, 0, 1]))], TuneConfig(rules=["threshold"], resamples=10))
        >>> tuned.decision.threshold, tuned.decision.pool_size
        (0.5, 3)
    """
    objective = Objective.parse(config.objective)
    most, forbid = config.max_matches, config.forbidden
    parts = [[pool, *of_pool] for pool, of_pool in zip_longest(pools, thinned, fillvalue=())]
    every = [pool for part in parts for pool in part]
    origins = [source for part, source in zip(parts, sources or [""] * len(parts), strict=True) for _ in part]
    weights = source_weights(origins, [len(codes) for _, codes in every])
    size = max(round(sum(pairs.n for pairs, _ in pools) / len(pools)), 1)
    rules = _curves(every, config, objective, size, weights)
    if all(math.isnan(rule.value) for rule in rules):
        raise MatcherError(_not_reached(objective, rules))
    is_whole = [number == 0 for part in parts for number in range(len(part))]
    whole = np.repeat(is_whole, [len(codes) for _, codes in every])
    product = product_codes([np.concatenate([codes for _, codes in part]) for part in parts])
    choice = _choice(rules, product, whole, objective, config, seed)
    chosen = rules[choice.chosen]
    adapts = size, config.prior_shift, config.max_group, config.guard
    decision = Decision(chosen.rule, chosen.threshold, most, forbid, *adapts)
    trials: list[KindTrial] = []
    if "auto" in config.forbid:
        judged = product, whole, np.repeat(weights, [len(codes) for _, codes in every])
        decision, trials = choose_forbidden(every, decision, objective, config.resamples, seed, judged)
    if config.pool_size is not None:
        decision = decision.fix_size(config.pool_size)
    return TunedDecision(decision, rules, choice, [pairs.n for pairs, _ in pools], whole, trials)


def _curves(
    pools: Sequence[ScoredPool], config: TuneConfig, objective: Objective, pool_size: int, weights: Sequence[float]
) -> list[RuleCurve]:
    """Return every rule on some pools, as the settings say."""
    return [
        best_threshold(
            pools,
            rule,
            objective,
            count=config.thresholds,
            bandwidth=config.smoothing,
            max_matches=config.max_matches,
            forbid=config.forbidden,
            max_group=config.max_group,
            prior_shift=config.prior_shift,
            pool_size=pool_size,
            weights=weights,
        )
        for rule in config.rules
    ]


def source_weights(sources: Sequence[str], sizes: Sequence[int]) -> list[float]:
    """Return a weight for the listings of each pool, with which all catalogs weigh alike and the mean weight is 1.

    Args:
        sources: The catalog that each pool is from.
        sizes: Number of listings of each pool.

    Examples:
        >>> source_weights(["shop", "shop", "portal"], [10, 20, 10])
        [0.6666666666666666, 0.6666666666666666, 2.0]
    """
    listings = dict.fromkeys(sources, 0)
    for source, size in zip(sources, sizes, strict=True):
        listings[source] += size
    return [sum(sizes) / len(listings) / max(listings[source], 1) for source in sources]


def _choice(
    rules: Sequence[RuleCurve],
    product: NDArray[np.int64],
    whole: Flags,
    objective: Objective,
    config: TuneConfig,
    seed: int,
) -> Choice:
    """Return the choice of a rule by all pools, with the interval of its value in the whole ones."""
    resamples = resample([rule.metrics for rule in rules], product, objective, config.resamples, seed)
    choice = choose([rule.value for rule in rules], resamples)
    metrics = rules[choice.chosen].metrics[whole]
    on_whole = resample([metrics], product[whole], objective, config.resamples, seed)
    return replace(choice, interval=interval(on_whole[:, 0]))


def _not_reached(objective: Objective, rules: Sequence[RuleCurve]) -> str:
    best = max(rules, key=lambda rule: rule.max_precision)
    return (
        f"no rule and threshold reaches tune.objective={objective.text} out of fold; the highest precision of matched "
        f"pairs is {best.max_precision:.3f}, by {best.rule}: lower the objective, or add other rules to tune.rules"
    )


def summarize(tuned: TunedDecision, config: TuneConfig) -> dict[str, Any]:
    """Return what the progress line says: the choice, how certain it is, the pool sizes, and the best rule."""
    decision, chosen, best, choice = tuned.decision, tuned.chosen, tuned.best, tuned.choice
    objective = Objective.parse(config.objective)
    low, high = choice.interval
    line: dict[str, Any] = {
        f"{decision.rule} at": decision.threshold,
        f"{objective.name} out of fold": (
            f"{float(objective.values(tuned.sums)):.3f} ({CONFIDENCE:.0%} interval {low:.3f}–{high:.3f})"
        ),
        "pools of": " + ".join(f"{size:,}" for size in tuned.pool_sizes),
    }
    if tuned.thinned_row_f1 is not None:
        line |= {"row F1 with few duplicates": f"{tuned.thinned_row_f1:.3f}"}
    if config.pool_size is not None:
        line |= {"for a pool of": decision.pool_size, "corrected from": chosen.threshold}
    else:
        line |= {"size correction": str(decision.prior_shift)}
    if decision.forbid:
        line |= {"forbidden by": ", ".join(decision.forbid)}
    lead = f" +{best.value - chosen.value:.3f}, not clear" if best is not chosen else ""
    return line | {"best:": f"{best.rule}{lead}"}
