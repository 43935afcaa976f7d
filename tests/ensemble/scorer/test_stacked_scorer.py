"""The two models of a scorer together."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ensemble.config import ScorerConfig
from ensemble.decision.decision import Decision
from ensemble.scorer.model import StackedScorer
from ensemble.scorer.training import (
    train_scorer,
)
from shared.metrics.matching import same_product
from shared.schema import PairFeatures, ScoredPairs
from tests.support.scored_pairs import attribute_columns
from tests.support.training_pairs import CPU, QUICK, labeled_pool


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


def test_stacked_scorer_without_pairs(stacked: Stacked) -> None:
    pairs = labeled_pool(4, 0).pairs
    empty = PairFeatures(4, pairs.left[:0], pairs.right[:0], pairs.features[:0])
    assert len(stacked[0].score(empty, threads=1)) == 0
