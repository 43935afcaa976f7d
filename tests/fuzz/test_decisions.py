"""Thresholds and groups of any scored pairs: the best of all there are, and the same in any order of rows."""

import json
import tempfile
from itertools import combinations, pairwise
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ensemble.config import Rule
from ensemble.decision.curves import MIN_SCORE, best_threshold
from ensemble.decision.decision import RULES, Decision, groups_of
from ensemble.decision.pins import Pins
from shared.metrics.matching import row_scores
from shared.schema import Matches
from tests.support.fuzzing import fuzz
from tests.support.scored_pairs import Edges, scored

Pool = tuple[int, Edges]
CLOSE = [float(np.float32(0.5)), float(np.nextafter(np.float32(0.5), np.float32(1)))]
SCORES = st.one_of(
    st.sampled_from([0.0, 0.0625, 0.25, 0.75, 1.0, *CLOSE]), st.floats(0, 1, width=32, allow_subnormal=False)
)


@st.composite
def pools(draw: st.DrawFn, most: int = 12) -> Pool:
    """Some pairs of up to `most` listings with scores, many of them equal."""
    n = draw(st.integers(1, most))
    pairs = list(combinations(range(n), 2))
    return n, draw(st.dictionaries(st.sampled_from(pairs), SCORES, max_size=30)) if pairs else {}


def sets(groups: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(groups == group).tolist()) for group in np.unique(groups)}


def applied(decision: Decision, pool: Pool) -> Matches:
    return decision.apply(scored(*pool))


def f1(decision: Decision, pool: Pool, codes: np.ndarray) -> float:
    return float(row_scores(applied(decision, pool), codes)[:, 2].mean())


# --- thresholds -------------------------------------------------------------------------------------------------------


@pytest.mark.fault(13)
@given(pools(), st.sampled_from(list(RULES)), st.integers(0, 2**32 - 1))
@fuzz(100)
def test_tuned_threshold_is_the_best_of_all(pool: Pool, rule: Rule, seed: int) -> None:
    codes = np.random.default_rng(seed).integers(0, max(pool[0] // 3, 1), pool[0])
    best = best_threshold([(scored(*pool), codes)], Decision(rule, 0.5), count=10**6)
    scores = sorted({float(np.float32(score)) for score in pool[1].values() if score >= MIN_SCORE} | {MIN_SCORE})
    cuts = [(low + high) / 2 for low, high in pairwise(scores)] or [0.5]
    values = [f1(Decision(rule, cut), pool, codes) for cut in cuts]
    assert best.row_f1 == pytest.approx(max(values))
    assert f1(Decision(rule, best.threshold), pool, codes) == pytest.approx(max(values))
    assert best.threshold not in scores


@pytest.mark.fault(13)
@given(pools(), st.sampled_from(list(RULES)), st.floats(0, 1), st.floats(0, 3))
@fuzz(100)
def test_saved_decision_matches_the_same(pool: Pool, rule: Rule, threshold: float, shift: float) -> None:
    decision = Decision(rule, threshold, pool_size=5, prior_shift=0.35, share=0.5, singles_shift=shift)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "decision.json"
        decision.save(path)
        again = Decision.load(path)
        path.write_text(json.dumps(json.loads(path.read_text())))
        assert Decision.load(path) == again == decision
    one, other = applied(decision, pool), applied(again, pool)
    assert one.listing.tolist() == other.listing.tolist()
    assert one.match.tolist() == other.match.tolist()


# --- groups -----------------------------------------------------------------------------------------------------------


@pytest.mark.fault(15, 16)
@given(pools(), st.sampled_from(list(RULES)), st.floats(0, 1), st.sampled_from([None, 2, 5]))
@fuzz(200)
def test_groups_part_the_listings(pool: Pool, rule: Rule, threshold: float, most: int | None) -> None:
    n, edges = pool
    matches = applied(Decision(rule, threshold, max_group=most), pool)
    groups = groups_of(matches)
    graph = nx.Graph(list(zip(matches.listing.tolist(), matches.match.tolist(), strict=True)))
    graph.add_nodes_from(range(n))
    assert sets(groups) == {frozenset(part) for part in nx.connected_components(graph)}
    assert sorted(row for group in sets(groups) for row in group) == list(range(n))
    assert most is None or max(map(len, sets(groups))) <= most
    first = [int(np.flatnonzero(groups == number)[0]) for number in range(int(groups.max()) + 1)]
    assert first == sorted(first)
    if rule == "threshold" and most is None:
        links = nx.Graph([pair for pair, score in edges.items() if score >= threshold])
        links.add_nodes_from(range(n))
        assert sets(groups) == {frozenset(part) for part in nx.connected_components(links)}


@pytest.mark.fault(16)
@given(
    pools(),
    st.sampled_from([rule for rule in RULES if rule != "min2"]),
    st.lists(st.floats(0, 1), min_size=2, max_size=5),
    st.sampled_from([None, 3]),
)
@fuzz(150)
def test_a_higher_threshold_only_splits_groups(
    pool: Pool, rule: Rule, thresholds: list[float], most: int | None
) -> None:
    parts = [sets(groups_of(applied(Decision(rule, each, max_group=most), pool))) for each in sorted(thresholds)]
    for coarse, fine in pairwise(parts):
        assert all(any(group <= whole for whole in coarse) for group in fine)


@pytest.mark.fault(16)
@given(
    pools(),
    st.sampled_from(list(RULES)),
    st.floats(0, 1),
    st.sampled_from([None, 2, 4]),
    st.sampled_from(["unknown", "all", "pairs"]),
    st.booleans(),
    st.randoms(use_true_random=False),
)
@fuzz(200)
def test_groups_do_not_depend_on_the_order_of_rows(
    pool: Pool, rule: Rule, threshold: float, most: int | None, duplicates: str, guard: bool, random: object
) -> None:
    n, edges = pool
    rng = np.random.default_rng(random.randrange(2**32))  # type: ignore[attr-defined]
    asked = {tuple(sorted(rng.choice(n, 2, replace=False).tolist())) for _ in range(3)} if n > 1 else set()
    yes = [pair for pair in sorted(asked) if rng.random() < 0.5]
    pins = Pins(*(np.array(pairs, dtype=np.int64).reshape(-1, 2) for pairs in (yes, sorted(asked - set(yes)))))
    ids = np.array([f"p{row:02}" for row in rng.permutation(n)], dtype=object)
    place = rng.permutation(n)
    moved = {tuple(sorted((int(place[a]), int(place[b])))): score for (a, b), score in edges.items()}
    decision = Decision(rule, threshold, max_group=most, guard=guard)
    one = decision.decide(scored(n, edges), ids, duplicates, pins).matches  # type: ignore[arg-type]
    other = decision.decide(scored(n, moved), ids[np.argsort(place)], duplicates, pins.placed(place)).matches  # type: ignore[arg-type]
    assert sets(groups_of(other)[place]) == sets(groups_of(one))
    assert not [pair for pair in pins.never.tolist() if len(set(groups_of(one)[pair].tolist())) == 1]
