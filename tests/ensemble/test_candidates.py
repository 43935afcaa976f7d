from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ensemble.candidate_pairs import RANKS, missed, recall, recall_by_branch, recall_by_rank, union
from shared.metrics.matching import label_codes
from shared.schema import CandidatePairs, Candidates

Ends = set[tuple[int, int]]
Make = Callable[..., Any]


def candidates(n: int, ends: Ends) -> Candidates:
    left, right = np.array(sorted(ends), dtype=np.int32).reshape(-1, 2).T.copy()
    ones = np.ones(len(ends), dtype=np.int32)
    return Candidates(n, left, right, ones.astype(np.float32), ones, ones)


def ends_of(pairs: CandidatePairs) -> list[tuple[int, int]]:
    return list(zip(pairs.left.tolist(), pairs.right.tolist(), strict=True))


@st.composite
def proposals(draw: st.DrawFn) -> tuple[int, list[Ends], list[int]]:
    n = draw(st.integers(0, 8))
    pairs = [(i, j) for i in range(n) for j in range(i + 1, n)]
    branch = st.sets(st.sampled_from(pairs)) if pairs else st.just(set())
    return n, draw(st.lists(branch, max_size=4)), draw(st.lists(st.integers(-1, 2), min_size=n, max_size=n))


@settings(deadline=None)
@given(proposals())
def test_union_holds_each_pair_once_in_order(case: tuple[int, list[Ends], list[int]]) -> None:
    n, branches, _ = case
    pairs = union((candidates(n, ends) for ends in branches), n)
    assert ends_of(pairs) == sorted(set().union(*branches))
    assert pairs.n == n
    assert pairs.left.dtype == pairs.right.dtype == np.int32


@settings(deadline=None)
@given(proposals())
def test_recall_is_the_share_of_true_pairs(case: tuple[int, list[Ends], list[int]]) -> None:
    n, branches, codes = case
    pairs = union((candidates(n, ends) for ends in branches), n)
    true = {(i, j) for i in range(n) for j in range(i + 1, n) if codes[i] == codes[j] >= 0}
    expected = len(true & set(ends_of(pairs))) / len(true) if true else 1.0
    assert recall(pairs.left, pairs.right, np.array(codes, dtype=np.int64)) == expected


def test_union_of_a_large_pool_does_not_overflow() -> None:
    n = 100_000
    far = {(n - 2, n - 1), (0, n - 1)}
    assert ends_of(union([candidates(n, far), candidates(n, {(0, n - 1)})], n)) == [(0, n - 1), (n - 2, n - 1)]


def views(pool: Any) -> tuple[dict[str, Candidates], np.ndarray]:
    """Return each branch's candidates of a pool, and the label codes of its listings."""
    return {name: view.candidates for name, view in pool.branches.items()}, label_codes(pool.catalog.labels)


def test_recall_of_the_union_is_at_least_that_of_a_branch(make_pool: Make, make_catalog: Make, proposed: Make) -> None:
    rng = np.random.default_rng(0)
    labels = [str(rng.integers(8)) for _ in range(40)]
    shas = [f"sha{row}" if row % 2 else None for row in range(40)]
    pool = make_pool(make_catalog(["tas"] * 40, label_group=labels, image_sha=shas))
    proposals, codes = views(pool)
    recalls = recall_by_branch(proposals, proposed(pool), codes)
    assert set(recalls) == {*pool.branches, "union"}
    assert recalls["mute"] == 0
    assert 1 > recalls["union"] > max(recalls["words"], recalls["looks"]) > 0


@pytest.mark.parametrize("codes", [[-1, -1], [0, 1]])
def test_recall_without_true_pairs_is_one(codes: list[int]) -> None:
    assert recall(np.array([0]), np.array([1]), np.array(codes)) == 1


# --- by rank ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", RANKS)
def test_recall_by_rank_equals_brute_force(k: int, make_pool: Make, make_catalog: Make) -> None:
    rng = np.random.default_rng(1)
    labels = [str(rng.integers(6)) for _ in range(40)]
    shas = [f"sha{row}" if row % 2 else None for row in range(40)]
    pool = make_pool(make_catalog(["tas"] * 40, label_group=labels, image_sha=shas), neighbors=12)
    true = {(i, j) for i in range(40) for j in range(i + 1, 40) if labels[i] == labels[j]}
    table = recall_by_rank(*views(pool))
    assert table["k"] == list(RANKS)
    assert set(table) == {"k", *pool.branches, "union"}
    united: Ends = set()
    for name, view in pool.branches.items():
        present = np.flatnonzero(view.embeddings.present).tolist()
        near: Ends = set()
        for i in present:
            others = [j for j in present if j != i]
            cosine = dict(zip(others, similarities(view.embeddings, i, others), strict=True))
            better = {j: sum(c > cosine[j] for c in cosine.values()) for j in others}
            near |= {(min(i, j), max(i, j)) for j in others if better[j] < min(k, 12)}
        assert table[name][RANKS.index(k)] == pytest.approx(len(near & true) / len(true))
        united |= near
    assert table["union"][RANKS.index(k)] == pytest.approx(len(united & true) / len(true))


def similarities(embeddings: Any, row: int, others: list[int]) -> list[float]:
    ends = np.array([[row] * len(others), others], dtype=np.int32)
    return np.round(embeddings.similarity(ends[0], ends[1]), 6).tolist()  # type: ignore[no-any-return]


def test_recall_by_rank_rises_to_the_recall_of_all(make_pool: Make, make_catalog: Make, proposed: Make) -> None:
    rng = np.random.default_rng(0)
    labels = [str(rng.integers(8)) for _ in range(40)]
    pool = make_pool(make_catalog(["tas"] * 40, label_group=labels, image_sha=["s"] * 40))
    proposals, codes = views(pool)
    table, every = recall_by_rank(proposals, codes), recall_by_branch(proposals, proposed(pool), codes)
    for name, last in every.items():
        assert table[name] == sorted(table[name])
        assert table[name][-1] == last
    assert table["words"][0] < table["words"][2]


@pytest.mark.parametrize(
    ("proposed_share", "found", "never", "wrong"),
    [(0.9, 0.7, 0.1, 0.2), (1.0, 0.7, 0.0, 0.3), (0.7, 0.7, 0.3, 0.0), (0.6, 0.8, 0.2, 0.0), (1.0, 1.0, 0.0, 0.0)],
)
def test_missed_pairs_proposed_or_not(proposed_share: float, found: float, never: float, wrong: float) -> None:
    shares = missed(proposed_share, found)
    assert shares == pytest.approx({"missed_never_proposed": never, "missed_scored_wrong": wrong}, abs=1e-12)
    assert min(shares.values()) >= -1e-12
