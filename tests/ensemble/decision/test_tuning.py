import json
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from ensemble.config import Rule, TuneConfig
from ensemble.decision.bootstrap import choose, product_codes, resample, wilson
from ensemble.decision.curves import (
    MIN_SCORE,
    RuleCurve,
    RuleOnPools,
    ScoredPool,
    best_threshold,
    smooth,
    thresholds_to_try,
)
from ensemble.decision.decision import Decision, groups_of
from ensemble.decision.objective import Objective, listing_metrics, pair_f1, pair_precision, pair_recall
from ensemble.decision.tuning import TunedDecision, summarize, tune
from ensemble.sections import sections
from shared.errors import MatcherError
from shared.metrics.matching import measure, row_f1, row_scores
from shared.pipeline.settings import Settings
from shared.schema import Matches
from tests.support.scored_pairs import Edges, pool, random_pool


def curve_of(tuned: TunedDecision, rule: str) -> RuleCurve:
    return next(curve for curve in tuned.rules if curve.rule == rule)


# --- thresholds to try -----------------------------------------------------------------------------------------------


@pytest.mark.fault(13)
@settings(deadline=None)
@given(st.lists(st.floats(0, 1, width=32), max_size=30), st.integers(2, 12))
@example([0.5, float(np.nextafter(np.float32(0.5), np.float32(1)))], 5)
@example([0.25, 0.25, 0.75, 0.75], 200)
def test_thresholds_lie_between_scores(scores: list[float], count: int) -> None:
    array = np.array(scores, dtype=np.float32)
    values = sorted({float(value) for value in array if value >= MIN_SCORE})
    found = thresholds_to_try(array, count).tolist()
    if not values:
        assert found == [0.5]
        return
    assert found == sorted(set(found))
    assert len(found) == min(count, len(values))
    below = [sum(value < cut for value in values) for cut in found]
    assert len(set(below)) == len(below)  # no two cuts select the same pairs
    assert below[0] == 0  # the lowest selects all, the highest the best score alone
    assert below[-1] == len(values) - 1 or count == 1
    assert not set(found) & {float(value) for value in array}
    assert min(found) > MIN_SCORE


def test_thresholds_are_spread_over_ranks() -> None:
    scores = np.concatenate([np.linspace(0.1, 0.2, 900), np.linspace(0.2, 1, 100)[1:]])
    assert np.searchsorted(np.sort(scores), thresholds_to_try(scores, 11)).tolist() == pytest.approx(
        np.linspace(0, 998, 11), abs=1
    )


# --- the best of a known curve ---------------------------------------------------------------------------------------


def test_tune_finds_separating_threshold() -> None:
    right = {(0, 1): 0.8, (2, 3): 0.7, (4, 5): 0.61}
    wrong = {(0, 2): 0.59, (1, 3): 0.3, (4, 6): 0.5}
    tuned = tune([pool(7, right | wrong, [0, 0, 1, 1, 2, 2, 3])], TuneConfig(rules=["threshold", "average_link"]))
    assert tuned.chosen.row_f1 == 1
    assert tuned.decision.rule == "threshold"  # both rules can, and it is the first
    assert tuned.decision.threshold == pytest.approx(0.6, abs=1e-6)
    assert tuned.pool_sizes == [7]


@pytest.mark.parametrize("seed", range(3))
def test_tune_beats_every_decision_tried(seed: int) -> None:
    pools = [random_pool(40, seed), random_pool(25, seed + 10)]
    config = TuneConfig(thresholds=25, max_matches=4, prior_shift=0, guard=False)  # the pools differ in size
    tuned = tune(pools, config)
    best = 0.0
    for rule in config.rules:
        thresholds = [threshold for threshold, _ in curve_of(tuned, rule).curve]
        assert thresholds == thresholds_to_try(np.concatenate([pairs.score for pairs, _ in pools]), 25).tolist()
        for threshold, f1 in curve_of(tuned, rule).curve:
            decision = Decision(rule, threshold, 4)
            rows = [row_scores(decision.apply(pairs), codes)[:, 2] for pairs, codes in pools]
            assert f1 == pytest.approx(np.concatenate(rows).mean())  # over listings, not over pools
            best = max(best, f1)
    chosen = Decision(tuned.best.rule, tuned.best.threshold, 4)
    for decision, f1 in ((chosen, best), (tuned.decision, tuned.chosen.row_f1)):
        rows = [row_scores(decision.apply(pairs), codes)[:, 2] for pairs, codes in pools]
        assert np.concatenate(rows).mean() == pytest.approx(f1)
        assert f1 == pytest.approx(curve_of(tuned, decision.rule).value)
    assert config.rules.index(tuned.decision.rule) <= config.rules.index(tuned.best.rule)
    assert tuned.pool_sizes == [40, 25]


@pytest.mark.parametrize("rules", [["threshold", "min2"], ["min2", "threshold"], ["average_link", "min2", "threshold"]])
def test_tune_of_equal_rules_takes_first(rules: list[str]) -> None:
    clear = {(0, 1): 0.9, (2, 3): 0.8, (0, 2): 0.1}
    tuned = tune([pool(4, clear, [0, 0, 1, 1])], TuneConfig.model_validate({"rules": rules}))
    assert tuned.decision.rule == rules[0]
    assert tuned.chosen.row_f1 == 1


def test_tune_takes_min2_where_all_have_matches() -> None:
    right, wrong = {(0, 1): 0.9, (4, 5): 0.8, (2, 3): 0.2}, {(0, 4): 0.3}
    config = TuneConfig(rules=["threshold", "min2"])
    tuned = tune([pool(6, right | wrong, [0, 0, 1, 1, 2, 2])], config)
    assert tuned.decision.rule == "min2"
    assert tuned.chosen.row_f1 == 1
    assert max(f1 for _, f1 in curve_of(tuned, "threshold").curve) < 1


def test_tune_avoids_min2_where_many_have_none() -> None:
    singles = {(i, i + 1): 0.3 for i in range(2, 9)}
    config = TuneConfig(rules=["min2", "threshold"])
    tuned = tune([pool(10, singles | {(0, 1): 0.9}, [0, 0, *range(1, 9)])], config)
    assert tuned.chosen.row_f1 == 1
    assert tuned.decision.rule == "threshold"
    assert max(f1 for _, f1 in curve_of(tuned, "min2").curve) < 1


def test_tune_takes_average_link_where_links_mislead() -> None:
    cliques = [pair for k in (0, 5, 10) for pair in combinations(range(k, k + 5), 2)]
    right = {(i, j): 0.4 if j - i == 4 else 0.75 for i, j in cliques}
    wrong = {(4, 5): 0.6, (9, 10): 0.6, (0, 14): 0.6}
    config = TuneConfig(rules=["threshold", "min2", "average_link"])
    tuned = tune([pool(15, right | wrong, [0] * 5 + [1] * 5 + [2] * 5)], config)
    assert tuned.decision.rule == "average_link"
    assert tuned.chosen.row_f1 == 1


def test_tune_with_only_true_pairs() -> None:
    tuned = tune([pool(4, {(0, 1): 0.6, (2, 3): 0.9}, [0, 0, 1, 1])], TuneConfig())
    assert tuned.decision.rule == "average_link"
    assert tuned.decision.threshold < 0.6
    assert tuned.chosen.row_f1 == 1


def test_tune_counts_pools_without_pairs() -> None:
    some = pool(2, {(0, 1): 0.9}, [0, 0])
    alone = pool(3, {}, [0, 1, 2])
    tuned = tune([some, alone], TuneConfig())
    assert tuned.chosen.row_f1 == 1
    assert tune([alone], TuneConfig()).chosen.row_f1 == 1


def test_tune_with_a_cap() -> None:
    edges = {pair: 0.9 - 0.01 * sum(pair) for pair in combinations(range(6), 2)}
    pools = [pool(6, edges, [0] * 6)]
    free, tight = (tune(pools, TuneConfig(max_matches=most)) for most in (50, 1))
    assert free.chosen.row_f1 == 1
    assert tight.chosen.row_f1 < 1
    assert tight.chosen.row_f1 == pytest.approx(row_f1(tight.decision.apply(pools[0][0]), pools[0][1]))
    assert tight.decision.max_matches == 1


@pytest.mark.parametrize("spread", [0.1, 0.4, 1.5])
def test_smooth_equals_kernel_mean(spread: float) -> None:
    at = np.sort(np.random.default_rng(0).uniform(0.05, 0.95, 30))
    logit = np.log(at / (1 - at))
    rugged = np.random.default_rng(1).random(30)
    weight = norm.pdf(logit[:, None], logit, spread) * np.gradient(logit)
    assert smooth(at.tolist(), rugged, spread) == pytest.approx((weight * rugged).sum(axis=1) / weight.sum(axis=1))
    assert smooth(at.tolist(), np.full(30, 0.7), spread) == pytest.approx(0.7)
    assert smooth(at.tolist(), rugged, 0).tolist() == rugged.tolist()
    assert smooth([0.3], rugged[:1], spread).tolist() == rugged[:1].tolist()


def test_smoothing_ignores_a_lone_peak() -> None:
    right = {(2 * k, 2 * k + 1): 0.6 + k / 100 for k in range(20)}
    lucky = {(40, 41): 0.25, (42, 43): 0.26, (44, 45): 0.27}  # true pairs just above a host of wrong ones
    wrong = {(2 * k, 2 * k + 3): 0.2 + k / 1000 for k in range(18)} | {(46, 48): 0.28}
    pools = [pool(50, right | wrong | lucky, [at // 2 for at in range(46)] + [23, 24, 25, 26])]
    plain, smooth = (tune(pools, TuneConfig(rules=["threshold"], smoothing=by)) for by in (0, 0.4))
    assert plain.chosen.row_f1 > smooth.chosen.row_f1
    assert 0.21 < plain.decision.threshold < 0.25
    assert 0.28 < smooth.decision.threshold < 0.6


# --- what it is tuned for --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["threshold", "min2", "average_link"])
@pytest.mark.parametrize("unlabeled", [0, 9])
def test_listing_metrics_add_up_to_pool_metrics(rule: Rule, unlabeled: int) -> None:
    pairs, codes = random_pool(40, 1)
    codes = np.where(np.arange(40) < unlabeled, -1, codes)
    for threshold in (0.2, 0.5, 0.8):
        matches = Decision(rule, threshold, 3).apply(pairs)
        sums = listing_metrics(matches, codes).sum(axis=0)
        expected = measure(matches, groups_of(matches), codes)
        assert sums[1] / sums[0] == pytest.approx(expected.row_f1)
        assert pair_precision(sums) == pytest.approx(expected.pair_precision)
        assert pair_recall(sums) == pytest.approx(expected.pair_recall)
        assert pair_f1(sums) == pytest.approx(expected.pair_f1)


def test_listing_metrics_without_pairs() -> None:
    no_rows = np.zeros(0, dtype=np.int32)
    none = Matches(3, no_rows, no_rows, np.zeros(0, dtype=np.float32))
    sums = listing_metrics(none, np.array([0, 1, -1])).sum(axis=0)
    assert [float(pair_precision(sums)), float(pair_recall(sums)), float(pair_f1(sums))] == [1, 1, 1]
    assert Objective().values(sums) == 1
    assert not Objective.parse("precision>=0.5").is_reached(sums)  # there is nothing to be precise about


@pytest.mark.parametrize("seed", range(3))
def test_objective_pair_f1(seed: int) -> None:
    pools = [random_pool(40, seed), random_pool(30, seed + 5)]
    config = TuneConfig(objective="pair_f1", rules=["threshold"], thresholds=500, smoothing=0, prior_shift=0)
    tuned = tune(pools, config)
    f1 = []
    for threshold in np.unique(np.concatenate([pairs.score for pairs, _ in pools])):
        found = [(pairs.score >= threshold, codes[pairs.left] == codes[pairs.right]) for pairs, codes in pools]
        kept, same = (np.concatenate(part) for part in zip(*found, strict=True))
        true = sum((np.bincount(codes) * (np.bincount(codes) - 1) // 2).sum() for _, codes in pools)
        f1.append(2 * (kept & same).sum() / (kept.sum() + true))
    assert curve_of(tuned, "threshold").value == pytest.approx(max(f1))


@pytest.mark.parametrize("least", [0.8, 0.9, 1.0])
def test_objective_recall_at_precision(least: float) -> None:
    pools = [random_pool(60, 3)]
    tuned = tune(pools, TuneConfig(objective=f"precision>={least}", rules=["threshold"], thresholds=2000))
    (pairs, codes), score = pools[0], pools[0][0].score
    assert score is not None
    same = codes[pairs.left] == codes[pairs.right]
    true = (np.bincount(codes) * (np.bincount(codes) - 1) // 2).sum()
    points = [(same[score >= at].mean(), same[score >= at].sum() / true) for at in np.unique(score)]
    assert curve_of(tuned, "threshold").value == pytest.approx(
        max(recall for precision, recall in points if precision >= least)
    )
    kept = score >= tuned.decision.threshold
    assert same[kept].mean() >= least
    reached = [value for _, value in curve_of(tuned, "threshold").curve if not np.isnan(value)]
    assert max(reached) == curve_of(tuned, "threshold").value
    assert len(reached) < len(curve_of(tuned, "threshold").curve)
    assert "NaN" not in json.dumps(tuned.to_json())


def test_objective_unreached_names_best_precision() -> None:
    wrong_on_top = pool(6, {(0, 2): 0.95, (0, 1): 0.9, (2, 3): 0.8, (1, 4): 0.3}, [0, 0, 1, 1, 2, 3])
    with pytest.raises(MatcherError, match=r"precision>=0\.9 .* is 0\.667, by threshold"):
        tune([wrong_on_top], TuneConfig(objective="precision>=0.9", rules=["threshold"]))


def test_rule_below_precision_is_not_chosen() -> None:
    groups = {pair: 0.9 for k in range(0, 60, 3) for pair in combinations(range(k, k + 3), 2)}
    bridges = {(k + 2, k + 3): 0.9 for k in range(0, 57, 3)}
    pools = [pool(60, groups | bridges, [at // 3 for at in range(60)])]
    tuned = tune(pools, TuneConfig(objective="precision>=0.99", rules=["threshold", "average_link"]))
    assert tuned.decision.rule == "average_link"
    assert np.isnan(curve_of(tuned, "threshold").value)
    assert curve_of(tuned, "average_link").value == 1


BAD = ["f1", "", "precision", "precision>=", "precision>=0", "precision>=1.01", "recall>=0.9", "precision>=x"]


@pytest.mark.parametrize("text", [*BAD, "precision<=0.5", "precision>=.9.5"])
def test_objective_refuses_other_texts(text: str) -> None:
    with pytest.raises(MatcherError, match=r"tune.objective=.*: an objective is row_f1, pair_f1, or precision>=P"):
        Settings({"tune": {"objective": text}}, sections())


@pytest.mark.parametrize("text", ["precision>=0.95", "precision>=.95", " precision >= 0.95 "])
def test_objective_allows_blanks(text: str) -> None:
    assert Objective.parse(TuneConfig(objective=text).objective).min_precision == 0.95


# --- how sure it is --------------------------------------------------------------------------------------------------


def blocks(count: int, right: Edges, wrong: Edges, codes: list[int]) -> ScoredPool:
    """The same few listings, many times over."""
    size, edges = len(codes), right | wrong
    many = {(i + k * size, j + k * size): score for k in range(count) for (i, j), score in edges.items()}
    return pool(count * size, many, [code + k * (max(codes) + 1) for k in range(count) for code in codes])


def test_clearly_better_rule_is_chosen() -> None:
    right, wrong = {(0, 1): 0.9, (4, 5): 0.8, (2, 3): 0.2}, {(0, 4): 0.3}
    pools = [blocks(40, right, wrong, [0, 0, 1, 1, 2, 2])]
    tuned = tune(pools, TuneConfig(rules=["threshold", "min2"]))
    assert tuned.decision.rule == tuned.best.rule == "min2"
    swapped = tune(pools, TuneConfig(rules=["min2", "threshold"]))
    assert swapped.decision.rule == "min2"
    assert tuned.choice.shortfall == (0, 0)


def test_rule_within_noise_is_chosen_if_first() -> None:
    common = blocks(60, {(0, 1): 0.9, (2, 3): 0.8}, {(0, 2): 0.6}, [0, 0, 1, 1])
    extra = pool(2, {(0, 1): 0.1}, [0, 0])  # one product in a hundred that min2 alone gets right
    tuned = tune([common, extra], TuneConfig(rules=["threshold", "min2"]))
    assert tuned.best.rule == "min2"
    assert tuned.decision.rule == "threshold"
    assert tuned.choice.shortfall[0] == 0  # in many resamples it isn't drawn at all
    assert tuned.choice.shortfall[1] > 0
    line = summarize(tuned, TuneConfig())
    assert line["threshold at"] == tuned.decision.threshold
    assert line["best:"].startswith("min2 +0.00")
    assert line["best:"].endswith(", not clear")
    stored = tuned.to_json()
    assert (stored["chosen"], stored["best"]["rule"]) == ("threshold", "min2")
    assert stored["interval"][0] <= stored["values"]["threshold"] <= stored["interval"][1]


def test_intervals_have_nominal_coverage() -> None:
    """Of means over products of known spread: nine in ten intervals hold the true mean."""
    rng, held = np.random.default_rng(0), 0
    for seed in range(60):
        f1 = np.repeat(rng.beta(4, 2, 80), 3)  # the three listings of a product stand and fall together
        metrics = np.zeros((240, 5))
        metrics[:, 0], metrics[:, 1] = 1, f1
        drawn = resample([metrics], np.repeat(np.arange(80), 3), Objective(), 200, seed)
        low, high = choose([float(f1.mean())], drawn).interval
        held += low <= 4 / 6 <= high
    assert 0.8 <= held / 60 < 1


@pytest.mark.parametrize("aim", ["row_f1", "pair_f1", "precision>=0.9"])
def test_interval_without_a_mistake_is_that_of_so_many_products(aim: str) -> None:
    tuned = tune([blocks(10, {(0, 1): 0.9}, {(0, 2): 0.1}, [0, 0, 1])], TuneConfig(rules=["threshold"], objective=aim))
    assert tuned.chosen.value == 1
    products = 10 if aim.startswith("precision") else 20  # of one listing there is no pair to find
    assert tuned.choice.interval == wilson(1.0, products)
    assert 0.7 < tuned.choice.interval[0] < 0.9


def test_resample_equals_drawn_products() -> None:
    pools = [random_pool(30, 1), random_pool(20, 2)]
    product = product_codes([codes for _, codes in pools])
    ready = RuleOnPools(Decision("threshold", 0.5), pools)
    metrics = [ready.metrics(at) for at in (0.3, 0.6)]
    for aim in ("row_f1", "pair_f1", "precision>=0.5"):
        drawn = resample(metrics, product, Objective.parse(aim), 5, seed=7)
        rng, count = np.random.default_rng(7), product.max() + 1
        for values in drawn:
            taken = np.concatenate([np.flatnonzero(product == k) for k in rng.integers(count, size=count)])
            for found, value in zip(metrics, values, strict=True):
                assert value == pytest.approx(float(Objective.parse(aim).values(found[taken].sum(axis=0))))


def test_product_codes_over_pools() -> None:
    assert product_codes([np.array([0, 1, 0, -1, -1]), np.array([1, 1, -1])]).tolist() == [0, 1, 0, 2, 3, 4, 4, 5]


# --- the best threshold of one rule ----------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["threshold", "min2", "average_link"])
def test_best_threshold_equals_tune_without_its_extras(rule: Rule) -> None:
    pools = [random_pool(40, 1), random_pool(30, 2)]
    plain = TuneConfig(rules=[rule], thresholds=40, max_matches=3, smoothing=0, resamples=2, prior_shift=0)
    best = best_threshold(pools, Decision(rule, 0.5, max_matches=3), count=40)
    tuned = tune(pools, plain)
    assert (best.threshold, best.value) == (tuned.decision.threshold, tuned.chosen.value)
    assert best.row_f1 == tuned.chosen.row_f1


def test_best_threshold_with_forbidden_pairs() -> None:
    pairs, codes = pool(4, {(0, 1): 0.6, (2, 3): 0.9}, [0, 0, 1, 2])
    vetoed = replace(pairs, conflict=np.array([0, 1], dtype=np.uint8))
    assert best_threshold([(vetoed, codes)], Decision("threshold", 0.5, forbid=("quantity",))).row_f1 == 1
    assert best_threshold([(vetoed, codes)], Decision("threshold", 0.5)).row_f1 < 1


def test_best_threshold_for_unreached_precision_is_nan() -> None:
    wrong = pool(3, {(0, 1): 0.9}, [0, 1, 2])
    best = best_threshold([wrong], Decision("threshold", 0.5), Objective.parse("precision>=0.5"))
    assert np.isnan(best.value)
    assert best.max_precision == 0
