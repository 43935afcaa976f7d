"""Features of a pair from every branch's graph: which neighbours its two listings share, and how central they are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ensemble.features.overlap import shared_weight
from ensemble.pool import PoolEvidence
from shared.schema import Candidates, Floats, Pairs

CLOSE = 10  # a neighbour counts when it is among a listing's nearest ten
DAMPING = 0.85  # of PageRank: the share of its rank that a listing hands on
STEPS = 50  # of PageRank; DAMPING ** STEPS, below .0003, bounds what further ones could change


def of_graph(pool: PoolEvidence, pairs: Pairs) -> dict[str, Floats]:
    """Of every branch, float32 [p]; NaN where it knows nothing of one of the two listings.

    `<branch>_common`: Jaccard overlap of the two listings' nearest neighbours. `<branch>_pagerank_low`,
    `<branch>_pagerank_high`: the lower and the higher PageRank of the two, 1 on average over the pool.
    """
    features = {}
    for name, view in pool.branches.items():
        present = view.embeddings.present
        known = present[pairs.left] & present[pairs.right]
        rank = pagerank(view.candidates)
        a, b = rank[pairs.left], rank[pairs.right]
        columns = {
            "common": common(view.candidates, pairs),
            "pagerank_low": np.minimum(a, b),
            "pagerank_high": np.maximum(a, b),
        }
        for feature, column in columns.items():
            features[f"{name}_{feature}"] = np.where(known, column, np.nan).astype(np.float32)
    return features


def common(candidates: Candidates, pairs: Pairs) -> Floats:
    """Shared share of the two listings' closest neighbours, themselves included, float32 [p] in [0, 1]."""
    near = neighbours(candidates, CLOSE, own=1)
    near.data[:] = 1
    size = np.asarray(near.sum(axis=1)).ravel()
    shared = shared_weight(near, near, pairs)
    overlap: Floats = (shared / (size[pairs.left] + size[pairs.right] - shared)).astype(np.float32)
    return overlap


def pagerank(candidates: Candidates) -> NDArray[np.float64]:
    """PageRank of every listing where each is linked to its neighbours, float64 [n], 1 on average.

    A link weighs its similarity. A listing without neighbours hands its rank on to all alike. Page, Brin, Motwani and
    Winograd 1999, The PageRank Citation Ranking, section 2.
    """
    n = candidates.n
    links = neighbours(candidates, n)
    out = np.asarray(links.sum(axis=1)).ravel()
    handed = sparse.csr_array(links.multiply((1 / np.where(out > 0, out, 1))[:, None])).T.tocsr()
    rank = np.ones(n)
    for _ in range(STEPS):
        lost = rank[out == 0].sum() / max(n, 1)
        rank = DAMPING * (handed @ rank + lost) + (1 - DAMPING)
    return rank


def neighbours(candidates: Candidates, most: int, own: float = 0) -> Any:
    """Who is near whom, float64 CSR [n, n]: in row i the similarities, at least 0, of i's nearest; `own` for i itself.

    Args:
        candidates: A branch's.
        most: The rank that a neighbour may have at most.
        own: A listing's similarity to itself; 0: it is none of its neighbours.
    """
    n = candidates.n
    forth, back = ((rank > 0) & (rank <= most) for rank in (candidates.rank_left, candidates.rank_right))
    itself = np.arange(n if own else 0)
    rows = np.concatenate([candidates.left[forth], candidates.right[back], itself])
    columns = np.concatenate([candidates.right[forth], candidates.left[back], itself])
    similarity = np.concatenate([candidates.similarity[forth], candidates.similarity[back]]).astype(np.float64)
    weight = np.concatenate([np.maximum(similarity, 0), np.full(len(itself), float(own))])
    return sparse.csr_array((weight, (rows, columns)), shape=(n, n))
