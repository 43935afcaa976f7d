"""What speaks for and against two listings selling the same product, in words."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from rapidfuzz import fuzz

from ensemble.features.attributes import PARSERS
from ensemble.pool_views import PoolViews

TOLD = {"quantity": "quantity", "model": "model number", "color": "color", "size": "size"}  # kind → in words
UNITS = {"volume": "ml", "mass": "g", "length": "cm", "memory": "GB", "power": "W", "charge": "mAh", "count": "pieces"}


def reasons(pool: PoolViews, one: int, other: int) -> str:
    """What speaks for and against a pair: how alike its titles and pictures are, what both state or state otherwise."""
    return " · ".join([*_titles(pool, one, other), *_branches(pool, one, other), *_hashes(pool, one, other)])


def _titles(pool: PoolViews, one: int, other: int) -> Iterator[str]:
    a, b = pool.titles[one], pool.titles[other]
    if not a or not b:
        return
    yield "equal titles" if a == b else f"titles {fuzz.ratio(a, b):.0f} % alike"
    for kind, name in TOLD.items():
        of_a, of_b = PARSERS[kind](a), PARSERS[kind](b)
        if of_a & of_b:
            yield f"both say {', '.join(sorted(map(_plain, of_a & of_b)))}"
        elif of_a and of_b:
            yield f"{name} differs"


def _plain(stated: str) -> str:
    """`volume:500` as `500 ml`; all but quantities as it is."""
    dimension, colon, amount = stated.partition(":")
    return f"{amount} {UNITS[dimension]}" if colon else stated


def _branches(pool: PoolViews, one: int, other: int) -> Iterator[str]:
    rows = np.array([one], dtype=np.int32), np.array([other], dtype=np.int32)
    for name, view in pool.branches.items():
        cosine = float(view.embeddings.similarity(*rows)[0])
        if not np.isnan(cosine) and name != "phash":
            yield f"{name} {cosine:.2f}"


def _hashes(pool: PoolViews, one: int, other: int) -> Iterator[str]:
    sha, known, hashes = pool.catalog.column("image_sha"), pool.catalog.has_phash, pool.catalog.phashes
    if sha[one] and sha[one] == sha[other]:
        yield "the same picture"
    elif known[one] and known[other]:
        bits = int(np.bitwise_count(hashes[one] ^ hashes[other]))
        yield f"hashes {bits} bit{'s' * (bits != 1)} apart"
