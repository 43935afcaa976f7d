from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from ensemble.config import EnsembleConfig, Family, ScorerConfig
from ensemble.features.assemble import excluded_features
from ensemble.scorer import training as train
from ensemble.scorer.model import Scorer
from ensemble.scorer.training import (
    LabeledPool,
    TrainingPairs,
    cross_fit,
    drop_features,
    fit,
    train_scorer,
)
from shared.errors import ArtifactError, MatcherError
from shared.metrics.matching import same_product
from shared.schema import PairFeatures
from tests.support.training_pairs import CPU, QUICK, described, labeled_pool, training, unscored

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
