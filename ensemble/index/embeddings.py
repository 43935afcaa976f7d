"""The embeddings of an index: an encoder's are kept, and so is the space that TF-IDF vectors lie in."""

from __future__ import annotations

from functools import cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import sparse

from branches.stages import learns
from ensemble.matcher import Matcher
from shared.schema import Catalog, Embedder, Embeddings, Flags, Vectors

Rows = NDArray[np.int64]


class Embedders:
    """Embed new listings, to be compared with those of an index. What is loaded for that is loaded once.

    Args:
        matcher: The one that the index was made with.
        reference: The listings that it was last rebuilt with. A branch that is not trained knows from them alone which
            terms there are and how rare they are.
    """

    def __init__(self, matcher: Matcher, reference: Catalog) -> None:
        self.matcher = matcher
        self._of = cache(lambda name: matcher.embedder(name, _renamed(reference, "reference")))

    def load(self) -> None:
        """Load all there is to load, as the first listing would."""
        for name in self.matcher.branches:
            self._of(name)

    def grown(self, name: str, before: Embeddings, catalog: Catalog, origin: Rows, recent: Flags) -> Embeddings:
        """Return the embeddings of the listings that an index is to hold.

        Args:
            name: The branch.
            before: Embeddings of the listings that the index holds.
            catalog: n listings; the new ones with their images.
            origin: The row of the index that each is in, int64 [n]; -1 where it is new or changed.
            recent: Which are not among the reference, bool [n]. A branch that is not trained embeds all of these
                together, so that a term is one term to all of them.
        """
        again = origin < 0 if learns(name) else recent
        if not again.any():
            return Embeddings(before.vectors[origin], before.present[origin])
        embed: Embedder = self._of(name)
        made = embed(_renamed(catalog.take(np.flatnonzero(again)), "listing"))
        present = np.zeros(len(origin), dtype=np.bool_)
        present[~again], present[again] = before.present[origin[~again]], made.present
        return Embeddings(_merged(before.vectors[origin[~again]], made.vectors, again), present)


def _merged(kept: Vectors, made: Vectors, again: Flags) -> Vectors:
    """Rows that are kept and rows that were made, each where `again` says; of sparse ones the wider has more terms."""
    if isinstance(kept, np.ndarray) and isinstance(made, np.ndarray):
        vectors = np.empty((len(again), made.shape[1]), dtype=np.float32)
        vectors[~again], vectors[again] = kept, made
        return vectors
    width, order = max(kept.shape[1], made.shape[1]), np.argsort(np.argsort(again, kind="stable"), kind="stable")
    parts = [_widened(vectors, width) for vectors in (kept, made)]
    return sparse.csr_array(sparse.vstack(parts, format="csr")[order])


def _widened(vectors: Vectors, width: int) -> sparse.csr_array:
    assert isinstance(vectors, sparse.csr_array)
    return sparse.csr_array((vectors.data, vectors.indices, vectors.indptr), shape=(vectors.shape[0], width))


def _renamed(catalog: Catalog, name: str) -> Catalog:
    """The same listings with ids of our own: a listing whose title changed is not taken for the one it was."""
    ids = pa.array([f"{name} {row}" for row in range(len(catalog))], pa.string())
    return Catalog(catalog.table.set_column(0, catalog.table.schema.field(0), ids), catalog.image_folder)
