"""Candidate pairs of a branch: each listing's nearest by its similarity."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
from scipy import sparse

from branches.base import BranchConfig
from shared.compute import ComputeConfig
from shared.schema import Candidates, Embeddings, Rows
from shared.search.cells import Cells, CellSearcher
from shared.search.exact import ProductSearcher
from shared.search.hashes import HashSearcher
from shared.search.lists import Limits, NeighborLists, Searcher, candidates_of
from shared.search.refinement import refined
from shared.search.sparse import SparseSearcher
from shared.search.symmetric import SymmetricSearcher


def propose(
    embeddings: Embeddings, config: BranchConfig, compute: ComputeConfig, copies: Rows | None = None
) -> Candidates:
    """Return the pairs in which one listing is among the other's nearest, or tied with the last of them.

    Args:
        embeddings: Of a pool of n listings.
        config: How many neighbors each listing proposes, and how similar they must be.
        compute: Where the work runs.
        copies: For each listing the row of the one of equal content that stands for it, int32 [n]; only these are
            searched and proposed. None: each stands for itself.
    """
    if copies is not None:
        embeddings = without_copies(embeddings, copies)
    config = settled(config, approximate=is_approximate(embeddings, config, compute))
    lists = searcher_of(embeddings, config, compute).lists(np.arange(len(embeddings)))
    return candidates_of([finished(lists, embeddings, config, compute)], len(embeddings))


def finished(
    lists: NeighborLists, embeddings: Embeddings, config: BranchConfig, compute: ComputeConfig
) -> NeighborLists:
    """Return the lists of a whole pool as pairs are made of them: refined, where vectors were searched approximately.

    Args:
        lists: Of all listings of the pool, as the search that `searcher_of` returns finds them.
        embeddings: Of the pool, those that another one stands for without evidence.
        config: As for the search.
        compute: Where the work runs.

    Examples:
        >>> embeddings = Embeddings(np.ones((3, 1), np.float32), np.ones(3, dtype=bool))
        >>> config, compute = BranchConfig(neighbors=1), ComputeConfig(device="cpu")
        >>> lists = searcher_of(embeddings, config, compute).lists(np.arange(3))
        >>> finished(lists, embeddings, config, compute) is lists
        True
    """
    if sparse.issparse(embeddings.vectors) or not is_approximate(embeddings, config, compute):
        return lists
    return refined(embeddings, lists, Limits(config.neighbors, config.minimum), compute.cpu_threads)


def searcher_of(
    embeddings: Embeddings, config: BranchConfig, compute: ComputeConfig, cells: Cells | None = None
) -> Searcher:
    """Return what finds the neighbors of any listings of a pool.

    Args:
        embeddings: Of a pool of n listings, those that another one stands for without evidence.
        config: How many neighbors each listing proposes, how similar they must be, and how they are searched.
        compute: Where the work runs.
        cells: Of this pool, for an approximate search; None: they are made, which other processes do alike.

    Examples:
        >>> embeddings = Embeddings(np.ones((3, 1), np.float32), np.ones(3, dtype=bool))
        >>> searcher = searcher_of(embeddings, BranchConfig(neighbors=1), ComputeConfig(device="cpu"))
        >>> searcher.lists(np.array([2])).neighbor.tolist()
        [0, 1]
    """
    limits, xp, threads = Limits(config.neighbors, config.minimum), compute.xp(), compute.cpu_threads
    approximate = is_approximate(embeddings, config, compute)
    if approximate and sparse.issparse(embeddings.vectors):
        return SparseSearcher.of(embeddings, limits, threads=threads)
    if approximate:
        cells = Cells.of(embeddings, threads) if cells is None else cells
        return CellSearcher.of(embeddings, limits, cells, memory=compute.memory_bytes, threads=threads)
    if config.hashes and xp is np:
        return HashSearcher.of(embeddings, limits, threads=threads)
    if sparse.issparse(embeddings.vectors) or xp is not np:
        return ProductSearcher.of(embeddings, limits, xp)
    return SymmetricSearcher.of(embeddings, limits, threads=threads)


def is_approximate(embeddings: Embeddings, config: BranchConfig, compute: ComputeConfig) -> bool:
    """Return whether the neighbors of a pool are searched approximately.

    So are many vectors on a CPU, and dense ones on a GPU that they do not fit into.

    Examples:
        >>> embeddings = Embeddings(np.ones((3, 1), np.float32), np.ones(3, dtype=bool))
        >>> cpu = ComputeConfig(device="cpu")
        >>> [is_approximate(embeddings, BranchConfig(approximate_from=least), cpu) for least in (3, 4)]
        [True, False]
    """
    if config.hashes or config.search == "exact":
        return False
    few = np.count_nonzero(embeddings.present) < config.approximate_from
    if sparse.issparse(embeddings.vectors):
        return compute.xp() is np and (config.search == "approximate" or not few)
    return config.search == "approximate" or not (few or _fits(embeddings.vectors, compute.xp()))


def settled(config: BranchConfig, *, approximate: bool) -> BranchConfig:
    """Return the settings of a branch with `search` as it was decided for a pool.

    So a search stays as it began, though a GPU has less free memory once it holds the vectors.

    Examples:
        >>> settled(BranchConfig(), approximate=True).search
        'approximate'
    """
    return config.model_copy(update={"search": "approximate" if approximate else "exact"})


def _fits(vectors: Any, xp: ModuleType) -> bool:
    """Return whether dense vectors fit into the memory of a GPU, beside as much for the search."""
    return xp is not np and 2 * vectors.nbytes < xp.cuda.runtime.memGetInfo()[0]


def without_copies(embeddings: Embeddings, copies: Rows) -> Embeddings:
    """Return the same embeddings, those of listings that another one stands for without evidence.

    Args:
        embeddings: Of n listings.
        copies: For each listing the row of the one of equal content that stands for it, int32 [n].

    Examples:
        >>> embeddings = Embeddings(np.ones((3, 1), np.float32), np.ones(3, dtype=bool))
        >>> without_copies(embeddings, np.array([0, 1, 1], np.int32)).present.tolist()
        [True, True, False]
    """
    n = len(copies)
    stands = copies == np.arange(n)
    if stands.all():
        return embeddings
    vectors, present = embeddings.vectors, embeddings.present & stands
    if isinstance(vectors, np.ndarray):
        return Embeddings(np.where(present[:, None], vectors, np.float32(0)), present)
    rows = np.flatnonzero(present)
    kept = sparse.csr_array((np.ones(len(rows), dtype=np.float32), (rows, rows)), shape=(n, n))
    return Embeddings(sparse.csr_array(kept @ vectors), present)
