from itertools import combinations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ensemble.config import TuneConfig
from ensemble.decide import Decision
from ensemble.tune import LEAST, ScoredPool, cuts, tune
from shared.metrics import row_f1, row_scores
from shared.schema import Pairs


def pool(n: int, edges: dict[tuple[int, int], float], codes: list[int]) -> ScoredPool:
    ends = np.array(sorted(edges), dtype=np.int32).reshape(-1, 2)
    score = np.array([edges[i, j] for i, j in sorted(edges)], dtype=np.float32)
    return Pairs(n, ends[:, 0].copy(), ends[:, 1].copy(), score=score), np.array(codes)


def random_pool(n: int, seed: int) -> ScoredPool:
    """Pairs of one group score beta(5, 2), others beta(2, 5); one listing in four is of a group of its own."""
    rng = np.random.default_rng(seed)
    codes = np.where(rng.random(n) < 0.25, np.arange(n) + n, rng.integers(0, n // 4, n))
    pairs = [pair for pair in combinations(range(n), 2) if codes[pair[0]] == codes[pair[1]] or rng.random() < 0.1]
    same = [codes[i] == codes[j] for i, j in pairs]
    scores = np.where(same, rng.beta(5, 2, len(pairs)), rng.beta(2, 5, len(pairs)))
    _, codes = np.unique(codes, return_inverse=True)
    return pool(n, dict(zip(pairs, scores.tolist(), strict=True)), codes.tolist())


# --- thresholds to try -----------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(st.floats(0, 1, width=32), max_size=30), st.integers(2, 12))
@example([0.5, float(np.nextafter(np.float32(0.5), np.float32(1)))], 5)
@example([0.25, 0.25, 0.75, 0.75], 200)
def test_a_cut_lies_between_two_neighbouring_distinct_scores(scores: list[float], count: int) -> None:
    array = np.array(scores, dtype=np.float32)
    values = sorted({float(value) for value in array if value >= LEAST})
    found = cuts(array, count).tolist()
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
    assert min(found) > LEAST


def test_cuts_are_spread_over_the_ranks_of_the_scores() -> None:
    scores = np.concatenate([np.linspace(0.1, 0.2, 900), np.linspace(0.2, 1, 100)[1:]])
    assert np.searchsorted(np.sort(scores), cuts(scores, 11)).tolist() == pytest.approx(np.linspace(0, 998, 11), abs=1)


# --- the best of a known curve ---------------------------------------------------------------------------------------


def test_the_threshold_that_separates_is_found() -> None:
    right = {(0, 1): 0.8, (2, 3): 0.7, (4, 5): 0.61}
    wrong = {(0, 2): 0.59, (1, 3): 0.3, (4, 6): 0.5}
    tuned = tune([pool(7, right | wrong, [0, 0, 1, 1, 2, 2, 3])], TuneConfig())
    assert tuned.row_f1 == 1
    assert tuned.decision.rule == "threshold"  # all rules can, and it is the simplest
    assert tuned.decision.threshold == pytest.approx(0.6, abs=1e-6)
    assert tuned.pool_sizes == [7]


@pytest.mark.parametrize("seed", range(3))
def test_no_decision_that_was_tried_is_better(seed: int) -> None:
    pools = [random_pool(40, seed), random_pool(25, seed + 10)]
    config = TuneConfig(thresholds=25, max_matches=4)
    tuned = tune(pools, config)
    best = 0.0
    for rule in config.rules:
        thresholds = [threshold for threshold, _ in tuned.curves[rule]]
        assert thresholds == cuts(np.concatenate([pairs.score for pairs, _ in pools]), 25).tolist()
        for threshold, f1 in tuned.curves[rule]:
            decision = Decision(rule, threshold, 4)
            rows = [row_scores(decision.apply(pairs), codes)[:, 2] for pairs, codes in pools]
            assert f1 == pytest.approx(np.concatenate(rows).mean())  # over listings, not over pools
            best = max(best, f1)
    assert tuned.row_f1 == best
    rows = [row_scores(tuned.decision.apply(pairs), codes)[:, 2] for pairs, codes in pools]
    assert np.concatenate(rows).mean() == pytest.approx(best)
    assert tuned.pool_sizes == [40, 25]


@pytest.mark.parametrize("rules", [["threshold", "min2"], ["min2", "threshold"], ["average_link", "min2", "threshold"]])
def test_of_equal_rules_the_first_wins(rules: list[str]) -> None:
    clear = {(0, 1): 0.9, (2, 3): 0.8, (0, 2): 0.1}
    tuned = tune([pool(4, clear, [0, 0, 1, 1])], TuneConfig.model_validate({"rules": rules}))
    assert tuned.decision.rule == rules[0]
    assert tuned.row_f1 == 1


def test_min2_is_chosen_where_every_listing_has_a_match() -> None:
    right, wrong = {(0, 1): 0.9, (4, 5): 0.8, (2, 3): 0.2}, {(0, 4): 0.3}
    config = TuneConfig(rules=["threshold", "min2"])
    tuned = tune([pool(6, right | wrong, [0, 0, 1, 1, 2, 2])], config)
    assert tuned.decision.rule == "min2"
    assert tuned.row_f1 == 1
    assert max(f1 for _, f1 in tuned.curves["threshold"]) < 1


def test_a_rule_that_forces_matches_loses_where_listings_have_none() -> None:
    singles = {(i, i + 1): 0.3 for i in range(2, 9)}
    tuned = tune([pool(10, singles | {(0, 1): 0.9}, [0, 0, *range(1, 9)])], TuneConfig())
    assert tuned.row_f1 == 1
    assert tuned.decision.rule == "threshold"
    assert max(f1 for _, f1 in tuned.curves["min2"]) < 1


def test_average_link_wins_where_single_links_mislead() -> None:
    cliques = [pair for k in (0, 5, 10) for pair in combinations(range(k, k + 5), 2)]
    right = {(i, j): 0.4 if j - i == 4 else 0.75 for i, j in cliques}
    wrong = {(4, 5): 0.6, (9, 10): 0.6, (0, 14): 0.6}
    tuned = tune([pool(15, right | wrong, [0] * 5 + [1] * 5 + [2] * 5)], TuneConfig())
    assert tuned.decision.rule == "average_link"
    assert tuned.row_f1 == 1


def test_all_pairs_may_be_right() -> None:
    tuned = tune([pool(4, {(0, 1): 0.6, (2, 3): 0.9}, [0, 0, 1, 1])], TuneConfig())
    assert tuned.decision.rule == "threshold"
    assert tuned.decision.threshold < 0.6
    assert tuned.row_f1 == 1


def test_a_pool_without_a_pair_is_judged_too() -> None:
    some = pool(2, {(0, 1): 0.9}, [0, 0])
    alone = pool(3, {}, [0, 1, 2])
    tuned = tune([some, alone], TuneConfig())
    assert tuned.row_f1 == 1
    assert tune([alone], TuneConfig()).row_f1 == 1


def test_the_cap_on_matches_takes_part() -> None:
    edges = {pair: 0.9 - 0.01 * sum(pair) for pair in combinations(range(6), 2)}
    pools = [pool(6, edges, [0] * 6)]
    free, tight = (tune(pools, TuneConfig(max_matches=most)) for most in (50, 1))
    assert free.row_f1 == 1
    assert tight.row_f1 < 1
    assert tight.row_f1 == row_f1(tight.decision.apply(pools[0][0]), pools[0][1])
    assert tight.decision.max_matches == 1
