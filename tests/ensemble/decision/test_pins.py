"""What people decided holds in every rule: never in one group, always matched, and of contradictions the "no"."""

from itertools import combinations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ensemble.config import Rule
from ensemble.decision.copies import with_copies
from ensemble.decision.decision import RULES, Decision, groups_of
from ensemble.decision.pins import Pins, told_apart
from shared.schema import Matches, ScoredPairs
from tests.support.scored_pairs import Edges, lists_of, scored

Pair = tuple[int, int]
IDS = np.array([f"id{row:02}" for row in range(60)], dtype=object)


def pins_of(must: list[Pair] = [], never: list[Pair] = []) -> Pins:  # noqa: B006 - never changed
    return Pins(*(np.array(pairs, dtype=np.int64).reshape(-1, 2) for pairs in (must, never)))


def pool(rng: np.random.Generator, n: int, answers: int) -> tuple[Edges, list[Pair], list[Pair]]:
    """Scores of some pairs in tenths, so that many are equal, and answers about any pairs."""
    pairs = list(combinations(range(n), 2))
    edges = {pair: float(rng.integers(0, 11)) / 10 for pair in pairs if rng.random() < 0.6}
    asked = [pairs[place] for place in rng.permutation(len(pairs))[:answers]]
    verdicts = rng.random(len(asked)) < 0.5
    must = [pair for pair, yes in zip(asked, verdicts, strict=True) if yes]
    return edges, must, [pair for pair, yes in zip(asked, verdicts, strict=True) if not yes]


# --- an oracle --------------------------------------------------------------------------------------------------------


def apart(graph: nx.Graph, never: list[Pair]) -> bool:
    return not any(nx.has_path(graph, *pair) for pair in never)


def linked(n: int, links: list[Pair], never: list[Pair]) -> nx.Graph:
    """Listings with links that are taken in order, but for those that would join a pair that never matches."""
    graph = nx.empty_graph(n)
    for link in links:
        if not graph.has_edge(*link):
            graph.add_edge(*link)
            if not apart(graph, never):
                graph.remove_edge(*link)
    return graph


def strongest_first(edges: Edges, pairs: list[Pair]) -> list[Pair]:
    return sorted(pairs, key=lambda pair: (-np.float32(edges.get(pair, -1)), pair))


def forced_pairs(n: int, edges: Edges, must: list[Pair], never: list[Pair]) -> list[Pair]:
    """The pairs that must match, but for the weakest that contradict those that must not."""
    graph = linked(n, strongest_first(edges, must), never)
    return [pair for pair in must if nx.has_path(graph, *pair)]


def sets_of(graph: nx.Graph) -> set[frozenset[int]]:
    return {frozenset(component) for component in nx.connected_components(graph)}


def average_linked(n: int, edges: Edges, must: list[Pair], never: list[Pair], threshold: float) -> set[frozenset[int]]:
    """Join the two groups with the highest mean score, starting from those that must be."""
    groups = [sorted(group) for group in sets_of(linked(n, must, []))]
    while True:
        best = None
        for one, other in combinations(sorted(groups), 2):
            between = [tuple(sorted((a, b))) for a in one for b in other]
            if not set(between) & set(never):
                mean = sum(np.float32(edges.get(pair, 0)).astype(float) for pair in between) / len(between)
                key = (-round(mean, 9), one[0], other[0])
                if mean >= max(threshold, 0.05) - 1e-9 and (best is None or key < best[0]):
                    best = key, one, other
        if best is None:
            return {frozenset(group) for group in groups}
        groups = [group for group in groups if group not in best[1:]] + [sorted(best[1] + best[2])]


def groups(matches: Matches) -> set[frozenset[int]]:
    numbers = groups_of(matches)
    return {frozenset(np.flatnonzero(numbers == number).tolist()) for number in range(numbers.max() + 1)}


@pytest.mark.fault(37)
@given(st.integers(0, 10**6), st.integers(2, 9), st.integers(1, 12), st.sampled_from(list(RULES)))
@settings(max_examples=400, deadline=None)
def test_groups_are_those_of_the_oracle(seed: int, n: int, answers: int, rule: Rule) -> None:
    rng = np.random.default_rng(seed)
    edges, must, never = pool(rng, n, answers)
    threshold = float(rng.choice([0.15, 0.35, 0.55, 0.95]))
    matches = Decision(rule, threshold).decide(scored(n, edges), pins=pins_of(must, never)).matches
    forced = forced_pairs(n, edges, must, never)
    known = {pair: score for pair, score in edges.items() if pair not in never and pair not in forced}
    if rule == "average_link":
        assert groups(matches) == average_linked(n, {**edges, **dict.fromkeys(never, 0)}, forced, never, threshold)
    else:
        links = [pair for pair, score in known.items() if np.float32(score) >= threshold]
        if rule == "min2":
            scores = {**dict.fromkeys(set(never) & set(edges), 0.0), **known, **dict.fromkeys(forced, 1.0)}
            best = [best_pair(scores, row) for row in range(n)]
            links += [pair for pair in best if pair is not None and pair not in (*links, *forced, *never)]
        order = strongest_first(edges, forced) + strongest_first(known, links)
        assert groups(matches) == sets_of(linked(n, order, never))
    got = {(row, match): score for row, match, score in zip(matches.listing, matches.match, matches.score, strict=True)}
    for a, b in forced:
        assert got[a, b] == got[b, a] == 1
    for a, b in never:
        assert groups_of(matches)[a] != groups_of(matches)[b]


def best_pair(scores: Edges, row: int) -> Pair | None:
    own = {pair: score for pair, score in scores.items() if row in pair}
    return min(own, key=lambda pair: (-np.float32(own[pair]), sum(pair) - row)) if own else None


@given(
    st.integers(0, 10**6),
    st.integers(2, 25),
    st.integers(1, 20),
    st.sampled_from(list(RULES)),
    st.sampled_from(["unknown", "all", "pairs"]),
    st.sampled_from([None, 2, 4]),
    st.booleans(),
)
@settings(max_examples=400, deadline=None)
def test_never_in_one_group_with_copies_and_limits(
    seed: int, n: int, answers: int, rule: Rule, duplicates: str, max_group: int | None, guard: bool
) -> None:
    rng = np.random.default_rng(seed)
    copies = np.sort(rng.integers(0, n, n))
    copies = np.searchsorted(copies, copies).astype(np.int32)
    edges, must, never = pool(rng, n, answers)
    edges = {(a, b): score for (a, b), score in edges.items() if copies[a] == a and copies[b] == b}
    decision = Decision(rule, 0.35, max_group=max_group, guard=guard, max_matches=int(rng.choice([2, 50])))
    pairs = scored(n, edges).with_copies(copies)
    matches = decision.decide(pairs, IDS[:n], duplicates, pins_of(must, never)).matches  # type: ignore[arg-type]
    group = groups_of(matches)
    assert [pair for pair in never if group[pair[0]] == group[pair[1]]] == []
    told = {copies[a] for a, b in never if copies[a] == copies[b]}
    equal = [(row, int(first)) for row, first in enumerate(copies) if first not in told]
    is_sound = apart(linked(n, [*must, *equal], []), never)
    if is_sound and duplicates != "pairs" and decision.max_matches == 50:
        assert [pair for pair in must if pair[1] not in lists_of(matches)[pair[0]]] == []


@pytest.mark.fault(37)
@given(st.integers(0, 10**6), st.integers(2, 25), st.sampled_from(list(RULES)), st.sampled_from(["unknown", "all"]))
@settings(max_examples=100, deadline=None)
def test_pins_depend_on_ids_and_not_on_rows(seed: int, n: int, rule: Rule, duplicates: str) -> None:
    rng = np.random.default_rng(seed)
    edges, must, never = pool(rng, n, n)
    decision, place = Decision(rule, 0.35), rng.permutation(n)
    one = decision.decide(scored(n, edges), IDS[:n], duplicates, pins_of(must, never)).matches  # type: ignore[arg-type]
    moved = {tuple(sorted((int(place[a]), int(place[b])))): score for (a, b), score in edges.items()}
    pins = pins_of(must, never).placed(place)
    other = decision.decide(scored(n, moved), IDS[:n][np.argsort(place)], duplicates, pins).matches  # type: ignore[arg-type]
    back = np.argsort(place)
    found = {(int(back[a]), int(back[b])): s for a, b, s in zip(other.listing, other.match, other.score, strict=True)}
    expected = {(int(a), int(b)): s for a, b, s in zip(one.listing, one.match, one.score, strict=True)}
    np.testing.assert_equal(found, expected)


@pytest.mark.parametrize("rule", RULES)
def test_no_pins_change_nothing(rule: Rule) -> None:
    rng = np.random.default_rng(3)
    edges, _, _ = pool(rng, 30, 0)
    decision = Decision(rule, 0.35)
    plain, with_none = (decision.decide(scored(30, edges), IDS[:30], pins=pins) for pins in (None, Pins()))
    assert lists_of(plain.matches) == lists_of(with_none.matches)
    assert plain.matches.score.tobytes() == with_none.matches.score.tobytes()


@pytest.mark.parametrize("rule", RULES)
def test_a_no_far_away_changes_no_other_group(rule: Rule) -> None:
    edges: Edges = {(0, 1): 0.9, (1, 2): 0.8, (0, 2): 0.7, (3, 4): 0.6, (4, 5): 0.6, (3, 5): 0.6}
    matches = Decision(rule, 0.5).decide(scored(6, edges), pins=pins_of(never=[(1, 2)])).matches
    assert groups(matches) == {frozenset({0, 1}), frozenset({2}), frozenset({3, 4, 5})}
    assert matches.score[matches.listing == 3].tolist() == pytest.approx([0.6, 0.6])


@pytest.mark.parametrize("rule", RULES)
def test_weakest_yes_of_a_contradicted_chain_is_not_forced(rule: Rule) -> None:
    edges: Edges = {(0, 1): 0.3, (1, 2): 0.2, (2, 3): 0.4}
    pins = pins_of([(0, 1), (1, 2), (2, 3)], [(0, 3)])
    matches = Decision(rule, 0.5).decide(scored(4, edges), pins=pins).matches
    assert groups(matches) == {frozenset({0, 1}), frozenset({2, 3})}


def test_yes_wins_over_attributes_and_the_largest_group() -> None:
    pairs = scored(5, {(0, 1): 0.9, (1, 2): 0.1, (2, 3): 0.9})
    conflicting = ScoredPairs.of(pairs, pairs.score, np.array([1, 1, 0], dtype=np.uint8))
    decision = Decision("threshold", 0.5, forbid=("quantity",), max_group=2)
    assert lists_of(decision.decide(conflicting).matches) == {0: [], 1: [], 2: [3], 3: [2], 4: []}
    matches = decision.decide(conflicting, pins=pins_of([(0, 1), (1, 2), (0, 4)])).matches
    assert lists_of(matches) == {0: [1, 4], 1: [0, 2], 2: [1], 3: [], 4: [0]}


def test_pairs_at_most_win_over_yes() -> None:
    pins = pins_of([(0, 1), (1, 2)])
    matches = Decision("threshold", 0.5).decide(scored(3, {}), duplicates="pairs", pins=pins).matches
    assert lists_of(matches) == {0: [1], 1: [0], 2: []}


def test_an_answer_about_a_copy_holds_for_all() -> None:
    copies = np.array([0, 0, 2, 2], dtype=np.int32)
    decision, pairs = Decision("average_link", 0.5), scored(4, {(0, 2): 0.9}).with_copies(copies)
    assert groups(decision.decide(pairs).matches) == {frozenset(range(4))}
    never = decision.decide(pairs, pins=pins_of(never=[(1, 3)])).matches
    assert groups(never) == {frozenset({0, 1}), frozenset({2, 3})}
    must = decision.decide(scored(4, {}).with_copies(copies), pins=pins_of([(1, 3)])).matches
    assert lists_of(must) == lists_of(with_copies(decision.apply(scored(4, {(0, 2): 1})), copies, 50))


def test_copies_told_apart_stand_for_themselves() -> None:
    copies = np.array([0, 0, 0, 0, 4], dtype=np.int32)
    assert told_apart(copies, pins_of(never=[(0, 4)])) is copies
    assert told_apart(copies, pins_of(never=[(0, 2), (2, 3)])).tolist() == [0, 0, 2, 0, 4]
    pins = pins_of([(2, 4)], [(0, 2)])
    matches = Decision("threshold", 0.5).decide(scored(5, {(0, 4): 0.1}).with_copies(copies), pins=pins).matches
    assert lists_of(matches) == {0: [1, 3], 1: [0, 3], 2: [4], 3: [0, 1], 4: [2]}


@pytest.mark.parametrize(
    ("must", "never", "stands"),
    [
        ([(1, 2)], [(0, 2)], [0, 1, 1, 0, 4]),  # a yes between copies, one of which was told apart
        ([(1, 4), (2, 4)], [(0, 2)], [0, 1, 1, 0, 4]),  # the same through a listing of other content
        ([(1, 4)], [(0, 2), (0, 4)], [0, 1, 1, 0, 4]),  # what is no match of the first is none with a yes to it
        ([(0, 1), (1, 2)], [(0, 2)], [0, 0, 2, 0, 4]),  # a contradiction: the no wins
    ],
)
def test_copies_told_apart_stay_with_those_that_are_the_same(
    must: list[tuple[int, int]], never: list[tuple[int, int]], stands: list[int]
) -> None:
    copies = np.array([0, 0, 0, 0, 4], dtype=np.int32)
    pins = pins_of(must, never)
    assert told_apart(copies, pins).tolist() == stands
    group = groups_of(Decision("threshold", 0.5).decide(scored(5, {}).with_copies(copies), pins=pins).matches)
    assert all(group[a] != group[b] for a, b in never)
    assert [(a, b) for a, b in must if group[a] != group[b]] == ([(1, 2)] if (0, 1) in must else [])
