"""Reuses embeddings, so that no listing is embedded twice by the same encoder for different pools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from branches.base import Embedder
from shared.schema import Catalog, Embeddings

EVIDENCE = ("posting_id", "title", "phash", "image_sha")  # what a branch may embed a listing by


def embed_reusing(embedder: Embedder, listings: Catalog, embedded: Sequence[tuple[Catalog, Embeddings]]) -> Embeddings:
    """Embed listings; copy the rows of those that are embedded already.

        embed_reusing(embedder, catalog, [(holdout, holdout_embeddings)])

    Args:
        embedder: If there are rows to copy, of a branch that learns: a row then depends on its listing alone.
        listings: n listings.
        embedded: Listings that the same encoder has embedded, with their embeddings.

    Returns:
        Embeddings of the n listings, bit for bit the same as if all were embedded now.
    """
    earlier: dict[tuple[Any, ...], Any] = {}
    for catalog, embeddings in embedded:
        if isinstance(embeddings.vectors, np.ndarray):  # sparse ones are made anew
            earlier |= zip(_evidence(catalog), embeddings.vectors, strict=True)
    if not earlier:
        return embedder.transform(listings)
    keys = _evidence(listings)
    missing = np.array([key not in earlier for key in keys], dtype=bool)
    rest = embedder.transform(listings.take(np.flatnonzero(missing)))
    assert isinstance(rest.vectors, np.ndarray)
    vectors = np.zeros((len(listings), rest.vectors.shape[1]), dtype=np.float32)
    vectors[missing] = rest.vectors
    for row in np.flatnonzero(~missing):
        vectors[row] = earlier[keys[row]]
    return Embeddings(vectors, np.any(vectors != 0, axis=1))


def _evidence(catalog: Catalog) -> list[tuple[Any, ...]]:
    return list(zip(*(catalog.table.column(name).to_pylist() for name in EVIDENCE), strict=True))
