"""Groups that are too large are split by thresholds of their own."""

from itertools import combinations

import networkx as nx
import numpy as np
import pytest

from ensemble.config import TuneConfig
from ensemble.decision.decision import RULES, Decision, groups_of
from ensemble.decision.tuning import tune
from shared.schema import Matches, ScoredPairs
from tests.support.scored_pairs import Edges, scored

N = 100_000


def split_matches(decision: Decision, pairs: ScoredPairs) -> tuple[Matches, int]:
    outcome = decision.decide(pairs)
    return outcome.matches, outcome.split_groups


def partition(groups: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(groups == group).tolist()) for group in np.unique(groups)}


def split_one_by_one(members: set[int], edges: Edges, threshold: float, most: int) -> list[frozenset[int]]:
    """Components at a threshold; those that are too large at the next higher one, and so on."""
    graph = nx.Graph([pair for pair, score in edges.items() if score >= threshold and set(pair) <= members])
    graph.add_nodes_from(members)
    parts: list[frozenset[int]] = []
    for part in nx.connected_components(graph):
        higher = min((s for pair, s in edges.items() if s > threshold and set(pair) <= part), default=2.0)
        parts += [frozenset(part)] if len(part) <= most else split_one_by_one(part, edges, higher, most)
    return parts


@pytest.mark.fault(15)
@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("most", [2, 5, 12])
def test_threshold_splits_as_rising_thresholds_do(seed: int, most: int) -> None:
    rng = np.random.default_rng(seed)
    values = np.float32([0.5, 0.6, 0.7, 0.8, 0.9]) if seed % 2 else np.sort(rng.random(200)).astype(np.float32)
    edges = {pair: float(rng.choice(values)) for pair in combinations(range(40), 2) if rng.random() < 0.08}
    matches, split = split_matches(Decision("threshold", 0.3, max_group=most), scored(40, edges))
    assert partition(groups_of(matches)) == set(split_one_by_one(set(range(40)), edges, 0.3, most))
    whole = np.bincount(groups_of(Decision("threshold", 0.3, max_group=None).apply(scored(40, edges))))
    assert split == (whole > most).sum()


def chain(score: np.ndarray) -> ScoredPairs:
    left = np.arange(len(score), dtype=np.int32)
    return ScoredPairs(len(score) + 1, left, left + 1, score.astype(np.float32))


@pytest.mark.fault(15)
@pytest.mark.parametrize("rule", ["threshold", "min2"])
def test_long_chain_is_split_with_a_word(rule: str) -> None:
    score = 0.5 + np.random.default_rng(0).random(N - 1) / 2
    matches, split = split_matches(Decision(rule, 0.4), chain(score))  # type: ignore[arg-type]
    sizes = np.bincount(groups_of(matches))
    assert split == 1
    assert sizes.max() <= 1000
    assert len(sizes) < N / 10  # it falls apart at the weakest links only
    free, none = split_matches(Decision(rule, 0.4, max_group=None), chain(score))  # type: ignore[arg-type]
    assert (groups_of(free).max(), none) == (0, 0)


@pytest.mark.fault(15)
@pytest.mark.parametrize("rule", RULES)
def test_chain_of_equal_scores_falls_apart(rule: str) -> None:
    matches, _ = split_matches(Decision(rule, 0.4, max_group=10), chain(np.full(5000, 0.9)))  # type: ignore[arg-type]
    assert np.bincount(groups_of(matches)).max() <= 10


@pytest.mark.parametrize("rule", RULES)
def test_groups_of_the_largest_size_stay(rule: str) -> None:
    edges = dict.fromkeys(combinations(range(10), 2), 0.9) | dict.fromkeys(combinations(range(10, 21), 2), 0.9)
    matches, split = split_matches(Decision(rule, 0.5, max_group=10), scored(21, edges))  # type: ignore[arg-type]
    assert split == 1
    assert np.bincount(groups_of(matches)).tolist() == [10] + [1] * 11


@pytest.mark.fault(16)
@pytest.mark.parametrize("rule", RULES)
def test_split_does_not_depend_on_the_order_of_rows(rule: str) -> None:
    rng = np.random.default_rng(4)
    edges = {p: float(rng.choice([0.5, 0.6, 0.7, 0.8])) for p in combinations(range(60), 2) if rng.random() < 0.07}
    ids = np.array([f"p{i:02}" for i in range(60)], dtype=object)
    place = rng.permutation(60)
    moved = {tuple(sorted((int(place[i]), int(place[j])))): score for (i, j), score in edges.items()}
    decision = Decision(rule, 0.4, max_group=7)  # type: ignore[arg-type]
    one = groups_of(decision.apply(scored(60, edges), ids))
    other = groups_of(decision.apply(scored(60, moved), ids[np.argsort(place)]))  # type: ignore[arg-type]
    assert partition(other[place]) == partition(one)
    assert max(map(len, partition(one))) <= 7


def test_copies_count_as_one_listing() -> None:
    copies = np.where(np.arange(5000) < 4998, 0, np.arange(5000)).astype(np.int32)
    pairs = scored(5000, {(0, 4998): 0.9, (4998, 4999): 0.8}).with_copies(copies)
    matches, split = split_matches(Decision("threshold", 0.5, max_group=3), pairs)
    assert groups_of(matches).max() == split == 0


def test_setting_reaches_the_decision() -> None:
    edges = {(0, 1): 0.9, (1, 2): 0.8, (3, 4): 0.9, (4, 5): 0.7}
    pool = scored(6, edges), np.array([0, 0, 1, 2, 2, 3])
    tuned = tune([pool], TuneConfig(rules=["threshold"], max_group=2, resamples=10))
    assert tuned.decision.max_group == 2
    assert tuned.chosen.row_f1 == 1
