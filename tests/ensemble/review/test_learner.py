"""Scores and the threshold that answers teach."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize

from ensemble.decision.decision import Decision
from ensemble.review.learner import (
    MISTAKES,
    Learner,
    best_expected_threshold,
    expected_row_f1,
    fit,
    learn,
    learned_decision,
    with_answers,
)
from shared.metrics.matching import row_f1, row_scores
from shared.schema import PairFeatures, ScoredPairs
from tests.support.review_pools import NO_ANSWERS, NO_POSITIONS, described, synthetic_pool

# --- logistic regression ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_fit_equals_a_general_optimizer(seed: int) -> None:
    rng = np.random.default_rng(seed)
    columns, is_match = rng.normal(size=(30, 4)), rng.random(30) < 0.4
    mean, spread = rng.normal(size=4), rng.uniform(0.1, 2, size=4)

    def loss(weights: np.ndarray) -> float:
        match = 1 / (1 + np.exp(-columns @ weights))
        yes = MISTAKES * (1 - match) + (1 - MISTAKES) * match
        prior = (((weights - mean) / spread) ** 2).sum() / 2
        return float(prior - np.log(np.where(is_match, yes, 1 - yes)).sum())

    expected = minimize(loss, mean, method="BFGS", options={"gtol": 1e-8}).x
    assert fit(columns, is_match, mean, spread).weights == pytest.approx(expected, abs=1e-4)


def test_fit_recovers_weights_from_many_answers() -> None:
    rng = np.random.default_rng(0)
    columns, weights = rng.normal(size=(20_000, 3)), np.array([1.0, -0.5, 0.25])
    is_match = rng.random(20_000) < 1 / (1 + np.exp(-columns @ weights))
    is_match ^= rng.random(20_000) < MISTAKES
    assert fit(columns, is_match, np.zeros(3), np.full(3, 10.0)).weights == pytest.approx(weights, abs=0.06)


def test_evidence_of_a_fit_prefers_the_spread_that_weights_have() -> None:
    rng = np.random.default_rng(0)
    columns, weights = rng.normal(size=(2000, 20)), rng.normal(0, 0.5, size=20)
    is_match = rng.random(2000) < 1 / (1 + np.exp(-columns @ weights))
    of_spread = {
        spread: fit(columns, is_match, np.zeros(20), np.full(20, spread)).evidence for spread in (0.02, 0.5, 9)
    }
    assert max(of_spread, key=lambda spread: of_spread[spread]) == 0.5


def test_one_slip_about_a_hopeless_pair_moves_little() -> None:
    rng = np.random.default_rng(0)
    columns = np.stack([np.ones(100), rng.normal(0, 4, size=100)], axis=1)
    is_match = columns[:, 1] > 0
    mean, spread = np.array([0.0, 1.0]), np.array([1.5, 0.5])
    slip = is_match.copy()
    slip[np.argmin(columns[:, 1])] = True
    right, wrong = (fit(columns, answers, mean, spread).weights for answers in (is_match, slip))
    assert wrong == pytest.approx(right, rel=0.2, abs=0.2)


# --- learning --------------------------------------------------------------------------------------------------------


def test_learner_without_answers_returns_the_start() -> None:
    pool = synthetic_pool()
    assert learn(pool.start, pool.described, NO_POSITIONS, NO_ANSWERS) is pool.start


def test_learner_lowers_all_scores_after_many_no() -> None:
    pool = synthetic_pool()
    best = np.argsort(-pool.start.score, kind="stable")[:40]
    score = Learner(pool.start, pool.described).learn(best, np.zeros(40, dtype=np.bool_)).score
    assert score[best].mean() < 0.5 * pool.start.score[best].mean()


def test_learner_raises_scores_after_many_yes() -> None:
    pool = synthetic_pool()
    middle = np.argsort(-pool.start.score, kind="stable")[200:240]
    score = Learner(pool.start, pool.described).learn(middle, np.ones(40, dtype=np.bool_)).score
    assert score[middle].mean() > pool.start.score[middle].mean() + 0.1


def test_learner_finds_what_conflicts_mean() -> None:
    pool = synthetic_pool(conflicts=0.1)
    differs = pool.described.features["number_odd_low"].to_numpy() == 1
    rng = np.random.default_rng(0)
    likely = np.flatnonzero(pool.start.score > 0.3)
    asked = rng.permutation(likely)[:100]
    before, after = pool.start, Learner(pool.start, pool.described).learn(asked, pool.truth[asked])
    rest = np.setdiff1d(likely, asked)
    losses = [np.abs(scored.score[rest] - pool.truth[rest]).mean() for scored in (before, after)]
    assert losses[1] < 0.6 * losses[0]
    assert after.score[rest][differs[rest]].mean() < 0.2


def test_learner_is_deterministic_and_keeps_what_pairs_have() -> None:
    pool = synthetic_pool()
    start = replace(pool.start, copy_of=np.arange(pool.start.n, dtype=np.int32))
    asked = np.arange(0, len(start), 50)
    one, other = (learn(start, pool.described, asked, pool.truth[asked]) for _ in range(2))
    assert np.array_equal(one.score, other.score)
    assert one.copy_of is start.copy_of


def test_learner_does_not_depend_on_the_order_of_pairs() -> None:
    pool = synthetic_pool()
    n, answered = pool.start.n, np.arange(0, 300, 10)
    tied = replace(pool.start, score=pool.start.score.round(1))  # as those of trees often are
    learned = learn(tied, pool.described, answered, pool.truth[answered]).score
    left, right = n - 1 - tied.right, n - 1 - tied.left
    order = np.lexsort((right, left))
    moved = PairFeatures(n, left[order], right[order], pool.described.features.iloc[order])
    place = np.argsort(order)[answered]
    again = learn(ScoredPairs.of(moved, tied.score[order]), moved, place, pool.truth[answered]).score
    assert np.allclose(again, learned[order], atol=1e-5)


def test_learner_bears_unknown_features() -> None:
    pairs = described(6, tfidf_cosine=[0.9, np.nan, 0.2, np.nan, 0.4], image_cosine=[np.nan] * 5)
    start = ScoredPairs(6, pairs.left, pairs.right, np.array([0, 1, 0.3, 0.2, 0.1], np.float32))
    score = learn(start, pairs, np.array([0, 1]), np.array([True, False])).score
    assert np.isfinite(score).all()


# --- threshold -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_expected_row_f1_is_the_mean_over_truths_of_sure_scores(seed: int) -> None:
    pool = synthetic_pool(seed=seed)
    sure = replace(pool.start, score=pool.truth.astype(np.float32))
    matches = Decision("average_link", 0.5).apply(sure)
    assert expected_row_f1(matches, sure) == pytest.approx(row_scores(matches, pool.codes)[:, 2].mean())


def test_expected_row_f1_counts_copies_as_true() -> None:
    pairs = ScoredPairs(
        3, np.array([0], np.int32), np.array([1], np.int32), np.ones(1, np.float32), None, np.array([0, 1, 1], np.int32)
    )
    assert expected_row_f1(Decision("average_link", 0.5).apply(pairs), pairs) == pytest.approx(1)


def test_best_expected_threshold_is_near_the_best_in_hindsight() -> None:
    rng = np.random.default_rng(0)
    pool = synthetic_pool(products=150)
    calibrated = rng.beta(4, 2, size=len(pool.start)) * pool.truth + rng.beta(1, 6, size=len(pool.start)) * ~pool.truth
    pairs = replace(pool.start, score=calibrated.astype(np.float32))
    at_best = max(row_f1(Decision("average_link", t).apply(pairs), pool.codes) for t in np.linspace(0.1, 0.9, 17))
    threshold = best_expected_threshold(pairs)
    assert row_f1(Decision("average_link", threshold).apply(pairs), pool.codes) > at_best - 0.02


def test_learned_decision_of_answers_honors_them() -> None:
    pool = synthetic_pool()
    asked = np.flatnonzero(pool.truth)[:20]
    pinned = with_answers(pool.start, asked, np.zeros(20, dtype=np.bool_))
    assert (pinned.score[asked] == 0).all()
    assert np.array_equal(np.delete(pinned.score, asked), np.delete(pool.start.score, asked))
    assert learned_decision(pinned).rule == "average_link"
