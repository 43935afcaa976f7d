from dataclasses import replace
from itertools import combinations

import networkx as nx
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from ensemble.decision.decision import RULES, Decision, groups_of
from ensemble.decision.rules import AverageLink, Min2, Threshold, both_directions, keep_best
from shared.errors import ArtifactError
from shared.schema import ScoredPairs
from tests.support.scored_pairs import Edges, lists_of, scored

Found = dict[int, list[int]]
THRESHOLDS = np.linspace(0, 1, 41)


def random_graph(n: int, links: int, seed: int) -> Edges:
    """Links with distinct scores; groups of listings are linked more often and higher than others."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, max(n // 4, 1), n)
    pairs = [(i, j) for i, j in combinations(range(n), 2) if group[i] == group[j] or rng.random() < links / n**2]
    scores = [rng.beta(4, 2) if group[i] == group[j] else rng.beta(1, 4) for i, j in pairs]
    return {pair: float(np.float32(score)) for pair, score in zip(pairs, scores, strict=True)}


GRAPHS = [pytest.param(random_graph(n, 3 * n, n), n, id=f"{n} listings") for n in (2, 3, 5, 8, 13, 21, 34, 55, 80)]


@st.composite
def graphs(draw: st.DrawFn) -> tuple[int, Edges]:
    """Small graphs with few distinct scores, so that ties abound."""
    n = draw(st.integers(1, 8))
    score = st.sampled_from([0.0, 0.04, 0.05, 0.25, 0.5, 0.75, 1.0])
    pairs = list(combinations(range(n), 2))
    return n, draw(st.dictionaries(st.sampled_from(pairs), score)) if pairs else {}


def partition(groups: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(groups == group).tolist()) for group in np.unique(groups)}


def by_score(n: int, edges: Edges) -> Found:
    """Each listing's neighbors, best first, the lower row first among equals."""
    both = {i: {} for i in range(n)}  # type: dict[int, dict[int, float]]
    for (i, j), score in edges.items():
        both[i][j] = both[j][i] = float(np.float32(score))
    return {i: sorted(others, key=lambda j: (-others[j], j)) for i, others in both.items()}


def naive_average_link(n: int, edges: Edges, threshold: float) -> set[frozenset[int]]:
    """Join the two groups with the highest mean score for as long as it reaches the threshold."""
    score = np.zeros((n, n))
    for (i, j), value in edges.items():
        score[i, j] = score[j, i] = np.float32(value)
    groups = [[i] for i in range(n)]
    while len(groups) > 1:
        mean, one, other = max(
            (score[np.ix_(groups[a], groups[b])].mean(), a, b) for a, b in combinations(range(len(groups)), 2)
        )
        if mean < threshold:
            break
        groups[one] += groups.pop(other)
    return {frozenset(group) for group in groups}


# --- threshold, min2 -------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(graphs(), st.sampled_from([0.0, 0.3, 0.5, 0.500001, 1.0]))
def test_threshold_equals_naive(graph: tuple[int, Edges], threshold: float) -> None:
    n, edges = graph
    kept = {pair: score for pair, score in edges.items() if score >= threshold}
    assert lists_of(Threshold(scored(n, edges)).matches(threshold)) == by_score(n, kept)


@settings(deadline=None)
@given(graphs(), st.sampled_from([0.0, 0.3, 0.5, 1.0]))
@example((3, {(0, 1): 0.5, (0, 2): 0.5, (1, 2): 0.25}), 1.0)  # a tie: 0 keeps 1; 1 and 2 keep 0
def test_min2_equals_naive(graph: tuple[int, Edges], threshold: float) -> None:
    n, edges = graph
    every = by_score(n, edges)
    high = by_score(n, {pair: score for pair, score in edges.items() if score >= threshold})
    assert lists_of(Min2(scored(n, edges)).matches(threshold)) == {i: high[i] or every[i][:1] for i in range(n)}


def test_min2_best_pair_is_one_way() -> None:
    edges = {(0, 1): 0.2, (1, 2): 0.9}
    assert lists_of(Min2(scored(3, edges)).matches(0.5)) == {0: [1], 1: [2], 2: [1]}


# --- average link ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("edges", "n"), GRAPHS[:7])
def test_average_link_equals_textbook(edges: Edges, n: int) -> None:
    rule = AverageLink(scored(n, edges))
    for threshold in THRESHOLDS[2::3] + 1e-6:
        assert partition(rule.groups(threshold)) == naive_average_link(n, edges, threshold)


@pytest.mark.fault(16)
@pytest.mark.parametrize(("edges", "n"), GRAPHS)
def test_average_link_equals_scipy(edges: Edges, n: int) -> None:
    distance = np.ones((n, n))
    for (i, j), score in edges.items():
        distance[i, j] = distance[j, i] = 1 - score
    np.fill_diagonal(distance, 0)
    tree = linkage(squareform(distance), method="average")
    rule = AverageLink(scored(n, edges))
    for threshold in THRESHOLDS[2:] + 1e-6:
        assert partition(rule.groups(threshold)) == partition(fcluster(tree, 1 - threshold, criterion="distance"))


@pytest.mark.parametrize(("edges", "n"), GRAPHS)
def test_average_link_matches_whole_groups(edges: Edges, n: int) -> None:
    rule = AverageLink(scored(n, edges))
    for threshold in (0.1, 0.4, 0.7):
        matches = rule.matches(threshold)
        together = {(i, j) for group in partition(rule.groups(threshold)) for i in group for j in group if i != j}
        score = dict(
            zip(zip(matches.listing.tolist(), matches.match.tolist(), strict=True), matches.score, strict=True)
        )
        assert set(score) == together
        for (i, j), value in score.items():
            expected = edges.get((min(i, j), max(i, j)), np.nan)
            assert np.isclose(value, expected, rtol=0, atol=0, equal_nan=True)


def test_average_link_ranks_unscored_matches_last() -> None:
    chain = {(0, 2): 0.9, (1, 2): 0.9, (1, 3): 0.0}
    matches = AverageLink(scored(4, chain)).matches(0.4)
    assert lists_of(matches) == {0: [2, 1], 1: [2, 0], 2: [0, 1], 3: []}
    assert np.isnan(matches.score[[1, 3]]).all()


def test_average_link_minimum_threshold() -> None:
    pairs = scored(4, {(0, 1): 0.9, (1, 2): 0.06, (2, 3): 0.04})
    assert partition(AverageLink(pairs).groups(0)) == {frozenset({0, 1}), frozenset({2}), frozenset({3})}


def test_average_link_tells_the_threshold_that_it_applies() -> None:
    pairs = scored(4, {(0, 1): 0.9, (2, 3): 0.04})
    for rule, threshold, matched in (("average_link", AverageLink.MIN_THRESHOLD, 2), ("threshold", 0.01, 4)):
        outcome = Decision(rule, 0.01, guard=True).decide(pairs)  # type: ignore[arg-type]
        assert (outcome.threshold, len(outcome.matches)) == (threshold, matched)
        assert outcome.agreement in (None, 1.0)


def test_average_link_ignores_one_wrong_link() -> None:
    groups = {pair: 0.9 for trio in ((0, 1, 2), (3, 4, 5)) for pair in combinations(trio, 2)}
    pairs = scored(6, groups | {(2, 3): 0.95})
    assert partition(groups_of(Threshold(pairs).matches(0.5))) == {frozenset(range(6))}
    assert len(partition(AverageLink(pairs).groups(0.5))) > 1


def test_average_link_bridges_a_missing_link() -> None:
    missed = {pair: 0.9 for pair in combinations(range(5), 2) if pair != (0, 4)} | {(0, 4): 0.1}
    assert AverageLink(scored(5, missed)).groups(0.6).tolist() == [0] * 5


@pytest.mark.fault(16)
@pytest.mark.parametrize("rule", [name for name in RULES if name != "min2"])
@pytest.mark.parametrize(("edges", "n"), GRAPHS)
def test_groups_split_with_rising_threshold(edges: Edges, n: int, rule: str) -> None:
    made = RULES[rule](scored(n, edges))  # type: ignore[index]
    coarse = partition(groups_of(made.matches(0)))
    for threshold in THRESHOLDS[1:]:
        fine = partition(groups_of(made.matches(threshold)))
        assert all(any(group <= whole for whole in coarse) for group in fine)
        coarse = fine
    assert coarse == {frozenset({i}) for i in range(n)}


# --- giant components ------------------------------------------------------------------------------------------------


@pytest.mark.fault(15)
@pytest.mark.parametrize("rule", RULES)
def test_rules_on_a_long_chain_take_seconds(rule: str) -> None:
    n = 100_000
    left = np.arange(n - 1, dtype=np.int32)
    score = np.random.default_rng(0).random(n - 1).astype(np.float32)
    chain = ScoredPairs(n, left, left + 1, score)
    matches = Decision(rule, 0.01).apply(chain)  # type: ignore[arg-type]
    assert len(groups_of(matches)) == n
    if rule in ("threshold", "min2"):
        kept = _two_lows(score, 0.01) if rule == "min2" else 0
        assert groups_of(matches).max() == (score < 0.01).sum() - kept
    if "link" in rule:
        assert np.bincount(groups_of(matches)).max() < 50  # a chain is no group


def _two_lows(score: np.ndarray, threshold: float) -> int:
    """Links of a chain below the threshold that Min2 keeps all the same."""
    padded = np.concatenate([[-1], score, [-1]])
    alone = np.flatnonzero((padded[1:] < threshold) & (padded[:-1] < threshold))
    return len({at - 1 if padded[at] >= padded[at + 1] else at for at in alone})


@pytest.mark.fault(15)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("n", [0, 1, 2, 7])
def test_rules_without_pairs(rule: str, n: int) -> None:
    matches = Decision(rule, 0.0).apply(scored(n, {}))  # type: ignore[arg-type]
    assert len(matches) == 0
    assert groups_of(matches).tolist() == list(range(n))


@pytest.mark.fault(15)
@pytest.mark.parametrize("rule", RULES)
def test_rules_with_all_pairs(rule: str) -> None:
    matches = Decision(rule, 0.9).apply(scored(40, dict.fromkeys(combinations(range(40), 2), 0.95)))  # type: ignore[arg-type]
    assert groups_of(matches).tolist() == [0] * 40
    assert len(matches) == 40 * 39


# --- any rule --------------------------------------------------------------------------------------------------------


@pytest.mark.fault(16)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("edges", "n"), GRAPHS)
def test_groups_of_equals_networkx(edges: Edges, n: int, rule: str) -> None:
    matches = Decision(rule, 0.35).apply(scored(n, edges))  # type: ignore[arg-type]
    graph = nx.Graph(zip(matches.listing.tolist(), matches.match.tolist(), strict=True))
    graph.add_nodes_from(range(n))
    groups = groups_of(matches)
    assert groups.shape == (n,)
    assert partition(groups) == set(map(frozenset, nx.connected_components(graph)))
    assert list(dict.fromkeys(groups.tolist())) == list(range(groups.max() + 1))  # numbered by first row


@pytest.mark.fault(16)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("edges", "n"), GRAPHS)
def test_apply_in_any_row_order(edges: Edges, n: int, rule: str) -> None:
    order = np.random.default_rng(n).permutation(n)  # new row → old row
    place = np.argsort(order)
    moved = {tuple(sorted((int(place[i]), int(place[j])))): score for (i, j), score in edges.items()}
    for threshold in (0.2, 0.5, 0.8):
        decision = Decision(rule, threshold, max_matches=3)  # type: ignore[arg-type]
        as_it_was = decision.apply(scored(n, edges))
        shuffled = decision.apply(scored(n, moved))  # type: ignore[arg-type]
        if "link" not in rule:  # there, matches that nobody scored are equals and the cap takes the lower rows
            assert {order[i]: order[rows].tolist() for i, rows in enumerate(shuffled.lists())} == lists_of(as_it_was)
        assert partition(groups_of(shuffled)[place]) == partition(groups_of(as_it_was))


@pytest.mark.fault(11)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("seed", range(6))
def test_apply_breaks_ties_by_id(rule: str, seed: int) -> None:
    n = 24
    rng = np.random.default_rng(seed)
    ids = np.array([f"id{at:02}" for at in rng.permutation(n)], dtype=object)
    edges = {pair: float(rng.choice([0.25, 0.5, 0.75])) for pair in combinations(range(n), 2) if rng.random() < 0.3}
    order = rng.permutation(n)  # new row → old row
    place = np.argsort(order)
    moved = {tuple(sorted((int(place[i]), int(place[j])))): score for (i, j), score in edges.items()}
    decision = Decision(rule, 0.4, max_matches=3)  # type: ignore[arg-type]
    one = decision.apply(scored(n, edges), ids)
    other = decision.apply(scored(n, moved), ids[order])  # type: ignore[arg-type]
    assert len(one) >= n  # there is much to tell apart
    for rows, again in zip(one.lists(), [other.lists()[at] for at in place], strict=True):
        assert set(ids[rows]) == set(ids[order][again])
    sorted_already = np.sort(ids)
    as_rows, by_ids = decision.apply(scored(n, edges)), decision.apply(scored(n, edges), sorted_already)
    assert lists_of(as_rows) == lists_of(by_ids)
    assert np.array_equal(as_rows.score, by_ids.score, equal_nan=True)


def test_apply_caps_matches() -> None:
    star = {(0, j): j / 10 for j in range(1, 8)}
    matches = Decision("threshold", 0.05, max_matches=3).apply(scored(8, star))
    assert lists_of(matches) == {0: [7, 6, 5]} | {j: [0] for j in range(1, 8)}


@settings(deadline=None)
@given(graphs(), st.integers(1, 4))
def test_keep_best_keeps_front_of_lists(graph: tuple[int, Edges], most: int) -> None:
    every = Threshold(scored(*graph)).matches(0)
    assert lists_of(keep_best(every, most)) == {i: rows[:most] for i, rows in lists_of(every).items()}


def test_both_directions_breaks_ties_by_row() -> None:
    ends = np.array([0, 0, 1], dtype=np.int32), np.array([2, 3, 2], dtype=np.int32)
    assert lists_of(both_directions(4, *ends, np.array([0.5, 0.5, 0.5]))) == {0: [2, 3], 1: [2], 2: [0, 1], 3: [0]}


# --- forbid ----------------------------------------------------------------------------------------------------------


def conflicting(pairs: ScoredPairs, conflicts: set[tuple[int, int]]) -> ScoredPairs:
    """The same pairs; those of `conflicts` state different sizes."""
    ends = zip(pairs.left.tolist(), pairs.right.tolist(), strict=True)
    return replace(pairs, conflict=np.array([2 * (pair in conflicts) for pair in ends], dtype=np.uint8))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("seed", range(4))
def test_forbidden_pairs_equal_rule_on_other_pairs(rule: str, seed: int) -> None:
    n, edges = 24, random_graph(24, 72, seed)
    ids = np.array([f"{at:02}" for at in np.random.default_rng(seed).permutation(n)], dtype=object)
    vetoed = set(sorted(edges)[::4])
    pairs = conflicting(scored(n, edges), vetoed)
    as_zero = scored(n, edges | dict.fromkeys(vetoed, 0.0))
    dropped = 0
    for threshold in (0.1, 0.3, 0.6):
        found = Decision(rule, threshold, forbid=("size",)).apply(pairs, ids)  # type: ignore[arg-type]
        plain = Decision(rule, threshold).apply(as_zero, ids)  # type: ignore[arg-type]
        ends = [tuple(sorted(pair)) for pair in zip(plain.listing.tolist(), plain.match.tolist(), strict=True)]
        keep = np.array([pair not in vetoed for pair in ends])
        assert list(zip(found.listing, found.match, strict=True)) == list(
            zip(plain.listing[keep], plain.match[keep], strict=True)
        )
        dropped += int((Decision(rule, threshold).apply(pairs, ids).listing.size) - len(found))  # type: ignore[arg-type]
    assert dropped > 0


def test_forbidden_pairs_take_no_place_under_cap() -> None:
    pairs = conflicting(scored(4, {(0, 1): 0.9, (0, 2): 0.8, (0, 3): 0.7}), {(0, 1)})
    decision = Decision("threshold", 0.5, max_matches=1, forbid=("size",))
    assert lists_of(decision.apply(pairs)) == {0: [2], 1: [], 2: [0], 3: [0]}


def test_forbid_needs_conflict() -> None:
    with pytest.raises(ArtifactError, match="forbidden by size, but the pairs were not compared"):
        Decision("threshold", 0.5, forbid=("size",)).apply(scored(2, {(0, 1): 0.9}))
    assert len(Decision("threshold", 0.5, forbid=("size",)).apply(scored(2, {}))) == 0
