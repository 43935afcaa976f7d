"""The embeddings of an index: those of old listings are kept."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ensemble.matcher import Matcher
from shared.schema import Catalog, Embeddings, Flags, Vectors

Rows = NDArray[np.int64]


class Embedders:
    """Embeds new listings so that they can be compared with those of an index; every model is loaded once.

        embedders = Embedders(matcher, state.catalog)
        embeddings = embedders.grown("image", state.branches["image"].embeddings, plan.catalog, plan.origin)

    Args:
        matcher: The one that the index was made with.
        pool: The listings of the index. A branch that is not trained takes from them which terms there are and how rare
            they are.
    """

    def __init__(self, matcher: Matcher, pool: Catalog) -> None:
        self.matcher = matcher
        self._of = cache(lambda name: matcher.embedder(name, _renamed(pool, "pool")))

    def load(self) -> None:
        """Load all models now, which otherwise happens at the first query."""
        for name in self.matcher.branches:
            self._of(name)

    def grown(self, name: str, previous: Embeddings, catalog: Catalog, origin: Rows) -> Embeddings:
        """Return the embeddings of listings; those that the index already holds keep theirs.

        Args:
            name: The branch.
            previous: Embeddings of the listings that the index holds.
            catalog: n listings; the new ones with their images.
            origin: The row of the index that each is in, int64 [n]; -1 where it is new or changed.
        """
        new = origin < 0
        if not new.any():
            return Embeddings(previous.vectors[origin], previous.present[origin])
        additions = self._of(name).transform(_renamed(catalog.take(np.flatnonzero(new)), "new"))
        present = np.zeros(len(origin), dtype=np.bool_)
        present[~new], present[new] = previous.present[origin[~new]], additions.present
        return Embeddings(_merged(previous.vectors[origin[~new]], additions.vectors, new), present)


def _merged(previous: Vectors, additions: Vectors, new: Flags) -> Vectors:
    """Return previous and additional rows, each where `new` says; of sparse ones the wider matrix has more terms."""
    if isinstance(previous, np.ndarray) and isinstance(additions, np.ndarray):
        vectors = np.empty((len(new), additions.shape[1]), dtype=np.float32)
        vectors[~new], vectors[new] = previous, additions
        return vectors
    width, order = max(previous.shape[1], additions.shape[1]), np.argsort(np.argsort(new, kind="stable"), kind="stable")
    parts = [_widened(vectors, width) for vectors in (previous, additions)]
    return sparse.csr_array(sparse.vstack(parts, format="csr")[order])


def _widened(vectors: Vectors, width: int) -> sparse.csr_array:
    assert isinstance(vectors, sparse.csr_array)
    return sparse.csr_array((vectors.data, vectors.indices, vectors.indptr), shape=(vectors.shape[0], width))


def _renamed(catalog: Catalog, prefix: str) -> Catalog:
    """Return listings with other ids, so that a listing with a new title is not taken for the one it was."""
    return catalog.with_columns({"posting_id": [f"{prefix} {row}" for row in range(len(catalog))]})
