"""Candidate pairs of a branch: each listing's nearest by its similarity."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from branches.base import BranchConfig
from shared.compute import ComputeConfig
from shared.schema import Candidates, Embeddings, Rows
from shared.search.exact import ProductSearcher
from shared.search.lists import Limits, Searcher, candidates_of


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
    n = len(embeddings)
    return candidates_of([searcher_of(embeddings, config, compute, copies).lists(np.arange(n))], n)


def searcher_of(
    embeddings: Embeddings, config: BranchConfig, compute: ComputeConfig, copies: Rows | None = None
) -> Searcher:
    """Return what finds the neighbors that each listing of a pool proposes; arguments as for `propose`.

    Examples:
        >>> embeddings = Embeddings(np.ones((2, 1), np.float32), np.ones(2, dtype=bool))
        >>> searcher_of(embeddings, BranchConfig(), ComputeConfig(device="cpu")).lists(np.array([1])).neighbor.tolist()
        [0]
    """
    if copies is not None:
        embeddings = without_copies(embeddings, copies)
    return ProductSearcher.of(embeddings, Limits(config.neighbors, config.minimum), compute.xp())


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
