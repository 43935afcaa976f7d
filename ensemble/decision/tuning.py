"""Tunes the decision on the out-of-fold scores of the fold pools.

1. Every rule gets its best threshold on the whole pools (`curves.py`).
2. Pools with few duplicates want a higher threshold. How much higher is tuned on the thinned pools.
3. Of the rules, each as it is best, the first in the order of the settings that is not clearly worse than the best is
   chosen (`bootstrap.py`).
4. The kinds of attributes that forbid a match are chosen (`siblings.py`).
5. For a pool of another kind, the threshold of the chosen rule is corrected (`prior_shift.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import zip_longest
from typing import Any

import numpy as np

from ensemble.config import TuneConfig
from ensemble.decision.bootstrap import CONFIDENCE, Choice, choose, objective_interval, product_codes, resample
from ensemble.decision.curves import RuleCurve, RuleOnPools, ScoredPool, best_threshold
from ensemble.decision.decision import Decision
from ensemble.decision.guard import expected_share
from ensemble.decision.objective import Doubles, Objective, row_f1
from ensemble.decision.siblings import KindTrial, choose_forbidden
from shared.errors import MatcherError
from shared.schema import Flags

SHIFTS = np.arange(0, 4.01, 0.25)  # strengths of the correction for few duplicates that are tried


@dataclass(frozen=True)
class TunedRule(RuleCurve):
    """A rule with its best threshold on the whole pools, and its correction for pools with few duplicates.

    Its curve is that on the whole pools; value and metrics are of all pools, the thinned ones too.

    Args:
        singles_shift: Strength of the correction, see `Decision`.
    """

    singles_shift: float = 0.0


@dataclass(frozen=True)
class TunedDecision:
    """A decision and how it was chosen.

    Args:
        decision: The chosen decision, for the pool size that was asked for.
        rules: Every rule on the pools it was tuned on, in the order of the settings.
        choice: How certain the choice is; its indices count `rules`.
        pool_sizes: Number of listings of each of those pools.
        metrics: `listing_metrics` by the decision, of every listing of all those pools and of the thinned ones, [n, 5],
            times the weight of its pool; kinds of attributes that tuning chose forbid matches here, unlike in `rules`.
        whole: Which listings of `metrics` are of a whole pool, not of a thinned one, bool.
        trials: Of each kind of attribute that tuning was to choose from those that forbid a match.
    """

    decision: Decision
    rules: list[TunedRule]
    choice: Choice
    pool_sizes: list[int]
    metrics: Doubles
    whole: Flags
    trials: list[KindTrial] = field(default_factory=list)

    @property
    def sums(self) -> Doubles:
        """Sums of `listing_metrics` over the listings of the whole pools, by the decision, [5]."""
        total: Doubles = self.metrics[self.whole].sum(axis=0)
        return total

    @property
    def row_f1(self) -> float:
        """Mean row F1 over the listings of the whole pools, by the decision."""
        return float(row_f1(self.sums))

    @property
    def thinned_row_f1(self) -> float | None:
        """The same over the listings of the thinned pools; None where there are none."""
        return None if self.whole.all() else float(row_f1(self.metrics[~self.whole].sum(axis=0)))

    @property
    def best(self) -> TunedRule:
        """The rule with the highest value; another one than the chosen where an earlier rule is about as good."""
        return self.rules[self.choice.best]

    @property
    def chosen(self) -> TunedRule:
        """The chosen rule on the pools it was tuned on."""
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
        >>> from shared.schema import ScoredPairs
        >>> rows = np.array([0, 0], np.int32), np.array([1, 2], np.int32)
        >>> pairs = ScoredPairs(3, *rows, np.array([0.75, 0.25], np.float32))
        >>> tuned = tune([(pairs, np.array([0, 0, 1]))], TuneConfig(rules=["threshold"], resamples=10))
        >>> tuned.decision.threshold, tuned.decision.pool_size
        (0.5, 3)
    """
    objective = Objective.parse(config.objective)
    parts = [[pool, *of_pool] for pool, of_pool in zip_longest(pools, thinned, fillvalue=())]
    every = [pool for part in parts for pool in part]
    origins = [source for part, source in zip(parts, sources or [""] * len(parts), strict=True) for _ in part]
    weights = source_weights(origins, [len(codes) for _, codes in every])
    is_whole = np.array([number == 0 for part in parts for number in range(len(part))], dtype=bool)
    untuned = _untuned(pools, config)
    rules = [
        tune_rule(replace(untuned, rule=rule), every, is_whole, weights, objective, config) for rule in config.rules
    ]
    if all(math.isnan(rule.value) for rule in rules):
        raise MatcherError(_not_reached(objective, rules))
    whole = np.repeat(is_whole, [len(codes) for _, codes in every])
    product = product_codes([np.concatenate([codes for _, codes in part]) for part in parts])
    resamples = resample([rule.metrics for rule in rules], product, objective, config.resamples, seed)
    choice = choose([rule.value for rule in rules], resamples)
    chosen = rules[choice.chosen]
    decision = replace(untuned, rule=chosen.rule, threshold=chosen.threshold, singles_shift=chosen.singles_shift)
    trials, metrics = list[KindTrial](), chosen.metrics
    if "auto" in config.forbid:
        judged = product, whole, np.repeat(weights, [len(codes) for _, codes in every])
        decision, trials = choose_forbidden(every, decision, objective, config.resamples, seed, judged)
    if decision.forbid != untuned.forbid:
        metrics = RuleOnPools(decision, every, weights).metrics(decision.threshold)
    of_whole = objective_interval(metrics[whole], product[whole], objective, config.resamples, seed)
    if config.pool_size is not None:
        decision = decision.fix_size(config.pool_size)
    choice, sizes = replace(choice, interval=of_whole), [pairs.n for pairs, _ in pools]
    return TunedDecision(decision, rules, choice, sizes, metrics, whole, trials)


def _untuned(pools: Sequence[ScoredPool], config: TuneConfig) -> Decision:
    """Return a decision for pools of the kind of these, which lacks what is tuned."""
    return Decision(
        config.rules[0],
        0.5,
        max_matches=config.max_matches,
        forbid=config.forbidden,
        pool_size=max(round(sum(pairs.n for pairs, _ in pools) / len(pools)), 1),
        prior_shift=config.prior_shift,
        share=sum(expected_share(pairs) for pairs, _ in pools) / len(pools),
        singles_shift=config.singles_shift or 0.0,
        max_group=config.max_group,
        guard=config.guard,
    )


def tune_rule(
    decision: Decision,
    pools: Sequence[ScoredPool],
    is_whole: Flags,
    weights: Sequence[float],
    objective: Objective,
    config: TuneConfig,
) -> TunedRule:
    """Return a rule with its best threshold on the whole pools, and the best correction for few duplicates on all.

    A threshold for a minimum precision is tuned on all pools together, without such a correction unless it is set.

    Args:
        decision: Has the rule, and the correction if it is set; its threshold is not used.
        pools: Scored pairs and label codes of each pool.
        is_whole: Which pools are whole, bool [pools]; at least one.
        weights: Weight of the listings of each pool.
        objective: What is to be highest.
        config: Section `tune` of the settings.
    """
    tuned = np.ones_like(is_whole) if objective.min_precision else is_whole
    of_whole = [pool for pool, use in zip(pools, tuned, strict=True) if use]
    weights_of_whole = [weight for weight, use in zip(weights, tuned, strict=True) if use]
    count, bandwidth = config.thresholds, config.smoothing
    curve = best_threshold(of_whole, decision, objective, count=count, bandwidth=bandwidth, weights=weights_of_whole)
    shifts = SHIFTS if config.singles_shift is None and not tuned.all() else [decision.singles_shift]
    ready = RuleOnPools(decision, pools, weights)
    values = [float(objective.values(ready.sums(curve.threshold, shift))) for shift in shifts]
    padded = np.pad(np.array(values), 1, mode="edge")
    best = int(np.argmax(np.round(padded[:-2] + 2 * padded[1:-1] + padded[2:], 12)))  # the curve's top is rugged, too
    at_best = {"metrics": ready.metrics(curve.threshold, shifts[best]), "singles_shift": float(shifts[best])}
    value = curve.value if math.isnan(curve.value) else values[best]
    return TunedRule(**{**vars(curve), "value": value, **at_best})


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


def _not_reached(objective: Objective, rules: Sequence[TunedRule]) -> str:
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
    if decision.singles_shift:
        line |= {"few duplicates": f"{decision.singles_shift:.2f}"}
    if decision.forbid:
        line |= {"forbidden by": ", ".join(decision.forbid)}
    lead = f" +{best.value - chosen.value:.3f}, not clear" if best is not chosen else ""
    return line | {"best:": f"{best.rule}{lead}"}
