"""The embeddings of an index: those of old listings are kept."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ensemble.index.plan import Plan
from ensemble.matcher import Matcher
from shared.schema import Catalog, Embeddings, Flags, Vectors

Rows = NDArray[np.int64]


class Embedders:
    """Embeds new listings so that they can be compared with those of an index; every model is loaded once.

        embedders = Embedders(matcher, state.catalog)
        embeddings = embedders.grown("image", state.branches["image"].embeddings, planned)

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

    def grown(self, name: str, previous: Embeddings, planned: Plan) -> Embeddings:
        """Return the embeddings of the listings of a plan; those that the index already holds keep theirs.

        Args:
            name: The branch.
            previous: Embeddings of the listings that the index holds.
            planned: n listings; the new ones with their images.
        """
        origin = planned.origin
        new = origin < 0
        if not new.any():
            return Embeddings(previous.vectors[origin], previous.present[origin])
        rows = np.flatnonzero(new)
        judged_anew = planned.previous[rows] >= 0  # their images may be gone
        embedder, listings = self._of(name), planned.catalog.take(rows)
        additions = embedder.transform(_renamed(_without_images(listings, judged_anew), "new"))
        present = np.zeros(len(origin), dtype=np.bool_)
        present[~new], present[new] = previous.present[origin[~new]], additions.present
        vectors = _merged(previous.vectors[origin[~new]], additions.vectors, new)
        images = rows[judged_anew & listings.has_image & ~additions.present]  # only their titles were set aside
        if len(images) and not self._reads_titles(name, planned.originals.take(images)):
            assert isinstance(vectors, np.ndarray)
            assert isinstance(previous.vectors, np.ndarray)
            vectors[images] = previous.vectors[planned.previous[images]]
            present[images] = previous.present[planned.previous[images]]
        return Embeddings(vectors, present)

    def _reads_titles(self, name: str, listings: Catalog) -> bool:
        """Return whether a branch has evidence about some listings by their titles alone."""
        titles = {"posting_id": listings.ids.tolist(), "title": listings.column("title").tolist()}
        return bool(self._of(name).transform(_renamed(Catalog.from_columns(titles), "titled")).present.any())


def _without_images(catalog: Catalog, mask: Flags) -> Catalog:
    """Return the same listings; those in `mask` as if their image could not be used."""
    if not (mask & catalog.has_image).any():
        return catalog
    shas = catalog.column("image_sha")
    return catalog.with_columns({"image_sha": [None if out else s for s, out in zip(shas, mask, strict=True)]})


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
