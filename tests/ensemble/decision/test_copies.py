"""Listings with equal content are decided as one and matched as many."""

from itertools import combinations

import numpy as np
import pytest

from ensemble.candidate_pairs import recall
from ensemble.config import TuneConfig
from ensemble.decision.copies import with_copies
from ensemble.decision.decision import RULES, Decision, groups_of
from ensemble.decision.rules import both_directions
from ensemble.decision.tuning import tune
from shared.schema import Matches
from tests.support.scored_pairs import Edges, lists_of, scored


def copies_of(sizes: list[int]) -> np.ndarray:
    """Classes of these sizes, one after the other; the first listing of each stands for it."""
    first = np.cumsum([0, *sizes[:-1]])
    return np.repeat(first, sizes).astype(np.int32)


def expected(matches: Matches, copies: np.ndarray, most: int) -> list[list[int]]:
    """The matches of every listing, by the words of `with_copies`."""
    lists = []
    of_row = [
        dict(zip(match.tolist(), matches.score[matches.listing == row].tolist(), strict=True))
        for row, match in enumerate(matches.lists())
    ]
    for row, stands in enumerate(copies.tolist()):
        score = {stands: 1.0, **of_row[stands]}
        every = [(m, score[copies[m]]) for m in range(len(copies)) if copies[m] in score and m != row]
        kept = sorted(every, key=lambda e: (copies[e[0]] != e[0], -e[1], e[0]))[:most]
        lists.append([m for m, _ in sorted(kept, key=lambda e: (-e[1], e[0]))])
    return lists


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("most", [1, 3, 50])
def test_with_copies_is_what_its_words_say(seed: int, most: int) -> None:
    rng = np.random.default_rng(seed)
    copies = copies_of(rng.integers(1, 5, size=12).tolist())
    stands = np.unique(copies)
    edges = {
        (int(a), int(b)): float(np.float32(rng.random())) for a, b in combinations(stands, 2) if rng.random() < 0.3
    }
    decision = Decision("threshold", 0.2, max_matches=most)
    plain = decision.apply(scored(len(copies), edges))
    assert [m.tolist() for m in with_copies(plain, copies, most).lists()] == expected(plain, copies, most)
    made = decision.apply(scored(len(copies), edges).with_copies(copies))
    assert [m.tolist() for m in made.lists()] == expected(plain, copies, most)


@pytest.mark.fault(35)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("sizes", [[1000], [300, 1000], [2, 1, 500]])
def test_a_thousand_copies_are_one_group(rule: str, sizes: list[int]) -> None:
    copies, n = copies_of(sizes), sum(sizes)
    edges = dict.fromkeys(combinations(np.unique(copies).tolist(), 2), 0.9)
    ids = np.array([f"p{i:04}" for i in range(n)], dtype=object)
    for most in (1, 50):
        matches = Decision(rule, 0.5, max_matches=most).apply(scored(n, edges).with_copies(copies), ids)  # type: ignore[arg-type]
        assert groups_of(matches).max() == 0
        assert np.bincount(matches.listing).max() <= most


@pytest.mark.fault(35)
def test_copies_move_with_the_rows() -> None:
    rng = np.random.default_rng(1)
    copies, n = copies_of([3, 1, 2, 4]), 10
    edges = {(0, 3): 0.9, (3, 4): 0.3, (4, 6): 0.8}
    ids = np.array([f"p{i}" for i in range(n)], dtype=object)
    decision = Decision("average_link", 0.5, max_matches=4)
    one = decision.apply(scored(n, edges).with_copies(copies), ids)
    place = rng.permutation(n)
    moved = {tuple(sorted((int(place[a]), int(place[b])))): score for (a, b), score in edges.items()}
    moved_copies = np.empty(n, dtype=np.int32)
    moved_copies[place] = place[copies]
    pairs = scored(n, moved).with_copies(moved_copies)  # type: ignore[arg-type]
    other = decision.apply(pairs, ids[np.argsort(place)])
    back = np.argsort(place)
    moved_back = {int(back[row]): sorted(back[rows].tolist()) for row, rows in lists_of(other).items()}
    assert moved_back == {row: sorted(rows) for row, rows in lists_of(one).items()}


def test_min2_forces_no_match_on_a_listing_with_copies() -> None:
    edges: Edges = {(0, 2): 0.2, (2, 3): 0.1}
    copies = np.array([0, 0, 2, 3], dtype=np.int32)
    matches = Decision("min2", 0.5).apply(scored(4, edges).with_copies(copies))
    assert lists_of(matches) == {0: [1], 1: [0], 2: [0, 1], 3: [2]}


def test_a_copy_has_no_pairs_of_its_own() -> None:
    with pytest.raises(ValueError, match="a copy of a listing has pairs"):
        scored(3, {(1, 2): 0.5}).with_copies(np.array([0, 0, 2], dtype=np.int32))


@pytest.mark.parametrize("seed", range(5))
def test_recall_counts_all_listings(seed: int) -> None:
    rng = np.random.default_rng(seed)
    copies = copies_of(rng.integers(1, 4, size=8).tolist())
    codes = rng.integers(-1, 3, size=len(copies))
    pairs = [(int(a), int(b)) for a, b in combinations(np.unique(copies), 2) if rng.random() < 0.4]
    rows = np.array(pairs, dtype=np.int32).reshape(-1, 2).T
    true = [(a, b) for a, b in combinations(range(len(copies)), 2) if codes[a] == codes[b] >= 0]
    covered = [p for p in true if copies[p[0]] == copies[p[1]] or tuple(sorted(copies[list(p)].tolist())) in pairs]
    assert recall(rows[0], rows[1], codes, copies) == pytest.approx(len(covered) / len(true))


def test_tuning_counts_all_listings() -> None:
    copies = copies_of([4, 3, 1, 1])
    pairs = scored(9, {(0, 4): 0.8, (7, 8): 0.6}).with_copies(copies)
    codes = np.array([0] * 7 + [1, 2])
    tuned = tune([(pairs, codes)], TuneConfig(rules=["threshold"], resamples=10))
    assert tuned.chosen.row_f1 == 1
    assert tuned.chosen.threshold == pytest.approx(0.7)


def test_matches_far_from_copies_stay() -> None:
    left = np.array([0, 2], dtype=np.int32)
    matches = both_directions(5, left, left + 1, np.array([0.9, np.nan], np.float32))
    made = with_copies(matches, np.array([0, 1, 2, 3, 4], dtype=np.int32), 50)
    assert made is matches
