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
    """Embed new listings, to be compared with those of an index. What is loaded for that is loaded once.

    Args:
        matcher: The one that the index was made with.
        pool: The listings of the index. A branch that is not trained knows from them which terms there are and how rare
            they are.
    """

    def __init__(self, matcher: Matcher, pool: Catalog) -> None:
        self.matcher = matcher
        self._of = cache(lambda name: matcher.embedder(name, _renamed(pool, "pool")))

    def load(self) -> None:
        """Load all there is to load, as the first query would."""
        for name in self.matcher.branches:
            self._of(name)

    def grown(self, name: str, before: Embeddings, catalog: Catalog, origin: Rows) -> Embeddings:
        """Return the embeddings of listings of which the old ones keep theirs.

        Args:
            name: The branch.
            before: Embeddings of the listings that the index holds.
            catalog: n listings; the new ones with their images.
            origin: The row of the index that each is in, int64 [n]; -1 where it is new or changed.
        """
        new = origin < 0
        if not new.any():
            return Embeddings(before.vectors[origin], before.present[origin])
        made = self._of(name).transform(_renamed(catalog.take(np.flatnonzero(new)), "new"))
        present = np.zeros(len(origin), dtype=np.bool_)
        present[~new], present[new] = before.present[origin[~new]], made.present
        return Embeddings(_merged(before.vectors[origin[~new]], made.vectors, new), present)


def _merged(kept: Vectors, made: Vectors, new: Flags) -> Vectors:
    """Rows that are kept and rows that were made, each where `new` says; of sparse ones the wider has more terms."""
    if isinstance(kept, np.ndarray) and isinstance(made, np.ndarray):
        vectors = np.empty((len(new), made.shape[1]), dtype=np.float32)
        vectors[~new], vectors[new] = kept, made
        return vectors
    width, order = max(kept.shape[1], made.shape[1]), np.argsort(np.argsort(new, kind="stable"), kind="stable")
    parts = [_widened(vectors, width) for vectors in (kept, made)]
    return sparse.csr_array(sparse.vstack(parts, format="csr")[order])


def _widened(vectors: Vectors, width: int) -> sparse.csr_array:
    assert isinstance(vectors, sparse.csr_array)
    return sparse.csr_array((vectors.data, vectors.indices, vectors.indptr), shape=(vectors.shape[0], width))


def _renamed(catalog: Catalog, name: str) -> Catalog:
    """Return listings with ids of our own: one whose title changed is not taken for the one it was."""
    return catalog.with_columns({"posting_id": [f"{name} {row}" for row in range(len(catalog))]})
