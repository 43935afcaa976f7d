"""Trains the scorer on the described pairs of several pools.

Both models are cross-fitted by fold: a pair's out-of-fold score comes from a model that was trained on the pools of the
other folds and so saw neither of its components. One indirect leak remains: with two folds, the first scores that a
second model learns from come from a first model that was trained on the pool that is then scored. The holdout is free
of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ensemble.config import ScorerConfig
from ensemble.features.conflicts import conflict_mask
from ensemble.scorer.model import Scorer, StackedScorer, describe_scores, replace_scores, second_model_mask
from shared.compute import ComputeConfig
from shared.errors import MatcherError
from shared.metrics.matching import group_sizes, same_product
from shared.schema import Flags, Floats, PairFeatures, Rows, ScoredPairs

if TYPE_CHECKING:  # a second to import, which a run with nothing to do can save
    import lightgbm as lgb


class NothingToLearnError(MatcherError):
    """The candidate pairs that a scorer would be trained on are all true or all false."""


@dataclass(frozen=True)
class LabeledPool:
    """A pool with labels that a scorer learns from.

        LabeledPool(load_features(folder), label_codes(catalog.labels), fold=0)

    Args:
        pairs: Its candidate pairs with their features.
        codes: Label codes of its n listings, int [n].
        fold: Its fold; the pools of one fold are scored by models that saw none of them.
        source: The catalog that its listings are from.
        copies: For each listing the row of the one of equal content that stands for it in the pairs, int32 [n]; None:
            each stands for itself.
        match: Whether each pair's listings sell the same product, bool [p]; None: as the labels say.
        counted: Which pairs a model learns from, bool [p], such as those that people answered; None: all.
    """

    pairs: PairFeatures
    codes: NDArray[np.integer]
    fold: int
    source: str = ""
    copies: Rows | None = None
    match: Flags | None = None
    counted: Flags | None = None

    def described(self, pairs: PairFeatures, kept: Flags | None = None) -> LabeledPool:
        """Return the pool with other features of its pairs, or of those that are kept, bool [p]."""
        rows = slice(None) if kept is None else kept
        match, counted = (None if column is None else column[rows] for column in (self.match, self.counted))
        return replace(self, pairs=pairs, match=match, counted=counted)


@dataclass(frozen=True)
class TrainingPairs:
    """Candidate pairs of one or more labeled pools, one pool after the other.

    Args:
        features: One float32 column per feature, p rows.
        match: Whether a pair's listings sell the same product, bool [p].
        weight: float32 [p], mean 1 over the pairs that a model learns from.
        fold: Fold of the pool that each pair belongs to, int [p].
        counted: Which pairs a model learns from, bool [p]; the others are scored alone. None: all.
        judged: Which pairs the number of rounds is chosen by, bool [p]: all of pools with labels, and no answered ones,
            which were asked because they are hard. None: all.
    """

    features: pd.DataFrame
    match: Flags
    weight: Floats
    fold: NDArray[np.int64]
    counted: Flags | None = None
    judged: Flags | None = None

    @property
    def learned(self) -> Flags:
        """Return which pairs a model learns from, bool [p]."""
        return np.ones(len(self.match), dtype=np.bool_) if self.counted is None else self.counted

    def judged_in(self, fold: int) -> Flags:
        """Return which pairs of a fold the number of rounds is chosen by, bool [p]."""
        of_fold: Flags = self.fold == fold
        return of_fold if self.judged is None else of_fold & self.judged

    @classmethod
    def of_pools(cls, pools: Sequence[LabeledPool], group_size_power: float) -> Self:
        """Join pools.

        Args:
            pools: The pools, in any order of their folds and sources.
            group_size_power: A listing in a group of g weighs g^-power; a pair weighs the mean of its two listings,
                scaled so that the pairs of every source weigh the same in all.

        Examples:
            >>> rows = np.array([0, 1], np.int32), np.array([1, 2], np.int32)
            >>> pairs = PairFeatures(3, *rows, pd.DataFrame({"cosine": np.array([0.9, 0.1], np.float32)}))
            >>> pool = LabeledPool(pairs, np.array([0, 0, 1]), fold=0)
            >>> TrainingPairs.of_pools([pool], group_size_power=1).weight.round(2).tolist()
            [0.800000011920929, 1.2000000476837158]
        """
        match, weight, counted = [], [], []
        for pool in pools:
            of_listing = np.maximum(group_sizes(pool.codes), 1).astype(np.float64) ** -group_size_power
            left, right = pool.pairs.left, pool.pairs.right
            match.append(same_product(left, right, pool.codes) if pool.match is None else pool.match)
            weight.append((of_listing[left] + of_listing[right]) / 2)
            counted.append(np.ones(len(left), dtype=np.bool_) if pool.counted is None else pool.counted)
        sizes = [len(pool.pairs) for pool in pools]
        source, learned = np.repeat([pool.source for pool in pools], sizes), np.concatenate(counted)
        weights = np.zeros(len(learned), dtype=np.float32)
        weights[learned] = _balanced(np.concatenate(weight)[learned], source[learned])
        return cls(
            pd.concat([pool.pairs.features for pool in pools], ignore_index=True),
            np.concatenate(match),
            weights,
            np.repeat([pool.fold for pool in pools], sizes),
            learned,
            np.repeat([pool.counted is None for pool in pools], sizes),
        )


def _balanced(weights: NDArray[np.float64], source: NDArray[Any]) -> Floats:
    """Return weights with a mean of 1 and the same sum for every source, float32 [p].

    Args:
        weights: Weight of each pair, float64 [p].
        source: Source of each pair, str [p].
    """
    balanced, names = weights.astype(np.float32), np.unique(source)
    for name in names:
        rows = source == name
        mean = weights[rows].sum() * len(names) / len(weights)
        balanced[rows] = (weights[rows] / mean).astype(np.float32)
    return balanced


def train_scorer(
    pools: Sequence[LabeledPool], config: ScorerConfig, compute: ComputeConfig, exclude: Sequence[str] = ()
) -> tuple[StackedScorer, list[ScoredPairs], list[int]]:
    """Train the scorer's models, one or two by the settings.

    Args:
        pools: The pools of two or more folds.
        config: Section `scorer` of the settings.
        compute: Device, threads, seed.
        exclude: Names of features that no model may use.

    Returns:
        The scorer, the out-of-fold scores of every pool, and the number of rounds of each model.

    Raises:
        NothingToLearnError: The pairs that the first model would be trained on are all true or all false.
    """
    used = [pool.described(drop_features(pool.pairs, exclude)) for pool in pools]
    first, scored, rounds = _train_model(used, config, compute)
    models, all_rounds = [first], [rounds]
    if config.models == 2:
        masks = [second_model_mask(pairs) for pairs in scored]
        likely = [pairs.only(mask) for pairs, mask in zip(scored, masks, strict=True)]
        around = [
            pool.described(describe_scores(pairs, compute.xp()), mask)
            for pool, pairs, mask in zip(pools, likely, masks, strict=True)
        ]
        with suppress(NothingToLearnError):  # the first model left nothing to decide
            second, rescored, rounds = _train_model(around, config, compute)
            models, all_rounds = [first, second], [*all_rounds, rounds]
            scored = list(map(replace_scores, scored, masks, rescored))
    scored = [replace(s, conflict=conflict_mask(pool.pairs)) for s, pool in zip(scored, pools, strict=True)]
    return StackedScorer(*models), scored, all_rounds


def drop_features(pairs: PairFeatures, names: Sequence[str]) -> PairFeatures:
    """Return the same pairs without some of their features.

    Raises:
        KeyError: There is no feature of that name.
    """
    return replace(pairs, features=pairs.features.drop(columns=[*names]))


def _train_model(
    pools: Sequence[LabeledPool], config: ScorerConfig, compute: ComputeConfig
) -> tuple[Scorer, list[ScoredPairs], int]:
    """Return a model trained on all pools, the out-of-fold scores of each pool, and the number of rounds."""
    pairs = TrainingPairs.of_pools(pools, config.group_size_power)
    score, rounds = cross_fit(pairs, config, compute.seed, compute.cpu_threads)
    parts = np.split(score, np.cumsum([len(pool.pairs) for pool in pools])[:-1])
    scored = [ScoredPairs.of(pool.pairs, part) for pool, part in zip(pools, parts, strict=True)]
    return fit(pairs, rounds, config, compute.seed, compute.cpu_threads), scored, rounds


def cross_fit(pairs: TrainingPairs, config: ScorerConfig, seed: int, threads: int) -> tuple[Floats, int]:
    """Score every pair by a model that saw no pair of its fold.

    Args:
        pairs: p pairs of two or more folds.
        config: Section `scorer` of the settings.
        seed: Seed of LightGBM.
        threads: Number of threads; 0: all cores.

    Returns:
        Scores, float32 [p], and the number of rounds that all models were cut to: the one with the lowest mean log
        loss over the folds.

    Raises:
        NothingToLearnError: The pairs that a model would be trained on are all true or all false.
    """
    folds = np.unique(pairs.fold)
    learned = pairs.learned
    for others in [learned, *(learned & (pairs.fold != fold) for fold in folds)]:
        _check_learnable(pairs.match[others])
    fits = [_fit(pairs, learned & (pairs.fold != fold), pairs.judged_in(fold), config, seed, threads) for fold in folds]
    shortest = min(len(loss) for _, loss in fits)
    rounds = int(np.mean([loss[:shortest] for _, loss in fits], axis=0).argmin()) + 1
    score = np.zeros(len(pairs.match), dtype=np.float32)
    for fold, (booster, _) in zip(folds, fits, strict=True):
        mask = pairs.fold == fold
        score[mask] = np.asarray(booster.predict(pairs.features[mask], num_iteration=rounds, num_threads=threads))
    return score, rounds


def fit(pairs: TrainingPairs, rounds: int, config: ScorerConfig, seed: int, threads: int) -> Scorer:
    """Train a model on all pairs for a given number of rounds."""
    import lightgbm as lgb

    return Scorer(lgb.train(_parameters(config, seed, threads), _dataset(pairs, pairs.learned), num_boost_round=rounds))


def _check_learnable(match: Flags) -> None:
    if match.all() or not match.any():
        what = "only true matches" if match.any() else "no true match"
        raise NothingToLearnError(
            f"the {len(match):,} candidate pairs to train a scorer on contain {what}, so nothing can be learned; "
            "add labeled listings"
        )


def _fit(
    pairs: TrainingPairs, train: Flags, judge: Flags, config: ScorerConfig, seed: int, threads: int
) -> tuple[lgb.Booster, list[float]]:
    """Return a model trained on some pairs, and its weighted log loss on others after each round."""
    import lightgbm as lgb

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
    import lightgbm as lgb

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
