"""Features of a pair from who else its two listings know: common neighbours in every branch's graph."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from ensemble.features.overlap import shared_weight
from ensemble.pool import PoolEvidence
from shared.schema import Candidates, Floats, Pairs

CLOSE = 10  # a neighbour counts when it is among a listing's nearest ten


def of_graph(pool: PoolEvidence, pairs: Pairs) -> dict[str, Floats]:
    """Jaccard overlap of the two listings' nearest neighbours, `<branch>_common`, float32 [p].

    NaN where the branch knows nothing of one of them.
    """
    features = {}
    for name, view in pool.branches.items():
        present = view.embeddings.present
        known = present[pairs.left] & present[pairs.right]
        features[f"{name}_common"] = np.where(known, common(view.candidates, pairs), np.float32(np.nan))
    return features


def common(candidates: Candidates, pairs: Pairs) -> Floats:
    """Shared share of the two listings' closest neighbours, themselves included, float32 [p] in [0, 1]."""
    near = _neighbours(candidates)
    size = np.asarray(near.sum(axis=1)).ravel()
    shared = shared_weight(near, near, pairs)
    overlap: Floats = (shared / (size[pairs.left] + size[pairs.right] - shared)).astype(np.float32)
    return overlap


def _neighbours(candidates: Candidates) -> Any:
    """Who is near whom: 1 where column is among row's closest or is row itself, CSR [n, n]."""
    n = candidates.n
    forth = (candidates.rank_left > 0) & (candidates.rank_left <= CLOSE)
    back = (candidates.rank_right > 0) & (candidates.rank_right <= CLOSE)
    own = np.arange(n)
    rows = np.concatenate([candidates.left[forth], candidates.right[back], own])
    columns = np.concatenate([candidates.right[forth], candidates.left[back], own])
    return sparse.csr_array((np.ones(len(rows), dtype=np.float32), (rows, columns)), shape=(n, n))
