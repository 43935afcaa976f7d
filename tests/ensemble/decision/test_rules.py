"""The clustering, and the rule made of it, against naive implementations."""

from collections.abc import Callable
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from ensemble.decision.average_linkage import agglomerate
from ensemble.decision.rules import AverageLink, DecisionRule, Min2, Threshold, both_directions, sort_matches
from shared.schema import Matches, ScoredPairs
from tests.support.timing import assert_linear

Edges = dict[tuple[int, int], float]
TIES = st.sampled_from([0.0625, 0.25, 0.5, 0.75, 1.0])


def scored(n: int, edges: Edges) -> ScoredPairs:
    ends = np.array(sorted(edges), dtype=np.int32).reshape(-1, 2)
    score = np.array([edges[pair] for pair in sorted(edges)], dtype=np.float32)
    return ScoredPairs(n, ends[:, 0].copy(), ends[:, 1].copy(), score)


def random_edges(n: int, seed: int, digits: int | None = None) -> Edges:
    """Groups of about five, most of whose pairs are linked and score high, and some links between them."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, max(n // 5, 1), n)
    edges = {}
    for i, j in combinations(range(n), 2):
        same = group[i] == group[j]
        if rng.random() < (0.8 if same else 3 / n):
            score = rng.beta(4, 2) if same else rng.beta(2, 3)
            edges[i, j] = float(np.float32(score if digits is None else max(round(score * digits), 1) / digits))
    return edges


GRAPHS = [pytest.param(n, random_edges(n, n + 100 * seed), id=f"{n}-{seed}") for n in (4, 9, 20, 45) for seed in (0, 1)]


@st.composite
def tied(draw: st.DrawFn) -> tuple[int, Edges]:
    n = draw(st.integers(1, 9))
    pairs = list(combinations(range(n), 2))
    return n, draw(st.dictionaries(st.sampled_from(pairs), TIES)) if pairs else {}


def partition(groups: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(groups == group).tolist()) for group in np.unique(groups)}


def pairs_of(matches: Matches) -> set[tuple[int, int]]:
    both = set(zip(matches.listing.tolist(), matches.match.tolist(), strict=True))
    assert both == {(j, i) for i, j in both}
    return {(i, j) for i, j in both if i < j}


# --- clustering ------------------------------------------------------------------------------------------------------


def naive(n: int, edges: Edges, least: float) -> list[tuple[int, int, float]]:
    """Join the two groups with the strongest link, of equals those with the lowest rows, as long as it is enough."""
    groups = [[i] for i in range(n)]
    joins: list[tuple[int, int, float]] = []
    while len(groups) > 1:
        found: list[Any] = []
        for one, other in combinations(groups, 2):
            between = [edges[tuple(sorted((i, j)))] for i in one for j in other if tuple(sorted((i, j))) in edges]  # type: ignore[index]
            if between:
                link = sum(between) / (len(one) * len(other))
                found.append((-link, *sorted((min(one), min(other)))))
        if not found or -min(found)[0] < least:
            break
        negated, low, high = min(found)
        joins.append((low, high, -negated))
        one, other = (next(group for group in groups if min(group) == row) for row in (low, high))
        groups = [group for group in groups if group not in (one, other)] + [one + other]
    return joins


@settings(deadline=None, max_examples=150)
@given(tied(), st.sampled_from([0.05, 0.25]))
def test_agglomerate_with_ties_equals_naive(graph: tuple[int, Edges], least: float) -> None:
    n, edges = graph
    pairs = scored(n, edges)
    one, other, link = agglomerate(n, pairs.left, pairs.right, pairs.score, min_link=least)
    expected = naive(n, edges, least)
    assert list(zip(one.tolist(), other.tolist(), strict=True)) == [join[:2] for join in expected]
    assert link.tolist() == pytest.approx([join[2] for join in expected], rel=1e-12)


@pytest.mark.parametrize(("n", "edges"), GRAPHS)
def test_links_fall_from_join_to_join(n: int, edges: Edges) -> None:
    links = [join[2] for join in naive(n, edges, 0.05)]
    assert len(links) > 0
    assert all(later <= earlier + 1e-12 for earlier, later in pairwise(links))


@pytest.mark.parametrize("seed", range(3))
def test_average_link_equals_scipy_on_300_listings(seed: int) -> None:
    n, edges = 300, random_edges(300, seed)
    distance = np.ones((n, n))
    for (i, j), score in edges.items():
        distance[i, j] = distance[j, i] = 1 - score
    np.fill_diagonal(distance, 0)
    tree = linkage(squareform(distance), method="average")
    rule = AverageLink(scored(n, edges))
    for threshold in np.linspace(0.06, 0.99, 40):
        assert partition(rule.groups(threshold)) == partition(fcluster(tree, 1 - threshold, criterion="distance"))


@given(graph=tied())
def test_groups_for_any_order_of_thresholds(graph: tuple[int, Edges]) -> None:
    pairs = scored(*graph)
    falling, rising = AverageLink(pairs), AverageLink(pairs)
    found = [falling.groups(threshold).tolist() for threshold in (0.9, 0.5, 0.26, 0.1)]
    assert found == [rising.groups(threshold).tolist() for threshold in (0.1, 0.26, 0.5, 0.9)][::-1]


def test_groups_for_any_order_of_listings() -> None:
    n, edges = 60, random_edges(60, 3)
    order = np.random.default_rng(0).permutation(n)
    moved = {tuple(sorted((int(order[i]), int(order[j])))): score for (i, j), score in edges.items()}
    one, other = AverageLink(scored(n, edges)), AverageLink(scored(n, moved))  # type: ignore[arg-type]
    for threshold in (0.2, 0.4, 0.6):
        assert partition(other.groups(threshold)[order]) == partition(one.groups(threshold))


def _dense(n: int) -> ScoredPairs:
    left, right = (rows.astype(np.int32) for rows in np.triu_indices(n, 1))
    return ScoredPairs(n, left, right, np.full(len(left), 0.9, dtype=np.float32))


def _star(n: int) -> ScoredPairs:
    right = np.arange(1, n, dtype=np.int32)
    return ScoredPairs(n, np.zeros_like(right), right, np.linspace(0.3, 1, n - 1, dtype=np.float32))


@pytest.mark.fault(15)
def test_average_link_on_a_hub() -> None:
    groups = AverageLink(_star(20_000)).groups(0)
    assert np.bincount(groups).max() <= 25
    assert len(groups) == 20_000


@pytest.mark.fault(15)
def test_average_link_on_a_hub_takes_time_proportional_to_its_size() -> None:
    def prepare(size: int) -> Callable[[], object]:
        pairs = _star(size)
        return lambda: AverageLink(pairs).groups(0)

    assert_linear(prepare, 20_000)


def test_average_link_on_a_large_certain_group() -> None:
    assert np.bincount(AverageLink(_dense(300)).groups(0.8)).tolist() == [300]


@pytest.mark.parametrize(("n", "edges"), GRAPHS)
def test_matches_are_bounded_by_scored_pairs(n: int, edges: Edges) -> None:
    low = {pair: score / 4 for pair, score in edges.items()}
    matches = AverageLink(scored(n, low)).matches(0)
    assert len(matches) / 2 * AverageLink.MIN_THRESHOLD <= len(edges)


@pytest.mark.parametrize("rule", [Threshold, AverageLink])
def test_rules_ignore_the_rest_of_the_pool(rule: Callable[[ScoredPairs], DecisionRule]) -> None:
    """What lies elsewhere in the pool changes nothing."""
    edges = random_edges(20, 5)
    alone = pairs_of(rule(scored(20, edges)).matches(0.4))
    beside = {(i + 20, j + 20): score for (i, j), score in random_edges(30, 6).items()}
    together = pairs_of(rule(scored(50, edges | beside)).matches(0.4))
    assert {pair for pair in together if max(pair) < 20} == alone


# --- many pairs ------------------------------------------------------------------------------------------------------


def random_pairs(n: int, seed: int) -> ScoredPairs:
    """Scored pairs with many equal scores."""
    rng = np.random.default_rng(seed)
    every = np.stack(np.triu_indices(n, 1))
    left, right = every[:, rng.random(every.shape[1]) < 0.15].astype(np.int32)
    return ScoredPairs(n, left, right, (rng.integers(0, 11, len(left)) / 10).astype(np.float32))


@pytest.mark.parametrize("rule", [Threshold, Min2, AverageLink])
@pytest.mark.parametrize("seed", range(4))
def test_matches_for_thresholds_in_any_order(rule: type[Any], seed: int) -> None:
    pairs = random_pairs(40, seed)
    ready = rule(pairs, max_group=4)
    for threshold in (0.9, 0.55, 0.95, 0.2, 0.5, 0.1):
        fresh = rule(pairs, max_group=4)
        assert_equal(ready.matches(threshold), fresh.matches(threshold))
        assert ready.split_groups == fresh.split_groups


@pytest.mark.parametrize("seed", range(4))
def test_sort_matches_equals_sort_by_three_keys(seed: int) -> None:
    pairs = random_pairs(30, seed)
    score = np.where(pairs.score == 0, np.float32(np.nan), pairs.score)
    order = np.random.default_rng(seed).permutation(2 * len(pairs))
    listing, match = np.concatenate([pairs.left, pairs.right])[order], np.concatenate([pairs.right, pairs.left])[order]
    both = np.concatenate([score, score])[order]
    expected = np.lexsort((match, -np.nan_to_num(both, nan=-1), listing))
    expected_matches = Matches(30, listing[expected], match[expected], both[expected])
    assert_equal(sort_matches(30, listing, match, both), expected_matches)
    assert_equal(both_directions(30, pairs.left, pairs.right, score), expected_matches)


def assert_equal(one: Matches, other: Matches) -> None:
    for name in ("listing", "match", "score"):
        assert np.array_equal(getattr(one, name), getattr(other, name), equal_nan=name == "score")
