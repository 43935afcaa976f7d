"""Deciding the groups that changed pairs link gives what deciding the whole pool gives."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ensemble.config import Rule
from ensemble.decision.decision import Decision
from ensemble.decision.pins import Pins
from ensemble.index import region
from ensemble.index.pair_cache import CachedPairs
from ensemble.index.region import decided
from shared.schema import Matches

IDS = np.array([f"id{row:02}" for row in range(40)], dtype=object)


def scored(rng: np.random.Generator, n: int) -> CachedPairs:
    """Pairs within products of a few listings score high, others low, and some of all are missing."""
    left, right = (rows.astype(np.int32) for rows in np.triu_indices(n, 1))
    keep = rng.random(len(left)) < 0.5
    left, right = left[keep], right[keep]
    product = rng.integers(0, max(1, n // 3), n)
    score = np.where(product[left] == product[right], rng.uniform(0.4, 1, len(left)), rng.uniform(0, 0.5, len(left)))
    score = score.round(1).astype(np.float32)
    conflict = rng.choice(3, len(left), p=[0.9, 0.05, 0.05]).astype(np.uint8)
    return CachedPairs(n, left, right, score=score, first=score, cosines=score[:, None], conflict=conflict)


def assert_same(one: Matches, other: Matches) -> None:
    for name in ("listing", "match", "score"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@given(
    st.integers(0, 10**6),
    st.integers(2, 40),
    st.sampled_from(["threshold", "min2", "average_link"]),
    st.sampled_from([0.02, 0.3, 0.5, 0.7]),
    st.booleans(),
    st.sampled_from([1, 3, 50]),
)
@settings(max_examples=300, deadline=None)
def test_a_region_is_decided_as_in_the_whole(
    seed: int, n: int, rule: Rule, threshold: float, veto: bool, most: int
) -> None:
    rng = np.random.default_rng(seed)
    decision = Decision(rule, threshold, max_matches=most, forbid=("quantity",) * veto)
    before = scored(rng, n)
    matches = decision.apply(before.scored(), IDS[:n])
    score = before.score.copy()
    some = rng.random(len(score)) < 2 / n
    score[some] = rng.random(some.sum()).round(1)
    after = replace(before, score=score)
    found = decided(decision, IDS[:n], after, before.score, matches, np.zeros(n, dtype=bool))
    assert_same(found, decision.apply(after.scored(), IDS[:n]))


def pins_among(rng: np.random.Generator, n: int) -> Pins:
    """A few pairs that must match and a few that never do, some of which contradict each other."""
    pairs = np.array([sorted(rng.choice(n, 2, replace=False)) for _ in range(rng.integers(0, 1 + n // 3))])
    pairs = np.unique(pairs.reshape(-1, 2).astype(np.int64), axis=0)
    must = rng.random(len(pairs)) < 0.5
    return Pins(pairs[must], pairs[~must])


@given(
    st.integers(0, 10**6),
    st.integers(2, 40),
    st.sampled_from(["threshold", "min2", "average_link"]),
    st.sampled_from([0.02, 0.3, 0.5, 0.7]),
    st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_a_region_with_other_answers_is_decided_as_in_the_whole(
    seed: int, n: int, rule: Rule, threshold: float, veto: bool
) -> None:
    rng = np.random.default_rng(seed)
    decision = Decision(rule, threshold, forbid=("quantity",) * veto)
    pairs, one, other = scored(rng, n), pins_among(rng, n), pins_among(rng, n)
    matches = decision.decide(pairs.scored(), IDS[:n], pins=one).matches
    changed = np.zeros(n, dtype=bool)
    kinds = [[{tuple(pair) for pair in rows.tolist()} for rows in (pins.must, pins.never)] for pins in (one, other)]
    for before, after in zip(*kinds, strict=True):
        changed[[row for pair in before ^ after for row in pair]] = True
    found = decided(decision, IDS[:n], pairs, pairs.score, matches, changed, pins=other)
    assert_same(found, decision.decide(pairs.scored(), IDS[:n], pins=other).matches)


def test_others_are_not_decided_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two listings join a group of three; a group of two elsewhere keeps its match, whatever its score says now."""
    ends = [(0, 1), (0, 2), (1, 2), (2, 3), (3, 4), (5, 6)]
    left, right = (np.array(column, dtype=np.int32) for column in zip(*ends, strict=True))
    score = np.array([0.9, 0.9, 0.2, 0.9, 0.9, 0.9], dtype=np.float32)
    pairs = CachedPairs(
        7, left, right, score=score, first=score, cosines=score[:, None], conflict=(score > 1).astype(np.uint8)
    )
    kept = Matches(7, np.array([5, 6], np.int32), np.array([6, 5], np.int32), np.array([0.6, 0.6], np.float32))
    sizes = []
    apply = region._apply
    monkeypatch.setattr(region, "_apply", lambda *rest: sizes.append(int(rest[3].sum())) or apply(*rest))
    changed = np.arange(7) == 3
    found = decided(Decision("threshold", 0.5), IDS[:7], pairs, score, kept, changed)
    assert sizes == [5]
    assert found.score[found.listing == 5].tolist() == [np.float32(0.6)]
    assert found.match[found.listing == 2].tolist() == [0, 3]
