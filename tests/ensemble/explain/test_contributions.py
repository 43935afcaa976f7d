from dataclasses import replace

import numpy as np
import pytest

from ensemble.explain.contributions import contributions, near_pairs
from ensemble.explain.families import SURROUNDINGS
from ensemble.scorer.model import StackedScorer, describe_scores, second_model_mask
from shared.errors import ArtifactError
from shared.schema import PairFeatures
from tests.support.described_pairs import described_pairs, scorer_of

FAMILIES = ["tfidf similarity", "wording of titles", "attributes in titles"]


def raw_scores(scorer: StackedScorer, pairs: PairFeatures) -> np.ndarray:
    """The log-odds of the final scores by LightGBM itself."""
    raw = np.asarray(scorer.first.booster.predict(pairs.features, raw_score=True, num_threads=1))
    if scorer.second is not None:
        scored = scorer.first.score(pairs, threads=1)
        mask = second_model_mask(scored)
        raw[mask] = scorer.second.booster.predict(
            describe_scores(scored.only(mask), np).features, raw_score=True, num_threads=1
        )
    return raw


@pytest.mark.parametrize("models", [1, 2])
def test_contributions_sum_to_the_final_score(models: int) -> None:
    pairs = described_pairs(60)
    scorer, rows = scorer_of(pairs, models), np.random.default_rng(0).permutation(len(pairs))
    assert len(rows) > 1000
    added = contributions(scorer, pairs, rows, threads=1)
    assert np.abs(added.base + added.log_odds.sum(axis=1) - raw_scores(scorer, pairs)[rows]).max() < 1e-6
    assert np.abs(added.score - scorer.score(pairs, threads=1).score[rows]).max() <= np.finfo(np.float32).eps
    assert added.families == ([*FAMILIES, SURROUNDINGS] if models == 2 else FAMILIES)
    assert added.is_rescored.any() == (models == 2)
    assert not added.is_rescored.all()


def test_contributions_of_features_sum_to_their_family_and_to_both_scores() -> None:
    pairs = described_pairs(40)
    scorer, rows = scorer_of(pairs), np.arange(len(pairs))
    added = contributions(scorer, pairs, rows, threads=1)
    titles = added.first.log_odds[:, added.first.names.index("title_ratio")]
    assert np.array_equal(titles, added.log_odds[:, added.families.index("wording of titles")])
    assert np.allclose(added.first_score, scorer.first.score(pairs, threads=1).score, atol=1e-7)
    assert added.around is not None
    assert np.allclose(added.around.total[added.is_rescored], added.total[added.is_rescored], atol=1e-9)
    assert (added.log_odds[~added.is_rescored, -1] == 0).all()


def test_contributions_of_a_few_pairs_are_those_of_all_pairs() -> None:
    pairs = described_pairs(80, share=0.03)
    scorer, rows = scorer_of(described_pairs(60)), np.arange(len(pairs))
    of_all = contributions(scorer, pairs, rows, threads=1)
    assert of_all.is_rescored.any()
    assert not all(near_pairs(pairs, rows[k : k + 1]).all() for k in rows)
    for k in rows:
        alone = contributions(scorer, pairs, np.array([k]), threads=1)
        assert np.array_equal(alone.log_odds[0], of_all.log_odds[k])


def test_strongest_features_come_first_and_idle_ones_not_at_all() -> None:
    pairs = described_pairs(40)
    idle = replace(pairs, features=pairs.features.assign(title_ratio=np.float32(1)))
    strongest = contributions(scorer_of(idle), idle, np.array([3, 5]), threads=1).first.strongest(1)
    size = [abs(each.log_odds) for each in strongest]
    assert size == sorted(size, reverse=True)
    assert "title_ratio" not in {each.feature for each in strongest}
    assert strongest[0].value == pytest.approx(pairs.features[strongest[0].feature][5], nan_ok=True)


def test_contributions_of_no_pair() -> None:
    pairs = described_pairs(30)
    added = contributions(scorer_of(pairs), pairs, np.zeros(0, np.int64), threads=1)
    assert added.log_odds.shape == (0, len(added.families))
    assert added.score.tolist() == []


@pytest.mark.fault(23)
def test_contributions_need_the_features_of_the_scorer() -> None:
    pairs = described_pairs(30)
    fewer = replace(pairs, features=pairs.features.drop(columns=["color_shared"]))
    with pytest.raises(ArtifactError, match="color_shared"):
        contributions(scorer_of(pairs), fewer, np.array([0]), threads=1)
