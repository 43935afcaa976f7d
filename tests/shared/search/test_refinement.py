"""Refined lists hold nearer neighbors than before, the same for any blocks and threads."""

import numpy as np
import pytest

from shared.schema import Embeddings
from shared.search import refinement
from shared.search.cells import Cells, CellSearcher
from shared.search.exact import ProductSearcher
from shared.search.lists import Limits, NeighborLists, exact_lists
from shared.search.refinement import refined
from tests.shared.search.test_cells import assert_same_lists, clustered


def found_with_few_probes(pool: Embeddings, limits: Limits) -> NeighborLists:
    return CellSearcher.of(pool, limits, Cells.of(pool, centers=200, probes=2)).lists(np.arange(len(pool)))


def keys(lists: NeighborLists) -> np.ndarray:
    return lists.listing.astype(np.int64) * lists.n + lists.neighbor


def test_refined_lists_hold_what_is_missing_here_and_there() -> None:
    pool, limits = clustered(3000, 24, 1), Limits(4)
    exact = ProductSearcher.of(pool, limits, np).lists(np.arange(3000))
    kept = np.random.default_rng(0).random(len(exact)) < 0.7
    hits = exact.listing[kept].astype(np.int64), exact.neighbor[kept].astype(np.int64)
    found = refined(pool, exact_lists(pool, hits, limits), limits)
    assert np.isin(keys(exact), keys(found)).mean() > 0.9


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("limits", [Limits(3), Limits(3, 0.4, 5), Limits(40)])
def test_refined_lists_are_the_best_of_lists_both_ways_and_of_neighbors_of_neighbors(
    steps: int, limits: Limits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refinement, "STEPS", steps)
    pool = clustered(300, 8, 2, evidence=0.9)
    before = expected = found_with_few_probes(pool, limits)
    for _ in range(steps):
        expected = best_of(pool, set(pairs_of(expected)) | {(b, a) for a, b in pairs_of(expected)}, limits)
        near = {a: [b for c, b in pairs_of(expected) if c == a][: refinement.NEAREST] for a in range(300)}
        further = {(a, far) for a in near for one in near[a] for far in near[one] if far != a}
        expected = best_of(pool, set(pairs_of(expected)) | further, limits)
    assert_same_lists(refined(pool, before, limits), expected)


def pairs_of(lists: NeighborLists) -> list[tuple[int, int]]:
    """(listing, who is in its list), the nearest first."""
    return list(zip(lists.listing.tolist(), lists.neighbor.tolist(), strict=True))


def best_of(pool: Embeddings, pairs: set[tuple[int, int]], limits: Limits) -> NeighborLists:
    hits = np.array(sorted(pairs)).reshape(-1, 2)
    return exact_lists(pool, (hits[:, 0], hits[:, 1]), limits)


@pytest.mark.parametrize("threads", [1, 3])
def test_refined_lists_for_any_blocks_and_threads(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pool, limits = clustered(1500, 16, 3, evidence=0.9), Limits(5)
    before = found_with_few_probes(pool, limits)
    expected = refined(pool, before, limits)
    monkeypatch.setattr(refinement, "BLOCK", 77)
    monkeypatch.setattr(refinement, "PAIRS", 10)
    assert_same_lists(refined(pool, before, limits, threads), expected)


def test_nothing_is_refined_without_lists() -> None:
    nobody = Embeddings(np.zeros((3, 2), np.float32), np.zeros(3, dtype=bool))
    assert len(refined(nobody, NeighborLists.joined(3, []), Limits(2))) == 0
