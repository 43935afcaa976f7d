"""Components of 100,000 listings that are no chain: decided in linear time, and no group is larger than it may be."""

from collections.abc import Callable

import numpy as np
import pytest

from ensemble.config import Rule
from ensemble.decision.decision import RULES, Decision, groups_of
from shared.schema import ScoredPairs
from tests.support.timing import assert_linear

N = 100_000


def star(score: np.ndarray) -> ScoredPairs:
    right = np.arange(1, len(score) + 1, dtype=np.int32)
    return ScoredPairs(len(score) + 1, np.zeros_like(right), right, score)


def tree(score: np.ndarray) -> ScoredPairs:
    right = np.arange(1, len(score) + 1, dtype=np.int32)
    return ScoredPairs(len(score) + 1, (right - 1) // 2, right, score)


@pytest.mark.fault(15)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("component", [star, tree])
@pytest.mark.parametrize("are_equal", [False, True])
def test_a_giant_component_is_split_in_linear_time(
    rule: Rule, component: Callable[[np.ndarray], ScoredPairs], are_equal: bool
) -> None:
    def prepare(size: int) -> Callable[[], None]:
        score = 0.5 + np.random.default_rng(0).random(size - 1).astype(np.float32) / 2
        pairs = component(np.full_like(score, 0.9) if are_equal else score)
        return lambda: split(pairs)

    def split(pairs: ScoredPairs) -> None:
        outcome = Decision(rule, 0.4, max_group=1000).decide(pairs)
        sizes = np.bincount(groups_of(outcome.matches))
        assert sizes.sum() == pairs.n
        assert sizes.max() <= 1000
        assert outcome.split_groups == (rule != "average_link")  # which joins no such groups in the first place

    assert_linear(prepare, N)
