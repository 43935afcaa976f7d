from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from ensemble.config import EnsembleConfig, Family, ScorerConfig
from ensemble.decision.decision import Decision
from ensemble.features.assemble import excluded_features
from ensemble.scorer import training as train
from ensemble.scorer.model import Scorer, StackedScorer
from ensemble.scorer.training import (
    LabeledPool,
    TrainingPairs,
    cross_fit,
    drop_features,
    fit,
    train_scorer,
)
from shared.compute import ComputeConfig
from shared.errors import ArtifactError, MatcherError
from shared.metrics.matching import same_product
from shared.schema import PairFeatures, ScoredPairs
from tests.support.scored_pairs import attribute_columns

QUICK = ScorerConfig(rounds=40, patience=10, min_pairs_in_leaf=10)
CPU = ComputeConfig(device="cpu", threads=1)
TRUTH = {"a": 2.0, "b": -1.5, "c": 1.0, "noise": 0.0}  # coefficients of the logistic model that made the pairs


def described(p: int, seed: int) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Features, matches and true probabilities of pairs from a logistic model with known parameters."""
    rng = np.random.default_rng(seed)
    features = pd.DataFrame({name: rng.standard_normal(p).astype(np.float32) for name in TRUTH})
    probability = 1 / (1 + np.exp(1.0 - features.to_numpy(dtype=np.float64) @ np.array(list(TRUTH.values()))))
    return features, rng.random(p) < probability, probability


def training(p: int, pools: int = 2, seed: int = 0) -> TrainingPairs:
    features, match, _ = described(p, seed)
    return TrainingPairs(features, match, np.ones(p, dtype=np.float32), np.arange(p) * pools // p)


def labeled_pool(n: int, seed: int, fold: int | None = None, source: str = "") -> LabeledPool:
    """All pairs of n listings in groups of about three; a feature that tells, and one that does not."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, n // 3, n)
    left, right = (rows.astype(np.int32) for rows in np.triu_indices(n, 1))
    tells = (codes[left] == codes[right]) + rng.normal(0, 0.3, len(left))
    columns = {"tells": tells, "noise": rng.standard_normal(len(left))}
    pairs = PairFeatures(n, left, right, pd.DataFrame(columns).astype(np.float32))
    return LabeledPool(pairs, codes, seed if fold is None else fold, source)


def unscored(features: pd.DataFrame) -> PairFeatures:
    n = len(features) + 1
    return PairFeatures(n, np.zeros(n - 1, dtype=np.int32), np.arange(1, n, dtype=np.int32), features)


# --- out of fold -----------------------------------------------------------------------------------------------------


@pytest.mark.fault(26)
@pytest.mark.parametrize("pools", [2, 3, 5])
def test_cross_fit_never_scores_trained_pools(monkeypatch: pytest.MonkeyPatch, pools: int) -> None:
    pairs = training(600, pools)
    at = pd.Series(np.arange(600, dtype=np.float32))
    pairs.features["at"] = at  # which pair a row is
    trained: dict[int, set[int]] = {}
    scored: list[tuple[int, int]] = []
    whole, predict = lgb.train, lgb.Booster.predict

    def spy(parameters: dict[str, Any], data: Any, **rest: Any) -> lgb.Booster:
        seen = set(data.data["at"].astype(int))
        judged = {int(row) for dataset in rest["valid_sets"] for row in dataset.data["at"]}
        assert not seen & judged
        booster = whole(parameters, data, **rest)
        trained[id(booster)] = seen
        kept.append(booster)
        return booster

    def watch(booster: lgb.Booster, data: pd.DataFrame, **rest: Any) -> Any:
        scored.extend((id(booster), int(row)) for row in data["at"])
        return predict(booster, data, **rest)

    kept: list[lgb.Booster] = []
    monkeypatch.setattr(lgb, "train", spy)
    monkeypatch.setattr(lgb.Booster, "predict", watch)
    score, _ = cross_fit(pairs, QUICK, 0, 1)
    assert sorted(row for _, row in scored) == list(range(600))
    assert len(kept) == pools
    for model, row in scored:
        assert not {pairs.fold[other] for other in trained[model]} & {pairs.fold[row]}
    assert ((score > 0) & (score < 1)).all()


@pytest.mark.fault(26)
def test_cross_fit_ignores_labels_of_own_pool() -> None:
    pairs = training(800)
    flipped = pairs.match.copy()
    flipped[pairs.fold == 0] = ~flipped[pairs.fold == 0]
    config = QUICK.model_copy(update={"rounds": 1})  # so that early stopping says nothing
    one, _ = cross_fit(pairs, config, 0, 1)
    other, _ = cross_fit(TrainingPairs(pairs.features, flipped, pairs.weight, pairs.fold), config, 0, 1)
    assert np.array_equal(one[pairs.fold == 0], other[pairs.fold == 0])
    assert not np.array_equal(one[pairs.fold == 1], other[pairs.fold == 1])


def test_cross_fit_rounds_minimize_mean_loss() -> None:
    pairs = training(1500)
    config = QUICK.model_copy(update={"rounds": 200, "patience": 200, "learning_rate": 0.3})
    _, rounds = cross_fit(pairs, config, 0, 1)
    losses = [train._fit(pairs, pairs.fold != k, pairs.fold == k, config, 0, 1)[1] for k in (0, 1)]
    assert rounds == np.mean(losses, axis=0).argmin() + 1
    assert 1 < rounds < 200
    assert cross_fit(pairs, config.model_copy(update={"patience": 40}), 0, 1)[1] == rounds


def test_cross_fit_recovers_known_model() -> None:
    pairs = training(6000)
    config = ScorerConfig(rounds=300)
    score, rounds = cross_fit(pairs, config, 0, 1)
    _, match, probability = described(6000, 0)
    best = roc_auc_score(match, probability)
    assert best - 0.02 < roc_auc_score(match, score) <= best
    scorer = fit(pairs, rounds, config, 0, 1)
    features, match, probability = described(4000, 1)
    found = scorer.score(unscored(features), 1).score
    assert roc_auc_score(match, found) > roc_auc_score(match, probability) - 0.015
    assert np.abs(found - probability).mean() < 0.06  # a probability, not a mere order
    assert list(scorer.importance()) == ["a", "b", "c", "noise"]


@pytest.mark.fault(4)
@pytest.mark.parametrize(
    ("match", "message"),
    [
        ([False] * 8, "no true match"),
        ([True] * 8, "only true matches"),
        ([True, False, True, False] + [False] * 4, "no true match"),  # one pool has nothing to teach the other
        ([True, False, True, False] + [True] * 4, "only true matches"),
        ([], "the 0 candidate pairs .* no true match"),
    ],
)
def test_cross_fit_refuses_one_class(match: list[bool], message: str) -> None:
    p = len(match)
    features = pd.DataFrame({"a": np.zeros(p, dtype=np.float32)})
    pairs = TrainingPairs(features, np.array(match, dtype=bool), np.ones(p, dtype=np.float32), np.arange(p) // 4)
    with pytest.raises(MatcherError, match=message):
        cross_fit(pairs, QUICK, 0, 1)


def test_train_scorer_with_an_empty_pool() -> None:
    pools = [labeled_pool(30, 0), labeled_pool(30, 1), labeled_pool(30, 2)]
    pairs = pools[1].pairs
    pools[1] = replace(pools[1], pairs=PairFeatures(30, pairs.left[:0], pairs.right[:0], pairs.features[:0]))
    _, scored, _ = train_scorer(pools, QUICK, CPU)
    assert [len(of_pool) for of_pool in scored] == [435, 0, 435]


# --- weights and labels ----------------------------------------------------------------------------------------------


def test_of_pools_weights() -> None:
    left, right = (rows.astype(np.int32) for rows in np.triu_indices(8, 1))
    pairs = PairFeatures(8, left, right, pd.DataFrame({"a": np.zeros(28, dtype=np.float32)}))
    codes = np.array([0, 0, 0, 0, 0, 1, 1, 2])
    joined = TrainingPairs.of_pools([LabeledPool(pairs, codes, 0)], 0.4)
    sizes = np.array([5, 5, 5, 5, 5, 2, 2, 1])
    expected = (sizes[left] ** -0.4 + sizes[right] ** -0.4) / 2
    assert joined.weight == pytest.approx(expected / expected.mean(), rel=1e-6)
    assert joined.weight.mean() == pytest.approx(1)
    assert joined.weight[(left == 0) & (right == 1)] < joined.weight[(left == 5) & (right == 6)]
    assert set(TrainingPairs.of_pools([LabeledPool(pairs, codes, 0)], 0.0).weight) == {1}


def test_of_pools_unlabeled_listing() -> None:
    ends = np.array([0, 0, 1], np.int32), np.array([1, 2, 2], np.int32)
    pairs = PairFeatures(3, *ends, pd.DataFrame(index=range(3)))
    codes = np.array([-1, -1, 0])
    assert not same_product(pairs.left, pairs.right, codes).any()
    assert TrainingPairs.of_pools([LabeledPool(pairs, codes, 0)], 0.4).weight.tolist() == [1, 1, 1]


def test_of_pools_stacks_pools() -> None:
    pools = [labeled_pool(5, 0), labeled_pool(7, 1)]
    joined = TrainingPairs.of_pools(pools, 0.4)
    assert joined.fold.tolist() == [0] * 10 + [1] * 21
    assert joined.features.index.tolist() == list(range(31))
    match = [same_product(pool.pairs.left, pool.pairs.right, pool.codes) for pool in pools]
    assert joined.match.tolist() == np.concatenate(match).tolist()
    pd.testing.assert_frame_equal(joined.features[10:].reset_index(drop=True), pools[1].pairs.features)


def test_of_pools_sources_weigh_alike() -> None:
    pools = [labeled_pool(5, 0, 0, "a"), labeled_pool(9, 1, 0, "b"), labeled_pool(7, 2, 1, "a")]
    joined = TrainingPairs.of_pools(pools, 0.4)
    assert joined.fold.tolist() == [0] * (10 + 36) + [1] * 21
    of_b = np.repeat([False, True, False], [10, 36, 21])
    assert joined.weight[of_b].sum() == pytest.approx(67 / 2, rel=1e-6)
    assert joined.weight[~of_b].sum() == pytest.approx(67 / 2, rel=1e-6)
    alone = TrainingPairs.of_pools([pools[1]], 0.4).weight
    assert joined.weight[of_b] / joined.weight[of_b].mean() == pytest.approx(alone, rel=1e-6)


def test_pools_of_one_fold_are_held_out_together() -> None:
    pools = [labeled_pool(30, 0, 0, "a"), labeled_pool(30, 1, 0, "b"), labeled_pool(30, 2, 1, "a")]
    config = QUICK.model_copy(update={"rounds": 1, "models": 1})
    other = [pools[0], replace(pools[1], codes=np.roll(pools[1].codes, 1)), pools[2]]
    _, scored, _ = train_scorer(pools, config, CPU)
    _, rescored, _ = train_scorer(other, config, CPU)
    same = [np.array_equal(one.score, two.score) for one, two in zip(scored, rescored, strict=True)]
    assert same == [True, True, False]


# --- features by name ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return fit(training(1000), 20, QUICK, 0, 1)


@pytest.mark.fault(23)
def test_score_takes_features_by_name(scorer: Scorer) -> None:
    features, *_ = described(50, 3)
    shuffled = features[["noise", "c", "a", "b"]].assign(more=np.float32(1))
    one, other = scorer.score(unscored(features), 1), scorer.score(unscored(shuffled), 1)
    assert np.array_equal(one.score, other.score)
    assert np.ptp(one.score) > 0.2


@pytest.mark.fault(23)
def test_score_names_missing_features(scorer: Scorer) -> None:
    features, *_ = described(5, 3)
    with pytest.raises(ArtifactError, match="lack: a, noise"):
        scorer.score(unscored(features[["b", "c"]]), 1)
    with pytest.raises(ArtifactError, match="lack: b"):
        scorer.score(unscored(features[["a", "c", "noise"]][:0]), 1)


def test_score_without_pairs(scorer: Scorer) -> None:
    features, *_ = described(5, 3)
    scored = scorer.score(unscored(features[:0]), 1)
    assert scored.score.tolist() == []


def test_loaded_scorer_gives_same_scores(scorer: Scorer, tmp_path: Path) -> None:
    features, *_ = described(200, 3)
    features.iloc[::7, 1] = np.nan
    scorer.save(tmp_path / "scorer.txt")
    scorer_again = Scorer.load(tmp_path / "scorer.txt")
    one, other = scorer.score(unscored(features), 1).score, scorer_again.score(unscored(features), 1).score
    assert np.array_equal(one, other)  # type: ignore[arg-type]
    scorer_again.save(tmp_path / "again.txt")
    assert (tmp_path / "again.txt").read_bytes() == (tmp_path / "scorer.txt").read_bytes()
    assert (tmp_path / "scorer.txt").read_text().startswith("tree")  # LightGBM's text, no pickle


# --- both models -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stacked() -> tuple[StackedScorer, list[ScoredPairs], list[int]]:
    return train_scorer([labeled_pool(40, 0), labeled_pool(40, 1)], QUICK, CPU)


Stacked = tuple[StackedScorer, list[ScoredPairs], list[int]]


def test_second_model_uses_first_scores_only(stacked: Stacked) -> None:
    scorer, scored, rounds = stacked
    assert scorer.first.booster.feature_name() == ["tells", "noise"]
    assert all(name.startswith("score") for name in scorer.second.booster.feature_name())
    assert [scorer.first.booster.num_trees(), scorer.second.booster.num_trees()] == rounds
    for found, pool in zip(scored, [labeled_pool(40, 0), labeled_pool(40, 1)], strict=True):
        assert np.array_equal(found.left, pool.pairs.left)
        assert roc_auc_score(same_product(found.left, found.right, pool.codes), found.score) > 0.95


def test_unlikely_pairs_keep_first_score(stacked: Stacked, monkeypatch: pytest.MonkeyPatch) -> None:
    scorer, _, _ = stacked
    pairs = labeled_pool(30, 5).pairs
    first = scorer.first.score(pairs, 1).score
    middle = np.median(first)
    monkeypatch.setattr("ensemble.scorer.model.MIN_SCORE", middle)
    both, unlikely = scorer.score(pairs, threads=1).score, first < middle
    assert 0 < unlikely.sum() < len(pairs)
    assert not np.array_equal(both, first)
    np.testing.assert_array_equal(both[unlikely], first[unlikely])
    alone = scorer.score(pairs.only(~unlikely), threads=1).score
    np.testing.assert_array_equal(both[~unlikely], alone)


def test_no_second_model_without_likely_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ensemble.scorer.model.MIN_SCORE", 1.0)
    pools = [labeled_pool(40, 0), labeled_pool(40, 1)]
    scorer, scored, rounds = train_scorer(pools, QUICK, CPU)
    assert scorer.second is None
    assert len(rounds) == 1
    assert [len(pairs) for pairs in scored] == [len(pool.pairs) for pool in pools]


@pytest.mark.fault(14)
def test_scores_for_any_order_of_listings(stacked: Stacked) -> None:
    scorer, _, _ = stacked
    pairs = labeled_pool(30, 5).pairs
    place = np.random.default_rng(0).permutation(30).astype(np.int32)  # old row → new row
    ends = np.sort(np.stack([place[pairs.left], place[pairs.right]]), axis=0)
    order = np.lexsort(ends[::-1])
    moved = PairFeatures(30, ends[0, order], ends[1, order], pairs.features.iloc[order].reset_index(drop=True))
    one, other = scorer.score(pairs, threads=1).score, scorer.score(moved, threads=1).score
    assert np.array_equal(one[order], other)


def test_stacked_scorer_save_and_load(stacked: Stacked, tmp_path: Path) -> None:
    scorer, _, _ = stacked
    scorer.save(tmp_path)
    pairs = labeled_pool(20, 6).pairs
    again = StackedScorer.load(tmp_path)
    assert np.array_equal(scorer.score(pairs, threads=1).score, again.score(pairs, threads=1).score)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first.txt", "second.txt"]


@pytest.mark.fault(25)
@pytest.mark.parametrize("change", [lambda config: config, lambda config: config.model_copy(update={"leaves": 5})])
def test_train_scorer_is_deterministic(
    stacked: Stacked, change: Callable[[ScorerConfig], ScorerConfig], tmp_path: Path
) -> None:
    scorer, scored, _ = stacked
    config = change(QUICK)
    again, scored_again, _ = train_scorer([labeled_pool(40, 0), labeled_pool(40, 1)], config, CPU)
    same = config == QUICK
    for one, other in ((scorer.first, again.first), (scorer.second, again.second)):
        assert (one.booster.model_to_string() == other.booster.model_to_string()) == same
    assert np.array_equal(scored[0].score, scored_again[0].score) == same


def test_scores_keep_conflict(tmp_path: Path) -> None:
    conflict = [np.arange(len(labeled_pool(40, seed).pairs)) % 3 for seed in (0, 1)]
    pools = []
    for seed, column in enumerate(conflict):
        pool = labeled_pool(40, seed)
        pairs = pool.pairs
        stated = np.where(column == 2, np.nan, column).astype(np.float32)
        attributes = attribute_columns(len(pairs), quantity=stated, color=column == 2)
        pools.append(replace(pool, pairs=replace(pairs, features=pairs.features.join(attributes))))
    scorer, scored, _ = train_scorer(pools, QUICK, CPU)
    rescored = scorer.score(pools[1].pairs, threads=1)
    first = scorer.first.score(pools[1].pairs, threads=1)
    np.testing.assert_array_equal(scorer.rescore(first).score, rescored.score)
    for found, pairs in zip([*scored, rescored], [pool.pairs for pool in (*pools, pools[1])], strict=True):
        found.save(tmp_path / "pairs.parquet")
        differs = pairs.features["quantity_conflict"]
        for kept in (found, ScoredPairs.load(tmp_path / "pairs.parquet")):
            assert np.array_equal(kept.conflict, (differs == 1) + 8 * differs.isna())
            matches = Decision("threshold", 0.0, 50, forbid=("quantity",)).apply(kept)
            assert len(matches) == 2 * (differs != 1).sum()


def test_train_scorer_with_one_model(stacked: Stacked, tmp_path: Path) -> None:
    both, scored_by_both, rounds = stacked
    pools = [labeled_pool(40, 0), labeled_pool(40, 1)]
    one, scored, rounds_of_one = train_scorer(pools, QUICK.model_copy(update={"models": 1}), CPU)
    assert one.second is None
    assert rounds_of_one == rounds[:1]
    assert one.first.booster.model_to_string() == both.first.booster.model_to_string()
    assert not np.array_equal(scored[0].score, scored_by_both[0].score)
    pairs = labeled_pool(20, 6).pairs
    found = one.score(pairs, threads=1)
    assert np.array_equal(found.score, one.first.score(pairs, 1).score)
    one.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["first.txt"]
    assert np.array_equal(StackedScorer.load(tmp_path).score(pairs, threads=1).score, found.score)


def test_exclude_features_must_leave_some() -> None:
    with pytest.raises(MatcherError, match="no feature is left"):
        excluded_features(EnsembleConfig(), ScorerConfig(exclude_features=[*get_args(Family)]))
    assert excluded_features(EnsembleConfig(), ScorerConfig()) == []
    with pytest.raises(ValueError, match="branches is required in"):
        EnsembleConfig(features=["titles"])


def test_drop_features_by_name() -> None:
    pairs = labeled_pool(5, 0).pairs
    assert list(drop_features(pairs, ["noise"]).features) == ["tells"]
    assert list(drop_features(pairs, []).features) == ["tells", "noise"]
    assert drop_features(pairs, ["noise"]).left is pairs.left
    with pytest.raises(KeyError, match="nose"):
        drop_features(pairs, ["nose"])


def test_stacked_scorer_without_pairs(stacked: Stacked) -> None:
    pairs = labeled_pool(4, 0).pairs
    empty = PairFeatures(4, pairs.left[:0], pairs.right[:0], pairs.features[:0])
    assert len(stacked[0].score(empty, threads=1)) == 0
