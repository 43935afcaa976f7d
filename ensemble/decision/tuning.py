"""Tunes the decision on the out-of-fold scores of the fold pools.

1. Every rule is tried at every threshold, exactly. Its best threshold is the one around which the objective is best:
   the curve is flat near its top and rugged by chance, so its very highest point says little.
2. Of the rules, each at its best threshold, the simplest that is as good as the best one within one standard error is
   chosen (`certainty.py`).
3. For a pool of another size, the threshold of the chosen rule is moved (`drift.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble.config import Rule, TuneConfig
from ensemble.decision.bootstrap import LEVEL, Choice, by_product, choose, resampled
from ensemble.decision.decision import Decision, decider
from ensemble.decision.objective import FOUND, Figures, Objective, listing_figures, pair_precision, row_f1
from shared.errors import MatcherError
from shared.metrics.matching import midways
from shared.schema import Pairs

ScoredPool = tuple[Pairs, NDArray[np.integer]]  # scored pairs, label codes [n]

LEAST = 0.05  # thresholds below this are not tried


@dataclass(frozen=True)
class Tuned:
    """A decision and how it was found.

    Args:
        decision: The chosen one, for the pool size that was asked for.
        row_f1: Its mean row F1 on the pools it was tuned on, at the threshold that is right for these.
        pool_sizes: Listings of each of those pools.
        curves: Of every rule, (threshold, value of the objective) with rising threshold; NaN where a demanded precision
            is not reached.
        best: The best decision on those pools; another one than the chosen where a simpler rule is as good.
        threshold_as_tuned: The chosen rule's best threshold on those pools.
        choice: How sure the choice is; its indices count `rules`.
        values: The best value of every rule.
    """

    decision: Decision
    row_f1: float
    pool_sizes: list[int]
    curves: dict[Rule, list[tuple[float, float]]]
    best: Decision
    threshold_as_tuned: float
    choice: Choice
    values: dict[Rule, float]

    def to_json(self) -> dict[str, Any]:
        """Everything but the decision itself, which has a file of its own; NaN becomes null."""
        curves = {rule: [(at, _or_none(value)) for at, value in curve] for rule, curve in self.curves.items()}
        sure = {"interval": self.choice.interval, "behind_best": self.choice.behind}
        named = {"chosen": self.decision.rule, "best": asdict(self.best)}
        best_values = {rule: _or_none(value) for rule, value in self.values.items()}
        figures = {"row_f1": self.row_f1, "pool_sizes": self.pool_sizes, "threshold": self.threshold_as_tuned}
        return figures | named | sure | {"values": best_values, "rules": curves}


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def cuts(scores: NDArray[np.floating], count: int) -> NDArray[np.float64]:
    """Thresholds to try: at most `count`, each midway between two neighboring distinct scores.

    They are spread evenly over the ranks of the scores above `LEAST`; the lowest one selects all of these.
    """
    above = np.asarray(scores, dtype=np.float64)
    middles = midways(np.append(above[above >= LEAST], LEAST))
    if len(middles) == 0:
        return np.array([0.5])
    return np.unique(middles[np.linspace(0, len(middles) - 1, min(count, len(middles))).round().astype(int)])


class Trial:
    """One rule made ready for several pools.

    Args:
        rule: Its name.
        pools: Scored pairs and labels.
        config: Section `tune`.
    """

    def __init__(self, rule: Rule, pools: Sequence[ScoredPool], config: TuneConfig) -> None:
        self._ready = [(decider(rule, pairs, config.max_matches, config.veto), codes) for pairs, codes in pools]

    def figures(self, threshold: float) -> Figures:
        """`listing_figures` of every listing of all pools, [n, 5]."""
        return np.concatenate([listing_figures(decide(threshold), codes) for decide, codes in self._ready])

    def sums(self, threshold: float) -> Figures:
        """Their sums, [5]."""
        total: Figures = self.figures(threshold).sum(axis=0)
        return total


@dataclass(frozen=True)
class _Tried:
    """A rule at all thresholds.

    Args:
        rule: Its name.
        curve: (threshold, value of the objective), NaN where a demanded precision is not reached.
        threshold: The best one, as its surroundings say; of equals the lowest.
        value: The objective there.
        figures: `listing_figures` there, of every listing of all pools, [n, 5].
        precision: The highest pair precision at any threshold; 0 if there is never a match.
    """

    rule: Rule
    curve: list[tuple[float, float]]
    threshold: float
    value: float
    figures: Figures
    precision: float


def _try(
    rule: Rule, pools: Sequence[ScoredPool], thresholds: list[float], objective: Objective, config: TuneConfig
) -> _Tried:
    trial = Trial(rule, pools, config)
    sums = np.stack([trial.sums(threshold) for threshold in thresholds])
    values = np.where(objective.reached(sums), objective.values(sums), np.nan)
    around = values if objective.least_precision else smoothed(thresholds, values, config.smoothing)
    at = int(np.argmax(np.nan_to_num(around, nan=-1)))
    curve = list(zip(thresholds, values.tolist(), strict=True))
    precision = float(np.where(sums[:, FOUND] > 0, pair_precision(sums), 0).max())
    return _Tried(rule, curve, *curve[at], trial.figures(thresholds[at]), precision)


def smoothed(thresholds: Sequence[float], values: Figures, spread: float) -> Figures:
    """A curve averaged around each threshold by a Gaussian kernel (Nadaraya-Watson), rounded to 12 digits.

    Args:
        thresholds: In (0, 1), rising, [t].
        values: The curve, [t].
        spread: Standard deviation of the kernel, in logits of thresholds; 0 leaves the curve as it is.
    """
    if len(thresholds) < 2 or spread == 0:
        return values
    at = np.log(thresholds) - np.log1p(-np.asarray(thresholds))
    weight = np.exp(-0.5 * ((at[:, None] - at) / spread) ** 2) * np.gradient(at)
    around: Figures = np.round(weight @ values / weight.sum(axis=1), 12)
    return around


def tune(pools: Sequence[ScoredPool], config: TuneConfig, seed: int = 0) -> Tuned:
    """Try every rule with every threshold, and choose.

    Args:
        pools: Scored pairs and labels of pools on which no score was trained.
        config: Section `tune`.
        seed: Of the resampling.

    Raises:
        MatcherError: No rule and threshold reaches the precision that is demanded.
    """
    objective = Objective.parse(config.objective)
    thresholds = cuts(np.concatenate([_scores(pairs) for pairs, _ in pools]), config.thresholds).tolist()
    tried = [_try(rule, pools, thresholds, objective, config) for rule in config.rules]
    if all(math.isnan(rule.value) for rule in tried):
        raise MatcherError(_unreached(objective, tried))
    product = by_product([codes for _, codes in pools])
    drawn = resampled([rule.figures for rule in tried], product, objective, config.resamples, seed)
    choice = choose([rule.value for rule in tried], drawn)
    best, chosen = tried[choice.best], tried[choice.chosen]
    size = max(round(sum(pairs.n for pairs, _ in pools) / len(pools)), 1)
    decision = Decision(chosen.rule, chosen.threshold, config.max_matches, config.veto, size, config.drift)
    if config.pool_size is not None:
        decision = decision.fixed(config.pool_size)
    return Tuned(
        decision=decision,
        row_f1=float(row_f1(chosen.figures.sum(axis=0))),
        pool_sizes=[pairs.n for pairs, _ in pools],
        curves={rule.rule: rule.curve for rule in tried},
        best=Decision(best.rule, best.threshold, config.max_matches, config.veto, size),
        threshold_as_tuned=chosen.threshold,
        choice=choice,
        values={rule.rule: rule.value for rule in tried},
    )


def _unreached(objective: Objective, tried: Sequence[_Tried]) -> str:
    most = max(tried, key=lambda rule: rule.precision)
    return (
        f"no rule and threshold reaches tune.objective={objective.text} out of fold; the highest precision of matched "
        f"pairs is {most.precision:.3f}, by {most.rule}: ask for less, or try other tune.rules"
    )


def _scores(pairs: Pairs) -> NDArray[np.floating]:
    return pairs.score if pairs.score is not None else np.zeros(0, dtype=np.float32)


def tuning_metrics(tuned: Tuned, config: TuneConfig) -> dict[str, Any]:
    """What the line of the stage says: the choice, how sure it is, what was best, and the pool sizes."""
    decision, best, choice = tuned.decision, tuned.best, tuned.choice
    low, high = choice.interval
    said: dict[str, Any] = {"rule": decision.rule, "threshold": decision.threshold}
    if config.pool_size is not None:
        said |= {"for a pool of": decision.pool_size, "moved from": tuned.threshold_as_tuned}
    elif decision.drift:
        said |= {"moving with the pool's size by": decision.drift}
    name = f"{Objective.parse(config.objective).name} out of fold"
    said |= {name: f"{tuned.values[decision.rule]:.3f} ({LEVEL:.0%} interval {low:.3f} to {high:.3f})"}
    said |= {"in pools of": " + ".join(f"{size:,}" for size in tuned.pool_sizes)}
    if best.rule != decision.rule:
        lead = tuned.values[best.rule] - tuned.values[decision.rule]
        said |= {
            "best": f"{best.rule}, by {lead:.3f} ({choice.behind[0]:.3f} to {choice.behind[1]:.3f}), which is noise"
        }
    return said
