"""Features of a pair from blended embeddings: how alike the two listings are together with their closest neighbours.

A listing's embedding is replaced by the mean over its neighbourhood, in which errors of a single picture or title
cancel; where the neighbourhood is of another product, the error grows instead.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from ensemble.features.graph import neighbours
from ensemble.pool import Evidence, PoolEvidence
from shared.schema import Embeddings, Floats, Pairs

CLOSE = 5  # neighbours that are blended in
POWER = 2  # a neighbour weighs similarity ** POWER, the listing itself 1


def of_blended(pool: PoolEvidence, pairs: Pairs) -> dict[str, Floats]:
    """Cosine of the two listings' blended embeddings, `<branch>_blended`, float32 [p]; NaN where it knows none."""
    return {
        f"{name}_blended": blended(view).similarity(pairs.left, pairs.right) for name, view in pool.branches.items()
    }


def blended(view: Evidence) -> Embeddings:
    """Every listing's embedding with those of its nearest neighbours, of unit length."""
    weight = neighbours(view.candidates, CLOSE, own=1)
    weight.data **= POWER
    mixed: Any = weight @ view.embeddings.vectors.astype(np.float64)
    length = np.sqrt(np.asarray((mixed * mixed).sum(axis=1))).ravel()
    scale = 1 / np.where(length > 0, length, 1)
    if isinstance(mixed, np.ndarray):
        return Embeddings((mixed * scale[:, None]).astype(np.float32), view.embeddings.present)
    return Embeddings(sparse.csr_array(sparse.diags_array(scale) @ mixed, dtype=np.float32), view.embeddings.present)
