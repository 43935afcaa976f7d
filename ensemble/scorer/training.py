"""The scorer: two LightGBM models of the probability that a candidate pair sells the same product.

The first judges a pair by its features. The second judges those that are not hopeless by then, by the first scores
around them (`features/score_graph.py`). Both are cross-fitted by pool: a pair's out-of-fold score comes from a model
that was trained on the other fold pools, and so saw neither of its components. One indirect way remains: the first
scores that a second model learns from come, with two folds, from a first model trained on the pool that is then scored.
The holdout is free of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import lightgbm as lgb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ensemble.config import VETO, ScorerConfig
from ensemble.decision.rules import scores
from ensemble.scorer.score_graph import of_scores
from shared.compute import ComputeConfig
from shared.errors import ArtifactError, MatcherError
from shared.metrics.matching import group_sizes
from shared.schema import Flags, Floats, Pairs

HOPELESS = 0.01  # a pair that the first model scores less keeps that score, and the second one does not see it

# Pairs with features, label codes int [n].
LabeledPool = tuple[Pairs, NDArray[np.integer]]


def is_match(pairs: Pairs, codes: NDArray[np.integer]) -> Flags:
    """Whether the two listings of a pair are labeled as the same product, bool [p]."""
    same: Flags = (codes[pairs.left] == codes[pairs.right]) & (codes[pairs.left] >= 0)
    return same


@dataclass(frozen=True)
class Scorer:
    """One trained model.

    Args:
        booster: The LightGBM model; it knows its features by name.
    """

    booster: lgb.Booster

    def score(self, pairs: Pairs, threads: int = 0) -> Pairs:
        """The same pairs without their features, with scores.

        Raises:
            ArtifactError: A feature the model was trained on is missing.
        """
        names = self.booster.feature_name()
        missing = sorted(set(names) - set(pairs.features))
        if missing:
            raise ArtifactError(f"the scorer needs features that the pairs lack: {', '.join(missing)}")
        if len(pairs) == 0:
            return Pairs(pairs.n, pairs.left, pairs.right, score=np.zeros(0, dtype=np.float32))
        score = self.booster.predict(pairs.features[names], num_threads=threads)
        return Pairs(pairs.n, pairs.left, pairs.right, score=np.asarray(score, dtype=np.float32))

    def save(self, path: Path) -> None:
        """Write LightGBM's text format."""
        path.write_text(self.booster.model_to_string(num_iteration=-1), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote. The file's checksum must have been checked: a damaged one can abort the process."""
        return cls(lgb.Booster(model_str=path.read_text(encoding="utf-8")))


@dataclass(frozen=True)
class StackedScorer:
    """The trained scorer: the second model sees the scores that the first one gave to a whole pool.

    Args:
        first: Judges a pair by its features.
        second: Judges it by the first scores around it; where there is none, the first scores stand.
    """

    first: Scorer
    second: Scorer | None = None

    def score(self, pairs: Pairs, xp: ModuleType = np, threads: int = 0) -> Pairs:
        """The same pairs with scores, and of their features only what a veto reads.

        Args:
            pairs: All candidates of a pool, described.
            xp: Array module to work with.
            threads: Of LightGBM; 0: all cores.

        Raises:
            ArtifactError: A feature the first model was trained on is missing.
        """
        return _with_veto(self.reconsidered(self.first.score(pairs, threads), xp, threads), pairs)

    def reconsidered(self, first: Pairs, xp: ModuleType = np, threads: int = 0) -> Pairs:
        """Pairs with their first scores → the same with their final ones; all pairs around a pair must be there."""
        if self.second is None:
            return first
        in_doubt = worth_a_second(first)
        return _rescored(first, in_doubt, self.second.score(with_score_graph(first.only(in_doubt), xp), threads))

    def models(self) -> dict[str, Scorer]:
        """The models by name, in the order in which they score."""
        return {"first": self.first} | ({} if self.second is None else {"second": self.second})

    def save(self, folder: Path) -> None:
        """Write LightGBM's text format, a file a model."""
        for name, model in self.models().items():
            model.save(folder / f"{name}.txt")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote, its checksums having been checked."""
        second = folder / "second.txt"
        return cls(Scorer.load(folder / "first.txt"), Scorer.load(second) if second.exists() else None)


def _with_veto(scored: Pairs, described: Pairs) -> Pairs:
    """Scored pairs with the feature that a veto reads, where they were described by it."""
    kept = described.features[[name for name in described.features if name == VETO]]
    return Pairs(scored.n, scored.left, scored.right, kept, scored.score)


def worth_a_second(scored: Pairs) -> Flags:
    """Which pairs the second model judges, bool [p]: about one in ten, and nearly all that are true."""
    likely: Flags = scores(scored) >= HOPELESS
    return likely


def _rescored(scored: Pairs, in_doubt: Flags, rescored: Pairs) -> Pairs:
    """The same pairs, those in doubt with their second scores."""
    score = scores(scored).copy()
    score[in_doubt] = scores(rescored)
    return Pairs(scored.n, scored.left, scored.right, score=score)


def with_score_graph(scored: Pairs, xp: ModuleType) -> Pairs:
    """The same pairs, described by the scores around them."""
    return Pairs(scored.n, scored.left, scored.right, pd.DataFrame(of_scores(scored, xp)))


@dataclass(frozen=True)
class TrainingPairs:
    """Candidate pairs of one or more labeled pools, one below the other.

    Args:
        features: One float32 column a feature, p rows.
        match: Whether a pair's listings sell the same product, bool [p].
        weight: float32 [p], mean 1.
        pool: Number of the pool that a pair is of, from 0, int [p].
    """

    features: pd.DataFrame
    match: Flags
    weight: Floats
    pool: NDArray[np.int64]

    @classmethod
    def of_pools(cls, pools: Sequence[LabeledPool], group_size_power: float) -> Self:
        """Join pools.

        Args:
            pools: Described, labeled pools.
            group_size_power: A listing in a group of g weighs g^-power; a pair is the mean of its listings.
        """
        match, weight = [], []
        for pairs, codes in pools:
            of_listing = np.maximum(group_sizes(codes), 1).astype(np.float64) ** -group_size_power
            match.append(is_match(pairs, codes))
            weight.append((of_listing[pairs.left] + of_listing[pairs.right]) / 2)
        weights = np.concatenate(weight)
        return cls(
            pd.concat([pairs.features for pairs, _ in pools], ignore_index=True),
            np.concatenate(match),
            (weights / weights.mean()).astype(np.float32) if len(weights) else weights.astype(np.float32),
            np.repeat(np.arange(len(pools)), [len(pairs) for pairs, _ in pools]),
        )


def cross_fit(pairs: TrainingPairs, config: ScorerConfig, seed: int, threads: int) -> tuple[Floats, int]:
    """Score every pair by a model that saw no pair of its pool.

    Returns:
        Scores, float32 [p], and the number of rounds that all models were cut to: the one with the least mean log
        loss over the pools.

    Raises:
        NothingToLearnError: What a model would be trained on holds no match, or nothing but matches.
    """
    pools = np.unique(pairs.pool)
    for others in [np.ones(len(pairs.pool), dtype=bool), *(pairs.pool != pool for pool in pools)]:
        _check_learnable(pairs.match[others])
    fitted = [_fit(pairs, pairs.pool != pool, pairs.pool == pool, config, seed, threads) for pool in pools]
    shortest = min(len(loss) for _, loss in fitted)
    rounds = int(np.mean([loss[:shortest] for _, loss in fitted], axis=0).argmin()) + 1
    score = np.zeros(len(pairs.match), dtype=np.float32)
    for pool, (booster, _) in zip(pools, fitted, strict=True):
        at = pairs.pool == pool
        score[at] = np.asarray(booster.predict(pairs.features[at], num_iteration=rounds, num_threads=threads))
    return score, rounds


class NothingToLearnError(MatcherError):
    """The candidate pairs that a scorer is to be trained on are all true or all false."""


def _check_learnable(match: Flags) -> None:
    if match.all() or not match.any():
        what = "nothing but true matches" if match.any() else "no true match"
        raise NothingToLearnError(
            f"the {len(match):,} candidate pairs that a scorer is to be trained on hold {what}; nothing can be learned"
        )


def fit(pairs: TrainingPairs, rounds: int, config: ScorerConfig, seed: int, threads: int) -> Scorer:
    """Train on all pairs, for a given number of rounds."""
    return Scorer(lgb.train(_parameters(config, seed, threads), _dataset(pairs, slice(None)), num_boost_round=rounds))


def train_scorer(
    pools: Sequence[LabeledPool], config: ScorerConfig, compute: ComputeConfig, left_out: Sequence[str] = ()
) -> tuple[StackedScorer, list[Pairs], list[int]]:
    """Train the scorer's models, one or two by the settings, on described pools.

    Args:
        pools: Described pairs with labels, a pool each.
        config: Section `scorer`.
        compute: Device, threads, seed.
        left_out: Features that no model learns from.

    Returns:
        The scorer, the out-of-fold scores of every pool, and the rounds of each model.
    """
    described, codes = zip(*pools, strict=True)
    first, scored, rounds = _train([(without(pairs, left_out), known) for pairs, known in pools], config, compute)
    models, all_rounds = [first], [rounds]
    if config.models == 2:
        in_doubt = [worth_a_second(pairs) for pairs in scored]
        kept = [pairs.only(some) for pairs, some in zip(scored, in_doubt, strict=True)]
        around = [with_score_graph(pairs, compute.xp()) for pairs in kept]
        with suppress(NothingToLearnError):  # the first one left nothing in doubt
            second, rescored, rounds = _train(list(zip(around, codes, strict=True)), config, compute)
            models, all_rounds = [first, second], [*all_rounds, rounds]
            scored = list(map(_rescored, scored, in_doubt, rescored))
    return StackedScorer(*models), list(map(_with_veto, scored, described)), all_rounds


def _train(
    pools: Sequence[LabeledPool], config: ScorerConfig, compute: ComputeConfig
) -> tuple[Scorer, list[Pairs], int]:
    """One model: trained on all pools, with the out-of-fold scores of each, and its number of rounds."""
    pairs = TrainingPairs.of_pools(pools, config.group_size_power)
    score, rounds = cross_fit(pairs, config, compute.seed, compute.cpu_threads)
    parts = np.split(score, np.cumsum([len(of_pool) for of_pool, _ in pools])[:-1])
    scored = [Pairs(p.n, p.left, p.right, score=part) for (p, _), part in zip(pools, parts, strict=True)]
    return fit(pairs, rounds, config, compute.seed, compute.cpu_threads), scored, rounds


def _fit(
    pairs: TrainingPairs, train: Flags, judge: Flags, config: ScorerConfig, seed: int, threads: int
) -> tuple[lgb.Booster, list[float]]:
    """A model trained on some pairs, and its weighted log loss on others after each round."""
    history: dict[str, Any] = {}
    booster = lgb.train(
        _parameters(config, seed, threads),
        _dataset(pairs, train),
        num_boost_round=config.rounds,
        valid_sets=[_dataset(pairs, judge)],
        valid_names=["judge"],
        callbacks=[lgb.early_stopping(config.patience, verbose=False), lgb.record_evaluation(history)],
    )
    return booster, history["judge"]["binary_logloss"]


def _dataset(pairs: TrainingPairs, rows: Any) -> lgb.Dataset:
    return lgb.Dataset(pairs.features.loc[rows], pairs.match[rows], weight=pairs.weight[rows], free_raw_data=True)


def _parameters(config: ScorerConfig, seed: int, threads: int) -> dict[str, Any]:
    return {
        "objective": "binary",
        "learning_rate": config.learning_rate,
        "num_leaves": config.leaves,
        "min_data_in_leaf": config.min_pairs_in_leaf,
        "feature_fraction": config.feature_fraction,
        "bagging_fraction": config.row_fraction,
        "bagging_freq": 1,
        "lambda_l2": config.l2,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": threads,
        "verbosity": -1,
    }


def without(pairs: Pairs, names: Sequence[str]) -> Pairs:
    """The same pairs without some of their features."""
    return Pairs(pairs.n, pairs.left, pairs.right, pairs.features.drop(columns=[*names]), pairs.score)


def importance(scorer: Scorer) -> dict[str, float]:
    """Share of the total gain that each feature brought, the largest first."""
    gain = scorer.booster.feature_importance("gain")
    order = np.argsort(-gain, kind="stable")
    names = scorer.booster.feature_name()
    return {names[at]: round(float(gain[at] / max(gain.sum(), 1e-12)), 5) for at in order}
