"""Precision and recall that answers tell, with intervals."""

from dataclasses import replace

import numpy as np
import pytest

from ensemble.decision.decision import Decision
from ensemble.review.pair_answers import PairAnswers
from ensemble.review.quality import estimate, unaided_matches
from ensemble.review.questions import next_questions
from ensemble.review.simulation import PoolOfLabels, Reviewer
from tests.support.review_pools import NO_ANSWERS, NO_POSITIONS, synthetic_pool
from tests.support.scored_pairs import scored

SINGLE_PAIRS, SURE = Decision("threshold", 0.5), Reviewer()


def uncertain_pool(seed: int, exponent: float = 1.0) -> PoolOfLabels:
    """Return a pool of 400 pairs of listings of their own, each true with the probability score ** exponent."""
    rng = np.random.default_rng(seed)
    score = rng.uniform(0.02, 0.98, size=400)
    true = rng.random(400) < score**exponent
    codes = np.arange(800)
    codes[1::2] = np.where(true, codes[::2], codes[1::2])
    pairs = scored(800, {(2 * k, 2 * k + 1): float(score[k]) for k in range(400)})
    return PoolOfLabels(pairs, synthetic_pool().described, codes)


def stratified_answers(
    pool: PoolOfLabels, count: int, seed: int, reviewer: Reviewer = SURE, hardness: np.ndarray | None = None
) -> PairAnswers:
    questions = [
        q for q in next_questions(pool.start, NO_POSITIONS, NO_ANSWERS, 2 * count, seed) if q.stratum is not None
    ]
    positions = np.array([question.position for question in questions[:count]])
    hardness = np.ones(count) if hardness is None else hardness[positions]
    verdicts = reviewer.verdicts(pool.truth[positions], hardness, np.random.default_rng(seed))
    return PairAnswers().joined(positions, verdicts, np.array([question.stratum for question in questions[:count]]))


def test_quality_is_not_known_without_a_stratified_answer() -> None:
    pool = synthetic_pool()
    matched = pool.start.score > 0.5
    assert estimate(pool.start, matched, PairAnswers()) is None
    assert estimate(pool.start, matched, PairAnswers(np.array([0]), np.array([True]), np.array([-1]))) is None
    doubt = PairAnswers(unsure=np.array([0]), unsure_stratum=np.array([0]))
    assert estimate(pool.start, matched, doubt) is None


@pytest.mark.parametrize("exponent", [1.0, 0.4, 2.5])  # scores are right, too low, too high
def test_intervals_hold_in_nine_of_ten_reviews(exponent: float) -> None:
    held = np.zeros(2)
    for seed in range(30):
        pool = uncertain_pool(seed, exponent)
        matched = pool.start.score >= 0.5
        quality = estimate(pool.start, matched, stratified_answers(pool, 60, seed), decision=SINGLE_PAIRS)
        assert quality is not None
        precision, recall = pool.truth[matched].mean(), matched[pool.truth].mean()
        held += [
            quality.precision.low <= precision <= quality.precision.high,
            quality.recall.low <= recall <= quality.recall.high,
        ]
    assert (held / 30 >= 0.8).all()


def test_intervals_are_exact_where_every_pair_is_answered() -> None:
    pool = uncertain_pool(0)
    everything = np.arange(len(pool.start))
    matched = pool.truth.copy()
    matched[np.flatnonzero(matched)[:10]] = False
    quality = estimate(pool.start, matched, PairAnswers(everything, pool.truth, np.zeros(len(everything), np.int64)))
    assert quality is not None
    assert quality.precision.low == quality.precision.high == 1
    assert quality.recall.low == pytest.approx(matched.sum() / pool.truth.sum())


def test_intervals_narrow_with_answers() -> None:
    pool = uncertain_pool(1)
    matched = pool.start.score >= 0.5
    widths = []
    for count in (25, 100):
        quality = estimate(pool.start, matched, stratified_answers(pool, count, 0), decision=SINGLE_PAIRS)
        assert quality is not None
        widths.append(quality.precision.high - quality.precision.low)
    assert widths[1] < 0.8 * widths[0]


def test_precision_of_no_matches_is_one() -> None:
    pool = uncertain_pool(2)
    nothing = np.zeros(len(pool.start), dtype=np.bool_)
    quality = estimate(pool.start, nothing, stratified_answers(pool, 25, 0), decision=SINGLE_PAIRS)
    assert quality is not None
    assert quality.precision.value == 1
    assert quality.recall.value == 0


def test_strata_of_another_version_are_left_out() -> None:
    pool = uncertain_pool(3)
    answers = PairAnswers(np.array([0, 1]), np.array([True, True]), np.array([99, 0]))
    quality = estimate(pool.start, pool.start.score >= 0.5, answers, decision=SINGLE_PAIRS)
    assert quality is not None
    assert quality.answers == 1


def test_unaided_matches_forget_the_own_answer_and_keep_others() -> None:
    pairs = scored(6, {(0, 1): 0.9, (2, 3): 0.9, (4, 5): 0.1})
    unaided = unaided_matches(pairs, np.array([0, 2]), np.array([False, True]), Decision("average_link", 0.5))
    assert unaided.tolist() == [True, False]


def test_a_no_counts_against_the_precision_of_what_was_not_asked() -> None:
    pool = uncertain_pool(4)
    high = np.flatnonzero(pool.start.score > 0.5)
    answers = PairAnswers(high[:60], np.zeros(60, dtype=np.bool_), np.zeros(60, dtype=np.int64))
    matched = (pool.start.score > 0.5) & ~np.isin(np.arange(len(pool.start)), answers.positions)
    quality = estimate(replace(pool.start), matched, answers, decision=SINGLE_PAIRS)
    assert quality is not None
    assert quality.precision.value < 0.5


@pytest.mark.parametrize("hard", [False, True])
def test_intervals_hold_where_reviewers_are_unsure(hard: bool) -> None:
    held, reviewer = np.zeros(2), Reviewer(unsure=0.8 if hard else 0.4, hard=hard)
    for seed in range(30):
        pool = uncertain_pool(seed)
        score = pool.start.score.astype(np.float64)
        matched, answers = score >= 0.5, stratified_answers(pool, 60, seed, reviewer, 4 * score * (1 - score))
        quality = estimate(pool.start, matched, answers, decision=SINGLE_PAIRS)
        assert quality is not None
        assert quality.answers + quality.unsure == 60
        assert quality.unsure > 8
        precision, recall = pool.truth[matched].mean(), matched[pool.truth].mean()
        held += [
            quality.precision.low <= precision <= quality.precision.high,
            quality.recall.low <= recall <= quality.recall.high,
        ]
    assert (held / 30 >= 0.8).all()


def test_unsure_counts_in_its_stratum_and_widens_the_interval() -> None:
    pool = uncertain_pool(1)
    matched, answers = pool.start.score >= 0.5, stratified_answers(pool, 60, 0)
    doubtful = np.flatnonzero((pool.start.score > 0.5) & (pool.start.score < 0.6))[:20]
    doubtful = np.setdiff1d(doubtful, answers.positions)
    more = answers.joined(doubtful, np.full(len(doubtful), "unsure"), np.full(len(doubtful), answers.stratum.min()))
    one, other = (estimate(pool.start, matched, each, decision=SINGLE_PAIRS) for each in (answers, more))
    assert one is not None
    assert other is not None
    assert other.unsure == len(doubtful)
    assert other.precision.high - other.precision.low > one.precision.high - one.precision.low
    assert other.precision.value < one.precision.value  # these pairs score little more than one half
