"""Which pairs to ask about."""

from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from ensemble.review.questions import (
    EDGES,
    FIRST,
    is_answered,
    next_questions,
    strata,
    stratum_sizes,
    yes_groups,
)
from shared.schema import CandidatePairs
from tests.support.review_pools import NO_ANSWERS, NO_POSITIONS, all_pairs, synthetic_pool


def test_stratum_sizes_count_the_strata() -> None:
    for n in (2, 3, 7, 40, 90):
        pairs = all_pairs(n)
        assert np.bincount(strata(pairs), minlength=len(EDGES) - 1).tolist() == stratum_sizes(pairs).tolist()


def test_strata_hold_better_scores_first() -> None:
    pairs = all_pairs(40)
    order = np.argsort(-pairs.score, kind="stable")
    assert (np.diff(strata(pairs)[order]) >= 0).all()


@pytest.mark.parametrize("seed", range(10))
def test_is_answered_equals_naive_closure(seed: int) -> None:
    rng, n = np.random.default_rng(seed), 12
    pairs = CandidatePairs(n, *(rows.astype(np.int32) for rows in np.triu_indices(n, 1)))
    codes = rng.integers(4, size=n)
    positions = rng.permutation(len(pairs))[:14]
    is_match = codes[pairs.left[positions]] == codes[pairs.right[positions]]
    together = {row: {row} for row in range(n)}
    for at in positions[is_match]:
        joined = together[int(pairs.left[at])] | together[int(pairs.right[at])]
        for row in joined:
            together[row] = joined
    answered = {pair for joined in together.values() for pair in combinations(sorted(joined), 2)}
    for at in positions[~is_match]:
        answered |= {
            (min(a, b), max(a, b)) for a in together[int(pairs.left[at])] for b in together[int(pairs.right[at])]
        }
    expected = [pair in answered for pair in zip(pairs.left.tolist(), pairs.right.tolist(), strict=True)]
    assert is_answered(pairs, positions, is_match).tolist() == expected


def test_yes_groups_without_answers_are_single_listings() -> None:
    assert len(set(yes_groups(all_pairs(5), NO_POSITIONS).tolist())) == 5


def test_first_questions_are_stratified_over_all_strata() -> None:
    questions = next_questions(all_pairs(90), NO_POSITIONS, NO_ANSWERS, FIRST, seed=1)
    drawn = Counter(question.stratum for question in questions)
    assert {question.asked for question in questions} == {"stratified"}
    assert set(drawn.values()) <= {2, 3}
    assert len(drawn) == len(EDGES) - 1


def test_questions_name_the_stratum_of_their_pair() -> None:
    pairs = all_pairs(90)
    for question in next_questions(pairs, NO_POSITIONS, NO_ANSWERS, 60, seed=0):
        assert question.stratum in (None, strata(pairs)[question.position])


def test_later_questions_are_half_uncertain() -> None:
    pool = synthetic_pool()
    asked = np.arange(FIRST)
    questions = next_questions(pool.start, asked, pool.truth[asked], 40, seed=0)
    assert Counter(question.asked for question in questions) == {"stratified": 20, "uncertain": 20}
    uncertain = [question.position for question in questions if question.asked == "uncertain"]
    doubt = pool.start.score * (1 - pool.start.score)
    assert doubt[uncertain].mean() > 1.3 * doubt.mean()


def test_questions_are_the_same_for_a_seed_and_others_for_another() -> None:
    pairs = all_pairs(60)
    one, same, other = (next_questions(pairs, NO_POSITIONS, NO_ANSWERS, 25, seed=seed) for seed in (0, 0, 1))
    assert one == same
    assert one != other


@pytest.mark.parametrize("n", [2, 3, 8])
def test_questions_of_a_small_pool_end_with_its_pairs(n: int) -> None:
    pairs = all_pairs(n)
    questions = next_questions(pairs, NO_POSITIONS, NO_ANSWERS, 1000, seed=0)
    assert sorted(question.position for question in questions) == list(range(len(pairs)))


def test_questions_of_a_pool_without_pairs() -> None:
    assert next_questions(all_pairs(1), NO_POSITIONS, NO_ANSWERS, 10, seed=0) == []


def test_questions_leave_out_answers_what_follows_and_what_is_skipped() -> None:
    pairs = all_pairs(4)  # (0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)
    questions = next_questions(pairs, np.array([0, 1]), np.array([True, True]), 10, seed=0, skip=np.array([4]))
    assert sorted(question.position for question in questions) == [2, 5]


def test_a_large_product_is_answered_by_a_chain() -> None:
    pool = synthetic_pool(products=4, size=50)
    positions, is_match = NO_POSITIONS, NO_ANSWERS
    while questions := next_questions(pool.start, positions, is_match, 25, seed=0):
        positions = np.append(positions, [question.position for question in questions])
        is_match = pool.truth[positions]
    assert len(positions) < 0.2 * len(pool.start)
    assert len(set(positions.tolist())) == len(positions)
    assert (is_answered(pool.start, positions, is_match)).all()
