"""A search cell by cell finds the exact neighbors among those that it compares; with all cells, the exact neighbors."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.schema import Candidates, Embeddings
from shared.search import cells as cells_module
from shared.search.cells import Cells, CellSearcher
from shared.search.exact import nearest
from shared.search.lists import Limits, NeighborLists, candidates_of

COLUMNS = ("left", "right", "similarity", "rank_left", "rank_right")


def clustered(n: int, d: int, seed: int, noise: float = 0.5, evidence: float = 1.0) -> Embeddings:
    """Unit rows in groups of about five, some of them copies."""
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((max(1, n // 5), d))[rng.integers(0, max(1, n // 5), n)]
    vectors += noise * rng.standard_normal((n, d)) * (rng.random((n, 1)) < 0.8)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    present = rng.random(n) < evidence
    return Embeddings(np.where(present[:, None], vectors, 0).astype(np.float32), present)


def approximate(pool: Embeddings, limits: Limits, cells: Cells, threads: int = 1) -> NeighborLists:
    return CellSearcher.of(pool, limits, cells, threads=threads).lists(np.arange(len(pool)))


def assert_same(found: Candidates, expected: Candidates) -> None:
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)


def assert_same_lists(found: NeighborLists, expected: NeighborLists) -> None:
    for name in ("listing", "neighbor", "similarity", "rank"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)


@given(st.integers(0, 150), st.integers(0, 2**32 - 1), st.integers(1, 8), st.sampled_from([0.0, 0.5]), st.booleans())
@settings(max_examples=60, deadline=None)
def test_with_all_cells_neighbors_are_exact(n: int, seed: int, k: int, minimum: float, copies: bool) -> None:
    pool = clustered(n, 5, seed, noise=0.0 if copies else 0.5, evidence=0.8)
    limits = Limits(k, minimum, max_ties=3 * k)
    found = candidates_of([approximate(pool, limits, Cells.of(pool, centers=20))], n)
    assert_same(found, nearest(pool, k, np, minimum=minimum, max_ties=3 * k))


def test_crowds_of_equal_listings_are_thinned_as_by_an_exact_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells_module, "CELLS", 1 << 10)  # a few lines of a cell at a time
    vectors = np.eye(6, dtype=np.float32)[np.random.default_rng(0).integers(0, 3, 400)]
    vectors[-2:] = np.array([[0.6, 0.8, 0, 0, 0, 0]], np.float32)
    pool = Embeddings(vectors, np.ones(400, dtype=bool))
    assert_same(candidates_of([approximate(pool, Limits(4), Cells.of(pool, centers=10))], 400), nearest(pool, 4, np))


def test_with_some_cells_most_neighbors_are_found_and_all_are_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells_module, "PROBES", 6)
    pool = clustered(3000, 24, 1)
    exact = nearest(pool, 5, np)
    found = candidates_of([approximate(pool, Limits(5), Cells.of(pool, centers=150))], 3000)
    assert 0.9 < np.isin(exact.key, found.key).mean() < 1
    np.testing.assert_array_equal(found.similarity, pool.similarity(found.left, found.right).round(6))


@pytest.mark.parametrize("threads", [2, 5])
def test_cells_and_lists_for_any_threads(threads: int) -> None:
    pool = clustered(2500, 48, 2, evidence=0.9)
    cells, others = Cells.of(pool, 1), Cells.of(pool, threads)
    np.testing.assert_array_equal(cells.centers, others.centers)
    np.testing.assert_array_equal(cells.nearest, others.nearest)
    assert_same_lists(approximate(pool, Limits(5), others, threads), approximate(pool, Limits(5), cells))


def test_shards_with_cells_read_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = clustered(1200, 16, 3, evidence=0.9)
    cells = Cells.of(pool)
    cells.save(tmp_path / "cells.safetensors")
    whole = approximate(pool, Limits(5), cells)
    monkeypatch.setattr(cells_module, "FEWEST_ROWS", 100)
    read = CellSearcher.of(pool, Limits(5), Cells.load(tmp_path / "cells.safetensors"), memory=1.0)
    shards = [read.lists(np.arange(start, min(start + 500, 1200))) for start in range(0, 1200, 500)]
    assert read.rows_at_once == 100
    assert_same_lists(NeighborLists.joined(1200, shards), whole)
