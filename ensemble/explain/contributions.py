"""What each family of features added to the scores of pairs, in log-odds.

The first model's score is a sum over its features: LightGBM's contributions, which are SHAP values (Lundberg et al.,
arXiv 1802.03888). They are added up by family. Where the second model scored the pair again, it saw nothing but first
scores, so what it changed is due to the scores around the pair: the family `SURROUNDINGS` is the log-odds of the final
score less those of the first score. So

    base + sum over families = log-odds of the final score

holds for every pair, and all families but one mean the same whether or not a pair was scored again. The second model's
own contributions, which say how it split that change among its features, are in `around`.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from ensemble.explain.families import SURROUNDINGS, family
from ensemble.scorer.model import Scorer, StackedScorer, describe_scores, second_model_mask
from shared.schema import CandidatePairs, Flags, Floats, PairFeatures, ScoredPairs

Doubles = NDArray[np.float64]
Index = NDArray[np.integer]


@dataclass(frozen=True)
class Contribution:
    """What one feature of a pair added to its score.

        Contribution("title_ratio", 0.93, 1.2)

    Args:
        feature: Name of the feature.
        value: Its value; NaN where it is unknown.
        log_odds: What it added, in log-odds.
    """

    feature: str
    value: float
    log_odds: float


@dataclass(frozen=True)
class FeatureContributions:
    """What the features of one model added to the scores of k pairs.

    Args:
        names: Names of the f features.
        values: Their values, float32 [k, f]; NaN where unknown.
        log_odds: What they added, float64 [k, f].
        base: Log-odds before any feature is looked at, float64 [k].

    Examples:
        >>> added = FeatureContributions(["a", "b"], np.ones((1, 2), np.float32), np.array([[0.5, -2]]), np.zeros(1))
        >>> [each.feature for each in added.strongest(0)], added.total.tolist()
        (['b', 'a'], [-1.5])
    """

    names: list[str]
    values: Floats
    log_odds: Doubles
    base: Doubles

    @property
    def total(self) -> Doubles:
        """Return the log-odds of the model's score, float64 [k]."""
        total: Doubles = self.base + self.log_odds.sum(axis=1)
        return total

    def strongest(self, position: int, count: int | None = None) -> list[Contribution]:
        """Return the features that added most to the score of one of the k pairs, or took most away, strongest first.

        Args:
            position: Of the pair, in [0, k).
            count: Number of features at most; None: all that added anything.
        """
        values, added = self.values[position], self.log_odds[position]
        order = [index for index in np.argsort(-np.abs(added), kind="stable").tolist() if added[index]]
        return [Contribution(self.names[i], float(values[i]), float(added[i])) for i in order[:count]]


@dataclass(frozen=True)
class Contributions:
    """What each family of features added to the scores of k pairs.

    Args:
        families: Names of the families, in words.
        log_odds: What each added, float64 [k, families].
        base: Log-odds before any feature is looked at, float64 [k].
        first: What the single features of the first model added; its base is `base`.
        around: What the second model's features added, for all pairs; None where the scorer has one model. It means
            nothing where `is_rescored` is not set.
        is_rescored: Whether the second model scored each pair, bool [k].

    Examples:
        >>> none = FeatureContributions([], np.zeros((1, 0), np.float32), np.zeros((1, 0)), np.zeros(1))
        >>> of_pair = Contributions(["titles"], np.array([[2.0]]), np.array([-2.0]), none, None, np.zeros(1, bool))
        >>> of_pair.total.tolist(), of_pair.score.tolist()
        ([0.0], [0.5])
    """

    families: list[str]
    log_odds: Doubles
    base: Doubles
    first: FeatureContributions
    around: FeatureContributions | None
    is_rescored: Flags

    @property
    def total(self) -> Doubles:
        """Return the log-odds of the final scores, float64 [k]: the base and what all families added."""
        total: Doubles = self.base + self.log_odds.sum(axis=1)
        return total

    @property
    def score(self) -> Floats:
        """Return the final scores, float32 [k] in [0, 1]."""
        return sigmoid(self.total).astype(np.float32)

    @property
    def first_score(self) -> Floats:
        """Return the scores of the first model, float32 [k] in [0, 1]: those of the pairs by themselves."""
        return sigmoid(self.first.total).astype(np.float32)


def sigmoid(log_odds: Doubles) -> Doubles:
    """Return the probabilities of log-odds, float64.

    Examples:
        >>> sigmoid(np.array([0.0, -1000.0])).tolist()
        [0.5, 0.0]
    """
    half = np.exp(-np.abs(log_odds))  # never overflows
    probability: Doubles = np.where(log_odds >= 0, 1, half) / (1 + half)
    return probability


def contributions(
    scorer: StackedScorer, described: PairFeatures, rows: Index, xp: ModuleType = np, threads: int = 0
) -> Contributions:
    """Return what each family of features added to the scores of some pairs.

        contributions(scorer, load_features(folder), np.array([17]))

    Only pairs near them are scored, as far as the second model needs it, so that a few pairs of a large pool take
    little time.

    Args:
        scorer: The scorer of the pool.
        described: All candidate pairs of the pool with their features.
        rows: Positions of k pairs among them, int [k].
        xp: Array module to work with, numpy or CuPy; the one that the pairs were scored with.
        threads: Number of threads of LightGBM; 0: all cores.

    Raises:
        ArtifactError: A feature that the scorer was trained on is missing.
    """
    rows, is_near = np.asarray(rows, dtype=np.int64), near_pairs(described, rows)
    scored = scorer.first.score(described.only(is_near), threads)
    first = _of_model(scorer.first, described, rows, threads)
    names = list(dict.fromkeys(map(family, first.names)))
    of_family = [first.log_odds[:, [family(name) == each for name in first.names]].sum(axis=1) for each in names]
    around, is_rescored = None, np.zeros(len(rows), dtype=bool)
    if scorer.second is not None:
        position = np.cumsum(is_near)[rows] - 1  # of each pair among those near
        around, is_rescored = _around(scorer.second, scored, position, xp, threads)
        names = [*names, SURROUNDINGS]
        of_family = [*of_family, np.where(is_rescored, around.total - first.total, 0.0)]
    log_odds = np.stack(of_family, axis=1) if of_family else np.zeros((len(rows), 0))
    return Contributions(names, log_odds, first.base, first, around, is_rescored)


def _of_model(scorer: Scorer, pairs: PairFeatures, rows: Index, threads: int) -> FeatureContributions:
    """Return what the features of one model added to the scores of pairs at some positions."""
    names = scorer.booster.feature_name()
    table = pairs.features[names].iloc[rows]
    added = np.zeros((0, len(names) + 1))
    if len(rows):
        added = np.asarray(scorer.booster.predict(table, pred_contrib=True, num_threads=threads), dtype=np.float64)
    return FeatureContributions(names, table.to_numpy(dtype=np.float32), added[:, :-1], added[:, -1])


def _around(
    second: Scorer, scored: ScoredPairs, rows: Index, xp: ModuleType, threads: int
) -> tuple[FeatureContributions, Flags]:
    """Return what the second model's features added to pairs, and which pairs it scored; zeros for the others."""
    mask = second_model_mask(scored)
    is_rescored: Flags = mask[rows]
    kept = np.cumsum(mask)[rows[is_rescored]] - 1
    of_kept = _of_model(second, describe_scores(scored.only(mask), xp), kept, threads)
    values = np.full((len(rows), len(of_kept.names)), np.nan, dtype=np.float32)
    log_odds, base = np.zeros(values.shape), np.zeros(len(rows))
    values[is_rescored], log_odds[is_rescored], base[is_rescored] = of_kept.values, of_kept.log_odds, of_kept.base
    return FeatureContributions(of_kept.names, values, log_odds, base), is_rescored


def near_pairs(pairs: CandidatePairs, rows: Index) -> Flags:
    """Return which pairs the final scores of some pairs depend on, bool [p].

    These are the pairs of their listings and of all listings that these are paired with.

    Args:
        pairs: p candidate pairs.
        rows: Positions of some of them, int [k].

    Examples:
        >>> path = np.array([0, 1, 2, 3], np.int32)
        >>> near_pairs(CandidatePairs(5, path, path + 1), np.array([0])).tolist()
        [True, True, True, False]
    """
    is_near = np.zeros(pairs.n, dtype=bool)
    is_near[pairs.left[rows]] = is_near[pairs.right[rows]] = True
    touches = is_near[pairs.left] | is_near[pairs.right]
    is_near[pairs.left[touches]] = is_near[pairs.right[touches]] = True
    flags: Flags = is_near[pairs.left] | is_near[pairs.right]
    return flags
