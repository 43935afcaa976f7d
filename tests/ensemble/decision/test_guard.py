"""Decisions on pools that are unlike those of the training, and what a user knows of a pool."""

from itertools import combinations

import numpy as np
import pytest

from ensemble.decision.decision import ATTACHED, Decision, groups_of
from ensemble.decision.guard import CAREFUL, SIMILAR, agreement, careful_threshold, expected_share
from shared.schema import Matches
from tests.support.scored_pairs import Edges, lists_of, scored


def matches_of(sets: list[set[int]]) -> Matches:
    pairs = [(i, j) for i, others in enumerate(sets) for j in sorted(others)]
    listing, match = (
        (np.array(side, dtype=np.int32) for side in zip(*pairs, strict=True)) if pairs else (np.zeros(0, np.int32),) * 2
    )
    return Matches(len(sets), listing, match, np.ones(len(pairs), dtype=np.float32))


def chains(n: int, seed: int = 0) -> Edges:
    """Pairs of products of two, and as many wrong pairs that chain them, all with scores that say nothing."""
    rng = np.random.default_rng(seed)
    wrong = {tuple(sorted(rng.choice(n, 2, replace=False).tolist())) for _ in range(n)}
    edges = {(i, i + 1): 0.97 for i in range(0, n, 2)}
    return {pair: float(rng.uniform(0.5, 0.9)) for pair in wrong} | edges  # type: ignore[misc, return-value]


# --- agreement -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(10))
def test_agreement_equals_naive(seed: int) -> None:
    rng = np.random.default_rng(seed)
    one, other = ([{j for j in range(9) if j != i and rng.random() < 0.3} for i in range(9)] for _ in range(2))
    rows = [
        2 * len((a | {i}) & (b | {i})) / (len(a) + len(b) + 2) for i, (a, b) in enumerate(zip(one, other, strict=True))
    ]
    assert agreement(matches_of(one), matches_of(other)) == pytest.approx(np.mean(rows))


def test_agreement_without_listings_or_matches() -> None:
    assert agreement(matches_of([]), matches_of([])) == 1
    assert agreement(matches_of([set()] * 3), matches_of([set()] * 3)) == 1


@pytest.mark.parametrize("start", [0.0, 0.3, 0.999, 1.0])
def test_careful_threshold_is_the_first_that_agrees_or_the_highest(start: float) -> None:
    assert careful_threshold(start, lambda step: 1.0) == pytest.approx(start, abs=1e-5)
    assert start <= careful_threshold(start, lambda step: 0.0) + 1e-5 <= 1 + 1e-5
    found = careful_threshold(0.1, lambda step: CAREFUL if step >= 0.6 else 0)
    assert 0.6 <= found < 0.8


# --- the guard -------------------------------------------------------------------------------------------------------


def test_threshold_rises_where_the_rules_disagree() -> None:
    pairs = scored(200, chains(200))
    plain, careful = (Decision("average_link", 0.4, guard=guard).decide(pairs) for guard in (False, True))
    assert plain.agreement is None
    assert careful.agreement is not None
    assert careful.agreement < SIMILAR
    assert careful.threshold > plain.threshold == 0.4
    right = {i: [i ^ 1] for i in range(200)}
    assert sum(lists_of(careful.matches)[i] == right[i] for i in right) > 190
    again = Decision("average_link", 0.4, least=careful.threshold).decide(pairs)
    assert groups_of(again.matches).tolist() == groups_of(careful.matches).tolist()


def test_threshold_stays_where_the_rules_agree() -> None:
    edges = {pair: 0.9 for block in range(0, 60, 3) for pair in combinations(range(block, block + 3), 2)}
    outcome = Decision("average_link", 0.4, guard=True).decide(scored(60, edges))
    assert (outcome.agreement, outcome.threshold) == (1, 0.4)


@pytest.mark.parametrize("rule", ["threshold", "min2"])
def test_other_rules_have_no_guard(rule: str) -> None:
    outcome = Decision(rule, 0.4, guard=True).decide(scored(200, chains(200)))  # type: ignore[arg-type]
    assert (outcome.agreement, outcome.threshold) == (None, 0.4)


def test_guard_does_not_depend_on_the_order_of_rows() -> None:
    edges, ids = chains(80), np.array([f"p{i:02}" for i in range(80)], dtype=object)
    place = np.random.default_rng(1).permutation(80)
    moved = {tuple(sorted((int(place[i]), int(place[j])))): score for (i, j), score in edges.items()}
    decision = Decision("average_link", 0.4, guard=True)
    one, other = decision.decide(scored(80, edges), ids), decision.decide(scored(80, moved), ids[np.argsort(place)])  # type: ignore[arg-type]
    assert (one.threshold, one.agreement) == (other.threshold, other.agreement)


def test_least_threshold_holds_for_any_size() -> None:
    decision = Decision("average_link", 0.4, pool_size=100, prior_shift=1.0, least=0.6)
    assert decision.threshold_for(10, 1.0) == 0.6
    assert decision.threshold_for(10_000, 1.0) > 0.6


# --- how many listings have a match ----------------------------------------------------------------------------------


def test_expected_share_is_that_of_calibrated_scores() -> None:
    rng = np.random.default_rng(0)
    edges = {(i, i + 1): float(rng.random()) for i in range(0, 20_000, 2)}
    assert expected_share(scored(20_000, edges)) == pytest.approx(0.5, abs=0.01)
    assert expected_share(scored(4, {(0, 1): 0.5, (0, 2): 0.5})) == pytest.approx((0.75 + 0.5 + 0.5) / 4)
    assert expected_share(scored(0, {})) == 0
    assert expected_share(scored(3, {})) == 0
    assert expected_share(scored(2, {(0, 1): 1.0})) == pytest.approx(1)


def test_copies_are_expected_to_match() -> None:
    pairs = scored(4, {(0, 2): 0.5}).with_copies(np.array([0, 0, 2, 3], dtype=np.int32))
    assert expected_share(pairs) == pytest.approx((1 + 1 + 0.5 + 0) / 4)


# --- what a user knows -----------------------------------------------------------------------------------------------


def test_all_gives_a_listing_without_a_match_its_best_pair() -> None:
    pairs = scored(6, {(0, 1): 0.9, (1, 2): 0.2, (0, 2): 0.1, (3, 4): ATTACHED / 2, (4, 5): 0.3})
    nothing, everything = (
        lists_of(Decision("average_link", 0.5).decide(pairs, duplicates=k).matches) for k in ("unknown", "all")
    )  # type: ignore[arg-type]
    assert nothing == {0: [1], 1: [0], 2: [], 3: [], 4: [], 5: []}
    assert everything == {0: [1], 1: [0], 2: [1], 3: [], 4: [5], 5: [4]}


def test_pairs_leaves_no_group_of_more_than_two() -> None:
    edges = {(0, 1): 0.9, (1, 2): 0.8, (0, 2): 0.85, (3, 4): 0.7, (4, 5): 0.95}
    outcome = Decision("average_link", 0.5).decide(scored(6, edges), duplicates="pairs")
    assert lists_of(outcome.matches) == {0: [1], 1: [0], 2: [], 3: [], 4: [5], 5: [4]}


def test_pairs_counts_copies_as_listings() -> None:
    pairs = scored(7, {(0, 2): 0.9, (3, 6): 0.8}).with_copies(np.array([0, 0, 2, 3, 3, 3, 6], dtype=np.int32))
    outcome = Decision("average_link", 0.5).decide(pairs, duplicates="pairs")
    assert lists_of(outcome.matches) == {0: [1], 1: [0], 2: [], 3: [4], 4: [3], 5: [], 6: []}
    assert outcome.split_groups == 0


def test_all_attaches_to_every_copy_of_the_best_pair() -> None:
    pairs = scored(4, {(0, 2): 0.3, (2, 3): 0.1}).with_copies(np.array([0, 0, 2, 3], dtype=np.int32))
    matches = lists_of(Decision("average_link", 0.5).decide(pairs, duplicates="all").matches)
    assert matches == {0: [1], 1: [0], 2: [0, 1], 3: [2]}
