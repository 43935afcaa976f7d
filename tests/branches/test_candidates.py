"""Which search a branch's candidates come from, and that all of them agree."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import sparse

from branches.base import BranchConfig
from branches.candidates import is_approximate, propose, searcher_of, settled
from branches.phash.config import Config as HashConfig
from shared.compute import ComputeConfig
from shared.schema import Embeddings
from shared.search import cells as cells_module
from shared.search.cells import Cells, CellSearcher
from shared.search.exact import ProductSearcher, nearest
from shared.search.hashes import HashSearcher
from shared.search.sparse import SparseSearcher

CPU = ComputeConfig(device="cpu", threads=1)
COLUMNS = ("left", "right", "similarity", "rank_left", "rank_right")


def bits(n: int) -> Embeddings:
    signs = np.random.default_rng(0).integers(0, 2, (n, 64)) * 2 - 1
    return Embeddings((signs / 8).astype(np.float32), np.ones(n, dtype=bool))


def test_search_is_approximate_from_a_size_or_by_setting() -> None:
    pool = bits(20)
    for config, expected in (
        (BranchConfig(approximate_from=20), True),
        (BranchConfig(approximate_from=21), False),
        (BranchConfig(approximate_from=20, search="exact"), False),
        (BranchConfig(search="approximate"), True),
        (HashConfig(search="approximate"), False),
    ):
        assert is_approximate(pool, config, CPU) == expected
        assert isinstance(searcher_of(pool, config, CPU), CellSearcher) == expected
    assert isinstance(searcher_of(pool, HashConfig(), CPU), HashSearcher)


def test_many_words_are_searched_in_an_index(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Embeddings(sparse.csr_array(np.eye(20, 5, dtype=np.float32)), np.arange(20) < 5)
    for config, kind in (
        (BranchConfig(approximate_from=5), SparseSearcher),
        (BranchConfig(approximate_from=6), ProductSearcher),
        (BranchConfig(search="approximate"), SparseSearcher),
        (BranchConfig(approximate_from=5, search="exact"), ProductSearcher),
    ):
        assert isinstance(searcher_of(pool, config, CPU), kind)
        assert is_approximate(pool, config, CPU) == (kind is SparseSearcher)
    monkeypatch.setattr(ComputeConfig, "xp", lambda self: SimpleNamespace())
    assert not is_approximate(pool, BranchConfig(search="approximate"), ComputeConfig())


@pytest.mark.parametrize(("free", "expected"), [(20 * 64 * 4 * 2, True), (20 * 64 * 4 * 2 + 1, False)])
def test_a_gpu_searches_exactly_what_fits_into_it(free: int, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = SimpleNamespace(cuda=SimpleNamespace(runtime=SimpleNamespace(memGetInfo=lambda: (free, 0))))
    monkeypatch.setattr(ComputeConfig, "xp", lambda self: gpu)
    assert is_approximate(bits(20), BranchConfig(approximate_from=1), ComputeConfig()) == expected


@pytest.mark.parametrize("approximate", [True, False])
def test_a_search_stays_as_it_was_decided(approximate: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for free in (0, 10**9):
        gpu = SimpleNamespace(cuda=SimpleNamespace(runtime=SimpleNamespace(memGetInfo=lambda free=free: (free, 0))))
        monkeypatch.setattr(ComputeConfig, "xp", lambda self, gpu=gpu: gpu)
        config = settled(BranchConfig(approximate_from=1), approximate=approximate)
        assert is_approximate(bits(20), config, ComputeConfig()) == approximate


@pytest.mark.parametrize("config", [BranchConfig(neighbors=3), BranchConfig(neighbors=3, search="approximate")])
def test_candidates_are_those_of_a_plain_search(config: BranchConfig) -> None:
    pool = bits(60)  # fewer centers than cells that are looked into
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(propose(pool, config, CPU), name), getattr(nearest(pool, 3, np), name))


def test_cells_that_are_given_are_not_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = bits(30)
    cells = Cells.of(pool)
    monkeypatch.setattr(cells_module.Cells, "of", None)
    searcher = searcher_of(pool, BranchConfig(search="approximate"), CPU, cells)
    assert isinstance(searcher, CellSearcher)
    assert searcher.cells is cells


def test_cells_get_their_block_size_from_the_memory() -> None:
    config = BranchConfig(search="approximate")
    sizes = []
    for memory_gb in (0.2, 0.4):
        searcher = searcher_of(bits(30), config, ComputeConfig(device="cpu", memory_gb=memory_gb))
        assert isinstance(searcher, CellSearcher)
        sizes.append(searcher.rows_at_once)
    assert sizes == [10_000, 20_000]
