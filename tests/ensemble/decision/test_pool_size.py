import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ensemble import tune as tune_command
from ensemble.config import Rule, TuneConfig
from ensemble.decision.curves import RuleOnPools, ScoredPool
from ensemble.decision.decision import Decision
from ensemble.decision.guard import expected_share
from ensemble.decision.objective import Objective
from ensemble.decision.prior_shift import MAX_ODDS_RATIO, shift_for_singles, shift_threshold
from ensemble.decision.tuning import summarize, tune
from shared.metrics.matching import row_scores
from shared.pipeline.settings import Settings
from shared.schema import ScoredPairs
from tests.support.scored_pairs import random_pool


def market(n: int, density: float, seed: int) -> ScoredPool:
    """A pool whose non-matches grow with it: evidence x is normal with mean 2 for matches, -2 for others.

    Every listing has one match, and `density · n` others were proposed. The score is the exact probability of a match
    in a pool of 500 listings; pairs that score next to nothing are left out.
    """
    rng = np.random.default_rng(seed)
    even = np.arange(0, n, 2)
    own = rng.integers(0, n, int(n * n * density))
    other = rng.integers(0, n, len(own))
    low, high = np.minimum(own, other), np.maximum(own, other)
    key = np.unique((low * n + high)[(low // 2 != high // 2)])
    key = np.sort(np.concatenate([key, even * n + even + 1]))
    left, right = key // n, key % n
    match = left // 2 == right // 2
    evidence = rng.normal(np.where(match, 2, -2), 1.5)
    prior = np.log(0.5 / (500 * density))
    score = 1 / (1 + np.exp(-(prior + 4 * evidence / 1.5**2)))
    keep = score >= 0.02
    ends = left[keep].astype(np.int32), right[keep].astype(np.int32)
    return ScoredPairs(n, *ends, score[keep].astype(np.float32)), np.arange(n) // 2


@pytest.mark.parametrize("rule", ["threshold", "average_link"])
def test_threshold_for_a_larger_pool_is_better(rule: Rule) -> None:
    large = [market(2_000, 0.016, 1)]
    config = TuneConfig(rules=[rule], thresholds=60, pool_size=2_000)
    tuned = tune([market(500, 0.016, 2), market(500, 0.016, 3)], config)
    there = RuleOnPools(Decision(rule, 0.5), large)
    thresholds = np.linspace(0.05, 0.99, 20)
    best, unmoved, moved_there = (
        max(float(Objective().values(there.sums(at))) for at in tried)
        for tried in (thresholds, [tuned.chosen.threshold], [tuned.decision.threshold])
    )
    assert tuned.decision.threshold > tuned.chosen.threshold
    assert moved_there > unmoved + 0.005
    assert moved_there > best - 0.02
    assert tuned.decision.pool_size == 2_000
    line = summarize(tuned, config)
    assert (line["for a pool of"], line["corrected from"]) == (2_000, tuned.chosen.threshold)


def test_threshold_for_the_same_size_stays() -> None:
    pools = [random_pool(40, 1), random_pool(40, 2)]
    as_tuned, same = (tune(pools, TuneConfig(rules=["threshold"], pool_size=size)) for size in (None, 40))
    assert as_tuned.decision.threshold == as_tuned.chosen.threshold
    assert same.decision.threshold == pytest.approx(as_tuned.decision.threshold)
    assert as_tuned.decision.pool_size == same.decision.pool_size == 40


def test_prior_shift_follows_settings() -> None:
    pools = [market(300, 0.1, 2)]
    moving, named, still = (
        tune(pools, TuneConfig(rules=["threshold"], thresholds=60, **given))  # type: ignore[arg-type]
        for given in ({}, {"pool_size": 900}, {"prior_shift": 0.0})
    )
    at = moving.chosen.threshold
    assert (moving.decision.threshold, moving.decision.pool_size, moving.decision.prior_shift) == (
        at,
        300,
        TuneConfig().prior_shift,
    )
    assert (named.decision.threshold, named.decision.prior_shift) == (moving.decision.threshold_for(900, 1.0), 0)
    assert named.decision.threshold_for(7, 1.0) == named.decision.threshold > at
    assert still.decision.threshold_for(900, 1.0) == at
    assert summarize(moving, TuneConfig())["size correction"] == str(TuneConfig().prior_shift)


@given(st.floats(0.001, 0.999), st.floats(0, 1), st.floats(1 / MAX_ODDS_RATIO, MAX_ODDS_RATIO))
def test_shift_threshold_is_monotone_and_inverse(at: float, prior_shift: float, ratio: float) -> None:
    there = shift_threshold(at, prior_shift, ratio)
    assert 0 < there < 1
    assert (there >= at - 1e-12) if ratio >= 1 else (there <= at + 1e-12)
    assert shift_threshold(there, prior_shift, 1 / ratio) == pytest.approx(at, rel=1e-3, abs=1e-4)
    assert shift_threshold(at, 1, ratio) / (1 - shift_threshold(at, 1, ratio)) == pytest.approx(
        ratio * at / (1 - at), rel=1e-6
    )
    assert shift_threshold(at, 1, ratio / 100) == shift_threshold(at, 1, 1 / MAX_ODDS_RATIO)
    assert shift_threshold(at, 1, ratio * 100) == shift_threshold(at, 1, MAX_ODDS_RATIO)


@pytest.mark.parametrize(("option", "size"), [(["--pool-size", "70000"], 70_000), ([], None)])
def test_command_takes_pool_size(
    option: list[str], size: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Settings] = []
    monkeypatch.setattr(tune_command, "update_run", lambda run, settings, *_, **__: given.append(settings))
    monkeypatch.setattr(sys, "argv", ["tune", "--run", str(tmp_path), "--tune.rules=min2", *option])
    assert tune_command.main() == 0
    assert given[0][TuneConfig].pool_size == size
    assert given[0][TuneConfig].rules == ["min2"]
    assert given[0].values["tune"].get("pool_size") == size


@pytest.mark.parametrize("size", ["0", "-3"])
def test_command_refuses_pool_size_below_one(
    size: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["tune", "--run", str(tmp_path), f"--pool-size={size}"])
    assert tune_command.main() == 2
    assert "tune.pool_size" in capsys.readouterr().err


def test_tuning_decides_each_pool_at_the_threshold_for_its_size() -> None:
    pools = [market(60, 0.1, 1), market(240, 0.1, 2)]
    tuned = tune(pools, TuneConfig(rules=["threshold"], thresholds=20, smoothing=0, prior_shift=0.5, guard=False))
    assert tuned.decision.pool_size == 150
    rows = [row_scores(tuned.decision.apply(pairs), codes)[:, 2] for pairs, codes in pools]
    assert tuned.row_f1 == pytest.approx(np.concatenate(rows).mean())
    assert tuned.decision.threshold_for(60, 1.0) < tuned.decision.threshold < tuned.decision.threshold_for(240, 1.0)


# --- several catalogs ------------------------------------------------------------------------------------------------


def lists(count: int, true: float, false: float) -> ScoredPool:
    """As many times four listings, of which two match at one score and two do not at another."""
    left = np.arange(0, 4 * count, 2, dtype=np.int32)
    score = np.tile(np.array([true, false], np.float32), count)
    codes = np.where(np.arange(4 * count) % 4 == 3, 4 * count + np.arange(4 * count), np.arange(4 * count) // 2)
    return ScoredPairs(4 * count, left, left + 1, score), codes


def test_catalogs_weigh_alike_in_the_decision() -> None:
    large, small = lists(90, true=0.9, false=0.6), lists(10, true=0.5, false=0.1)  # .55 and .75 suit only one of them
    config = TuneConfig(rules=["threshold"], prior_shift=0, smoothing=0, resamples=10)
    as_one, apart = tune([large, small], config), tune([large, small], config, sources=["large", "small"])
    assert 0.6 < as_one.decision.threshold < 0.9  # 180 listings against 20
    assert as_one.row_f1 == pytest.approx(0.9 + 0.1 * 5 / 6)
    # Either threshold costs one of them a sixth of its row F1, so the lower of two equals is taken.
    assert 0.1 < apart.decision.threshold < 0.5
    assert apart.row_f1 == pytest.approx((5 / 6 + 1) / 2)


def test_thinned_pools_weigh_with_their_catalog() -> None:
    pools = [lists(30, 0.9, 0.6), lists(10, 0.5, 0.1)]
    thinned = [[lists(60, 0.9, 0.6)], []]
    config = TuneConfig(rules=["threshold"], prior_shift=0, smoothing=0, resamples=10)
    tuned = tune(pools, config, thinned=thinned, sources=["large", "small"])
    weights = tuned.chosen.metrics[:, 0]
    assert weights[:360].sum() == pytest.approx(weights[360:].sum())
    assert weights.mean() == pytest.approx(1)


def test_forbidden_kinds_weigh_catalogs_alike() -> None:
    def with_conflict(pool: ScoredPool, of_true: bool) -> ScoredPool:
        pairs, codes = pool
        is_true = codes[pairs.left] == codes[pairs.right]
        return replace(pairs, conflict=(is_true == of_true).astype(np.uint8)), codes

    harmed = with_conflict(lists(20, 0.9, 0.9), of_true=True)  # a conflict in quantity says nothing good there
    helped = with_conflict(lists(90, 0.9, 0.9), of_true=False)
    config = TuneConfig(rules=["threshold"], prior_shift=0, smoothing=0, resamples=50)
    assert tune([harmed, helped], config).decision.forbid == ("quantity",)
    apart = tune([harmed, helped], config, sources=["harmed", "helped"])
    trial = apart.trials[0]
    assert trial.difference == pytest.approx(0, abs=0.02)
    assert (trial.lost_true, trial.lost_false) == (20, 90)  # counted, not weighed


# --- few duplicates --------------------------------------------------------------------------------------------------


def mixed(pairs: int, singles: int, seed: int) -> ScoredPool:
    """Pairs of listings that score .4 to .95, and look-alikes without a match that score .1 to .6."""
    rng = np.random.default_rng(seed)
    n = 2 * pairs + 2 * singles
    left = np.arange(0, n, 2, dtype=np.int32)
    score = np.concatenate([rng.uniform(0.4, 0.95, pairs), rng.uniform(0.1, 0.6, singles)]).astype(np.float32)
    codes = np.concatenate([np.arange(2 * pairs) // 2, np.arange(2 * pairs, n)])
    return ScoredPairs(n, left, left + 1, score), codes


def test_threshold_rises_where_few_have_a_match() -> None:
    pools, thinned = [mixed(300, 20, 1)], [[mixed(40, 300, 2), mixed(0, 200, 3)]]
    config = TuneConfig(rules=["threshold"], prior_shift=0, resamples=10)
    tuned, without = tune(pools, config, thinned=thinned), tune(pools, config.model_copy(update={"singles_shift": 0.0}))
    decision = tuned.decision
    assert decision.singles_shift > 0
    assert decision.share == pytest.approx(expected_share(pools[0][0]))
    assert decision.threshold == without.decision.threshold  # tuned where nearly all have a match
    assert without.decision.singles_shift == 0
    new, codes = mixed(40, 300, 4)
    assert decision.decide(new).threshold > decision.threshold
    f1 = [row_scores(each.apply(new), codes)[:, 2].mean() for each in (decision, without.decision)]
    assert f1[0] > f1[1] + 0.01
    assert decision.decide(new, duplicates="all").threshold < decision.decide(new).threshold
    assert summarize(tuned, config)["few duplicates"] == f"{decision.singles_shift:.2f}"
    assert "few duplicates" not in summarize(without, config)


def test_singles_shift_of_the_settings_is_used() -> None:
    config = TuneConfig(rules=["threshold"], prior_shift=0, resamples=10, singles_shift=1.5)
    tuned = tune([mixed(300, 20, 1)], config, thinned=[[mixed(40, 300, 2)]])
    assert tuned.decision.singles_shift == 1.5


def test_singles_shift_of_the_settings_is_used_without_thinned_pools() -> None:
    config = TuneConfig(rules=["threshold"], prior_shift=0, resamples=10, singles_shift=1.5)
    assert tune([mixed(300, 20, 1)], config).decision.singles_shift == 1.5


def test_minimum_precision_holds_with_a_set_singles_shift() -> None:
    config = TuneConfig(
        rules=["threshold"], prior_shift=0, resamples=10, objective="precision>=0.9", singles_shift=3.0, smoothing=0
    )
    pools, thinned = [mixed(300, 20, 1)], [[mixed(40, 300, 2)]]
    tuned = tune(pools, config, thinned=thinned)
    assert tuned.decision.singles_shift == 3
    ready, objective = RuleOnPools(tuned.decision, [*pools, *thinned[0]]), Objective.parse(config.objective)
    reached = {threshold: objective.is_reached(ready.sums(threshold)) for threshold, _ in tuned.chosen.curve}
    assert reached[tuned.decision.threshold]
    best = max(float(objective.values(ready.sums(each))) for each, is_reached in reached.items() if is_reached)
    assert tuned.chosen.value == best


@pytest.mark.parametrize("shift", [-1, 31, float("inf")])
def test_singles_shift_is_bounded(shift: float) -> None:
    with pytest.raises(ValidationError):
        TuneConfig(singles_shift=shift)
    assert 0 < shift_for_singles(0.5, 30, 1) <= 1


def test_minimum_precision_holds_over_all_pools() -> None:
    config = TuneConfig(rules=["threshold"], prior_shift=0, resamples=10, objective="precision>=0.9")
    pools, thinned = [mixed(300, 20, 1)], [[mixed(40, 300, 2)]]
    tuned = tune(pools, config, thinned=thinned)
    assert tuned.decision.singles_shift == 0
    ready = RuleOnPools(tuned.decision, [*pools, *thinned[0]])
    assert Objective.parse(config.objective).is_reached(ready.sums(tuned.decision.threshold))


@given(st.floats(0.001, 0.999), st.floats(0, 4), st.floats(-1, 1))
def test_shift_for_singles_is_monotone_and_inverse(at: float, shift: float, fall: float) -> None:
    moved = shift_for_singles(at, shift, fall)
    assert shift_for_singles(moved, shift, -fall) == pytest.approx(at, abs=1e-6)
    assert (moved - at) * fall >= -1e-12
