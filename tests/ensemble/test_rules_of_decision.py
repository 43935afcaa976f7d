"""The rules beside `threshold`, `min2` and `average_link`, and the clustering, against naive implementations."""

import time
from collections.abc import Callable
from itertools import combinations, pairwise

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from ensemble.decide import groups_of
from ensemble.linkage import agglomerate
from ensemble.rules import AverageLink, MixedLink, Mutual, NoBridges
from shared.schema import Matches, Pairs

Edges = dict[tuple[int, int], float]
TIES = st.sampled_from([0.0625, 0.25, 0.5, 0.75, 1.0])


def scored(n: int, edges: Edges) -> Pairs:
    ends = np.array(sorted(edges), dtype=np.int32).reshape(-1, 2)
    score = np.array([edges[pair] for pair in sorted(edges)], dtype=np.float32)
    return Pairs(n, ends[:, 0].copy(), ends[:, 1].copy(), score=score)


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


def naive(n: int, edges: Edges, forgiving: float, least: float) -> list[tuple[int, int, float]]:
    """Join the two groups with the strongest link, of equals those with the lowest rows, as long as it is enough."""
    groups = [[i] for i in range(n)]
    joins = []
    while len(groups) > 1:
        found = []
        for one, other in combinations(groups, 2):
            between = [edges[tuple(sorted((i, j)))] for i in one for j in other if tuple(sorted((i, j))) in edges]  # type: ignore[index]
            if between:
                size = len(one) * len(other)
                link = sum(between) / (size ** (1 - forgiving) * len(between) ** forgiving)
                found.append((-link, *sorted((min(one), min(other)))))
        if not found or -min(found)[0] < least:
            break
        negated, low, high = min(found)
        joins.append((low, high, -negated))
        one, other = (next(group for group in groups if min(group) == row) for row in (low, high))
        groups = [group for group in groups if group not in (one, other)] + [one + other]
    return joins


@settings(deadline=None, max_examples=150)
@given(tied(), st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([0.05, 0.25]))
def test_clustering_with_ties_is_the_textbook_join_by_join(
    graph: tuple[int, Edges], forgiving: float, least: float
) -> None:
    n, edges = graph
    pairs = scored(n, edges)
    one, other, link = agglomerate(n, pairs.left, pairs.right, pairs.score, least=least, forgiving=forgiving)
    expected = naive(n, edges, forgiving, least)
    assert list(zip(one.tolist(), other.tolist(), strict=True)) == [join[:2] for join in expected]
    assert link.tolist() == pytest.approx([join[2] for join in expected], rel=1e-12)


@pytest.mark.parametrize("forgiving", [0.0, 0.25, 0.5, 1.0])
@pytest.mark.parametrize(("n", "edges"), GRAPHS)
def test_links_fall_from_join_to_join_by_themselves(n: int, edges: Edges, forgiving: float) -> None:
    links = [join[2] for join in naive(n, edges, forgiving, 0.05)]
    assert len(links) > 0
    assert all(later <= earlier + 1e-12 for earlier, later in pairwise(links))


@pytest.mark.parametrize("seed", range(3))
def test_average_link_is_scipys_on_hundreds_of_listings(seed: int) -> None:
    n, edges = 300, random_edges(300, seed)
    distance = np.ones((n, n))
    for (i, j), score in edges.items():
        distance[i, j] = distance[j, i] = 1 - score
    np.fill_diagonal(distance, 0)
    tree = linkage(squareform(distance), method="average")
    rule = AverageLink(scored(n, edges))
    for threshold in np.linspace(0.06, 0.99, 40):
        assert partition(rule.groups(threshold)) == partition(fcluster(tree, 1 - threshold, criterion="distance"))


@pytest.mark.parametrize("link", [AverageLink, MixedLink])
@given(graph=tied())
def test_groups_do_not_depend_on_which_thresholds_were_asked_before(
    link: type[AverageLink], graph: tuple[int, Edges]
) -> None:
    pairs = scored(*graph)
    falling, rising = link(pairs), link(pairs)
    found = [falling.groups(threshold).tolist() for threshold in (0.9, 0.5, 0.26, 0.1)]
    assert found == [rising.groups(threshold).tolist() for threshold in (0.1, 0.26, 0.5, 0.9)][::-1]


@pytest.mark.parametrize("link", [AverageLink, MixedLink])
def test_groups_of_distinct_scores_do_not_depend_on_the_order_of_the_listings(link: type[AverageLink]) -> None:
    n, edges = 60, random_edges(60, 3)
    order = np.random.default_rng(0).permutation(n)
    moved = {tuple(sorted((int(order[i]), int(order[j])))): score for (i, j), score in edges.items()}
    one, other = link(scored(n, edges)), link(scored(n, moved))  # type: ignore[arg-type]
    for threshold in (0.2, 0.4, 0.6):
        assert partition(other.groups(threshold)[order]) == partition(one.groups(threshold))


def test_mixed_link_holds_a_large_group_together_of_which_half_the_pairs_were_proposed() -> None:
    rng = np.random.default_rng(0)
    half = {pair: 0.9 for pair in combinations(range(20), 2) if rng.random() < 0.5}
    pairs = scored(20, half)
    assert len(partition(MixedLink(pairs).groups(0.5))) == 1
    assert len(partition(AverageLink(pairs).groups(0.5))) > 1


def test_mixed_link_is_not_misled_by_one_good_pair_among_bad_ones() -> None:
    trios = {pair: 0.9 for trio in ((0, 1, 2), (3, 4, 5)) for pair in combinations(trio, 2)}
    bad = {(i, j): 0.05 for i in range(3) for j in range(3, 6)}
    apart = {frozenset({0, 1, 2}), frozenset({3, 4, 5})}
    assert partition(MixedLink(scored(6, trios | bad | {(2, 3): 0.8})).groups(0.3)) == apart


def _dense(n: int) -> Pairs:
    left, right = (rows.astype(np.int32) for rows in np.triu_indices(n, 1))
    return Pairs(n, left, right, score=np.full(len(left), 0.9, dtype=np.float32))


def _star(n: int) -> Pairs:
    right = np.arange(1, n, dtype=np.int32)
    return Pairs(n, np.zeros_like(right), right, score=np.linspace(0.3, 1, n - 1, dtype=np.float32))


@pytest.mark.parametrize("link", [AverageLink, MixedLink])
def test_a_hub_that_everyone_is_near_makes_no_giant_group(link: type[AverageLink]) -> None:
    start = time.perf_counter()
    groups = link(_star(20_000)).groups(0)
    assert np.bincount(groups).max() <= 25
    assert len(groups) == 20_000
    assert time.perf_counter() - start < 30


@pytest.mark.parametrize("link", [AverageLink, MixedLink])
def test_a_group_whose_pairs_are_all_certain_may_be_large(link: type[AverageLink]) -> None:
    assert np.bincount(link(_dense(300)).groups(0.8)).tolist() == [300]


@pytest.mark.parametrize(("link", "share"), [(AverageLink, 0.05), (MixedLink, 0.04)])
@pytest.mark.parametrize(("n", "edges"), GRAPHS)
def test_the_pairs_of_groups_are_bounded_by_those_scored(
    link: type[AverageLink], share: float, n: int, edges: Edges
) -> None:
    low = {pair: score / 4 for pair, score in edges.items()}
    matches = link(scored(n, low)).matches(0)
    assert len(matches) / 2 * share <= len(edges)


# --- mutual ----------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(tied(), st.sampled_from([0.0, 0.3, 0.6]))
def test_mutual_keeps_pairs_that_are_among_the_best_of_both(graph: tuple[int, Edges], threshold: float) -> None:
    n, edges = graph
    best = {i: max((score for pair, score in edges.items() if i in pair), default=0) for i in range(n)}
    expected = {
        (i, j)
        for (i, j), score in edges.items()
        if score >= threshold and all(score >= Mutual.REACH * best[k] for k in (i, j))
    }
    assert pairs_of(Mutual(scored(n, edges)).matches(threshold)) == expected


def test_mutual_drops_a_sibling_only_where_there_is_a_better_match() -> None:
    edges = {(0, 1): 0.95, (1, 2): 0.6, (3, 4): 0.6}
    assert pairs_of(Mutual(scored(5, edges)).matches(0.5)) == {(0, 1), (3, 4)}


def test_mutual_does_not_care_how_large_the_pool_or_a_group_is() -> None:
    clique = dict.fromkeys(combinations(range(30), 2), 0.9)
    assert pairs_of(Mutual(scored(1_000, clique)).matches(0.5)) == set(clique)


# --- no bridges ------------------------------------------------------------------------------------------------------


def naive_bridges(n: int, edges: Edges) -> set[tuple[int, int]]:
    found = set()
    for (a, b), score in edges.items():
        graph = nx.Graph(pair for pair, other in edges.items() if other >= NoBridges.SUPPORT * score)
        inside = nx.triangles(graph)
        if not set(nx.common_neighbors(graph, a, b)) and inside[a] and inside[b]:
            found.add((a, b))
    return found


@pytest.mark.parametrize(("n", "edges"), GRAPHS)
def test_bridges_are_those_of_a_naive_search(n: int, edges: Edges) -> None:
    pairs = scored(n, {pair: max(score, 0.07) for pair, score in edges.items()})
    ends = zip(pairs.left.tolist(), pairs.right.tolist(), strict=True)
    exact = dict(zip(ends, pairs.score.tolist(), strict=True))  # type: ignore[union-attr]
    bridges = naive_bridges(n, exact)
    assert pairs_of(NoBridges(pairs).matches(0)) == set(exact) - bridges
    high = {pair for pair, score in exact.items() if score >= 0.5}
    assert pairs_of(NoBridges(pairs).matches(0.5)) == high - bridges
    assert bridges or n < 20  # there is something to find


@settings(deadline=None)
@given(tied())
def test_bridges_among_ties_are_those_of_a_naive_search(graph: tuple[int, Edges]) -> None:
    n, edges = graph
    assert pairs_of(NoBridges(scored(n, edges)).matches(0)) == set(edges) - naive_bridges(n, edges)


def test_a_wrong_pair_no_longer_chains_two_groups() -> None:
    groups = {pair: 0.9 for trio in ((0, 1, 2), (3, 4, 5)) for pair in combinations(trio, 2)}
    matches = NoBridges(scored(6, groups | {(2, 3): 0.95})).matches(0.5)
    assert partition(groups_of(matches)) == {frozenset({0, 1, 2}), frozenset({3, 4, 5})}


@pytest.mark.parametrize(
    "edges",
    [
        {(0, 1): 0.9, (1, 2): 0.6, (2, 3): 0.9},  # two pairs and what joins them
        {(0, 1): 0.9, (0, 2): 0.9, (1, 2): 0.9, (2, 3): 0.6},  # a listing that hangs on a group
        dict.fromkeys(combinations(range(4), 2), 0.7),
    ],
)
def test_what_bridges_no_two_groups_stays(edges: Edges) -> None:
    assert pairs_of(NoBridges(scored(4, edges)).matches(0.5)) == set(edges)


@pytest.mark.parametrize("rule", [Mutual, NoBridges, AverageLink, MixedLink])
def test_a_rule_only_looks_at_the_pairs_it_is_given(rule: Callable[[Pairs], Mutual]) -> None:
    """What lies elsewhere in the pool changes nothing."""
    edges = random_edges(20, 5)
    alone = pairs_of(rule(scored(20, edges)).matches(0.4))
    beside = {(i + 20, j + 20): score for (i, j), score in random_edges(30, 6).items()}
    together = pairs_of(rule(scored(50, edges | beside)).matches(0.4))
    assert {pair for pair in together if max(pair) < 20} == alone
