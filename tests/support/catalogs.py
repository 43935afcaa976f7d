"""Catalogs of a few listings, made in memory."""

from collections.abc import Sequence

import numpy as np

from shared.schema import Catalog

VOCABULARY = "tas ransel wanita pria hitam 500ml 2 lusin isi 10 pcs iphone 8 64gb lem kaos xl merah ori murah"
WORDS = VOCABULARY.split()


def catalog_of(n: int, **columns: Sequence[object]) -> Catalog:
    """Return n listings of the given columns; unless given, ids are l0, l1, …, and all else is null."""
    return Catalog.from_columns({"posting_id": [f"l{row}" for row in range(n)], **columns})


def titled(titles: Sequence[str | None], ids: Sequence[str] | None = None, **columns: Sequence[object]) -> Catalog:
    """Return listings of these titles and other columns; ids sort as the listings stand."""
    ids = ids if ids is not None else [f"id{row:04}" for row in range(len(titles))]
    return catalog_of(len(titles), posting_id=list(ids), title=list(titles), **columns)


def random_catalog(n: int, seed: int = 0) -> Catalog:
    """Return listings of which some lack their title, some their image, some both, and some share one or both."""
    rng = np.random.default_rng(seed)
    titles = [" ".join(rng.choice(WORDS, rng.integers(1, 7))) if rng.random() < 0.85 else None for _ in range(n)]
    shas = [f"sha{rng.integers(n)}" if rng.random() < 0.8 else None for _ in range(n)]
    facts = {
        name: [int(rng.integers(50, 2000)) if sha else None for sha in shas] for name in ("width", "height", "bytes")
    }
    return titled(titles, image_sha=shas, **facts)


def label_codes(catalog: Catalog) -> np.ndarray:
    """Return the number of each listing's label, int32 [n], from 0."""
    return np.unique(catalog.labels.astype(str), return_inverse=True)[1].astype(np.int32)
