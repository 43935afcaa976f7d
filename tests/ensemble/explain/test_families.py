import numpy as np
import pytest

from branches import registry
from ensemble.explain.families import SURROUNDINGS, family, feature_in_words
from ensemble.features.assemble import feature_names
from ensemble.scorer.score_graph import score_graph_features
from shared.schema import ScoredPairs


def names() -> list[str]:
    """All features that the two models of the scorer can have."""
    rows = np.array([0], np.int32), np.array([1], np.int32)
    around = score_graph_features(ScoredPairs(2, *rows, np.array([0.5], np.float32)), np)
    return [*(name for of_family in feature_names(registry.names()).values() for name in of_family), *around]


def test_every_feature_of_the_scorer_has_its_own_words() -> None:
    words = {name: feature_in_words(name) for name in names()}
    assert len(set(words.values())) == len(words)
    assert [name for name, said in words.items() if "_" in said] == []


@pytest.mark.parametrize("branch", registry.names())
def test_every_branch_is_a_family(branch: str) -> None:
    of_branch = {name for name in names() if family(name) == f"{branch} similarity"}
    assert {f"{branch}_cosine", f"{branch}_rank_low", f"{branch}_z_high"} <= of_branch
    assert all(name.startswith(f"{branch}_") for name in of_branch)


def test_features_of_the_second_model_are_the_surroundings() -> None:
    assert {name for name in names() if family(name) == SURROUNDINGS} == {
        name for name in names() if name.startswith("score")
    }
