"""Scores without any label, and careful matches by them."""

import numpy as np
import pytest

from ensemble.review.evidence import Evidence
from ensemble.review.start import THRESHOLD, UNLIKE, careful_decision, start_scores
from shared.schema import ScoredPairs
from tests.support.review_pools import all_pairs, described, synthetic_pool
from tests.support.scored_pairs import scored

UNKNOWN = float("nan")


@pytest.mark.parametrize("branch", ["tfidf", "image", "distilbert", "another"])
def test_start_scores_rise_with_the_only_cosine(branch: str) -> None:
    score = start_scores(described(6, **{f"{branch}_cosine": [0.1, 0.9, 0.4, 0.6, 0.3]})).score
    assert np.argsort(score).tolist() == [0, 4, 2, 3, 1]


def test_start_scores_of_titles_with_hardly_anything_in_common_are_low_wherever_they_stand() -> None:
    cosine = [0.19, 0.1, 0.05]
    assert (start_scores(described(4, tfidf_cosine=cosine)).score <= UNLIKE).all()
    assert start_scores(described(4, tfidf_cosine=cosine, image_cosine=[0.9, 0.2, 0.1])).score[0] > UNLIKE
    hashes = {"phash_cosine": [1, 0.1, 0], "phash_rank_low": [1, UNKNOWN, UNKNOWN]}
    assert start_scores(described(4, tfidf_cosine=cosine, **hashes)).score[0] > 0.5
    assert start_scores(described(4, tfidf_cosine=[0.8, 0.3, 0.1])).score[0] > 0.5


def test_start_scores_of_hashes_alone() -> None:
    cosine, rank = [1.0, 0.9, 0.7, 0.1], [1, 2, 3, UNKNOWN]
    score = start_scores(described(5, phash_cosine=cosine, phash_rank_low=rank)).score
    assert (np.diff(score) < 0).all()
    assert score[0] > 0.5 > score[-1]


def test_start_scores_equal_hashes_above_equal_titles() -> None:
    pairs = described(
        5, tfidf_cosine=[0.5, 0.5, 0.1, 0.2], phash_cosine=[1, 0.1, 0, 0], phash_rank_low=[1] + [UNKNOWN] * 3
    )
    score = start_scores(pairs).score
    assert score[0] > score[1] + 0.1


def test_start_scores_a_conflict_below_agreement() -> None:
    pairs = described(4, tfidf_cosine=[0.5, 0.5, 0.2], number_shared=[1, 0, 0], number_odd_low=[0, 1, 0])
    score = start_scores(pairs).score
    assert score[0] > score[1]


def test_start_scores_without_any_column_are_equal_probabilities() -> None:
    score = start_scores(described(4)).score
    assert np.ptp(score) == 0
    assert 0 < score[0] < 1


def test_start_scores_of_no_pairs() -> None:
    assert len(start_scores(described(1, tfidf_cosine=[]))) == 0


def test_start_scores_of_unknown_similarities_are_probabilities() -> None:
    score = start_scores(described(5, tfidf_cosine=[UNKNOWN, 0.9, UNKNOWN, 0.2])).score
    assert ((score > 0) & (score < 1)).all()


def test_evidence_is_the_same_when_a_similarity_is_scaled() -> None:
    cosine = np.array([0.1, 0.9, 0.4, 0.6, 0.3])
    plain, scaled = (Evidence.of(described(6, tfidf_cosine=list(a * cosine))).values for a in (1, 0.5))
    assert plain == pytest.approx(scaled, abs=1e-5)


def test_evidence_leaves_out_what_is_the_same_everywhere() -> None:
    assert Evidence.of(described(4, tfidf_cosine=[0.5] * 3, image_equal=[0, 0, 1])).names == ("image_equal",)


def test_careful_decision_keeps_the_threshold_where_rules_agree() -> None:
    assert careful_decision(scored(4, {(0, 1): 0.9, (2, 3): 0.9})).threshold == THRESHOLD


def test_careful_decision_raises_the_threshold_where_pairs_chain() -> None:
    chain = scored(40, {(row, row + 1): 0.5 for row in range(39)})
    assert careful_decision(chain).threshold > 0.5


def test_careful_decision_matches_a_clear_pool() -> None:
    pool = synthetic_pool()
    matches = careful_decision(pool.start).apply(pool.start)
    true = pool.codes[matches.listing] == pool.codes[matches.match]
    assert true.mean() > 0.9
    assert len(matches) > len(pool.codes)


def test_careful_decision_of_no_listings() -> None:
    nobody = all_pairs(1)
    assert careful_decision(ScoredPairs(1, nobody.left, nobody.right, nobody.score)).threshold == THRESHOLD
